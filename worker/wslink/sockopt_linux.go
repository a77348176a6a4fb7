package wslink

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// control sets up a socket before it connects (TCP_USER_TIMEOUT, tcp(7)).
func control(_, _ string, raw syscall.RawConn) error {
	var err error
	if ctrl := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(userTimeout.Milliseconds()))
	}); ctrl != nil {
		return ctrl
	}
	return err
}
