package contracttest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
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

// Sessions that an agent has from elsewhere: the list of them, and what becomes of one that
// is taken up.

// agentSessions gets a page of what the scripted agent keeps.
func (n *node) agentSessions(query string) protocol.AgentSessions {
	n.t.Helper()
	n.joined()
	return ok[protocol.AgentSessions](n, http.StatusOK, "GET", "/api/agent-sessions?provider=scripted"+query, "")
}

// joined waits until the node's own worker has joined.
func (n *node) joined() {
	n.t.Helper()
	for end := time.Now().Add(judge.Patience); !strings.Contains(n.Log.String(), "worker joined"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			n.t.Fatal("no worker has joined")
		}
	}
}

// takeUp creates a session that takes up one of the scripted agent's.
func (n *node) takeUp(id string) session {
	n.t.Helper()
	n.joined()
	return n.create(`{"provider":"scripted","agentSession":"` + id + `"}`)
}

// until waits until the session has a status, and gives its events.
func (s session) until(want ...protocol.Status) []protocol.Event {
	s.n.t.Helper()
	end := time.Now().Add(judge.Patience)
	for !slices.Contains(want, s.view().Status) {
		if time.Now().After(end) {
			s.n.t.Fatalf("the session is %s, want %v:\n%s", s.view().Status, want, s.n.Log.String())
		}
		time.Sleep(20 * time.Millisecond)
	}
	var all []protocol.Event
	for _, raw := range s.history() {
		all = append(all, hubtest.Decode[protocol.Event](s.n.t, raw))
	}
	return all
}

// short is a log in short: a word for each event, with what it says.
func short(t *testing.T, events []protocol.Event) string {
	t.Helper()
	ids := make(map[string]int)
	number := func(id string) int {
		if id == "" {
			return 0
		}
		if ids[id] == 0 {
			ids[id] = len(ids) + 1
		}
		return ids[id]
	}
	var b strings.Builder
	said := 0
	for _, e := range events {
		var d struct {
			MessageID, Status, Text, StopReason, ToolCallID string
			Replay                                          bool
			Content                                         json.RawMessage
			Error                                           *protocol.TurnError
		}
		if err := json.Unmarshal(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		switch e.Type {
		case protocol.EventStatus:
			fmt.Fprintf(&b, "%s(%d) ", d.Status, number(d.MessageID))
		case protocol.EventMessage:
			fmt.Fprintf(&b, "message(%d,%t,%.20s) ", number(d.MessageID), d.Replay, d.Content)
		case protocol.EventOutput:
			if n := number(d.MessageID); n != said || !strings.HasSuffix(b.String(), "+ ") {
				fmt.Fprintf(&b, "output(%d) + ", n)
				said = n
			}
		case protocol.EventToolCall:
			fmt.Fprintf(&b, "tool(%d,%s,%s) ", number(d.MessageID), d.ToolCallID, d.Status)
		case protocol.EventPlan:
			fmt.Fprintf(&b, "plan(%d) ", number(d.MessageID))
		case protocol.EventComplete:
			fmt.Fprintf(&b, "complete(%d,%t,%s) ", number(d.MessageID), d.Replay, d.StopReason)
		case protocol.EventConfigOptions, protocol.EventAgentStarted:
		default:
			fmt.Fprintf(&b, "%s ", e.Type)
		}
	}
	return strings.TrimSpace(b.String())
}

// The replay of session/load is the log's beginning, without a message. It is no work: it
// costs nothing, and no turn is counted. The next message goes to the same agent.
func TestTakeUpASession(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", scripted.Providers(t, "SCRIPTED_KEPT=some:5:2"))
	page := n.agentSessions("")
	if len(page.Sessions) != 4 || page.NextCursor != "" || page.Workspace == "" {
		t.Fatalf("the agent's sessions are %+v", page)
	}
	if first := page.Sessions[0]; strings.ContainsAny(first.Title, "\x1b\n") || len(first.Title) > protocol.MaxAgentSessionTitle || first.UpdatedAt == nil {
		t.Errorf("the first is %+v", first)
	}
	if page.Sessions[1].UpdatedAt != nil {
		t.Errorf("a time that is none: %v", page.Sessions[1].UpdatedAt)
	}
	s := n.takeUp("kept-2-3")
	log := s.until(protocol.StatusIdle)
	want := `queued(0) starting(0) running(0) message(1,true,"question 1") tool(1,k1,completed) plan(1) usage output(1) + ` +
		`complete(1,true,end_turn) message(2,true,"question 2") output(2) + complete(2,true,end_turn) idle(0)`
	if got := short(t, log); got != want {
		t.Errorf("the log is\n%s, want\n%s", got, want)
	}
	v := s.view()
	if v.Title != "question 1" || v.Usage == nil || v.Usage.Cost != nil {
		t.Errorf("the session is %+v, its usage %+v", v, v.Usage)
	}
	m := n.metrics()
	if turns := m[`sessionhub_turns_total{provider="scripted",stop_reason="end_turn"}`]; turns != 0 {
		t.Errorf("%v turns were counted", turns)
	}
	st := s.ws("")
	if done := s.turn(st, "cost 5.5"); done.Replay || done.Cost == nil || done.Cost.Amount != 0.5 {
		t.Errorf("the first turn ended as %+v", done)
	}
	if loads := strings.Count(n.Log.String(), "session assigned"); loads != 1 {
		t.Errorf("the session was assigned %d times", loads)
	}
	if page := n.agentSessions(""); slices.ContainsFunc(page.Sessions, func(a protocol.AgentSession) bool { return a.SessionID != "" }) {
		t.Errorf("a session of the list is taken: %+v", page.Sessions)
	}
}

// Two sessions on one of the agent's would each lack what the other one did.
func TestASessionIsTakenUpOnce(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t, "SCRIPTED_KEPT=some:2:2"))
	s := n.takeUp("kept-1")
	body := `{"provider":"scripted","agentSession":"kept-1"}`
	again := n.call("POST", "/api/sessions", body)
	if err := again.Problem(http.StatusConflict, protocol.CodeTakenUp); err != nil {
		t.Error(err)
	}
	if p := hubtest.Decode[protocol.Problem](t, again.Body); p.SessionID != s.SessionID {
		t.Errorf("the refusal names %q, want %q", p.SessionID, s.SessionID)
	}
	if page := n.agentSessions(""); page.Sessions[1].SessionID != s.SessionID || page.Sessions[0].SessionID != "" {
		t.Errorf("the list says %+v", page.Sessions)
	}
	s.until(protocol.StatusIdle)
	if r := n.call("DELETE", s.path, "", s.bearer()...); r.StatusCode != http.StatusNoContent {
		t.Errorf("delete: %d", r.StatusCode)
	}
	n.refused(http.StatusBadRequest, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{"provider":"scripted","agentSession":"a\nb"}`)
	n.refused(http.StatusBadRequest, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{"provider":"scripted","workspace":"w"}`)
	n.refused(http.StatusServiceUnavailable, protocol.CodeNoWorker, "POST", "/api/sessions", `{"provider":"scripted","agentSession":"x","workspace":"another"}`)
}

