package contracttest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// open are the questions of a session that wait for an answer.
func (s session) open() []protocol.ToolApprovalData {
	s.n.t.Helper()
	return ok[protocol.Approvals](s.n, http.StatusOK, "GET", s.path+"/approvals", "", s.bearer()...).Approvals
}

func (s session) allow(interaction string) {
	s.n.t.Helper()
	ok[any](s.n, http.StatusOK, "POST", s.path+"/approve", `{"interactionId":"`+interaction+`","decision":"allow_once"}`, s.bearer()...)
}

// words are the events behind the first end of a turn, in short.
func (s session) words() (words []string) {
	s.n.t.Helper()
	began := false
	for _, raw := range s.history() {
		e := hubtest.Decode[protocol.Event](s.n.t, raw)
		if !began {
			began = e.Type == protocol.EventComplete
			continue
		}
		d := hubtest.Decode[struct{ MessageID, Status, Outcome, Text, Kind, StopReason string }](s.n.t, e.Data)
		word := string(e.Type)
		for _, v := range []string{d.MessageID, d.Status, d.Outcome, d.Text, d.StopReason} {
			if v != "" {
				word += " " + v
			}
		}
		words = append(words, word)
	}
	return words
}

// waitsFor waits until all these words are behind the first end of a turn, in order.
func (s session) waitsFor(most time.Duration, want ...string) {
	s.n.t.Helper()
	var words []string
	left := func() []string {
		words = s.words()
		left := want
		for _, w := range words {
			if len(left) > 0 && strings.Contains(w, left[0]) {
				left = left[1:]
			}
		}
		return left
	}
	met := false
	defer func() {
		if !met {
			s.n.t.Logf("the log\n  %s", strings.Join(words, "\n  "))
		}
	}()
	judge.Within(s.n.t, most, fmt.Sprintf("%q in the log", want), func() bool { return len(left()) == 0 })
	met = true
}

// What the agent does behind the end of its turn is told as such, and its question is
// answered as any other. It was answered with no before anybody saw it.
func TestBackground(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	if c := s.turn(s.ws(""), "/background 0.2"); c.StopReason != protocol.StopEndTurn {
		t.Fatalf("the turn %+v", c)
	}
	st := s.sse("")
	q := hubtest.Decode[map[string]any](t, st.until("tool_approval").Data)
	if _, there := q["messageId"]; there || q["title"] != "Work in the background" {
		t.Errorf("asked %v", q)
	}
	judge.Within(t, 10*time.Second, "the status", func() bool { return s.view().Status == protocol.StatusRequiresAction })
	pending := s.open()
	if len(pending) != 1 || pending[0].MessageID != "" || pending[0].ExpiresAt == nil || s.view().PendingApprovals != 1 {
		t.Fatalf("pending %+v", pending)
	}
	// A turn beside it neither answers nor ends it.
	if c := s.turn(s.ws("?after=latest"), "hello"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("the turn beside it %+v", c)
	}
	if len(s.open()) != 1 {
		t.Error("the question is gone with a turn")
	}
	s.allow(pending[0].InteractionID)
	n.refused(http.StatusConflict, protocol.CodeApprovalResolved, "POST", s.path+"/approve", `{"interactionId":"`+pending[0].InteractionID+`","decision":"allow_once"}`, s.bearer()...)
	s.waitsFor(30*time.Second, "status running", "tool_call in_progress", "tool_approval", "status requires_action", "complete", "approval_resolved selected",
		"status running", "tool_call completed", "output The work in the background is done: allow_once.", "status idle")
	if got := s.view().Status; got != protocol.StatusIdle {
		t.Errorf("in the end it is %s", got)
	}
	text := string(n.call("GET", s.path+"/transcript", "", s.bearer()...).Body)
	if !strings.Contains(text, "\n## In the background\n\n### Decision: Work in the background\n") || !strings.Contains(text, "The work in the background is done: allow_once.") {
		t.Errorf("the transcript\n%s", text)
	}
}

// Stop without a turn stops the background; over a WebSocket as over HTTP.
func TestBackgroundIsStopped(t *testing.T) {
	t.Parallel()
	n := serve(t)
	for name, stop := range map[string]func(session){
		"HTTP": func(s session) {
			ok[any](n, http.StatusAccepted, "POST", s.path+"/cancel", `{}`, s.bearer()...)
		},
		"WebSocket": func(s session) {
			if a := s.ws("").command("cancel", "c1", `{}`); a.Error.Code != "" {
				t.Errorf("cancel: %+v", a.Error)
			}
		},
	} {
		s := n.create(`{}`)
		s.turn(s.ws(""), "/background 3600")
		s.waitsFor(20*time.Second, "tool_call in_progress")
		ok[any](n, http.StatusAccepted, "POST", s.path+"/cancel", `{"messageId":"`+lastMessage(s)+`"}`, s.bearer()...) // of the turn that is over
		stop(s)
		s.waitsFor(20*time.Second, "tool_call failed", "output The work in the background was stopped.", "status idle")
		if strings.Count(strings.Join(s.words(), "\n"), "tool_call failed") != 1 {
			t.Errorf("%s: %q", name, s.words())
		}
	}
}

