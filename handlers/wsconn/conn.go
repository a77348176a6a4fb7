package wsconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
)

// Frame headers (RFC 6455, 5.2): FIN set, and the opcode.
const (
	finBit     = 0x80 // of the first byte
	controlBit = 0x08 // of the opcode
	maskBit    = 0x80 // of the second byte

	finClose = finBit | 0x8
	finPong  = finBit | 0xA

	// maxControlPayload is what a control frame can hold (5.5), maxReason what a close code leaves of it.
	maxControlPayload = 125
	maxReason         = maxControlPayload - 2
)

// ErrClosing is the error of a write after the close has begun: no data may follow a close frame.
var ErrClosing = errors.New("the connection is closing")

var (
	errForeignWrite = errors.New("the WebSocket library wrote something other than a close frame")
	errStalled      = errors.New("a write waits and the client takes nothing, so it was cut")
	errSilent       = errors.New("the client did not answer the close frame in time, so it was cut")
)

// ViolationError ends Read when the client broke the protocol or the size limit. The close frame with Code was written
// already. The connection closes when serve returns.
type ViolationError struct {
	Code websocket.StatusCode // 1002, 1007 or 1009
	Err  error
}

func (e *ViolationError) Error() string {
	return fmt.Sprintf("client violated the protocol (%d): %v", e.Code, e.Err)
}
func (e *ViolationError) Unwrap() error { return e.Err }

// Conn is a WebSocket connection. coder/websocket does the handshake, reads and closes. Event frames do not pass
// through it.
//
// Read belongs to the goroutine of serve. Call it all the time: it also answers pings and notices the end. Several
// goroutines may call WriteFrames; the frames of one call stay together. Any goroutine may call Close, Cut, Stalled,
// WaitingSince and LastHeard at any time. The connection is closed for good when serve returns.
//
// One mutex, the socket's writeMu, guards every write. While a client is slow, no frame of the connection's own waits
// for the mutex without bound. A pong leaves itself to the holder of the mutex, and Close has its time limit.
type Conn struct {
	// Immutable once bound.
	lib       *websocket.Conn
	closeWait time.Duration

	bytesPerSecond int64 // set by Pace; 0: not paced

	sock Socket

	closeSent bool // guarded by sock.writeMu: nothing may follow

	inbound frameBorder // owned by the library's reader
	rests   bool        // owned by the reader: the last Next found nothing
	leaves  bool        // owned by the reader: it prefers ErrIdle to a wait for a frame

	paid     atomic.Int64           // unix nanoseconds: until when what was read is paid for; see Pace
	pong     atomic.Pointer[[]byte] // the answer to the latest ping, until somebody has written it
	closing  atomic.Bool            // Close was called
	readEnd  atomic.Bool            // the socket gave no more bytes
	violated atomic.Bool            // we closed because the client broke the protocol; it may still be sending
}

// Read returns the next whole message. If the client broke the protocol, the error is a *ViolationError. If the client
// sent a close frame, the error has its websocket.CloseStatus. Any other error means that the connection broke.
//
// Do not pass a context that can end: it costs allocations for each message, and Cut or Close end a Read as well.
func (c *Conn) Read(ctx context.Context) (websocket.MessageType, []byte, error) {
	if c.violated.Load() {
		return 0, nil, fmt.Errorf("read message: %w", net.ErrClosed)
	}
	typ, p, err := c.lib.Read(ctx)
	switch {
	case err == nil:
		if typ == websocket.MessageText && !utf8.Valid(p) { // the library leaves this to its caller
			return 0, nil, c.violation(websocket.StatusInvalidFramePayloadData, errors.New("text is not UTF-8"))
		}
		return typ, p, nil
	case errors.Is(err, ErrIdle):
		return 0, nil, ErrIdle
	case errors.Is(err, websocket.ErrMessageTooBig) && !c.closing.Load():
		// Before readEnd: the client was told already, and may be gone by now.
		return 0, nil, c.violation(websocket.StatusMessageTooBig, err)
	case badReason(err):
		return 0, nil, c.violation(websocket.StatusInvalidFramePayloadData, errors.New("the reason of the close frame is not UTF-8"))
	case c.closing.Load(), websocket.CloseStatus(err) != -1, c.readEnd.Load(), ctx.Err() != nil:
		return 0, nil, fmt.Errorf("read message: %w", err)
	default:
		return 0, nil, c.violation(websocket.StatusProtocolError, err)
	}
}

