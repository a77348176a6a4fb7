package wsconn

import (
	"context"
	"errors"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sys/unix"
)

// ErrIdle is what Next returns when the client has sent nothing more.
var ErrIdle = errors.New("the client has sent nothing more")

// Await returns when the client has sent something for Next, or has ended the connection. It waits only after Next has
// returned [ErrIdle]: before that, the library may hold bytes that it has read already.
//
// Await needs little stack: a goroutine that does nothing else keeps the 2 KB that it began with. Pongs cost it no
// memory. The library's way to the socket needs 4 KB, and half of that in garbage for each pong. Where this is
// impossible (TLS, pipes, systems other than Linux), Await returns at once, and Next waits.
//
// Await and Next belong to the goroutine of serve, as Read does, or to a goroutine that serve waits for.
func (c *Conn) Await() {
	if c.rests {
		_ = c.sock.raw.Read(c.arrived) // the error is the connection's end, which Next will report
	}
}

// Next is Read, but returns [ErrIdle] instead of waiting for a message to begin. Between messages it works as Read
// does: it answers pings and notices the end.
func (c *Conn) Next() (websocket.MessageType, []byte, error) {
	c.leaves = true
	defer func() { c.leaves = false }()
	typ, p, err := c.Read(context.Background())
	c.rests = errors.Is(err, ErrIdle)
	return typ, p, err
}

// idle reports whether Next should return ErrIdle when the library asks for bytes. No frame and no message must have
// begun, and no byte must be there.
func (e *libraryEnd) idle() bool {
	// While the connection closes, the library reads in a goroutine of its own.
	if e.closing.Load() || !e.leaves || !e.inbound.between() || len(e.sock.first) > 0 || !canRecvfrom || !e.sock.direct {
		return false
	}
	arrived := true
	if err := e.sock.raw.Control(func(fd uintptr) { arrived = (*Conn)(e).arrived(fd) }); err != nil {
		return false // closed: the read will return the error
	}
	return !arrived
}

// pongBytes is the size of a client's pong that answers our ping. Our pings have no payload, so it is a header with a
// mask.
const pongBytes = 6

// arrived reports whether the client has sent something that Next must see: bytes, its end, or an error. Call it
// between two frames. It reads and drops plain pongs itself.
func (c *Conn) arrived(fd uintptr) bool {
	var b [pongBytes]byte
	for {
		n, errno := recvfrom(fd, b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		if errno != 0 {
			return errno != unix.EAGAIN
		}
		// While the connection closes, the library may be reading, and in the middle of a frame.
		if n < pongBytes || b[0] != finPong || b[1] != maskBit || c.closing.Load() {
			return true
		}
		if c.ahead() > 0 {
			return true // of a flood of them: Next will wait
		}
		c.charge(pongBytes, messageCost)
		_, _ = recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		c.sock.lastHeard.Store(time.Now().UnixNano())
	}
}

// frameBorder follows the client's frames (RFC 6455, 5.2) as their bytes pass. It knows whether a frame is under way.
// It ignores faults in frames: the library finds them, and then reads no further.
type frameBorder struct {
	rest   uint64 // bytes of the payload that are still to come
	length uint64 // of the payload, as far as it was seen

	seen, size uint8 // bytes of the header: 0 between frames; known after the second
	extended   uint8 // of them, those of the extended length
	first      byte  // FIN and the opcode
	fragments  bool  // the message goes on in another frame
}

func (b *frameBorder) between() bool { return b.rest == 0 && b.seen == 0 && !b.fragments }

// pass returns the cost of the frames whose headers have ended in p: see Pace.
func (b *frameBorder) pass(p []byte) (cost time.Duration) {
	for len(p) > 0 {
		if b.rest > 0 {
			n := min(b.rest, uint64(len(p)))
			b.rest -= n
			p = p[n:]
			continue
		}
		cost += b.header(p[0])
		p = p[1:]
	}
	return cost
}

// header takes one byte of a header, and returns the cost of the frame if it is the last.
func (b *frameBorder) header(c byte) time.Duration {
	switch {
	case b.seen == 0:
		b.first, b.length, b.size = c, 0, 2
	case b.seen == 1:
		b.extended = 0
		switch n := c &^ maskBit; n {
		case 126:
			b.extended = 2
		case 127:
			b.extended = 8
		default:
			b.length = uint64(n)
		}
		b.size += b.extended
		if c&maskBit != 0 {
			b.size += 4
		}
	case b.seen < 2+b.extended:
		b.length = b.length<<8 | uint64(c)
	}
	if b.seen++; b.seen < 2 || b.seen < b.size {
		return 0
	}
	b.seen, b.rest = 0, b.length
	if b.first&controlBit == 0 { // a control frame may come between the fragments of a message (5.4)
		b.fragments = b.first&finBit == 0
	}
	if b.fragments && b.first&controlBit == 0 {
		return fragmentCost
	}
	return messageCost
}
