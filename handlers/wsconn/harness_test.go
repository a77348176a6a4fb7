package wsconn

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, // two sleepers of fasthttp's, which nothing can wake
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),    // for its Date header, for ever
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // up to 10 s after a shutdown
}

// patience bounds every wait of a test for something that has to happen.
const patience = 10 * time.Second

// server is a fiber app on a loopback port: /ws is a WebSocket, /sse a raw stream, /hello an ordinary answer.
type server struct {
	addr   string
	app    *fiber.App
	bridge *Bridge

	served, lost, ended atomic.Int64
	refused             chan *RefusedError
}

type handlers struct {
	ws     func(*Conn)
	sse    func(*Socket)
	before func() // runs in the handler, before the takeover
	limit  int64
	opts   Options
	cfg    fiber.Config
	wrap   func(net.Listener) net.Listener
	tune   func(*fiber.App)
}

func start(t *testing.T, h handlers) *server {
	t.Helper()
	if h.limit == 0 {
		h.limit = 1 << 20
	}
	if h.before == nil {
		h.before = func() {}
	}
	h.cfg.DisableStartupMessage = true
	s := &server{app: fiber.New(h.cfg), refused: make(chan *RefusedError, 100)}
	if h.tune != nil {
		h.tune(s.app)
	}
	s.bridge = Configure(s.app, h.opts)
	lost := func(err error) {
		if !errors.Is(err, ErrClientGone) {
			t.Errorf("lost with %v", err)
		}
		s.lost.Add(1)
	}
	s.app.Get("/hello", func(c *fiber.Ctx) error { return c.SendString("hi") })
	s.app.Get("/ws", func(c *fiber.Ctx) error {
		h.before()
		err := s.bridge.Accept(c, &websocket.AcceptOptions{Subprotocols: []string{"sessionhub.v1"}, InsecureSkipVerify: true},
			h.limit, func(conn *Conn) {
				s.served.Add(1)
				defer s.ended.Add(1)
				h.ws(conn)
			}, lost)
		if refused, ok := errors.AsType[*RefusedError](err); ok {
			s.refused <- refused
			for name, values := range refused.Header {
				c.Set(name, values[0])
			}
			return c.Status(refused.Status).SendString(refused.Reason)
		}
		return err
	})
	s.app.Get("/sse", func(c *fiber.Ctx) error {
		h.before()
		return s.bridge.Hijack(c, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"),
			func(sock *Socket) {
				s.served.Add(1)
				defer s.ended.Add(1)
				h.sse(sock)
			}, lost)
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	if h.wrap != nil {
		ln = h.wrap(ln)
	}
	done := make(chan error, 1)
	go func() { done <- s.app.Listener(ln) }()
	t.Cleanup(func() {
		if err := s.app.ShutdownWithTimeout(patience); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-done; err != nil {
			t.Errorf("listener: %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.bridge.Wait(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// reader reads the next message in one of the two ways.
type reader func(*Conn) (websocket.MessageType, []byte, error)

func plainly(c *Conn) (websocket.MessageType, []byte, error) { return c.Read(context.Background()) }

// awaited is how a connection reads that shall need little while it idles.
func awaited(c *Conn) (websocket.MessageType, []byte, error) {
	for {
		c.Await()
		typ, p, err := c.Next()
		if !errors.Is(err, ErrIdle) {
			return typ, p, err
		}
	}
}

func bothWays(t *testing.T, test func(*testing.T, reader)) {
	t.Run("Read", func(t *testing.T) { test(t, plainly) })
	t.Run("Await and Next", func(t *testing.T) { test(t, awaited) })
}

// drain reads until the end, as the serve function of a connection that expects nothing does.
func drain(c *Conn) { drainBy(awaited)(c) }

func drainBy(read reader) func(*Conn) {
	return func(c *Conn) {
		for {
			if _, _, err := read(c); err != nil {
				return
			}
		}
	}
}

func echo(c *Conn) { echoBy(awaited)(c) }

func echoBy(read reader) func(*Conn) {
	return func(c *Conn) {
		for {
			_, p, err := read(c)
			if err != nil {
				return
			}
			if err := c.WriteFrames(text(string(p))); err != nil {
				return
			}
		}
	}
}

// client is a WebSocket client that shares no code with the package or with the library: it sees the bytes.
type client struct {
	net.Conn
	t  *testing.T
	br *bufio.Reader
}

const key = "dGhlIHNhbXBsZSBub25jZQ=="

func upgrade(extra string) string {
	return "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: " + key + "\r\n" + extra + "\r\n"
}

// connect opens a connection and sends bytes.
func (s *server) connect(t *testing.T, bytes string) *client {
	t.Helper()
	return s.connectWith(t, net.Dialer{}, bytes)
}

func (s *server) connectWith(t *testing.T, d net.Dialer, bytes string) *client {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{Conn: conn, t: t, br: bufio.NewReader(conn)}
	if err := c.SetDeadline(time.Now().Add(3 * patience)); err != nil {
		t.Fatal(err)
	}
	c.send(bytes)
	return c
}

// smallWindow is a dialer whose connections can hold only little that is not read.
func smallWindow(bytes int) net.Dialer {
	return net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
		})
	}}
}

// open performs the handshake.
func (s *server) open(t *testing.T) *client { return s.openWith(t, net.Dialer{}) }

func (s *server) openWith(t *testing.T, d net.Dialer) *client {
	t.Helper()
	c := s.connectWith(t, d, upgrade(""))
	if r := c.response(); r.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("status %d", r.StatusCode)
	}
	return c
}

func (c *client) send(bytes string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, bytes); err != nil {
		c.t.Fatal(err)
	}
}

// response reads a response head, and its body if it has one.
func (c *client) response() *http.Response {
	c.t.Helper()
	r, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if r.StatusCode == http.StatusSwitchingProtocols || r.Header.Get("Content-Type") == "text/event-stream" {
		return r
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	return r
}

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

type frame struct {
	op      byte
	payload string
}

// next parses one server frame, strictly: whole, not masked, no extension bits, the shortest length encoding.
func (c *client) next() (frame, error) {
	var h [8]byte
	if _, err := io.ReadFull(c.br, h[:2]); err != nil {
		return frame{}, err
	}
	if h[0]&0xf0 != 0x80 || h[1]&0x80 != 0 {
		return frame{}, fmt.Errorf("bad frame header %x", h[:2])
	}
	op, n := h[0]&0xf, uint64(h[1])
	switch n {
	case 126:
		if _, err := io.ReadFull(c.br, h[:2]); err != nil {
			return frame{}, err
		}
		if n = uint64(binary.BigEndian.Uint16(h[:])); n < 126 {
			return frame{}, fmt.Errorf("length %d in two bytes", n)
		}
	case 127:
		if _, err := io.ReadFull(c.br, h[:8]); err != nil {
			return frame{}, err
		}
		if n = binary.BigEndian.Uint64(h[:]); n < 1<<16 || n > 1<<24 {
			return frame{}, fmt.Errorf("length %d in eight bytes", n)
		}
	}
	switch op {
	case opText:
	case opClose, opPing, opPong:
		if n > 125 {
			return frame{}, fmt.Errorf("control frame %d of %d bytes", op, n)
		}
	default:
		return frame{}, fmt.Errorf("unexpected opcode %d", op)
	}
	p := make([]byte, n)
	_, err := io.ReadFull(c.br, p)
	return frame{op, string(p)}, err
}

// expect reads one frame and compares it.
func (c *client) expect(op byte, payload string) {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for frame %d: %v", op, err)
	}
	if f.op != op || f.payload != payload {
		c.t.Fatalf("got frame %d of %d bytes (%.40q), want %d (%.40q)", f.op, len(f.payload), f.payload, op, payload)
	}
}

// expectClose reads the close frame and returns its reason.
func (c *client) expectClose(code uint16) string {
	c.t.Helper()
	f, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for close %d: %v", code, err)
	}
	if f.op != opClose || len(f.payload) < 2 || binary.BigEndian.Uint16([]byte(f.payload)) != code {
		c.t.Fatalf("got frame %d %q, want close %d", f.op, f.payload, code)
	}
	return f.payload[2:]
}