// A list without an end, an agent that hangs or dies, and one that cannot list.
func TestAgentSessionsOfABadAgent(t *testing.T) {
	t.Parallel()
	t.Run("10,000 sessions", func(t *testing.T) {
		t.Parallel()
		n := serve(t, "--providers-file", scripted.Providers(t, "SCRIPTED_KEPT=odd:10000:10000"))
		seen, cursor, pages := make(map[string]bool), "", 0
		for ; pages == 0 || cursor != ""; pages++ {
			page := n.agentSessions("&cursor=" + cursor)
			if len(page.Sessions) > protocol.MaxAgentSessions {
				t.Fatalf("a page has %d sessions", len(page.Sessions))
			}
			for _, s := range page.Sessions {
				if seen[s.AgentSession] || strings.ContainsAny(s.AgentSession, "\n") || s.WorkingDirectory == "/etc" {
					t.Fatalf("%+v is told", s)
				}
				seen[s.AgentSession] = true
			}
			if cursor = page.NextCursor; pages == 2 {
				break // each page starts an agent
			}
		}
		if len(seen) != 3*protocol.MaxAgentSessions {
			t.Errorf("three pages have %d sessions", len(seen))
		}
		n.refused(http.StatusBadRequest, protocol.CodeInvalidRequest, "GET", "/api/agent-sessions?provider=scripted&cursor=%21", "")
		n.refused(http.StatusForbidden, protocol.CodeWorkingDirectory, "GET", "/api/agent-sessions?provider=scripted&workingDirectory=/etc", "")
	})
	t.Run("it hangs", func(t *testing.T) {
		t.Parallel()
		n := serve(t, "--providers-file", scripted.Providers(t, "SCRIPTED_KEPT=hang:1:1"))
		n.joined()
		n.refused(http.StatusGatewayTimeout, protocol.CodeWorkerTimeout, "GET", "/api/agent-sessions?provider=scripted", "")
		s := n.create(scriptedSession)
		s.turn(s.ws(""), "echo")
	})
	t.Run("it dies", func(t *testing.T) {
		t.Parallel()
		n := serve(t, "--providers-file", scripted.Providers(t, "SCRIPTED_KEPT=die:1:1"))
		n.joined()
		n.refused(http.StatusBadGateway, protocol.CodeWorkerFailed, "GET", "/api/agent-sessions?provider=scripted", "")
	})
	t.Run("it cannot", func(t *testing.T) {
		t.Parallel()
		n := serve(t)
		n.joined()
		n.refused(http.StatusNotImplemented, protocol.CodeNotImplemented, "GET", "/api/agent-sessions", "")
		s := n.create(`{"agentSession":"x"}`)
		s.until(protocol.StatusFailed)
	})
}

