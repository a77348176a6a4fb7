package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sessionhub-cmd")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "sessionhub")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// program runs the binary to its end and gives its exit code and output.
func program(t *testing.T, env []string, args ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestExitCodesAndMessages(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(broken, []byte("codex: {args: 5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		env  []string
		args []string
		code int
		says []string
	}{
		{"nothing", nil, nil, exitUsage, []string{"Usage"}},
		{"help", nil, []string{"help"}, exitOK, []string{"serve", "demo-agent", "--listen", "SESSIONHUB_LISTEN", "127.0.0.1:8080"}},
		{"help for nothing there", nil, []string{"help", "dance"}, exitUsage, []string{"dance"}},
		{"help for two", nil, []string{"help", "serve", "bench"}, exitUsage, []string{"bench"}},
		{"version", nil, []string{"version"}, exitOK, []string{"sessionhub"}},
		{"--version", nil, []string{"--version"}, exitOK, []string{"sessionhub"}},
		{"version of what", nil, []string{"version", "x"}, exitUsage, []string{`"x"`}},
		{"demo agent with a flag", nil, []string{"demo-agent", "--mode"}, exitUsage, []string{"--mode"}},
		{"unknown command", nil, []string{"dance"}, exitUsage, []string{"dance", "help"}},
		{"unknown flag", nil, []string{"serve", "--lisen", "x"}, exitUsage, []string{"--lisen", "--listen"}},
		{"every bad value", []string{"SESSIONHUB_LOG_LEVEL=loud"}, []string{"serve", "--worker", "none-such", "--drain-timeout", "soon"}, exitUsage,
			[]string{"SESSIONHUB_LOG_LEVEL", "--worker", "--drain-timeout"}},
		{"also those that other parts find", []string{"SESSIONHUB_LOG_LEVEL=loud", "SESSIONHUB_TOKEN_SECRET=short"},
			[]string{"serve", "--providers-file", broken, "--allowed-origins", "nonsense", "--workspace-root", "/nowhere/at/all", "--default-provider", "x"}, exitUsage,
			[]string{"SESSIONHUB_LOG_LEVEL", "codex", "--allowed-origins", "SESSIONHUB_TOKEN_SECRET", "workspace root"}},
		{"all of a worker's", []string{"SESSIONHUB_LOG_LEVEL=loud"}, []string{"worker", "--providers-file", broken, "--workspace-root", "/nowhere/at/all"}, exitUsage,
			[]string{"SESSIONHUB_LOG_LEVEL", "--hub", "SESSIONHUB_WORKER_KEY", "codex", "workspace root"}},
		{"open to everybody", nil, []string{"serve", "--listen", "0.0.0.0:0"}, exitUsage, []string{"SESSIONHUB_API_KEY", "--allow-anonymous"}},
		{"bad files", []string{"SESSIONHUB_TOKEN_SECRET=short"}, []string{"serve", "--providers-file", broken, "--allowed-origins", "nonsense"}, exitUsage,
			[]string{"codex", "--allowed-origins", "SESSIONHUB_TOKEN_SECRET"}},
		{"no workspace", nil, []string{"serve", "--workspace-root", "/nowhere/at/all"}, exitUsage, []string{"workspace root"}},
		{"address that is not ours", nil, []string{"serve", "--listen", "192.0.2.1:1", "--allow-anonymous"}, exitFailed, []string{"--listen"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := program(t, c.env, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, s := range c.says {
				if !strings.Contains(out, s) {
					t.Errorf("it does not say %q:\n%s", s, out)
				}
			}
			if strings.Contains(out, "short") {
				t.Error("it prints a secret")
			}
		})
	}
}

// server is a running `sessionhub serve`.
type server struct{ *hubtest.Process }

func startServer(t *testing.T, flags ...string) *server {
	t.Helper()
	return startServerEnv(t, nil, flags...)
}

func startServerEnv(t *testing.T, env []string, flags ...string) *server {
	t.Helper()
	return &server{hubtest.Serve(t, binary, env, flags...)}
}

func (s *server) post(t *testing.T, path, body string) map[string]any {
	t.Helper()
	a := hubtest.Call(t, http.DefaultClient, http.MethodPost, s.URL+path, body)
	if a.StatusCode >= 300 {
		t.Fatalf("%s: %d %s", path, a.StatusCode, a.Body)
	}
	return hubtest.Decode[map[string]any](t, a.Body)
}

// create makes a session with an API key.
func (s *server) create(t *testing.T, key string) (id string) {
	t.Helper()
	a := s.call(t, http.MethodPost, "/api/sessions", key)
	if a.StatusCode != http.StatusCreated {
		t.Fatalf("create a session: %d %s", a.StatusCode, a.Body)
	}
	return hubtest.Decode[protocol.CreateResponse](t, a.Body).SessionID
}

// status is what a request with a key or a token is answered with.
func (s *server) status(t *testing.T, method, path, credential string) int {
	t.Helper()
	return s.call(t, method, path, credential).StatusCode
}

// call sends a request with a key or a token.
func (s *server) call(t *testing.T, method, path, credential string) hubtest.Answer {
	t.Helper()
	body := "{}"
	if method == http.MethodGet {
		body = ""
	}
	return hubtest.Call(t, http.DefaultClient, method, s.URL+path, body, "Authorization", "Bearer "+credential)
}

// busySession starts a session whose agent runs a command that ignores
// everything but SIGKILL, in a session of its own.
func (s *server) busySession(t *testing.T, mark string) {
	t.Helper()
	id := s.post(t, "/api/sessions", `{"agentOptions":{"mode":"auto"}}`)["sessionId"].(string)
	s.post(t, "/api/sessions/"+id+"/messages", fmt.Sprintf(`{"content":"/run trap '' TERM INT HUP; (setsid sleep %s &) ; sleep %s"}`, mark, mark))
}

// living counts processes whose command line holds the word.
func living(t *testing.T, word string) (pids []int) {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		raw, err := os.ReadFile(d)
		if err != nil {
			continue // it ended meanwhile
		}
		if strings.Contains(strings.ReplaceAll(string(raw), "\x00", " "), word) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(d)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// After kill -9 of the hub in the middle of ten busy sessions, no process of
// theirs is left within 5 s.
func TestNothingOutlivesAKilledHub(t *testing.T) {
	s := startServer(t, "--worker-capacity", "10")
	mark := fmt.Sprintf("%d.5", 300+os.Getpid()%1000)
	for range 10 {
		s.busySession(t, mark)
	}
	judge.Within(t, 30*time.Second, "ten sessions run two sleeps each", func() bool { return len(living(t, "sleep "+mark)) >= 20 })
	if err := s.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	judge.Within(t, 5*time.Second, "all are gone", func() bool { return len(living(t, mark)) == 0 })
}

// SIGTERM: turns may finish for --drain-timeout, then everything ends and the
// exit code is 0.
func TestSIGTERMStopsCleanly(t *testing.T) {
	s := startServer(t, "--drain-timeout", "1s")
	mark := fmt.Sprintf("%d.25", 300+os.Getpid()%1000)
	s.busySession(t, mark)
	judge.Within(t, 20*time.Second, "the session runs", func() bool { return len(living(t, "sleep "+mark)) >= 2 })
	s.Terminate()
	started := time.Now()
	<-s.Ended
	if code := s.Cmd.ProcessState.ExitCode(); code != exitOK {
		t.Errorf("it ended with %d", code)
	}
	judge.AtMost(t, "the stop", time.Since(started), 10*time.Second)
	judge.Within(t, time.Second, "all are gone", func() bool { return len(living(t, mark)) == 0 })
}
