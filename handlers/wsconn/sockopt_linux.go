package wsconn

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds how long sent bytes may stay unacknowledged, or a window closed, before the kernel gives the
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

// unsentBytes is the length of the send queue: bytes that were not sent or not acknowledged (SIOCOUTQ, tcp(7)). It is
// -1 if unknown.
func unsentBytes(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
	if err != nil {
		return -1
	}
	return n
}

// canRecvfrom says that recvfrom works here.
const canRecvfrom = true

// recvfrom reads into p from the non-blocking descriptor, or with MSG_PEEK copies the next bytes without taking them. It
// needs little stack, see Conn.Await: unix.Recvfrom has room for an address on its stack.
func recvfrom(fd uintptr, p []byte, flags int) (int, syscall.Errno) {
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
			uintptr(flags), 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}
