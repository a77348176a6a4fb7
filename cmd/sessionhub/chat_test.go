package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
)

// piped runs a chat without a terminal.
func piped(t *testing.T, env []string, stdin string, args ...string) (code int, out, errs string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"chat"}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = strings.NewReader(stdin)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), o.String(), e.String()
}

func TestChatInAPipe(t *testing.T) {
	s := startServer(t)
	const demo = "You said: %s\n\nI am the demo agent: no model, but everything else is real. Try /help.\n"
	for _, c := range []struct {
		name, in string
		args     []string
		code     int
		out      string
		errs     []string
	}{
		{"answer", "hello", nil, exitOK, strings.Replace(demo, "%s", "hello", 1), []string{"session s_"}},
		{"over SSE", "hello\n", []string{"--transport", "sse"}, exitOK, strings.Replace(demo, "%s", "hello", 1), nil},
		{"lines as they are", "/stream 3 8", nil, exitOK, "1 xxxxx\n2 xxxxx\n3 xxxxx\n", nil},
		{"nobody to ask", "/approve it", nil, exitOK, "Not approved: reject_once.\n", []string{"rejected, since nobody can be asked", "--approve allow", ": it"}},
		{"allowed", "/approve it", []string{"--approve", "allow"}, exitOK, "Approved: allow_once.\n", []string{"allowed: it", "tool completed: it"}},
		{"rejected", "/approve it", []string{"--approve=reject"}, exitOK, "Not approved: reject_once.\n", []string{"rejected: it"}},
		{"thoughts are no answer", "/think hm", nil, exitOK, "I have thought about it.\n", nil},
		{"failed", "/fail oh no", nil, exitFailed, "", []string{"agent_failed", "oh no"}},
		{"crashed", "/crash", nil, exitFailed, "", []string{"agent_crashed"}},
		{"escapes", "a\x1b[31mb\u202e", nil, exitOK, strings.Replace(demo, "%s", "ab⟨U+202E⟩", 1), nil},
		{"nothing to say", " \n", nil, exitFailed, "", []string{"stdin is empty"}},
		{"no such session", "x", []string{"--session", "s_none"}, exitFailed, "", []string{"not_found", "leave --session out"}},
		{"bad provider", "x", []string{"--provider", "none"}, exitFailed, "", []string{"unknown_provider", "GET /api/providers"}},
		{"bad directory", "x", []string{"--dir", "/"}, exitFailed, "", []string{"working_directory_not_allowed", "--workspace-root"}},
		{"no directory of the hub's", "x", []string{"--dir", "nowhere"}, exitFailed, "", []string{`"nowhere" does not exist`}},
		{"bad flag", "x", []string{"--hubb", "x"}, exitUsage, "", []string{"--hubb", "did you mean --hub"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := piped(t, nil, c.in, append([]string{"--hub", s.URL}, c.args...)...)
			if code != c.code || out != c.out {
				t.Errorf("exit code %d and %q, want %d and %q; it said %s", code, out, c.code, c.out, errs)
			}
			for _, want := range c.errs {
				if !strings.Contains(errs, want) {
					t.Errorf("it does not say %q: %s", want, errs)
				}
			}
		})
	}
}

func (s *server) get(t *testing.T, path string) map[string]any {
	t.Helper()
	a := hubtest.Call(t, http.DefaultClient, http.MethodGet, s.URL+path, "")
	if a.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", path, a.StatusCode, a.Body)
	}
	return hubtest.Decode[map[string]any](t, a.Body)
}