// A call that the agent told of by its question alone ends with the question, if nobody has
// allowed it. The session said for hours that it runs.
func TestRefusedInTheBackground(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", scripted.Providers(t))
	for _, c := range []struct {
		scenario, outcome string
		end               func(s session, interaction string)
	}{
		{"late", "selected", func(s session, interaction string) {
			ok[any](n, http.StatusOK, "POST", s.path+"/approve", `{"interactionId":"`+interaction+`","decision":"reject_once"}`, s.bearer()...)
		}},
		{"late", "cancelled", func(s session, _ string) {
			ok[any](n, http.StatusAccepted, "POST", s.path+"/cancel", `{}`, s.bearer()...)
		}},
		{"lateback", "cancelled", func(session, string) {}},
	} {
		t.Run(c.scenario+" "+c.outcome, func(t *testing.T) {
			t.Parallel()
			s := n.create(scriptedSession)
			st := s.ws("")
			s.send(c.scenario)
			c.end(s, hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data).InteractionID)
			s.waitsFor(30*time.Second, "tool_approval", "approval_resolved "+c.outcome, "tool_call failed", "status idle")
			if words := strings.Join(s.words(), "\n"); strings.Count(words, "tool_call failed") != 1 || strings.Contains(words, "notice") {
				t.Errorf("the log\n%s", words)
			}
		})
	}
}

func lastMessage(s session) (id string) {
	for _, raw := range s.history() {
		if e := hubtest.Decode[protocol.Event](s.n.t, raw); e.Type == protocol.EventMessage {
			id = hubtest.Decode[protocol.MessageData](s.n.t, e.Data).MessageID
		}
	}
	return id
}

// killAgent ends the demo agent that runs in a directory as kill -9 does.
func killAgent(t *testing.T, root string) {
	t.Helper()
	root, err := filepath.EvalSymlinks(root)
	if err != nil {
		t.Fatal(err)
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*") // the pattern is sound
	for _, dir := range dirs {
		args, _ := os.ReadFile(dir + "/cmdline") // it may have ended meanwhile
		cwd, _ := os.Readlink(dir + "/cwd")
		if words := strings.Split(string(args), "\x00"); cwd != root || len(words) < 2 || words[1] != "demo-agent" {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("no agent runs")
}

// Whatever is killed in the middle of work in the background: its question ends once, the
// session does not say that it works, and the next message runs.
func TestKilledInTheBackground(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// begin gives a node with a session's worker, and then kills something. after is the node on
		// which it goes on.
		begin func(t *testing.T) (n *node, kill func(root string) (after *node))
		lost  bool // the worker has no word about what was open
	}{
		{"the agent", func(t *testing.T) (*node, func(string) *node) {
			n := serve(t)
			return n, func(root string) *node { killAgent(t, root); return n }
		}, false},
		{"the worker", func(t *testing.T) (*node, func(string) *node) {
			n := serveEnv(t, []string{"SESSIONHUB_WORKER_KEY=" + workerKey}, "--worker", "none", "--worker-lease", "4s")
			w := n.worker(t, "first", n.Root)
			return n, func(root string) *node {
				w.signal(t, syscall.SIGKILL)
				n.worker(t, "second", root)
				return n
			}
		}, true},
		{"a node with its sessions on disk", func(t *testing.T) (*node, func(string) *node) {
			dir := t.TempDir()
			n := serve(t, "--data-dir", dir)
			return n, func(root string) *node {
				n.kill()
				return serve(t, "--data-dir", dir, "--workspace-root", root)
			}
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, kill := c.begin(t)
			s := n.create(`{}`)
			st := s.ws("")
			s.turn(st, "/background 3600")
			s.turn(st, "/background 0")
			s.waitsFor(40*time.Second, "tool_call in_progress", "tool_approval", "status requires_action")
			s = s.on(kill(n.Root))
			want := []string{"approval_resolved cancelled", "tool_call failed", "status idle"}
			if c.lost {
				want = []string{"approval_resolved cancelled", "status idle"}
			}
			s.waitsFor(40*time.Second, want...)
			if open := s.open(); len(open) != 0 {
				t.Errorf("open %+v", open)
			}
			if got := strings.Count(fmt.Sprint(s.words()), "approval_resolved"); got != 1 {
				t.Errorf("%d outcomes: %q", got, s.words())
			}
			if end := s.ends(s.n, 40*time.Second, s.send("hello").MessageID); end.StopReason != protocol.StopEndTurn {
				t.Errorf("the next message: %+v", end)
			}
			s.waitsFor(10*time.Second, "status idle", "complete", "status idle")
		})
	}
}

// The node with the worker's link is killed, and another one takes the answer meanwhile.
// The worker hears it when it is back, and its agent goes on.
func TestAnswerWhileTheNodeOfTheWorkerIsAway(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32), "SESSIONHUB_WORKER_KEY=" + workerKey}
	flags := []string{"--valkey-url", server.URL(), "--worker", "none", "--worker-lease", "30s"}
	a, b := serveEnv(t, env, flags...), serveEnv(t, env, flags...)
	a.worker(t, "w1", a.Root)
	s := b.create(`{}`)
	s.turn(s.ws(""), "/background 0")
	s.waitsFor(20*time.Second, "tool_approval", "status requires_action")
	a.kill()
	s.allow(s.open()[0].InteractionID)
	serveEnv(t, env, append(flags, "--listen", a.Host())...)
	s.waitsFor(40*time.Second, "approval_resolved selected", "status running", "tool_call completed", "allow_once", "status idle")
}