// badReason reports whether err is a close frame of the client whose reason is not UTF-8 (RFC 6455, 5.5.1 and 8.1).
func badReason(err error) bool {
	var frame websocket.CloseError
	return errors.As(err, &frame) && !utf8.ValidString(frame.Reason)
}

// violation makes sure that the client is told. The library has written a close frame for most violations, but none for
// an unmasked frame or an impossible length.
func (c *Conn) violation(code websocket.StatusCode, err error) error {
	c.violated.Store(true)
	timer := time.AfterFunc(c.closeWait, c.sock.Cut) // the frame may have to wait for a writer
	defer timer.Stop()

	// If the frame cannot be written, the client has gone and needs no frame.
	_, _ = c.writeClose(closeFrame(code))
	return &ViolationError{Code: code, Err: err}
}

// closeFrame is a close frame without a reason.
func closeFrame(code websocket.StatusCode) []byte {
	return binary.BigEndian.AppendUint16([]byte{finClose, 2}, uint16(code))
}

// WriteFrames writes p: one or several whole server frames that the caller has encoded and joined, without a close
// frame. It waits while the client takes bytes, however slowly; see Stalled. It keeps no reference to p. After an error
// nothing more can be written.
func (c *Conn) WriteFrames(p []byte) error {
	if c.closing.Load() {
		return ErrClosing
	}
	err := c.writeFrames(p)
	c.sendPong()
	return err
}

func (c *Conn) writeFrames(p []byte) error {
	c.sock.writeMu.Lock()
	defer c.sock.writeMu.Unlock()
	if c.closing.Load() || c.closeSent {
		return ErrClosing
	}
	_, err := c.sock.writeLocked(p)
	c.flushPongLocked()
	return err
}

// answerPing replaces the library's own pong, which would wait behind a slow write and close the connection after five
// seconds. The reader calls it. Of several pings only the latest needs an answer (RFC 6455, 5.5.3).
func (c *Conn) answerPing(payload []byte) {
	frame := append([]byte{finPong, byte(len(payload))}, payload...)
	c.pong.Store(&frame)
	c.sendPong()
}

// answerPingFor makes the library's callback. It asks the caller's own callback first, if there is one.
func (c *Conn) answerPingFor(first func(context.Context, []byte) bool) func(context.Context, []byte) bool {
	return func(ctx context.Context, payload []byte) bool {
		if first == nil || first(ctx, payload) {
			c.answerPing(payload)
		}
		return false // no pong of the library's
	}
}

// sendPong writes the pong that is due, unless another goroutine is writing. That goroutine checks for a due pong after
// it has released the lock, and writes it.
func (c *Conn) sendPong() {
	for c.pong.Load() != nil && c.sock.writeMu.TryLock() {
		c.flushPongLocked()
		c.sock.writeMu.Unlock()
	}
}

func (c *Conn) flushPongLocked() {
	if c.pong.Load() == nil {
		return
	}
	if frame := c.pong.Swap(nil); frame != nil && !c.closeSent {
		_, _ = c.sock.writeLocked(*frame) // the error stays, and the next write returns it
	}
}

// writeClose writes a close frame, but only the first one.
func (c *Conn) writeClose(frame []byte) (int, error) {
	c.sock.writeMu.Lock()
	defer c.sock.writeMu.Unlock()
	if c.closeSent {
		return 0, net.ErrClosed
	}
	c.closeSent = true
	return c.sock.writeLocked(frame)
}

