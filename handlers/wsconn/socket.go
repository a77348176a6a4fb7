package wsconn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// chunkBytes is how much goes into one Write if the descriptor itself is out of reach, so that progress is seen at
	// least that often. It is the size of a TLS record.
	chunkBytes = 16 << 10

	// headTimeout bounds the write of the response head. Nothing else has been sent by then, so only a client that
	// pipelined requests and reads no answer can make it wait.
	headTimeout = 5 * time.Second
)

// Socket is a connection that was taken over from fasthttp.
//
// Read belongs to one goroutine. Several may call Write; one write follows the other. Any goroutine may call Cut,
// Close, Stalled, WaitingSince and LastHeard at any time, also while a write waits. A failed write may have sent a part
// of its bytes, so each later write fails with the same error.
type Socket struct {
	// Immutable once bound.
	conn   net.Conn
	tcp    *net.TCPConn          // conn, or what lies under its TLS; nil where there is no TCP
	raw    syscall.RawConn       // of tcp
	direct bool                  // conn is tcp: bytes go to the descriptor without a detour
	push   func(fd uintptr) bool // s.pushLocked, made once: a method value for each write would be an allocation

	// Owned by the reader.
	first []byte // what fasthttp had read behind the request

	writeMu  sync.Mutex
	writeErr error  // guarded by writeMu: why no more can be written
	rest     []byte // guarded by writeMu: what pushLocked has still to write

	waitingSince atomic.Int64 // 0, or unix nanoseconds: the last progress of a write that waits
	unsent       atomic.Int64 // bytes in the kernel's send queue when last looked at, while a write waits
	lastHeard    atomic.Int64 // unix nanoseconds
}

// bind gives the socket its connection and sets it up.
func (s *Socket) bind(conn net.Conn, first []byte, opts Options) error {
	s.conn, s.first = conn, first
	s.lastHeard.Store(time.Now().UnixNano())
	switch c := conn.(type) {
	case *net.TCPConn:
		s.tcp, s.direct = c, true
	case *tls.Conn:
		s.tcp, _ = c.NetConn().(*net.TCPConn)
	}
	if s.tcp == nil {
		return nil
	}
	raw, err := s.tcp.SyscallConn()
	if err != nil {
		return fmt.Errorf("reach the descriptor: %w", err)
	}
	s.raw = raw
	if s.direct {
		s.push = s.pushLocked
	}
	// Without this, the kernel grows the buffer to megabytes for each reader that has stopped.
	if err := s.tcp.SetWriteBuffer(opts.SendBufferBytes); err != nil {
		return fmt.Errorf("set the send buffer: %w", err)
	}
	if err := setUserTimeout(raw, opts.UserTimeout); err != nil {
		return fmt.Errorf("set the user timeout: %w", err)
	}
	return nil
}

// writeHead writes the response head, within headTimeout.
func (s *Socket) writeHead(head []byte) error {
	if err := s.conn.SetWriteDeadline(time.Now().Add(headTimeout)); err != nil {
		return fmt.Errorf("write the response head: %w", err)
	}
	if _, err := s.Write(head); err != nil {
		return fmt.Errorf("write the response head: %w", err)
	}
	if err := s.conn.SetWriteDeadline(time.Time{}); err != nil {
		return fmt.Errorf("write the response head: %w", err)
	}
	return nil
}

// Read reads the client's bytes, beginning with those that had arrived after its request. It fails when the client has
// gone or the socket was closed.
func (s *Socket) Read(p []byte) (int, error) {
	if len(s.first) > 0 {
		n := copy(p, s.first)
		if s.first = s.first[n:]; len(s.first) == 0 {
			s.first = nil // give the memory back
		}
		return n, nil
	}
	n, err := s.conn.Read(p)
	if n > 0 {
		s.lastHeard.Store(time.Now().UnixNano())
	}
	return n, err
}

// Write writes all of p. It waits while the client takes bytes, however slowly. It keeps no reference to p.
func (s *Socket) Write(p []byte) (int, error) {
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return s.writeLocked(p)
}

func (s *Socket) writeLocked(p []byte) (int, error) {
	if s.writeErr != nil {
		return 0, s.writeErr
	}
	if s.direct {
		s.rest = p
		if err := s.raw.Write(s.push); err != nil && s.writeErr == nil {
			s.writeErr = fmt.Errorf("write to the client: %w", err)
		}
		n := len(p) - len(s.rest)
		s.rest = nil
		if s.waitingSince.Load() != 0 {
			s.waitingSince.Store(0)
		}
		return n, s.writeErr
	}
	return s.writeChunksLocked(p)
}

