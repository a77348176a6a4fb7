package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"

	"github.com/coder/websocket"

	"sessionhub/internal/config"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
	"sessionhub/worker"
	"sessionhub/worker/wslink"
)

const testWorkerKey = "the-key-of-the-workers"

// startOpenHub starts a hub without a worker of its own, for workers with
// testWorkerKey.
func startOpenHub(t *testing.T, flags ...string) *hubUnderTest {
	t.Helper()
	return startHubEnv(t, map[string]string{"SESSIONHUB_WORKER_KEY": testWorkerKey}, append([]string{"--worker", "none"}, flags...)...)
}

// link is a worker's end of a link, in the hands of a test.
type link struct {
	t  *testing.T
	ws *websocket.Conn
}

// dialLink opens a link with a key; it ends with the test.
func (h *hubUnderTest) dialLink(key string) *link {
	h.t.Helper()
	ws, _, err := websocket.Dial(h.t.Context(), h.url+protocol.WorkerLinkPath, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}, Subprotocols: []string{protocol.WorkerSubprotocol},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = ws.CloseNow() })
	return &link{h.t, ws}
}

func (l *link) send(f protocol.FrameType, data any) {
	l.t.Helper()
	if err := l.ws.Write(l.t.Context(), websocket.MessageText, protocol.NewFrame(f, data)); err != nil {
		l.t.Fatal(err)
	}
}

// read gives the next frame, pings left out.
func (l *link) read() (protocol.Frame, error) {
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	for {
		_, raw, err := l.ws.Read(ctx)
		if err != nil {
			return protocol.Frame{}, err
		}
		var f protocol.Frame
		if err := protocol.Decode(raw, &f); err != nil {
			return f, err
		}
		if f.Type != protocol.FramePing {
			return f, nil
		}
	}
}

func (l *link) want(t protocol.FrameType) protocol.Frame {
	l.t.Helper()
	f, err := l.read()
	if err != nil || f.Type != t {
		l.t.Fatalf("got %s %s, %v; want %s", f.Type, f.Data, err, t)
	}
	return f
}

// ends wants an error frame with the code ("": none), then the close.
func (l *link) ends(code string, status websocket.StatusCode) {
	l.t.Helper()
	if code != "" {
		if e := hubtest.Decode[protocol.LinkError](l.t, l.want(protocol.FrameError).Data); e.Code != code || e.Detail == "" {
			l.t.Errorf("error %+v, want %s", e, code)
		}
	}
	if f, err := l.read(); websocket.CloseStatus(err) != status {
		l.t.Errorf("the link ended with %v (%s), want %d", err, f.Type, status)
	}
}

func (l *link) hello() {
	l.t.Helper()
	l.send(protocol.FrameHello, protocol.Hello{Worker: "w1", Version: "1", Workspace: "ws", Capacity: 1, Providers: []string{"demo"}})
	l.want(protocol.FrameWelcome)
}

