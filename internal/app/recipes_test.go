package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/need"
	"sessionhub/protocol"
)

// recipes are the programs of docs/RECIPES.md by the names that stand before them.
func recipes(t *testing.T) map[string]string {
	t.Helper()
	raw, err := os.ReadFile("../../docs/RECIPES.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^<!-- test: (\\w+) -->\n```\\w+\n(.*?)^```$").FindAllStringSubmatch(string(raw), -1) {
		all[m[1]] = m[2]
	}
	if blocks := regexp.MustCompile("(?m)^```(sh|js|json|html|go)$").FindAllString(string(raw), -1); len(blocks) != len(all) {
		t.Errorf("%d programs, and %d that are tested", len(blocks), len(all))
	}
	return all
}

// recipe writes a program to a file, for the hub under test.
func (h *hubUnderTest) recipe(name, file string) string {
	h.t.Helper()
	text, ok := recipes(h.t)[name]
	if !ok {
		h.t.Fatalf("docs/RECIPES.md has no %s", name)
	}
	const usual = "http://127.0.0.1:8080"
	if strings.HasSuffix(file, "html") == strings.Contains(text, usual) {
		h.t.Fatalf("%s does not name the hub as expected", name)
	}
	path := filepath.Join(h.t.TempDir(), file)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, usual, h.url)), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// finish runs a program to its end and gives what it printed.
func finish(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second // the curl that it leaves may hold the pipe for longer
	out, err := cmd.CombinedOutput()
	if err != nil && (ctx.Err() != nil || !cmd.ProcessState.Success()) {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

func TestRecipeCurl(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	if out := finish(t, "bash", "-eu", h.recipe("curl", "recipe.sh")); !strings.Contains(out, "Approved: allow_once.") {
		t.Errorf("it printed %s", out)
	}
}

func TestRecipeSharedConnection(t *testing.T) {
	h := startHub(t)
	out := finish(t, "bash", "-eu", h.recipe("shared", "recipe.sh"))
	for _, who := range []string{"Ann", "Ben"} {
		if !regexp.MustCompile(`(?m)^s_\w+: .*\b` + who + `\b`).MatchString(out) {
			t.Errorf("nobody spoke to %s: %s", who, out)
		}
	}
}

func TestRecipeJavaScript(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	path := h.recipe("javascript", "recipe.mjs")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(raw), "\n"); n != 10 {
		t.Errorf("it has %d lines: the page promises ten", n)
	}
	if out := finish(t, "node", "--experimental-websocket", "--no-warnings", path); !strings.Contains(out, "You said: hello") {
		t.Errorf("it printed %s", out)
	}
}

// background starts a program and ends it, with what it started, with the test.
func background(t *testing.T, env []string, program string, args ...string) {
	t.Helper()
	log := &hubtest.Buffer{}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.WaitDelay = 5 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, log)
		}
	})
}

func TestRecipeBot(t *testing.T) {
	t.Parallel()
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": "bot-key"})
	addr := freeAddress(t)
	background(t, []string{"SESSIONHUB_API_KEY=bot-key", "PORT=" + addr[strings.LastIndex(addr, ":")+1:]}, "node", h.recipe("bot", "bot.mjs"))
	say := func(room, text string) (string, error) {
		resp, err := http.Post("http://"+addr+"/hook", "application/json", strings.NewReader(string(protocol.Marshal(map[string]string{"room": room, "text": text}))))
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		return string(raw), err
	}
	var first string
	judge.Within(t, 20*time.Second, "the bot answers", func() bool {
		var err error
		first, err = say("general", "hello")
		return err == nil
	})
	var both sync.WaitGroup
	for text, want := range map[string]string{
		"/approve it": "Not approved: reject_once.", "/fail badly": "(badly)", "hey": "You said: hey",
	} {
		both.Go(func() {
			if got, err := say("general", text); err != nil || !strings.Contains(got, want) {
				t.Errorf("%s: %s, %v", text, got, err)
			}
		})
	}
	both.Wait()
	if got, err := say("other", "you"); err != nil || !strings.Contains(got, "You said: you") || !strings.Contains(first, "You said: hello") {
		t.Errorf("%s, then %s, %v", first, got, err)
	}
	var list protocol.SessionList
	if h.call("GET", "/api/sessions", nil, &list, "X-API-Key", "bot-key"); len(list.Sessions) != 2 {
		t.Errorf("two rooms have %d sessions", len(list.Sessions))
	}
}

// The page runs in a real browser; the hub's origin is that of a server which serves
// the page, too. The hub's connection breaks in the middle, and EventSource comes
// back.
func TestRecipeEventSource(t *testing.T) {
	t.Parallel()
	chromium := need.Chromium.Path(t)
	h := startHub(t)
	page, err := os.ReadFile(h.recipe("eventsource", "page.html"))
	if err != nil {
		t.Fatal(err)
	}
	// What a person would see.
	const eye = `<script>new MutationObserver(() => fetch("/seen", { method: "POST", body: document.getElementById("log").textContent }))
		.observe(document.getElementById("log"), { childList: true, characterData: true, subtree: true })</script>`
	target, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	seen := &hubtest.Buffer{}
	streams := make(chan context.CancelFunc, 10)
	hub := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		if strings.HasSuffix(r.URL.Path, "/events") {
			streams <- cancel
		}
		defer func() { _ = recover() }() // the proxy's way to cut
		hub.ServeHTTP(w, r.WithContext(ctx))
	})
	mux.HandleFunc("GET /page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, "%s%s", page, eye) })
	mux.HandleFunc("POST /seen", func(_ http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		_, _ = seen.Write(append(raw, 0))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	made := h.create(protocol.CreateRequest{})
	var narrow protocol.TokenResponse
	h.call("POST", "/api/sessions/"+made.SessionID+"/token", protocol.TokenRequest{Scope: "read"}, &narrow, "Authorization", "Bearer "+made.Token)
	background(t, nil, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--user-data-dir="+t.TempDir(), server.URL+"/page#session="+made.SessionID+"&token="+narrow.Token)

	var cut context.CancelFunc
	select {
	case cut = <-streams:
	case <-time.After(patience):
		t.Fatal("the page opens no stream")
	}
	h.send(made, "/stream 40 8 20")
	shows := func(text string) {
		t.Helper()
		judge.Within(t, 30*time.Second, fmt.Sprintf("the page shows %q", text), func() bool { return strings.Contains(seen.String(), text) })
	}
	shows("5 xxxxx\n")
	cut()
	shows("40 xxxx\n\n")
	frames := strings.Split(strings.TrimSuffix(seen.String(), "\x00"), "\x00")
	if lines := strings.Fields(frames[len(frames)-1]); len(lines) != 80 {
		t.Errorf("the page shows %d pieces in the end, want 40: %q", len(lines)/2, frames[len(frames)-1])
	}
	select {
	case <-streams:
	default:
		t.Error("the page has not come back: nothing was broken")
	}
	var info protocol.Session
	if h.call("GET", "/api/sessions/"+made.SessionID, nil, &info); info.Connections.SSE == 0 {
		raw, _ := json.Marshal(info)
		t.Errorf("the page watches no more: %s", raw)
	}
}
