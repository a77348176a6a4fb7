package wsconn

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const knowsUnsent = true

func TestSocketOptions(t *testing.T) {
	conns := make(chan *Conn, 1)
	s := start(t, handlers{opts: Options{UserTimeout: 7 * time.Second}, ws: func(c *Conn) { conns <- c; drain(c) }})
	s.open(t)
	conn := receive(t, "serve", conns)
	var timeout, buffer int
	if err := conn.sock.raw.Control(func(fd uintptr) {
		timeout, _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		buffer, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
	}); err != nil {
		t.Fatal(err)
	}
	if timeout != 7000 {
		t.Errorf("TCP_USER_TIMEOUT %d ms", timeout)
	}
	if buffer != 2*64<<10 {
		t.Errorf("SO_SNDBUF %d", buffer)
	}
}
