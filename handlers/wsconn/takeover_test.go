package wsconn

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// fasthttp flushes the answers to earlier, pipelined requests before it hands a connection out. If that fails it drops
// the hijack handler without a word, and a place that the handler took would never be given back.
func TestClientGoneBeforeEarlierAnswersAreFlushed(t *testing.T) {
	for _, path := range []string{"/ws", "/sse"} {
		t.Run(path, func(t *testing.T) {
			var gone, inside = make(chan struct{}), make(chan struct{})
			s := start(t, handlers{ws: drain, sse: func(*Socket) {}, before: func() { close(inside); <-gone }})
			request := upgrade("")
			if path == "/sse" {
				request = "GET /sse HTTP/1.1\r\nHost: h\r\n\r\n"
			}
			c := s.connect(t, "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"+request)
			receive(t, "the handler", inside)
			reset(t, c)
			close(gone)
			judge.Within(t, patience, "serve or lost", func() bool { return s.served.Load()+s.lost.Load() == 1 })
			if s.lost.Load() != 1 {
				t.Error("the stream was served")
			}
			waitIdle(t, s.bridge)
		})
	}
}

// The client resets between its request and the 101.
func TestClientGoneBeforeTheHead(t *testing.T) {
	var gone, inside = make(chan struct{}), make(chan struct{})
	s := start(t, handlers{ws: drain, before: func() { close(inside); <-gone }})
	c := s.connect(t, upgrade(""))
	receive(t, "the handler", inside)
	reset(t, c)
	close(gone)
	judge.Within(t, patience, "serve or lost", func() bool { return s.served.Load()+s.lost.Load() == 1 })
	waitIdle(t, s.bridge)
	if s.lost.Load() != 1 || s.served.Load() != 0 {
		t.Errorf("served %d, lost %d", s.served.Load(), s.lost.Load())
	}
}

// Whatever a client does, and whenever it leaves, what the handler took is given back once.
func TestEachTakeoverIsServedOrLostOnce(t *testing.T) {
	const clients = 300
	var taken atomic.Int64
	s := start(t, handlers{ws: drain, sse: func(sock *Socket) { _, _ = io.Copy(io.Discard, readerOnly{sock}) },
		before: func() { taken.Add(1) }})
	hello := "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
	sse := "GET /sse HTTP/1.1\r\nHost: h\r\n\r\n"
	requests := []string{upgrade(""), hello + upgrade(""), sse, hello + hello + sse, upgrade("") + masked(0x81, "x")}
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if i%3 == 0 {
				_ = conn.(*net.TCPConn).SetLinger(0)
			}
			if _, err := io.WriteString(conn, requests[i%len(requests)]); err != nil {
				t.Error(err)
				return
			}
			if i%4 == 0 { // the others leave without having looked at the answer
				var one [1]byte
				_, _ = conn.Read(one[:])
			}
		})
	}
	wg.Wait()
	if err := s.app.ShutdownWithTimeout(patience); err != nil { // requests of clients that have left may still be at work
		t.Fatal(err)
	}
	judge.Within(t, patience, "every takeover comes to an end", func() bool { return s.ended.Load()+s.lost.Load() == taken.Load() })
	waitIdle(t, s.bridge)
	t.Logf("of %d clients %d were taken over: %d served, %d lost", clients, taken.Load(), s.served.Load(), s.lost.Load())
	if s.served.Load()+s.lost.Load() != taken.Load() || s.served.Load() != s.ended.Load() {
		t.Errorf("served %d, ended %d, lost %d of %d", s.served.Load(), s.ended.Load(), s.lost.Load(), taken.Load())
	}
	s.bridge.mu.Lock()
	defer s.bridge.mu.Unlock()
	if len(s.bridge.pending) != 0 || s.bridge.live != 0 {
		t.Errorf("%d pending, %d live", len(s.bridge.pending), s.bridge.live)
	}
}

// readerOnly hides everything but Read.
type readerOnly struct{ io.Reader }

func TestRawStream(t *testing.T) {
	socks, left := make(chan *Socket, 1), make(chan error, 1)
	s := start(t, handlers{sse: func(sock *Socket) {
		socks <- sock
		_, err := io.Copy(io.Discard, readerOnly{sock})
		left <- err
	}})
	c := s.connect(t, "GET /sse HTTP/1.1\r\nHost: h\r\n\r\n")
	if r := c.response(); r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", r.StatusCode, r.Header)
	}
	sock := receive(t, "serve", socks)
	if sock.RemoteAddr().String() != c.LocalAddr().String() {
		t.Errorf("remote address %v", sock.RemoteAddr())
	}
	if n, err := sock.Write([]byte("data: 1\n\n")); n != 9 || err != nil {
		t.Error(n, err)
	}
	if n, err := sock.Write(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	got := make([]byte, 9)
	if _, err := io.ReadFull(c.br, got); err != nil || string(got) != "data: 1\n\n" {
		t.Fatalf("%q %v", got, err)
	}
	_ = c.Close()
	if err := receive(t, "the client's end is noticed without a write", left); err != nil {
		t.Error(err)
	}
	judge.Within(t, patience, "serve ends", func() bool { return s.ended.Load() == 1 })
	if err := sock.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// Close by the pump ends the reader, and what was written arrives.
func TestRawStreamClosedByTheServer(t *testing.T) {
	s := start(t, handlers{sse: func(sock *Socket) {
		done := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, readerOnly{sock})
			done <- err
		}()
		if _, err := sock.Write([]byte("event: closed\n\n")); err != nil {
			t.Error(err)
		}
		if err := sock.Close(); err != nil {
			t.Error(err)
		}
		<-done
	}})
	c := s.connect(t, "GET /sse HTTP/1.1\r\nHost: h\r\n\r\n")
	c.response()
	if all, err := io.ReadAll(c.br); err != nil || string(all) != "event: closed\n\n" {
		t.Errorf("%q %v", all, err)
	}
}