// A history that cannot be loaded fails the session, and says why. What it had by then
// stays.
func TestTakeUpOfWhatCannotBeLoaded(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", scripted.Providers(t))
	for id, want := range map[string]string{
		"refuses": `queued(0) starting(0) failed(0) closed`,
		"dies": `queued(0) starting(0) running(0) message(1,true,"question 1") tool(1,k1,completed) plan(1) usage output(1) + ` +
			`complete(1,true,end_turn) message(2,true,"question 2") output(2) + complete(2,true,error) failed(0) closed`,
	} {
		t.Run(id, func(t *testing.T) {
			s := n.takeUp(id)
			log := s.until(protocol.StatusFailed)
			if got := short(t, log); got != want {
				t.Errorf("the log is\n%s, want\n%s", got, want)
			}
		})
	}
	t.Run("with a message that waits", func(t *testing.T) {
		s := n.takeUp("refuses-1")
		n.call("POST", s.path+"/messages", `{"content":"hello","messageId":"m1"}`, s.bearer()...)
		if log := short(t, s.until(protocol.StatusFailed)); strings.Contains(log, "message") && !strings.Contains(log, "complete(1,false,error)") {
			t.Errorf("the log is %s", log)
		}
	})
}

// A message that is sent before the history is there waits for it, and a history goes on
// behind the answer to session/load.
func TestMessageWaitsForTheHistory(t *testing.T) {
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.takeUp("late")
	s.send("echo")
	st := s.ws("")
	for n := 0; n < 3; n++ {
		st.until("complete")
	}
	got := short(t, s.until(protocol.StatusIdle))
	if i, j := strings.Index(got, `"question 2"`), strings.Index(got, "complete(1,false,end_turn)"); i < 0 || j < i {
		t.Errorf("the log is %s", got)
	}
}

// What an agent replays is held to what people could have sent, and asks nobody.
func TestHostileHistory(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", scripted.Providers(t))
	s := n.takeUp("hostile")
	got := short(t, s.until(protocol.StatusIdle))
	want := `queued(0) starting(0) running(0) message(1,true,"xxxxxxxxxxxxxxxxxxx) output(1) + complete(1,true,end_turn) ` +
		`message(2,true,"[image left out: th) output(2) + complete(2,true,end_turn) ` +
		`message(3,true,"   [file:///etc/pas) output(3) + tool(3,open,in_progress) tool(3,open,failed) complete(3,true,end_turn) idle(0)`
	if got != want {
		t.Errorf("the log is\n%s, want\n%s", got, want)
	}
}

// A long history is stored as fast as the store takes it, whole and once.
func TestLongHistory(t *testing.T) {
	t.Parallel()
	n := serve(t, "--providers-file", scripted.Providers(t), "--log-max-events", "200000", "--log-max-bytes", "1GiB", "--worker-buffer", "64KiB")
	s := n.takeUp("kept-10-10000")
	var got, want strings.Builder
	for _, e := range s.until(protocol.StatusIdle) {
		if e.Type == protocol.EventOutput {
			got.WriteString(hubtest.Decode[protocol.OutputData](t, e.Data).Text)
		}
	}
	for turn := 1; turn <= 10; turn++ {
		for i := range 10_000 {
			fmt.Fprintf(&want, "answer %d.%d ", turn, i)
		}
	}
	if got.String() != want.String() {
		t.Errorf("the log has %d bytes of text, want %d", got.Len(), want.Len())
	}
}

// A worker that is killed in the middle of a replay leaves a part of the history in the log.
// No other worker begins it again, and the next message finds the agent with all of it.
func TestWorkerIsKilledInTheMiddleOfAHistory(t *testing.T) {
	t.Parallel()
	n := serveEnv(t, []string{"SESSIONHUB_WORKER_KEY=" + workerKey}, "--worker", "none", "--worker-lease", "4s")
	root, providers := t.TempDir(), scripted.Providers(t)
	first := n.worker(t, "first", root, "--providers-file", providers)
	n.joined()
	s := n.takeUp("slow-20")
	judge.Within(t, time.Minute, "the middle of the history", func() bool { return s.view().LastSeq > 20 })
	first.signal(t, syscall.SIGKILL)
	n.worker(t, "second", root, "--providers-file", providers)
	before := short(t, s.until(protocol.StatusIdle))
	want := `queued(0) starting(0) running(0) message(1,true,"slow question") output(1) + complete(1,true,error) idle(0)`
	if before != want {
		t.Errorf("the log is\n%s, want\n%s", before, want)
	}
	s.turn(s.ws(""), "echo")
	if after := short(t, s.until(protocol.StatusIdle)); !strings.HasPrefix(after, before) || strings.Count(after, "slow question") != 1 {
		t.Errorf("the log is %s", after)
	}
}

