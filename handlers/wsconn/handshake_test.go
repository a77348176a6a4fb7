package wsconn

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"

	"github.com/gofiber/fiber/v2"
)

func TestHandshakeAnswersOneSubprotocolAndNoExtension(t *testing.T) {
	got := make(chan string, 1)
	s := start(t, handlers{ws: func(c *Conn) { got <- c.Subprotocol(); drain(c) }})
	c := s.connect(t, upgrade("Sec-WebSocket-Protocol: sessionhub.v1, bearer.abc\r\nSec-WebSocket-Extensions: permessage-deflate\r\n"))
	r := c.response()
	if r.StatusCode != 101 || r.Proto != "HTTP/1.1" {
		t.Fatalf("%s %d", r.Proto, r.StatusCode)
	}
	want := map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
		"Sec-Websocket-Protocol": "sessionhub.v1",
	}
	for name, value := range want {
		if v := r.Header.Values(name); len(v) != 1 || v[0] != value {
			t.Errorf("%s: %q, want %q", name, v, value)
		}
	}
	if len(r.Header) != len(want) {
		t.Errorf("headers %v, want %d of them", r.Header, len(want))
	}
	if p := receive(t, "serve", got); p != "sessionhub.v1" {
		t.Errorf("subprotocol %q", p)
	}
}