// pushLocked writes to the non-blocking descriptor. It returns true when all is written,
// and false when the socket is full. The runtime calls it again when the socket is
// writable. net.Conn.Write would do the same, but would not tell that a part has gone.
func (s *Socket) pushLocked(fd uintptr) bool {
	moved := false
	for len(s.rest) > 0 {
		n, err := unix.Write(int(fd), s.rest)
		switch {
		case n > 0:
			s.rest = s.rest[n:]
			moved = true
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if moved || s.waitingSince.Load() == 0 {
				s.unsent.Store(int64(unsentBytes(fd)))
				s.waitingSince.Store(time.Now().UnixNano())
			}
			return false
		case err == nil:
			s.writeErr = fmt.Errorf("write to the client: %w", io.ErrShortWrite)
			return true
		default:
			s.writeErr = fmt.Errorf("write to the client: %w", os.NewSyscallError("write", err))
			return true
		}
	}
	return true
}

// writeChunksLocked is for TLS and for pipes in tests.
func (s *Socket) writeChunksLocked(p []byte) (int, error) {
	defer s.waitingSince.Store(0)
	written := 0
	for written < len(p) {
		s.waitingSince.Store(time.Now().UnixNano())
		n, err := s.conn.Write(p[written:min(written+chunkBytes, len(p))])
		written += n
		if err != nil {
			s.writeErr = fmt.Errorf("write to the client: %w", err)
			return written, s.writeErr
		}
	}
	return written, nil
}

// WaitingSince is 0 while no write waits. Otherwise it is the last time when the waiting write began to wait or made
// progress, in unix nanoseconds.
func (s *Socket) WaitingSince() int64 { return s.waitingSince.Load() }

// Stalled reports whether a write waits and the client has taken nothing for limit. It is cheap while nothing waits.
//
// Call it about once a second. While a write waits, each call reads the length of the kernel's send queue. The kernel
// wakes the writer only when a third of the buffer is free. A slow but honest line can need longer than the limit for
// that. Bytes in the peer's own kernel buffer count as taken.
func (s *Socket) Stalled(limit time.Duration) bool {
	since := s.waitingSince.Load()
	if since == 0 {
		return false
	}
	now := time.Now().UnixNano()
	if s.raw != nil {
		unsent := int64(-1)
		// An error means that the socket was closed: the write ends by itself.
		_ = s.raw.Control(func(fd uintptr) { unsent = int64(unsentBytes(fd)) })
		if seen := s.unsent.Swap(unsent); unsent >= 0 && unsent < seen {
			s.waitingSince.CompareAndSwap(since, now)
			return false
		}
	}
	return time.Duration(now-since) >= limit && s.waitingSince.Load() == since
}

// LastHeard is when the client last sent anything, in unix nanoseconds. A pong of a WebSocket counts. It begins with
// the time of the takeover.
func (s *Socket) LastHeard() int64 { return s.lastHeard.Load() }

// RemoteAddr is the address of the peer, which may be a proxy.
func (s *Socket) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Cut ends the connection at once. The kernel drops the bytes in the send buffer, and the client gets a reset. A read
// or write that waits returns.
func (s *Socket) Cut() {
	if s.tcp == nil {
		_ = s.conn.Close()
		return
	}
	// Errors here only say that the socket was closed already. Cut bypasses TLS, whose closing message could wait
	// behind a stalled write.
	_ = s.tcp.SetLinger(0)
	_ = s.tcp.Close()
}

// Close ends the connection. Bytes that were written are still sent, but a write that waits is broken off. A read
// returns.
func (s *Socket) Close() error {
	if err := s.conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the connection: %w", err)
	}
	return nil
}

// closeLingering tells the client that no more will come. It then reads and discards until the client has gone too, for
// at most wait. Closing with unread input would send a reset, which can overtake the last bytes written (RFC 6455,
// 7.1.1). Only the reader may call it.
func (s *Socket) closeLingering(wait time.Duration) {
	defer s.Close()
	half, ok := s.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || s.conn.SetReadDeadline(time.Now().Add(wait)) != nil {
		return
	}
	_, _ = io.Copy(io.Discard, s.conn) // ends with the client or with the deadline; nobody needs the error
}
