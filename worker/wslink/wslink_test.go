package wslink

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
	"sessionhub/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseHub(t *testing.T) {
	for text, want := range map[string]string{
		"ws://h":                   "ws://h/worker/link",
		"http://h:8080":            "ws://h:8080/worker/link",
		"http://h:8080/":           "ws://h:8080/worker/link",
		"https://h/hub":            "wss://h/hub/worker/link",
		"wss://h/hub/worker/link":  "wss://h/hub/worker/link",
		"wss://h/hub/worker/link/": "wss://h/hub/worker/link",
		"ws://[::1]:1":             "ws://[::1]:1/worker/link",
		"h:80":                     "",
		"ftp://h":                  "",
		"ws://":                    "",
		"ws://:80":                 "",
		"ws://user:hunter2@h":      "",
		"ws://h?key=x":             "",
		"ws://h/#x":                "",
		"ws://h/%zz hunter2":       "",
		"":                         "",
	} {
		u, err := ParseHub(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q: taken as %s", text, u)
		case want == "" && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%q: the error repeats it: %v", text, err)
		case want != "" && (err != nil || u.String() != want):
			t.Errorf("%q: %v, %v", text, u, err)
		}
	}
}

// dial opens a link to a server that does this.
func dial(t *testing.T, serve http.HandlerFunc) (worker.Conn, error) {
	t.Helper()
	server := httptest.NewServer(serve)
	t.Cleanup(server.Close)
	u, err := ParseHub(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := NewDialer(u, "the-key")
	t.Cleanup(d.Close)
	return d.Dial(t.Context())
}

func accept(t *testing.T, w http.ResponseWriter, r *http.Request) *websocket.Conn {
	t.Helper()
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.WorkerSubprotocol}})
	if err != nil {
		t.Error(err)
	}
	return ws
}

func TestOnlyAWrongKeyIsFinal(t *testing.T) {
	for status, final := range map[int]bool{401: true, 403: false, 404: false, 302: false, 503: false, 200: false} {
		_, err := dial(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"detail":"because of this"}`)
		})
		if err == nil || errors.Is(err, worker.ErrRefused) != final {
			t.Errorf("%d: %v", status, err)
		}
		if err != nil && status != 200 && !strings.Contains(err.Error(), "because of this") {
			t.Errorf("%d: the reason is not told: %v", status, err)
		}
	}
}

// The key goes to the hub and not to where a redirect leads.
func TestKeyFollowsNoRedirect(t *testing.T) {
	leaked := make(chan string, 1)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked <- r.Header.Get("Authorization") }))
	defer thief.Close()
	_, err := dial(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the-key" || r.URL.RawQuery != "" {
			t.Errorf("the hub gets %q", r.Header.Get("Authorization"))
		}
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	if err == nil || len(leaked) > 0 {
		t.Errorf("%v, %d requests followed", err, len(leaked))
	}
}

// What was written before the end is read by the hub, whatever ends the link.
func TestEndIsInOrder(t *testing.T) {
	got := make(chan []string, 1)
	c, err := dial(t, func(w http.ResponseWriter, r *http.Request) {
		ws := accept(t, w, r)
		defer ws.CloseNow()
		var all []string
		for {
			_, raw, err := ws.Read(context.Background())
			if err != nil {
				got <- append(all, websocket.CloseStatus(err).String())
				return
			}
			all = append(all, string(raw))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	read := make(chan error, 1)
	go func() {
		_, err := c.ReadFrame(ctx)
		read <- err
	}()
	if err := c.WriteFrame(ctx, []byte(`{"type":"release"}`)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-read; !errors.Is(err, context.Canceled) {
		t.Errorf("the read ends with %v", err)
	}
	_ = c.Close()
	if all := strings.Join(<-got, " "); all != `{"type":"release"} StatusNormalClosure` {
		t.Errorf("the hub read %s", all)
	}
}

// A hub that has stopped reading and answering does not hold Close.
func TestCloseEndsWithoutTheHub(t *testing.T) {
	over := make(chan struct{})
	c, err := dial(t, func(w http.ResponseWriter, r *http.Request) {
		ws := accept(t, w, r)
		defer ws.CloseNow()
		<-over
	})
	if err != nil {
		t.Fatal(err)
	}
	defer close(over)
	wrote := make(chan error, 1)
	go func() {
		frame := []byte(strings.Repeat(" ", 8<<20))
		for {
			if err := c.WriteFrame(t.Context(), frame); err != nil {
				wrote <- err
				return
			}
		}
	}()
	time.Sleep(100 * time.Millisecond) // a write waits by now; if not, the test is easier
	began := time.Now()
	_ = c.Close()
	judge.AtMost(t, "the close", time.Since(began), 4*time.Second)
	<-wrote
}

func TestBinaryIsNoFrame(t *testing.T) {
	c, err := dial(t, func(w http.ResponseWriter, r *http.Request) {
		ws := accept(t, w, r)
		defer ws.CloseNow()
		_ = ws.Write(context.Background(), websocket.MessageBinary, []byte("{}"))
		_, _, _ = ws.Read(context.Background())
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadFrame(t.Context()); err == nil {
		t.Error("taken")
	}
	_ = c.Close()
}
