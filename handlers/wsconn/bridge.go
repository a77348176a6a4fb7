package wsconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// Options are the limits of every connection of a bridge. A zero field takes the default.
type Options struct {
	// SendBufferBytes is the kernel's send buffer (SO_SNDBUF; Linux doubles it for its own bookkeeping). Default 64 KiB.
	SendBufferBytes int
	// UserTimeout is how long a peer's kernel may acknowledge nothing, or keep its window closed, before the connection
	// ends (Linux only). It should be longer than the time after which slow readers are cut. Default 30 s.
	UserTimeout time.Duration
	// CloseWait bounds a close handshake from the first frame to the last. It also bounds the wait for a client that
	// broke the protocol to take the close frame. Default 1 s; more than 5 s counts as 5 s, which is the library's own
	// limit.
	CloseWait time.Duration
}

// maxCloseWait is how long coder/websocket waits for the peer's close frame.
const maxCloseWait = 5 * time.Second

func (o Options) withDefaults() Options {
	if o.SendBufferBytes == 0 {
		o.SendBufferBytes = 64 << 10
	}
	if o.UserTimeout == 0 {
		o.UserTimeout = 30 * time.Second
	}
	if o.CloseWait == 0 {
		o.CloseWait = time.Second
	}
	o.CloseWait = min(o.CloseWait, maxCloseWait)
	return o
}

// ErrClientGone is the error, possibly wrapped, that lost is called with.
var ErrClientGone = errors.New("the client went away before its stream could begin")

// Bridge takes connections over from one app. Its methods may be called concurrently.
type Bridge struct {
	opts Options

	mu      sync.Mutex
	pending map[net.Conn]func(error) // taken over by a handler, not yet handed out by fasthttp; the value gives it up
	live    int                      // pending and served
	idle    chan struct{}            // non-nil while Wait waits; closed when live becomes 0
}

// Configure prepares the app's server and returns its bridge. Call it once, before the app serves, and after any other
// code that sets the server's ConnState. MaxConnsPerIP of the server must stay 0: with it, the identity of a connection
// is reused, and the bridge knows connections by their identity. If a connection of the listener has a method Bare()
// net.Conn, the bridge takes over the connection that Bare returns.
func Configure(app *fiber.App, opts Options) *Bridge {
	b := &Bridge{opts: opts.withDefaults(), pending: make(map[net.Conn]func(error))}
	server := app.Server()
	// fasthttp frees its context and its buffers when the hijack handler returns, and leaves the connection open.
	server.KeepHijackedConns = true
	next := server.ConnState
	server.ConnState = func(conn net.Conn, state fasthttp.ConnState) {
		if state == fasthttp.StateClosed {
			b.giveUp(conn)
		}
		if next != nil {
			next(conn, state)
		}
	}
	return b
}

// giveUp ends a takeover that fasthttp never carries out. fasthttp drops the hijack handler in silence in two cases. It
// could not flush the answers to earlier, pipelined requests. Or it had closed the connection itself (shutdown).
func (b *Bridge) giveUp(conn net.Conn) {
	if lost := b.claim(conn); lost != nil {
		lost(ErrClientGone)
	}
}

// Accept performs the WebSocket handshake of the request of c. A *RefusedError says what to answer instead; the
// connection is then as usable as before. After nil the handler returns without writing a response, and either
//
//   - serve is called, in a goroutine of its own, with the open connection, which closes when it returns, or
//   - lost is called, because the client has gone; it must not block.
//
// Neither may use c. A message of more than maxMessageBytes ends Read. Of the options, OnPingReceived is called but the
// pong is the Conn's.
func (b *Bridge) Accept(c *fiber.Ctx, opts *websocket.AcceptOptions, maxMessageBytes int64,
	serve func(*Conn), lost func(error),
) error {
	conn, head, err := accept(handshakeRequest(c), opts, maxMessageBytes, b.opts)
	if err != nil {
		return err
	}
	c.Status(fiber.StatusSwitchingProtocols) // for access logs: the head is written by hand
	return b.takeOver(c, &conn.sock, head,
		func() {
			defer conn.release()
			serve(conn)
		},
		func(err error) {
			_ = conn.lib.CloseNow() // it has a finalizer and would be in a cycle with its Conn
			lost(err)
		})
}

