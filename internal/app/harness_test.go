package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/internal/config"
	"sessionhub/protocol"
)

// hubUnderTest is a node in this process, seen from outside: only its URL is
// used.
type hubUnderTest struct {
	t    *testing.T
	url  string
	node *Node
	root string
	log  *logBuffer // warnings and errors, if the environment does not say otherwise
}

// logBuffer keeps a log that may be read while it is written.
type logBuffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// startHub starts a node on free ports with a workspace of its own and stops
// it when the test ends.
func startHub(t *testing.T, flags ...string) *hubUnderTest {
	t.Helper()
	return startHubEnv(t, nil, flags...)
}

// startHubEnv is startHub with variables.
func startHubEnv(t *testing.T, env map[string]string, flags ...string) *hubUnderTest {
	t.Helper()
	h := &hubUnderTest{t: t, root: t.TempDir(), log: &logBuffer{}}
	args := append([]string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workspace-root", h.root,
		"--drain-timeout", "2s", "--max-connections-per-session", "100",
		"--rate-sessions", "1000/s:1000", "--rate-messages", "1000/s:1000",
	}, flags...)
	cfg, err := config.Parse(args, func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	level := slog.LevelWarn
	if env["SESSIONHUB_LOG_LEVEL"] != "" {
		level = cfg.LogLevel
	}
	log := slog.New(slog.NewJSONHandler(io.MultiWriter(t.Output(), h.log), &slog.HandlerOptions{Level: level}))
	if h.node, err = Start(cfg, log); err != nil {
		t.Fatal(err)
	}
	h.url = h.node.URL()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = h.node.Stop(ctx) // streams that the test left open are cut
		http.DefaultClient.CloseIdleConnections()
	})
	return h
}

// call sends a JSON request and decodes the answer into out, if there is one.
func (h *hubUnderTest) call(method, path string, body, out any, header ...string) *http.Response {
	h.t.Helper()
	var reader io.Reader
	if s, ok := body.(string); ok {
		reader = strings.NewReader(s)
	} else if body != nil {
		reader = bytes.NewReader(protocol.Marshal(body))
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, reader)
	if err != nil {
		h.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else if header[i+1] == "" {
			req.Header.Del(header[i])
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, path, err)
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			h.t.Fatalf("%s %s: %d: %v: %s", method, path, resp.StatusCode, err, raw)
		}
	}
	return resp
}

// want sends a request and fails unless it is answered with the status and, for
// an error, the code.
func (h *hubUnderTest) want(status int, code protocol.Code, method, path string, body any, header ...string) {
	h.t.Helper()
	var p protocol.Problem
	var out any
	if code != "" {
		out = &p
	}
	resp := h.call(method, path, body, out, header...)
	if resp.StatusCode != status || p.Code != code {
		h.t.Errorf("%s %s: got %d %q (%s), want %d %q", method, path, resp.StatusCode, p.Code, p.Detail, status, code)
	}
	if code != "" && resp.Header.Get("Content-Type") != "application/problem+json" {
		h.t.Errorf("%s %s: the error is %q", method, path, resp.Header.Get("Content-Type"))
	}
}

func (h *hubUnderTest) create(r protocol.CreateRequest) protocol.CreateResponse {
	h.t.Helper()
	var out protocol.CreateResponse
	if resp := h.call("POST", "/api/sessions", r, &out); resp.StatusCode != http.StatusCreated {
		h.t.Fatalf("create: %d %+v", resp.StatusCode, out)
	}
	return out
}

func (h *hubUnderTest) send(s protocol.CreateResponse, text string) protocol.MessageResponse {
	h.t.Helper()
	var out protocol.MessageResponse
	resp := h.call("POST", "/api/sessions/"+s.SessionID+"/messages",
		protocol.MessageRequest{Content: protocol.Marshal(text)}, &out, "Authorization", "Bearer "+s.Token)
	if resp.StatusCode != http.StatusAccepted {
		h.t.Fatalf("message: %d", resp.StatusCode)
	}
	return out
}

// frame is what a stream gave: a logged event, or a control frame with Seq 0.
type frame struct {
	protocol.Event
	id  string // SSE only
	raw []byte
}

func decode[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
}

// stream is a subscriber of either transport.
type stream interface {
	next(ctx context.Context) (frame, error)
	close()
}

// own makes a URL of any node one of this node.
func (h *hubUnderTest) own(address string) string {
	h.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		h.t.Fatal(err)
	}
	u.Host = strings.TrimPrefix(h.url, "http://")
	return u.String()
}

type wsStream struct{ c *websocket.Conn }

func (h *hubUnderTest) ws(ctx context.Context, s protocol.CreateResponse, after string) (*wsStream, error) {
	c, _, err := websocket.Dial(ctx, h.own(s.WebsocketURL)+"?after="+after, &websocket.DialOptions{
		Subprotocols: []string{protocol.Subprotocol, protocol.BearerPrefix + s.Token},
	})
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(8 << 20)
	return &wsStream{c}, nil
}

func (w *wsStream) next(ctx context.Context) (frame, error) {
	_, raw, err := w.c.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	f := frame{raw: raw}
	return f, json.Unmarshal(raw, &f.Event)
}
func (w *wsStream) close() { _ = w.c.CloseNow() }

func (w *wsStream) command(ctx context.Context, t protocol.CommandType, id string, data any) error {
	return w.c.Write(ctx, websocket.MessageText, protocol.Marshal(protocol.Command{Type: t, ID: id, Data: protocol.Marshal(data)}))
}

type sseStream struct {
	resp *http.Response
	in   *bufio.Reader
	stop context.CancelFunc
}

func (h *hubUnderTest) sse(ctx context.Context, s protocol.CreateResponse, after string) (*sseStream, error) {
	ctx, stop := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, "GET", h.own(s.EventsURL), nil)
	if err != nil {
		stop()
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.Token)
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		stop()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		stop()
		_ = resp.Body.Close()
		return nil, fmt.Errorf("sse: %d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return &sseStream{resp: resp, in: bufio.NewReader(resp.Body), stop: stop}, nil
}

// next reads one event as the WHATWG text says, strictly enough for a test.
func (s *sseStream) next(context.Context) (frame, error) {
	var f frame
	var event string
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return f, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case line == "" && f.raw != nil:
			if err := json.Unmarshal(f.raw, &f.Event); err != nil {
				return f, err
			}
			if string(f.Type) != event {
				return f, fmt.Errorf("event %q carries type %q", event, f.Type)
			}
			return f, nil
		case field == "id":
			f.id = value
		case field == "event":
			event = value
		case field == "data":
			f.raw = []byte(value)
		}
	}
}
func (s *sseStream) close() { s.stop(); _ = s.resp.Body.Close() }

// until reads frames up to the first one that want accepts.
func until(t *testing.T, s stream, want func(frame) bool) []frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var all []frame
	for {
		f, err := s.next(ctx)
		if err != nil {
			t.Fatalf("after %d frames, the last %s: %v", len(all), last(all), err)
		}
		if all = append(all, f); want(f) {
			return all
		}
	}
}

func last(fs []frame) []byte {
	if len(fs) == 0 {
		return nil
	}
	return fs[len(fs)-1].raw
}

func isType(t protocol.EventType) func(frame) bool {
	return func(f frame) bool { return f.Type == t }
}

// text joins the output of a record.
func text(t *testing.T, fs []frame) string {
	var b strings.Builder
	for _, f := range fs {
		if f.Type == protocol.EventOutput {
			b.WriteString(decode[protocol.OutputData](t, f.Data).Text)
		}
	}
	return b.String()
}