// Whatever is no worker with its key is refused before the upgrade, as a problem.
func TestWorkerLinkIsRefused(t *testing.T) {
	h := startHubEnv(t, map[string]string{"SESSIONHUB_WORKER_KEY": testWorkerKey, "SESSIONHUB_API_KEY": "the-key-of-clients"}, "--worker", "none")
	var s protocol.CreateResponse
	h.call("POST", "/api/sessions", `{}`, &s, "X-API-Key", "the-key-of-clients")
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
	with := func(more ...string) []string { return append(append([]string{}, upgrade...), more...) }
	key, sub := []string{"Authorization", "Bearer " + testWorkerKey}, []string{"Sec-WebSocket-Protocol", protocol.WorkerSubprotocol}
	for _, c := range []struct {
		name   string
		status int
		code   protocol.Code
		method string
		header []string
	}{
		{"no credential", 401, protocol.CodeUnauthorized, "GET", with(sub...)},
		{"a wrong key", 401, protocol.CodeUnauthorized, "GET", with(append(sub, "Authorization", "Bearer wrong")...)},
		{"an API key", 401, protocol.CodeUnauthorized, "GET", with(append(sub, "Authorization", "Bearer the-key-of-clients")...)},
		{"a session token", 401, protocol.CodeUnauthorized, "GET", with(append(sub, "Authorization", "Bearer "+s.Token)...)},
		{"the key in X-API-Key", 401, protocol.CodeUnauthorized, "GET", with(append(sub, "X-API-Key", testWorkerKey)...)},
		{"the key among the subprotocols", 401, protocol.CodeUnauthorized, "GET", with("Sec-WebSocket-Protocol", protocol.WorkerSubprotocol+", bearer."+testWorkerKey)},
		{"a malformed credential", 401, protocol.CodeUnauthorized, "GET", with(append(sub, "Authorization", "Bearer")...)},
		{"a page of the hub's own origin", 403, protocol.CodeOriginRefused, "GET", with(append(append(sub, key...), "Origin", h.url)...)},
		{"no subprotocol", 400, protocol.CodeInvalidRequest, "GET", with(key...)},
		{"the clients' subprotocol", 400, protocol.CodeInvalidRequest, "GET", with(append(key, "Sec-WebSocket-Protocol", protocol.Subprotocol)...)},
		{"no upgrade", 426, protocol.CodeUpgradeRequired, "GET", key},
		{"another method", 405, protocol.CodeMethodNotAllowed, "POST", key},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.t = t
			h.want(c.status, c.code, c.method, protocol.WorkerLinkPath, nil, c.header...)
		})
	}
	h.t = t
	// And the key opens nothing else.
	for _, path := range []string{"/api/sessions", "/api/providers", "/api/sessions/" + s.SessionID, "/api/sessions/" + s.SessionID + "/events"} {
		h.want(401, protocol.CodeUnauthorized, "GET", path, nil, key...)
		h.want(401, protocol.CodeUnauthorized, "GET", path, nil, "X-API-Key", testWorkerKey)
	}
	if n := metric(t, h, `sessionhub_connections_rejected_total{reason="unauthorized",transport="worker"}`); n != 7 {
		t.Errorf("%v links are counted as unauthorized", n)
	}
	if n := metric(t, h, `sessionhub_auth_failures_total{reason="worker_key"}`); n < 3 {
		t.Errorf("%v wrong worker keys are counted", n)
	}
}

// A hub without a worker key takes no worker, also in local mode.
func TestNoWorkerKeyNoLink(t *testing.T) {
	h := startHub(t)
	h.want(401, protocol.CodeUnauthorized, "GET", protocol.WorkerLinkPath, nil)
	h.want(401, protocol.CodeUnauthorized, "GET", protocol.WorkerLinkPath, nil, "Authorization", "Bearer x")
}

// One key for both doors would make a client of each worker.
func TestKeysOfBothKindsAreApart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(path, fmt.Appendf(nil, "a:alice:%x\n", sha256.Sum256([]byte("one-key"))), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"SESSIONHUB_API_KEY": "one-key", "SESSIONHUB_WORKER_KEYS_FILE": path}
	cfg, err := config.Parse([]string{"--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"},
		func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	_, err = Start(cfg, slog.New(slog.DiscardHandler))
	if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "worker key") || strings.Contains(err.Error(), "one-key") {
		t.Errorf("it starts with %v", err)
	}
}

