//go:build !linux

package worker

// boundMemory does nothing: elsewhere than on Linux only a process can bound its own memory.
func boundMemory(int) error { return nil }