func TestRefusalsAreOrdinaryAnswersOnAConnectionThatStays(t *testing.T) {
	s := start(t, handlers{ws: drain})
	ok := upgrade("")
	for name, tc := range map[string]struct {
		request string
		status  int
		header  map[string]string
	}{
		"no upgrade":    {strings.Replace(ok, "Upgrade: websocket\r\n", "", 1), 426, map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"}},
		"no connection": {strings.Replace(ok, "Connection: Upgrade\r\n", "", 1), 426, map[string]string{"Upgrade": "websocket"}},
		"bad key":       {strings.Replace(ok, key, "abc", 1), 400, nil},
		"no key":        {strings.Replace(ok, "Sec-WebSocket-Key: "+key+"\r\n", "", 1), 400, nil},
		"two keys":      {upgrade("Sec-WebSocket-Key: " + key + "\r\n"), 400, nil},
		"version 8":     {strings.Replace(ok, "Version: 13", "Version: 8", 1), 400, map[string]string{"Sec-Websocket-Version": "13"}},
		"HEAD":          {strings.Replace(ok, "GET", "HEAD", 1), 405, map[string]string{"Allow": "GET"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := s.connect(t, tc.request)
			if name == "HEAD" {
				r, err := http.ReadResponse(c.br, &http.Request{Method: http.MethodHead})
				if err != nil || r.StatusCode != tc.status || r.Header.Get("Allow") != "GET" {
					t.Fatalf("%v %v", r, err)
				}
			} else {
				r := c.response()
				body, _ := io.ReadAll(r.Body)
				if r.StatusCode != tc.status || len(body) == 0 || strings.Contains(string(body), "failed to accept") {
					t.Errorf("%d %q, want %d", r.StatusCode, body, tc.status)
				}
				for name, value := range tc.header {
					if r.Header.Get(name) != value {
						t.Errorf("%s: %q, want %q", name, r.Header.Get(name), value)
					}
				}
			}
			refused := receive(t, "refusal", s.refused)
			if refused.Header.Get("Content-Type") != "" || refused.Header.Get("X-Content-Type-Options") != "" {
				t.Errorf("the refusal names a body that is the handler's: %v", refused.Header)
			}
			if !strings.Contains(refused.Error(), refused.Reason) {
				t.Errorf("error %q", refused)
			}
			// The same connection serves on, also to an upgrade.
			c.send("GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
			if r := c.response(); r.StatusCode != 200 {
				t.Errorf("next request: %d", r.StatusCode)
			}
			c.send(ok)
			if r := c.response(); r.StatusCode != 101 {
				t.Errorf("upgrade after a refusal: %d", r.StatusCode)
			}
		})
	}
	t.Run("HTTP/1.0", func(t *testing.T) {
		c := s.connect(t, strings.Replace(ok, "HTTP/1.1", "HTTP/1.0", 1))
		if r := c.response(); r.StatusCode != 426 || r.Header.Get("Upgrade") != "websocket" {
			t.Errorf("%d %v", r.StatusCode, r.Header)
		}
	})
	if s.lost.Load() != 0 {
		t.Errorf("%d refusals counted as lost", s.lost.Load())
	}
}

func TestFirstBytesBehindTheUpgradeAreRead(t *testing.T) {
	bothWays(t, testFirstBytesBehindTheUpgradeAreRead)
}

func testFirstBytesBehindTheUpgradeAreRead(t *testing.T, read reader) {
	s := start(t, handlers{ws: echoBy(read)})
	long := strings.Repeat("x", 2500) // more than one read of the takeover
	c := s.connect(t, upgrade("")+masked(0x81, "one")+masked(0x81, long)+masked(0x81, "three")[:5])
	if r := c.response(); r.StatusCode != 101 {
		t.Fatal(r.StatusCode)
	}
	c.expect(opText, "one")
	c.expect(opText, long)
	c.send(masked(0x81, "three")[5:]) // a frame in two pieces, one before and one after the takeover
	c.expect(opText, "three")
}

func TestUpgradeBehindPipelinedRequests(t *testing.T) {
	s := start(t, handlers{ws: echo})
	hello := "GET /hello HTTP/1.1\r\nHost: h\r\n\r\n"
	c := s.connect(t, hello+hello+upgrade("")+masked(0x81, "x"))
	for _, want := range []int{200, 200, 101} {
		if r := c.response(); r.StatusCode != want {
			t.Fatalf("%d, want %d", r.StatusCode, want)
		}
	}
	c.expect(opText, "x")
}

// Two connections whose upgrade came with further bytes must not share fasthttp's recycled read buffer.
func TestConnectionsDoNotShareReadBuffers(t *testing.T) {
	s := start(t, handlers{ws: echo})
	var open []*client
	for i := range 50 {
		c := s.connect(t, upgrade("")+masked(0x81, strings.Repeat(string(rune('a'+i%26)), 300)))
		if r := c.response(); r.StatusCode != 101 {
			t.Fatal(r.StatusCode)
		}
		open = append(open, c)
	}
	for i, c := range open {
		letter := string(rune('a' + i%26))
		c.expect(opText, strings.Repeat(letter, 300))
		c.send(masked(0x81, letter))
		c.expect(opText, letter)
	}
}

func TestServerTimeoutsDoNotApply(t *testing.T) {
	d := time.Second // in which the handshake must be through
	s := start(t, handlers{ws: echo, cfg: fiber.Config{ReadTimeout: d, WriteTimeout: d, IdleTimeout: d}})
	c := s.open(t)
	if err := c.SetReadDeadline(time.Now().Add(2 * d)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.br.ReadByte(); !isTimeout(err) {
		t.Fatalf("idle connection: %v", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	c.send(masked(0x81, "x"))
	c.expect(opText, "x")
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

func TestTwoTakeoversInOneHandlerAreRefused(t *testing.T) {
	app := fiber.New(fiber.Config{DisableStartupMessage: true})
	b := Configure(app, Options{})
	second := make(chan error, 1)
	app.Get("/sse", func(c *fiber.Ctx) error {
		err := b.Hijack(c, []byte("HTTP/1.1 200 OK\r\n\r\n"), func(*Socket) {}, func(err error) { t.Error(err) })
		second <- b.Hijack(c, nil, func(*Socket) { t.Error("second serve") }, func(error) { t.Error("second lost") })
		return err
	})
	app.Handler() // builds the routes, which Listen would do
	near, far := net.Pipe()
	defer far.Close()
	if err := far.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- app.Server().ServeConn(near) }()
	if _, err := io.WriteString(far, "GET /sse HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(far); err != nil || string(all) != "HTTP/1.1 200 OK\r\n\r\n" {
		t.Errorf("%q %v", all, err)
	}
	if err := receive(t, "handler", second); err == nil {
		t.Error("the second takeover was allowed")
	}
	if err := receive(t, "server", served); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Wait(ctx); err != nil {
		t.Error(err)
	}
}

func TestOverTLS(t *testing.T) {
	borrowed := httptest.NewTLSServer(http.NotFoundHandler())
	cert := borrowed.TLS.Certificates
	borrowed.Close()
	conns := make(chan *Conn, 1)
	s := start(t, handlers{
		ws:   func(c *Conn) { conns <- c; echo(c) },
		wrap: func(ln net.Listener) net.Listener { return tls.NewListener(ln, &tls.Config{Certificates: cert}) },
	})
	raw, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	over := tls.Client(raw, &tls.Config{InsecureSkipVerify: true}) // the certificate is this test's own
	c := newClient(t, over)
	c.send(upgrade("") + masked(0x81, "early"))
	if r := c.response(); r.StatusCode != 101 {
		t.Fatal(r.StatusCode)
	}
	c.expect(opText, "early")
	long := strings.Repeat("y", 100_000)
	c.send(masked(0x81, long))
	c.expect(opText, long)

	conn := receive(t, "serve", conns)
	stalled := make(chan error, 1)
	go func() { stalled <- flood(conn) }()
	judge.Within(t, patience, "the writer waits", func() bool { return conn.Stalled(20 * time.Millisecond) })
	conn.Cut()
	if err := receive(t, "the writer is free", stalled); err == nil {
		t.Error("no error after the cut")
	}
}