func TestWorkerLinkEndsForItsFrames(t *testing.T) {
	h := startOpenHub(t, "--max-event-bytes", "1MiB")
	t.Run("no hello", func(t *testing.T) {
		h.t = t
		l := h.dialLink(testWorkerKey)
		l.send(protocol.FramePong, protocol.Empty{})
		l.ends(protocol.LinkInvalid, protocol.CloseBadFrame)
	})
	t.Run("binary", func(t *testing.T) {
		h.t = t
		l := h.dialLink(testWorkerKey)
		l.hello()
		if err := l.ws.Write(t.Context(), websocket.MessageBinary, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		l.ends(protocol.LinkInvalid, protocol.CloseBadFrame)
	})
	t.Run("too large", func(t *testing.T) {
		h.t = t
		l := h.dialLink(testWorkerKey)
		l.hello()
		_ = l.ws.Write(t.Context(), websocket.MessageText, []byte(strings.Repeat(" ", 2<<20)))
		l.ends("", protocol.CloseTooBig)
		// The close frame goes out before the link has ended: a worker of the same name
		// that comes in between replaces it, and that is then the reason.
		judge.Within(t, 5*time.Second, "the link is counted as closed", func() bool {
			return metric(t, h, `sessionhub_connections{transport="worker"}`) == 0
		})
	})
	t.Run("a large one that is allowed", func(t *testing.T) {
		h.t = t
		l := h.dialLink(testWorkerKey)
		l.hello()
		l.send(protocol.FrameEvent, protocol.WorkerEvent{SessionID: "none", Assignment: 1, N: 1, Type: protocol.EventOutput,
			Data: protocol.Marshal(protocol.OutputData{Text: strings.Repeat("x", 1<<20)})})
		l.want(protocol.FrameRevoke)
	})
	h.t = t
	judge.Within(t, 5*time.Second, "all links are counted as closed", func() bool {
		return metric(t, h, `sessionhub_connections{transport="worker"}`) == 0
	})
	for reason, want := range map[string]float64{"worker_invalid": 2, "too_big": 1, "client_closed": 1} {
		if n := metric(t, h, `sessionhub_connections_closed_total{reason="`+reason+`",transport="worker"}`); n != want {
			t.Errorf("%v closed for %s, want %v", n, reason, want)
		}
	}
}

// A key that is taken out of the file ends its link within 2 s, and lets no new
// one in; the others stay.
func TestRemovedWorkerKeyEndsItsLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	line := func(name, key string) string { return fmt.Sprintf("%s:*:%x\n", name, sha256.Sum256([]byte(key))) }
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(line("a", "key-a") + line("b", "key-b"))
	h := startHubEnv(t, map[string]string{"SESSIONHUB_WORKER_KEYS_FILE": path}, "--worker", "none")
	a, b := h.dialLink("key-a"), h.dialLink("key-b")
	a.hello()
	b.send(protocol.FrameHello, protocol.Hello{Worker: "w2", Workspace: "ws", Capacity: 1, Providers: []string{"demo"}})
	b.want(protocol.FrameWelcome)
	removed := time.Now()
	write(line("b", "key-b"))
	a.ends(protocol.LinkUnauthorized, protocol.CloseToken)
	judge.AtMost(t, "the end of the link", time.Since(removed), 2*time.Second)
	dialer := newTestDialer(t, h, "key-a")
	if _, err := dialer.Dial(t.Context()); !errors.Is(err, worker.ErrRefused) {
		t.Errorf("a new link: %v", err)
	}
	b.send(protocol.FrameDone, protocol.Done{SessionID: "none"})
	b.want(protocol.FrameRevoke)
}

func newTestDialer(t *testing.T, h *hubUnderTest, key string) *wslink.Dialer {
	t.Helper()
	u, err := wslink.ParseHub(h.url)
	if err != nil {
		t.Fatal(err)
	}
	d := wslink.NewDialer(u, key)
	t.Cleanup(d.Close)
	return d
}

// A hub that stops tells its workers to come back, and takes none meanwhile.
func TestStoppingHubEndsLinksInOrder(t *testing.T) {
	h := startOpenHub(t)
	l := h.dialLink(testWorkerKey)
	l.hello()
	stopped := make(chan error, 1)
	go func() { stopped <- h.node.Stop(context.WithoutCancel(t.Context())) }()
	l.ends(protocol.LinkDraining, protocol.CloseGoingAway)
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the hub does not stop")
	}
}

func TestDrainingHubTakesNoWorker(t *testing.T) {
	h := startOpenHub(t)
	h.node.hub.BeginDrain()
	h.want(503, protocol.CodeUnavailable, "GET", protocol.WorkerLinkPath, nil, "Authorization", "Bearer "+testWorkerKey)
}

// remote runs a worker as the command does, in this process, until the test ends.
func (h *hubUnderTest) remote(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(worker.Config{
		Root: h.root, Providers: map[string]worker.Provider{"demo": {Command: self, Args: []string{"demo-agent"}}}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	d := newTestDialer(t, h, testWorkerKey)
	go func() { done <- w.Run(ctx, d.Dial) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		_ = w.Close()
	})
}

// A hub that stops lets turns on workers elsewhere finish, as those on its own.
func TestStoppingHubLetsRemoteTurnsFinish(t *testing.T) {
	t.Parallel()
	h := startOpenHub(t, "--drain-timeout", "20s")
	h.remote(t)
	s := h.create(protocol.CreateRequest{})
	ws, err := h.ws(t.Context(), s, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	h.send(s, "/slow 1.5")
	until(t, ws, isType(protocol.EventOutput))
	stopped := make(chan error, 1)
	go func() { stopped <- h.node.Stop(context.WithoutCancel(t.Context())) }()
	if c := drained(t, ws); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the hub does not stop")
	}
}