// The agents of a worker for everybody keep everybody's sessions: no user sees or takes up
// another's. A user's own worker shows them to that user alone. A fork stays among the
// user's own sessions, so any worker makes it.
func TestAgentSessionsOfOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name string, lines ...string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	line := func(name, user, key string) string {
		return fmt.Sprintf("%s:%s:%x", name, user, sha256.Sum256([]byte(key)))
	}
	env := []string{
		"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32),
		"SESSIONHUB_API_KEYS_FILE=" + file("keys", line("a", "alice", "key-alice"), line("b", "bob", "key-bob")),
		"SESSIONHUB_WORKER_KEYS_FILE=" + file("worker-keys", line("w", "alice", workerKey)),
	}
	providers := scripted.Providers(t, "SCRIPTED_KEPT=some:2:0")
	alice, bob := []string{"X-API-Key", "key-alice"}, []string{"X-API-Key", "key-bob"}
	list, body := "/api/agent-sessions?provider=scripted", `{"provider":"scripted","agentSession":"kept-1"}`

	n := serveEnv(t, env, "--providers-file", providers)
	n.joined()
	for _, who := range [][]string{alice, bob} {
		n.refused(http.StatusServiceUnavailable, protocol.CodeNoWorker, "GET", list, "", who...)
		n.refused(http.StatusServiceUnavailable, protocol.CodeNoWorker, "POST", "/api/sessions", body, who...)
	}
	s := n.create(scriptedSession, bob...)
	s.turn(s.ws(""), "echo")
	n.refused(http.StatusNotFound, protocol.CodeNotFound, "POST", s.path+"/fork", `{}`, alice...)
	s.fork(`{}`, bob...).until(protocol.StatusIdle)

	n.worker(t, "own", t.TempDir(), "--providers-file", providers)
	judge.Within(t, time.Minute, "alice's worker", func() bool { return strings.Contains(n.Log.String(), `"worker":"alice/own"`) })
	judge.Within(t, time.Minute, "alice's list", func() bool { return n.call("GET", list, "", alice...).StatusCode == http.StatusOK })
	n.refused(http.StatusServiceUnavailable, protocol.CodeNoWorker, "GET", list, "", bob...)
	n.refused(http.StatusServiceUnavailable, protocol.CodeNoWorker, "POST", "/api/sessions", body, bob...)
	n.refused(http.StatusServiceUnavailable, protocol.CodeNoWorker, "POST", "/api/sessions", `{"provider":"scripted","agentSession":"kept-1","workspace":"shared"}`, bob...)
	n.create(body, alice...).until(protocol.StatusIdle)

	shared := serveEnv(t, env[:2], "--providers-file", providers, "--share-agent-sessions")
	shared.joined()
	ok[protocol.AgentSessions](shared, http.StatusOK, "GET", list, "", bob...)
}

// Two nodes: the worker's link is on the other one.
func TestTakeUpOverAnotherNode(t *testing.T) {
	t.Parallel()
	store := valkeytest.Start(t, valkeytest.Valkey(t))
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32), "SESSIONHUB_WORKER_KEY=" + workerKey}
	providers := scripted.Providers(t, "SCRIPTED_KEPT=some:2:0")
	one := serveEnv(t, env, "--valkey-url", store.URL(), "--worker", "none")
	two := serveEnv(t, env, "--valkey-url", store.URL(), "--worker", "none")
	one.worker(t, "far", t.TempDir(), "--providers-file", providers)
	one.joined()
	judge.Within(t, time.Minute, "the worker in the other node's list", func() bool {
		return two.call("GET", "/api/agent-sessions?provider=scripted", "").StatusCode == http.StatusOK
	})
	s := two.create(`{"provider":"scripted","agentSession":"kept-2-2"}`)
	log := short(t, s.until(protocol.StatusIdle))
	if strings.Count(log, "message(") != 2 || !strings.HasSuffix(log, "idle(0)") {
		t.Errorf("the log is %s", log)
	}
	s.turn(s.ws(""), "echo")
	two.refused(http.StatusConflict, protocol.CodeTakenUp, "POST", "/api/sessions", `{"provider":"scripted","agentSession":"kept-2-2"}`)
	s.until(protocol.StatusIdle)
	f := s.fork(`{}`)
	if got := short(t, f.until(protocol.StatusIdle)); strings.Count(got, "message(") != 3 {
		t.Errorf("the fork's log is %s", got)
	}
}
