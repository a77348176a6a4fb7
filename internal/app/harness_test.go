package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"

	"github.com/coder/websocket"

	"sessionhub/internal/config"
	"sessionhub/protocol"
)

// patience is how long a test waits for what has to come. It judges nothing: without it, a
// test of what never comes would never end.
const patience = 2 * time.Minute

// hubUnderTest is a node in this process, seen from outside: only its URL is
// used.
type hubUnderTest struct {
	t    *testing.T
	url  string
	node *Node
	root string
	log  *hubtest.Buffer // warnings and errors, if the environment does not say otherwise
}

// startHub starts a node on free ports with a workspace of its own and stops
// it when the test ends.
func startHub(t *testing.T, flags ...string) *hubUnderTest {
	t.Helper()
	return startHubEnv(t, nil, flags...)
}

// startHubEnv is startHub with variables. The agents of this machine are not offered unless
// a variable says so.
func startHubEnv(t *testing.T, env map[string]string, flags ...string) *hubUnderTest {
	t.Helper()
	env = maps.Clone(env)
	if env == nil {
		env = map[string]string{}
	}
	if env["SESSIONHUB_DISCOVER_AGENTS"] == "" {
		env["SESSIONHUB_DISCOVER_AGENTS"] = "false"
	}
	h := &hubUnderTest{t: t, root: t.TempDir(), log: &hubtest.Buffer{}}
	args := append([]string{
		"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workspace-root", h.root, "--worktrees", t.TempDir(),
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

// call sends a request, whose body is JSON text or what is made into it, and decodes
// the answer into out, if there is one.
func (h *hubUnderTest) call(method, path string, body, out any, header ...string) hubtest.Answer {
	h.t.Helper()
	text, given := body.(string)
	if !given && body != nil {
		text = string(protocol.Marshal(body))
	}
	a := hubtest.Call(h.t, http.DefaultClient, method, h.url+path, text, header...)
	if out != nil {
		if err := json.Unmarshal(a.Body, out); err != nil {
			h.t.Fatalf("%s %s: %d: %v: %s", method, path, a.StatusCode, err, a.Body)
		}
	}
	return a
}

// want sends a request and fails unless it is answered with the status and, for
// an error, the code.
func (h *hubUnderTest) want(status int, code protocol.Code, method, path string, body any, header ...string) {
	h.t.Helper()
	a := h.call(method, path, body, nil, header...)
	if code != "" {
		if err := a.Problem(status, code); err != nil {
			h.t.Errorf("%s %s: %v", method, path, err)
		}
	} else if a.StatusCode != status {
		h.t.Errorf("%s %s: got %d, want %d: %s", method, path, a.StatusCode, status, a.Body)
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

// stream is a subscriber of either transport.
type stream interface {
	next(ctx context.Context) (hubtest.Frame, error)
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

func (w *wsStream) next(ctx context.Context) (hubtest.Frame, error) {
	return hubtest.ReadSocket(ctx, w.c)
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

// next passes over comments and retries. The stream ends with ctx.
func (s *sseStream) next(ctx context.Context) (hubtest.Frame, error) {
	defer context.AfterFunc(ctx, s.stop)()
	for {
		if f, err := hubtest.ReadSSE(s.in); err != nil || f.Raw != "" {
			return f, err
		}
	}
}

func (s *sseStream) close() { s.stop(); _ = s.resp.Body.Close() }

// until reads frames up to the first one that want accepts.
func until(t *testing.T, s stream, want func(hubtest.Frame) bool) []hubtest.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []hubtest.Frame
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

func last(fs []hubtest.Frame) string {
	if len(fs) == 0 {
		return ""
	}
	return fs[len(fs)-1].Raw
}

func isType(t protocol.EventType) func(hubtest.Frame) bool {
	return func(f hubtest.Frame) bool { return f.Type == t }
}

// text joins the output of a record.
func text(t *testing.T, fs []hubtest.Frame) string {
	var b strings.Builder
	for _, f := range fs {
		if f.Type == protocol.EventOutput {
			b.WriteString(hubtest.Decode[protocol.OutputData](t, f.Data).Text)
		}
	}
	return b.String()
}
