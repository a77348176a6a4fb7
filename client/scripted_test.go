package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// scripted is a hub that gives each connection of a stream what the next part of
// a script says, over connections in memory: so time is synctest's.
type scripted struct {
	t        *testing.T
	listener pipeListener
	server   *http.Server
	client   *Client
	wg       sync.WaitGroup

	mu     sync.Mutex
	parts  []part
	afters []string // of the connections so far
	tokens []string
	vias   []string                                       // their transports
	shared http.HandlerFunc                               // serves the connections for many sessions
	post   func(w http.ResponseWriter, path, body string) // requests that are no streams; called one at a time
}

// part is what one connection gets.
type part struct {
	status int               // not 0: refused with it
	header map[string]string // of the refusal
	code   protocol.Code
	frames []string
	then   func(context.Context, *websocket.Conn) // WebSocket only; nil: cut
}

// run runs a test in a bubble, over one transport.
func run(t *testing.T, transport Transport, parts []part, f func(t *testing.T, hub *scripted, s *Session)) {
	synctest.Test(t, func(t *testing.T) {
		h := &scripted{t: t, parts: parts, listener: pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		h.server = &http.Server{Handler: http.HandlerFunc(h.serve)}
		h.wg.Go(func() { _ = h.server.Serve(h.listener) })
		tr := &http.Transport{DialContext: h.listener.dial}
		h.client = &Client{BaseURL: "http://hub", HTTPClient: &http.Client{Transport: tr}}
		f(t, h, h.client.Session("s1", "secret"))
		tr.CloseIdleConnections()
		_ = h.server.Close()
		h.wg.Wait()
	})
}

func (h *scripted) serve(w http.ResponseWriter, r *http.Request) {
	h.wg.Add(1)
	defer h.wg.Done()
	if h.shared != nil {
		h.shared(w, r)
		return
	}
	h.mu.Lock()
	if r.Method == http.MethodPost {
		defer h.mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		h.post(w, r.URL.Path, string(body))
		return
	}
	after := r.URL.Query().Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		after = last
	}
	h.afters = append(h.afters, after)
	h.vias = append(h.vias, strings.TrimPrefix(r.URL.Path, "/api/sessions/s1/"))
	h.tokens = append(h.tokens, r.Header.Get("Authorization"))
	if len(h.parts) == 0 {
		h.mu.Unlock()
		w.WriteHeader(http.StatusNotFound)
		return
	}
	p := h.parts[0]
	h.parts = h.parts[1:]
	h.mu.Unlock()

	if p.status != 0 {
		for k, v := range p.header {
			w.Header().Set(k, v)
		}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(p.status)
		if p.status != http.StatusNoContent {
			fmt.Fprintf(w, `{"status":%d,"code":%q,"detail":"scripted"}`, p.status, p.code)
		}
		return
	}
	if r.URL.Path == "/api/sessions/s1/events" {
		h.serveSSE(w, p)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		h.t.Errorf("accept: %v", err)
		return
	}
	defer conn.CloseNow()
	for _, f := range p.frames {
		if err := conn.Write(r.Context(), websocket.MessageText, []byte(f)); err != nil {
			return
		}
	}
	if p.then != nil {
		p.then(context.Background(), conn)
	}
}

func (h *scripted) serveSSE(w http.ResponseWriter, p part) {
	w.Header().Set("Content-Type", "text/event-stream")
	fmt.Fprint(w, "retry: 1000\r\n\r\n: heartbeat\n\n")
	for _, f := range p.frames {
		fmt.Fprintf(w, "id: whatever\nevent: x\ndata: %s\n\n", f)
	}
}

// closeWith closes with a code.
func closeWith(code int) func(context.Context, *websocket.Conn) {
	return func(_ context.Context, c *websocket.Conn) { _ = c.Close(websocket.StatusCode(code), "scripted") }
}

// linger says nothing for so long, then cuts.
func linger(d time.Duration) func(context.Context, *websocket.Conn) {
	return func(ctx context.Context, c *websocket.Conn) {
		ctx = c.CloseRead(ctx)
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
}

// hang says nothing until the client goes.
func hang(ctx context.Context, c *websocket.Conn) { _, _, _ = c.Read(ctx) }

// pipeListener accepts connections that were dialled in this process.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error { close(l.closed); return nil }

func (pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// Frames of the script.

func connected(epoch string, last int) string {
	return fmt.Sprintf(`{"type":"connected","data":{"sessionId":"s1","epoch":%q,"lastSeq":%d,"heartbeatSeconds":15}}`, epoch, last)
}

func event(seq int) string {
	return fmt.Sprintf(`{"seq":%d,"type":"output","time":"2026-01-01T00:00:00.000Z","data":{"text":"%d"}}`, seq, seq)
}

func compacted(from, seq int) string {
	return fmt.Sprintf(`{"from":%d,"seq":%d,"type":"output","time":"2026-01-01T00:00:00.000Z","data":{}}`, from, seq)
}

func control(t protocol.ControlType, data string) string {
	return fmt.Sprintf(`{"type":%q,"data":%s}`, t, data)
}

func lastEvent(seq int) string {
	return fmt.Sprintf(`{"seq":%d,"type":"closed","time":"2026-01-01T00:00:00.000Z","data":{"reason":"deleted"}}`, seq)
}