func TestConfigureKeepsAnEarlierConnStateHook(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	app.Handler()
	var closed atomic.Int64
	app.Server().ConnState = func(_ net.Conn, state fasthttp.ConnState) {
		if state == fasthttp.StateClosed {
			closed.Add(1)
		}
	}
	Configure(app, Options{})
	near, far := net.Pipe()
	served := make(chan error, 1)
	go func() { served <- app.Server().ServeConn(near) }()
	_ = far.Close()
	_ = receive(t, "server", served)
	if closed.Load() != 1 {
		t.Errorf("the earlier hook was called %d times", closed.Load())
	}
}

// barer is a listener whose connections are dressed.
type barer struct{ net.Listener }

func (l barer) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return dressed{c}, err
}

type dressed struct{ net.Conn }

func (d dressed) Bare() net.Conn { return d.Conn }

// Only a bare connection is written to without a detour, and kept for long.
func TestTakeoverTakesTheBareConnection(t *testing.T) {
	direct := make(chan bool, 1)
	s := start(t, handlers{
		wrap: func(l net.Listener) net.Listener { return barer{l} },
		sse:  func(sock *Socket) { direct <- sock.direct },
	})
	s.connect(t, "GET /sse HTTP/1.1\r\nHost: x\r\n\r\n")
	if !receive(t, "stream", direct) {
		t.Error("the stream has the connection as its listener dressed it")
	}
}

func reset(t *testing.T, c *client) {
	t.Helper()
	if err := c.Conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func waitIdle(t *testing.T, b *Bridge) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestIdleConnectionIsOneGoroutine also looks at memory, coarsely: the race detector and the test's own clients (about
// 1 KB each) are in the sum.
func TestIdleConnectionIsOneGoroutine(t *testing.T) {
	for name, tc := range map[string]struct {
		request, answer string
		maxBytes        int64
	}{
		"WebSocket": {upgrade("Sec-WebSocket-Protocol: sessionhub.v1\r\n"), "HTTP/1.1 101", 14 << 10},
		"SSE":       {"GET /sse HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200", 8 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 1000
			s := start(t, handlers{ws: drain, sse: func(sock *Socket) {
				var buf [64]byte
				for {
					if _, err := sock.Read(buf[:]); err != nil {
						return
					}
				}
			}, tune: func(app *fiber.App) {
				app.Server().MaxIdleWorkerDuration = 50 * time.Millisecond // its idle workers are not to be counted
			}})
			var conns []net.Conn
			defer func() {
				for _, c := range conns {
					_ = c.Close()
				}
			}()
			head := make([]byte, 512)
			open := func() {
				c, err := net.Dial("tcp", s.addr)
				if err != nil {
					t.Fatal(err)
				}
				conns = append(conns, c)
				if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
					t.Fatal(err)
				}
				if _, err := io.WriteString(c, tc.request); err != nil {
					t.Fatal(err)
				}
				if m, err := c.Read(head); err != nil || string(head[:len(tc.answer)]) != tc.answer {
					t.Fatalf("%q %v", head[:m], err)
				}
			}
			open() // the first one warms fasthttp's pools
			judge.Within(t, patience, "the first is served", func() bool { return s.served.Load() == 1 })
			before := takeStock()
			for range n {
				open()
			}
			judge.Within(t, patience, "all are served", func() bool { return s.served.Load() == n+1 })
			var after stock
			judge.Within(t, patience, "no more than one goroutine for each connection", func() bool {
				after = takeStock()
				return after.goroutines-before.goroutines <= n
			})
			per := (after.bytes - before.bytes) / n
			t.Logf("%d bytes of heap and stack for each connection and its client", per)
			if per > tc.maxBytes {
				t.Errorf("%d bytes for each idle connection", per)
			}
		})
	}
}

// stock is what the process holds.
type stock struct {
	goroutines int
	bytes      int64
}

func takeStock() stock {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return stock{runtime.NumGoroutine(), int64(m.HeapInuse + m.StackInuse)}
}
