package app

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// A worker whose key is for one user can say what it likes in its hello: what breaks
// a rule ends the link with the field and the limit, and what it offers is seen by
// that user alone. With a capacity of -5 and 30,000 providers it was let in, and
// everybody saw them.
func TestWorkerOfOneUserIsNobodyElses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, lines ...string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	line := func(name, user, key string) string {
		return fmt.Sprintf("%s:%s:%x", name, user, sha256.Sum256([]byte(key)))
	}
	h := startHubEnv(t, map[string]string{
		"SESSIONHUB_API_KEYS_FILE":    write("keys", line("a", "alice", "key-alice"), line("b", "bob", "key-bob"), line("s", "*", "key-service")),
		"SESSIONHUB_WORKER_KEYS_FILE": write("worker-keys", line("w", "alice", "key-worker")),
	}, "--worker", "none")
	good := protocol.Hello{Worker: "w1", Version: "1", Workspace: "ws", Capacity: 2, Providers: []string{"demo", "secret-agent"}}
	var names []string
	for i := range 30_000 {
		names = append(names, fmt.Sprintf("p%d\nlevel=ERROR", i))
	}
	for want, change := range map[string]func(*protocol.Hello){
		"capacity is -5: 1 to 1000000":                     func(h *protocol.Hello) { h.Capacity = -5 },
		"providers are 30000: at most 256":                 func(h *protocol.Hello) { h.Providers = names },
		"providers[0] holds a control character at byte 2": func(h *protocol.Hello) { h.Providers = names[:1] },
	} {
		hello := good
		change(&hello)
		l := h.dialLink("key-worker")
		l.send(protocol.FrameHello, hello)
		if e := hubtest.Decode[protocol.LinkError](t, l.want(protocol.FrameError).Data); e.Code != protocol.LinkInvalid || !strings.Contains(e.Detail, want) {
			t.Errorf("%+v, want %s", e, want)
		}
		l.ends("", protocol.CloseBadFrame)
	}
	l := h.dialLink("key-worker")
	l.send(protocol.FrameHello, good)
	l.want(protocol.FrameWelcome)
	sees := func(path, key string) string {
		var list protocol.Providers
		if status := h.call("GET", path, nil, &list, "X-API-Key", key).StatusCode; status != 200 {
			return fmt.Sprint(status)
		}
		var out []string
		for _, p := range list.Providers {
			out = append(out, fmt.Sprintf("%s=%d", p.Name, p.Workers))
		}
		return strings.Join(out, " ")
	}
	judge.Within(t, 5*time.Second, "the worker is taken in", func() bool { return sees("/api/providers", "key-alice") != "demo=0" })
	for _, c := range []struct{ path, key, want string }{
		{"", "key-alice", "demo=1 secret-agent=1"},
		{"", "key-bob", "demo=0"},
		{"?userId=alice", "key-bob", "403"},
		{"", "key-service", "demo=1 secret-agent=1"},
		{"?userId=bob", "key-service", "demo=0"},
	} {
		if got := sees("/api/providers"+c.path, c.key); got != c.want {
			t.Errorf("%s with %s: %s, want %s", c.path, c.key, got, c.want)
		}
	}
	h.want(400, protocol.CodeUnknownProvider, "POST", "/api/sessions", `{"provider":"secret-agent"}`, "X-API-Key", "key-bob")
	h.want(400, protocol.CodeUnknownProvider, "POST", "/api/sessions", `{"provider":"secret-agent","userId":"bob"}`, "X-API-Key", "key-service")
	h.want(201, "", "POST", "/api/sessions", `{"provider":"secret-agent"}`, "X-API-Key", "key-alice")
	resp, err := http.Get(h.node.AdminURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if page, err := io.ReadAll(resp.Body); err != nil || strings.Contains(string(page), "secret") {
		t.Errorf("the metrics name a provider of a worker's own, or cannot be read: %v", err)
	}
}
