//go:build !linux

package wslink

import "syscall"

// control leaves a socket as it is: vanished hubs are found by the heartbeats.
func control(_, _ string, _ syscall.RawConn) error { return nil }