// Hijack takes over the connection of c for a raw response: head, then whatever serve writes. Otherwise it is as Accept.
// Serve must read, in some goroutine, to learn that the client has gone.
func (b *Bridge) Hijack(c *fiber.Ctx, head []byte, serve func(*Socket), lost func(error)) error {
	sock := new(Socket)
	return b.takeOver(c, sock, head,
		func() {
			defer sock.Close()
			serve(sock)
		}, lost)
}

// takeOver has fasthttp hand the connection out after the handler. From then on run or lost is called, once.
func (b *Bridge) takeOver(c *fiber.Ctx, sock *Socket, head []byte, run func(), lost func(error)) error {
	ctx := c.Context()
	key := ctx.Conn()
	if err := b.register(key, func(err error) { defer b.done(); lost(err) }); err != nil {
		return err
	}
	// fasthttp must not write the head: if that failed it would not call the handler.
	ctx.HijackSetNoResponse(true)
	ctx.Hijack(func(hijacked net.Conn) {
		lost := b.claim(key)
		if lost == nil {
			return
		}
		if err := b.begin(sock, hijacked, head); err != nil {
			lost(fmt.Errorf("%w: %w", ErrClientGone, err))
			return
		}
		go func() {
			defer b.done()
			run()
		}()
	})
	return nil
}

// begin makes hijacked the socket's connection and writes the response head. On an error it closes the connection.
func (b *Bridge) begin(sock *Socket, hijacked net.Conn, head []byte) error {
	wrapper, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		_ = hijacked.Close()
		return fmt.Errorf("unexpected hijacked connection %T", hijacked)
	}
	// The wrapper's reader goes back to a pool, to be another connection's. Only the bare connection can be kept.
	conn := wrapper.UnsafeConn()
	if w, ok := conn.(interface{ Bare() net.Conn }); ok {
		conn = w.Bare()
	}
	first, err := unread(hijacked, conn)
	if err == nil {
		err = sock.bind(conn, first, b.opts)
	}
	if err == nil {
		err = sock.writeHead(head)
	}
	if err != nil {
		_ = conn.Close()
	}
	return err
}

// unread takes the bytes after the request out of fasthttp's buffer. The read deadline lies in the past, so that the
// connection itself gives nothing.
func unread(hijacked, conn net.Conn) ([]byte, error) {
	if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, fmt.Errorf("empty the read buffer: %w", err)
	}
	var first []byte
	buf := make([]byte, 512)
	for {
		n, err := hijacked.Read(buf)
		first = append(first, buf[:n]...)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("empty the read buffer: %w", err)
		}
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("empty the read buffer: %w", err)
	}
	return first, nil
}

func (b *Bridge) register(conn net.Conn, lost func(error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pending[conn] != nil {
		return errors.New("take over connection: the handler did so already")
	}
	b.pending[conn] = lost
	b.live++
	return nil
}

// claim takes a pending connection. It returns nil if the connection is not pending, or not any more.
func (b *Bridge) claim(conn net.Conn) func(error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	lost := b.pending[conn]
	delete(b.pending, conn)
	return lost
}

func (b *Bridge) done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live--; b.live == 0 && b.idle != nil {
		close(b.idle)
		b.idle = nil
	}
}

// Wait returns when every connection that was taken over has been served to its end, or with the context's error. Call
// it after the app was shut down and the streams were told to end.
func (b *Bridge) Wait(ctx context.Context) error {
	b.mu.Lock()
	if b.live == 0 {
		b.mu.Unlock()
		return nil
	}
	if b.idle == nil {
		b.idle = make(chan struct{})
	}
	idle := b.idle
	b.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for open connections: %w", ctx.Err())
	}
}