// expectEOF wants an orderly end: not another byte, not a reset.
func (c *client) expectEOF() {
	c.t.Helper()
	if b, err := c.br.ReadByte(); err != io.EOF {
		c.t.Fatalf("got byte %x, error %v; want the end", b, err)
	}
}

// masked encodes a client frame. first is its first byte.
func masked(first byte, payload string) string {
	mask := [4]byte{0x12, 0x34, 0xab, 0xcd}
	var b []byte
	switch n := len(payload); {
	case n < 126:
		b = append(b, first, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, first, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, first, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return string(b)
}

func closePayload(code uint16) string { return string([]byte{byte(code >> 8), byte(code)}) }

// serverFrame encodes a server frame, as the caller of WriteFrames does.
func serverFrame(op byte, payload string) []byte {
	var b []byte
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|op, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|op, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|op, 127), uint64(n))
	}
	return append(b, payload...)
}

func text(payload string) []byte { return serverFrame(opText, payload) }

// receive waits for a value.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("in vain: %s", what)
		panic("unreachable")
	}
}

func newClient(t *testing.T, conn net.Conn) *client {
	return &client{Conn: conn, t: t, br: bufio.NewReader(conn)}
}

// flood writes frames until it fails, and returns the error. The client does not read.
func flood(conn *Conn) error {
	batch := text(strings.Repeat("z", 8<<10))
	for {
		if err := conn.WriteFrames(batch); err != nil {
			return err
		}
	}
}
