//go:build unix && !linux

package wsconn

import (
	"syscall"
	"time"
)

// setUserTimeout does nothing here: only the heartbeat notices a vanished peer.
func setUserTimeout(syscall.RawConn, time.Duration) error { return nil }

// unsentBytes is unknown here: progress shows only when the kernel takes more bytes.
func unsentBytes(uintptr) int { return -1 }

// canRecvfrom says that recvfrom does not work here.
const canRecvfrom = false

func recvfrom(uintptr, []byte, int) (int, syscall.Errno) { return 0, 0 }