// Close performs the close handshake. It waits for frames that are being written, sends the close frame, and waits for
// the client's. After the bridge's CloseWait it cuts the connection. It cuts at once if a write has waited that long
// already, since nothing would reach the client after that write.
//
// From here on WriteFrames fails with ErrClosing. A second Close does nothing. A reason that is too long for the frame
// (123 bytes) is shortened.
func (c *Conn) Close(code websocket.StatusCode, reason string) error {
	if c.closing.Swap(true) || c.violated.Load() {
		return nil // somebody closes, or serve is about to return
	}
	if c.sock.Stalled(c.closeWait) {
		c.sock.Cut()
		return fmt.Errorf("close WebSocket: %w", errStalled)
	}
	timer := time.AfterFunc(c.closeWait, c.sock.Cut)
	err := c.lib.Close(code, shorten(reason))
	if !timer.Stop() {
		return fmt.Errorf("close WebSocket: %w", errSilent)
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close WebSocket: %w", err)
	}
	return nil
}

func shorten(reason string) string {
	if len(reason) <= maxReason {
		return reason
	}
	end := maxReason
	for end > 0 && !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}

// Cut ends the connection at once, without a close frame: see Socket.Cut.
func (c *Conn) Cut() { c.sock.Cut() }

// WaitingSince is Socket.WaitingSince.
func (c *Conn) WaitingSince() int64 { return c.sock.WaitingSince() }

// Stalled is Socket.Stalled.
func (c *Conn) Stalled(limit time.Duration) bool { return c.sock.Stalled(limit) }

// LastHeard is Socket.LastHeard: a pong moves it as any other frame does.
func (c *Conn) LastHeard() int64 { return c.sock.LastHeard() }

// Subprotocol is the one that was agreed on, in the client's spelling; empty if none.
func (c *Conn) Subprotocol() string { return c.lib.Subprotocol() }

// RemoteAddr is Socket.RemoteAddr.
func (c *Conn) RemoteAddr() net.Addr { return c.sock.RemoteAddr() }

// release closes the connection after serve has returned.
func (c *Conn) release() {
	if c.violated.Load() {
		c.sock.closeLingering(c.closeWait)
	}
	_ = c.lib.CloseNow() // also removes the library's finalizer; it fails only if the connection is closed
}

// libraryEnd is the Conn as coder/websocket sees it: the connection under the library's buffers. Before bind it has no
// connection, and the library neither reads nor writes until Accept has returned.
type libraryEnd Conn

// Read implements io.Reader for the library. An error between two frames leaves the library as it was, so that its next
// read goes on: see Next.
func (e *libraryEnd) Read(p []byte) (int, error) {
	if e.idle() {
		return 0, ErrIdle
	}
	(*Conn)(e).keepPace()
	n, err := e.sock.Read(p)
	(*Conn)(e).charge(n, e.inbound.pass(p[:n]))
	if err != nil {
		e.readEnd.Store(true)
	}
	return n, err
}

// Write takes the library's close frame, whole, and nothing else. The Conn answers pings, and data goes through
// WriteFrames. So no frame of the library can land inside a frame of the Conn, or the other way round. The library's
// write buffer is larger than any control frame, therefore one frame is one Write.
func (e *libraryEnd) Write(p []byte) (int, error) {
	if len(p) < 2 || p[0] != finClose || len(p) != 2+int(p[1]) {
		return 0, errForeignWrite
	}
	if !utf8.Valid(p[min(4, len(p)):]) { // the library echoes what the client sent: see badReason
		e.violated.Store(true)
		if _, err := (*Conn)(e).writeClose(closeFrame(websocket.StatusInvalidFramePayloadData)); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return (*Conn)(e).writeClose(p)
}

// Close does nothing if the client broke the protocol. release then closes the connection, after the close frame had
// time to arrive.
func (e *libraryEnd) Close() error {
	if e.sock.conn == nil || e.violated.Load() {
		return nil // the client had gone before there was a connection, or as above
	}
	return e.sock.Close()
}

func (e *libraryEnd) LocalAddr() net.Addr                { return e.sock.conn.LocalAddr() }
func (e *libraryEnd) RemoteAddr() net.Addr               { return e.sock.conn.RemoteAddr() }
func (e *libraryEnd) SetDeadline(t time.Time) error      { return e.sock.conn.SetDeadline(t) }
func (e *libraryEnd) SetReadDeadline(t time.Time) error  { return e.sock.conn.SetReadDeadline(t) }
func (e *libraryEnd) SetWriteDeadline(t time.Time) error { return e.sock.conn.SetWriteDeadline(t) }
