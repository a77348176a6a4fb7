package wsconn

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent bytes may stay unacknowledged, and a window closed, before the kernel gives the
// peer up (TCP_USER_TIMEOUT, tcp(7), RFC 5482). Without it a vanished peer is kept for a quarter of an hour.
func setUserTimeout(raw syscall.RawConn, timeout time.Duration) error {
	var err error
	if ctrl := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(timeout.Milliseconds()))
	}); ctrl != nil {
		return ctrl
	}
	return err
}

// unsentBytes is what the send queue holds: not sent, or sent and not acknowledged (SIOCOUTQ, tcp(7)); -1 if unknown.
func unsentBytes(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return -1
	}
	return n
}
