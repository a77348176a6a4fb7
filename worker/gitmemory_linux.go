package worker

import "golang.org/x/sys/unix"

// boundMemory bounds the memory of a git that has just begun, and of its filters each. A
// file of git that it maps does not count.
func boundMemory(pid int) error {
	most := unix.Rlimit{Cur: maxGitMemory, Max: maxGitMemory}
	return unix.Prlimit(pid, unix.RLIMIT_DATA, &most, nil)
}