// One prints each event on a line, and another attaches to the same session.
func TestChatPrintsJSONAndAttaches(t *testing.T) {
	s := startServer(t)
	code, out, errs := piped(t, nil, "/stream 5", "--hub", s.URL, "--json")
	if code != exitOK {
		t.Fatalf("%d: %s", code, errs)
	}
	seq := 0
	var last string
	for line := range strings.Lines(out) {
		var e struct {
			Seq  int
			Type string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq != seq+1 {
			t.Fatalf("behind %d came %s (%v)", seq, line, err)
		}
		seq, last = e.Seq, e.Type
	}
	if last != "complete" {
		t.Errorf("the last event is %q", last)
	}
	id := sessionID.FindStringSubmatch(errs)[1]
	if code, out, errs := piped(t, nil, "again", "--hub", s.URL, "--session", id); code != exitOK || !strings.HasPrefix(out, "You said: again\n") {
		t.Errorf("%d: %q, %s", code, out, errs)
	}
}

func TestChatCredentials(t *testing.T) {
	key := "a-key-for-the-test"
	s := startServerEnv(t, []string{"SESSIONHUB_API_KEY=" + key})
	t.Setenv("SESSIONHUB_API_KEY", "")
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := piped(t, nil, "x", "--hub", s.URL); code != exitFailed || !strings.Contains(errs, "unauthorized") {
		t.Errorf("without a key: %d, %s", code, errs)
	}
	code, out, errs := piped(t, nil, "hi", "--hub", s.URL, "--key-file", file)
	if code != exitOK || !strings.HasPrefix(out, "You said: hi\n") {
		t.Errorf("with a file: %d, %s, %s", code, out, errs)
	}
	id := sessionID.FindStringSubmatch(errs)[1]
	if code, out, errs := piped(t, []string{"SESSIONHUB_API_KEY=" + key}, "you", "--hub", s.URL, "--session", id); code != exitOK || !strings.HasPrefix(out, "You said: you\n") {
		t.Errorf("attached with the key: %d, %s, %s", code, out, errs)
	}
	if strings.Contains(errs, key) {
		t.Error("it prints the key")
	}
}

// An interrupt stops the turn: it does not run on unseen.
func TestChatInterruptedInAPipe(t *testing.T) {
	s := startServer(t)
	cmd := exec.Command(binary, "chat", "--hub", s.URL, "--json")
	cmd.Stdin = strings.NewReader("/slow 100")
	out := &hubtest.Buffer{}
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	judge.Within(t, 20*time.Second, "the turn runs", func() bool { return strings.Contains(out.String(), "Working") })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitFailed {
		t.Errorf("it ended with %v", err)
	}
	judge.Within(t, 10*time.Second, "the turn was stopped", func() bool {
		sessions := s.get(t, "/api/sessions")["sessions"].([]any)
		return len(sessions) == 1 && sessions[0].(map[string]any)["status"] == "idle"
	})
}

// A network that breaks over and over costs nothing of the answer, and is told of.
func TestChatInAPipeOverABrokenConnection(t *testing.T) {
	s := startServer(t)
	for _, transport := range []string{"auto", "websocket", "sse"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			proxy, err := faultproxy.New(strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			cmd := exec.Command(binary, "chat", "--hub", "http://"+proxy.Addr(), "--transport", transport)
			cmd.Stdin = strings.NewReader("/stream 150 8 30")
			out, errs := &hubtest.Buffer{}, &hubtest.Buffer{}
			cmd.Stdout, cmd.Stderr = out, errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = cmd.Process.Kill() })
			for i, piece := range []string{"10 ", "20 ", "30 "} {
				judge.Within(t, 20*time.Second, "piece "+piece, func() bool { return strings.Contains(out.String(), "\n"+piece) })
				// A cut between two connections cuts nothing.
				judge.Within(t, 20*time.Second, "word of the cut", func() bool {
					proxy.Cut()
					time.Sleep(200 * time.Millisecond)
					return strings.Count(errs.String(), "connection lost") > i
				})
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("it ended with %v: %s", err, errs)
			}
			if want := strings.Join(lines(150), "\n") + "\n"; out.String() != want {
				t.Errorf("it printed %q and said %s", out, errs)
			}
		})
	}
}

// awaitRun waits until what the only turn of a session said is one event.
func (s *server) awaitRun(t *testing.T, id string) {
	t.Helper()
	judge.Within(t, 30*time.Second, "the text is one event", func() bool {
		outputs, from := 0, false
		for _, e := range s.get(t, "/api/sessions/"+id+"/history")["events"].([]any) {
			if e := e.(map[string]any); e["type"] == "output" {
				outputs++
				_, from = e["from"]
			}
		}
		return outputs == 1 && from
	})
}

// lines is what the demo agent says at "/stream n 8".
func lines(n int) (all []string) {
	for i := range n {
		head := fmt.Sprintf("%d ", i+1)
		all = append(all, head+strings.Repeat("x", 8-len(head)-1))
	}
	return all
}

// A text that becomes one event while the connection is away, a part of it printed, is
// printed once.
func TestChatInAPipeOverACompactedRun(t *testing.T) {
	s := startServer(t, "--compact-after", "100ms")
	for _, transport := range []string{"websocket", "sse"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			// A text that has ended before it is cut proves nothing: then a longer one.
			for n := 150; !pipedOverARun(t, s, transport, n); n *= 4 {
			}
		})
	}
}

// pipedOverARun reports whether n lines were cut in their middle.
func pipedOverARun(t *testing.T, s *server, transport string, n int) bool {
	t.Helper()
	proxy, err := faultproxy.New(strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	cmd := exec.Command(binary, "chat", "--hub", "http://"+proxy.Addr(), "--transport", transport)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("/stream %d 8 60", n))
	out, errs := &hubtest.Buffer{}, &hubtest.Buffer{}
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	judge.Within(t, 20*time.Second, "a part of the text", func() bool { return strings.Contains(out.String(), "\n20 ") })
	proxy.Refuse(true)
	s.awaitRun(t, sessionID.FindStringSubmatch(errs.String())[1])
	within := !strings.Contains(out.String(), fmt.Sprintf("\n%d ", n))
	proxy.Refuse(false)
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v: %s", err, errs)
	}
	if want := strings.Join(lines(n), "\n") + "\n"; out.String() != want {
		t.Errorf("it printed %q and said %s", out, errs)
	}
	return within
}
