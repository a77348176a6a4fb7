package contracttest

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// asks has the demo agent ask, and gives its question.
func (s session) asks(st *stream, text string) protocol.ElicitationData {
	s.n.t.Helper()
	s.send(text)
	return hubtest.Decode[protocol.ElicitationData](s.n.t, st.until("elicitation").Data)
}

// answer answers a question over HTTP.
func (s session) answer(q protocol.ElicitationData, rest string) hubtest.Answer {
	s.n.t.Helper()
	return s.n.call("POST", s.path+"/answer", `{"interactionId":"`+q.InteractionID+`",`+rest+`}`, s.bearer()...)
}

const goodOrder = `{"name":"Ada","size":"l","extras":["ice"],"takeOut":false}`

// A question of the agent is open, checked before it is taken, answered once, and its answer
// reaches the agent and every reader.
func TestQuestionIsAnsweredOnce(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	q := s.asks(st, "/ask Tea or coffee?")
	has(t, "the question", st.last().Data, "messageId interactionId mode message requestedSchema expiresAt")
	if q.Mode != "form" || q.Message != "Tea or coffee?" || q.URL != "" {
		t.Errorf("asked %+v", q)
	}
	if v := s.view(); v.Status != "requires_action" || v.PendingElicitations != 1 || v.PendingApprovals != 0 {
		t.Errorf("meanwhile the session is %+v", v)
	}
	list := ok[protocol.Elicitations](n, 200, "GET", s.path+"/elicitations", "", s.bearer()...)
	if len(list.Elicitations) != 1 || list.Elicitations[0].InteractionID != q.InteractionID {
		t.Fatalf("pending: %+v", list)
	}
	for rest, want := range map[string]struct {
		code  protocol.Code
		field string
	}{
		`"action":"accept"`: {protocol.CodeInvalidAnswer, "name"},
		`"action":"accept","content":{"name":"Ada","size":"huge"}`:         {protocol.CodeInvalidAnswer, "size"},
		`"action":"accept","content":{"name":"Ada","size":"s","cups":1.5}`: {protocol.CodeInvalidAnswer, "cups"},
		`"action":"accept","content":{"name":"Ada","size":"s","x":1}`:      {protocol.CodeInvalidAnswer, "x"},
		`"action":"accept","content":[]`:                                   {protocol.CodeInvalidAnswer, ""},
		`"action":"decline","content":{"name":"Ada"}`:                      {protocol.CodeInvalidAnswer, ""},
		`"action":"perhaps"`: {protocol.CodeInvalidRequest, ""},
		`"content":{}`:       {protocol.CodeInvalidRequest, ""},
	} {
		r := s.answer(q, rest)
		if err := r.Problem(400, want.code); err != nil {
			t.Errorf("%s: %v", rest, err)
			continue
		}
		if p := hubtest.Decode[protocol.Problem](t, r.Body); p.Field != want.field || !strings.Contains(p.Detail, want.field) {
			t.Errorf("%s: %s", rest, r.Body)
		}
	}
	n.refused(404, protocol.CodeNotFound, "POST", s.path+"/answer", `{"interactionId":"none","action":"decline"}`, s.bearer()...)
	n.refused(400, protocol.CodeInvalidRequest, "POST", s.path+"/answer", `{"action":"decline"}`, s.bearer()...)
	n.refused(404, protocol.CodeNotFound, "POST", s.path+"/approve", `{"interactionId":"`+q.InteractionID+`","decision":"allow_once"}`, s.bearer()...)

	// Who may only read and write answers nothing.
	narrow := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read write"}`, s.bearer()...)
	n.refused(403, protocol.CodeScope, "POST", s.path+"/answer", `{"interactionId":"`+q.InteractionID+`","action":"decline"}`, "Authorization", "Bearer "+narrow.Token)

	if r := s.answer(q, `"action":"accept","content":`+goodOrder); r.StatusCode != 200 || hubtest.Decode[protocol.AnswerResponse](t, r.Body) != (protocol.AnswerResponse{InteractionID: q.InteractionID, Action: "accept"}) {
		t.Fatalf("%d %s", r.StatusCode, r.Body)
	}
	done := hubtest.Decode[protocol.ElicitationResolvedData](t, st.until("elicitation_resolved").Data)
	if done.InteractionID != q.InteractionID || done.Outcome != "accepted" || done.By != "local" || string(done.Content) != goodOrder {
		t.Errorf("resolved: %+v", done)
	}
	r := s.answer(q, `"action":"decline"`)
	if err := r.Problem(409, protocol.CodeQuestionResolved); err != nil {
		t.Error(err)
	}
	if p := hubtest.Decode[protocol.Problem](t, r.Body); p.Outcome != "accepted" {
		t.Errorf("the loser is told %s", r.Body)
	}
	st.until("complete")
	if got := st.text("text"); !strings.Contains(got, `You answered: {"extras":["ice"],"name":"Ada","size":"l","takeOut":false}`) {
		t.Errorf("the agent said %q", got)
	}

	// Over the WebSocket the same.
	q = s.asks(st, "/page https://example.org/login")
	if q.Mode != "url" || q.URL != "https://example.org/login" || len(q.RequestedSchema) > 0 {
		t.Errorf("asked %+v", q)
	}
	if a := st.command("answer", "a1", `{"interactionId":"`+q.InteractionID+`","action":"accept","content":{}}`); a.Error.Code != protocol.CodeInvalidAnswer {
		t.Errorf("a page with content: %+v", a)
	}
	if a := st.command("answer", "a2", `{"interactionId":"`+q.InteractionID+`","action":"accept"}`); a.Type != "ack" {
		t.Errorf("%+v", a)
	}
	if a := st.command("answer", "a3", `{"interactionId":"`+q.InteractionID+`","action":"cancel"}`); a.Error.Code != protocol.CodeQuestionResolved || a.Error.Outcome != "accepted" {
		t.Errorf("a second answer: %+v", a)
	}
	st.until("complete")
	transcript := n.call("GET", s.path+"/transcript", "", s.bearer()...)
	for _, want := range []string{"> Tea or coffee?", "- Size (Small, Large): **Large**", "- Page: https://example.org/login"} {
		if !strings.Contains(string(transcript.Body), want) {
			t.Errorf("the transcript lacks %q:\n%s", want, transcript.Body)
		}
	}
}

// A question that nobody answers expires; one of a cancelled turn is cancelled. The agent
// gets its answer in either case, and a late one is told why.
func TestQuestionEndsWithoutAnAnswer(t *testing.T) {
	n := serve(t, "--approval-timeout", "700ms")
	s := n.create(`{}`)
	st := s.ws("")
	q := s.asks(st, "/ask Still there?")
	done := hubtest.Decode[protocol.ElicitationResolvedData](t, st.until("elicitation_resolved").Data)
	if done.Outcome != "expired" || done.InteractionID != q.InteractionID || done.By != "" {
		t.Errorf("resolved: %+v", done)
	}
	st.until("complete")
	if got := st.text("text"); !strings.Contains(got, "You gave no answer.") {
		t.Errorf("the agent said %q", got)
	}
	if err := s.answer(q, `"action":"decline"`).Problem(410, protocol.CodeQuestionExpired); err != nil {
		t.Error(err)
	}
	n = serve(t)
	s = n.create(`{}`)
	st = s.ws("")
	q = s.asks(st, "/ask Stop?")
	n.call("POST", s.path+"/cancel", `{}`, s.bearer()...)
	if done = hubtest.Decode[protocol.ElicitationResolvedData](t, st.until("elicitation_resolved").Data); done.Outcome != "cancelled" {
		t.Errorf("resolved: %+v", done)
	}
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != "cancelled" {
		t.Errorf("%+v", c)
	}
	if err := s.answer(q, `"action":"decline"`).Problem(409, protocol.CodeQuestionResolved); err != nil {
		t.Error(err)
	}
}

// What cannot be shown to people comes back to the agent as an error that says why, and
// the turn goes on.
func TestQuestionThatCannotBeShown(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	for page, want := range map[string]string{
		"javascript:alert(1)": "neither http nor https", "https://github.com@evil.example/": "a user name before its host", "https://bücher.example/": "write it as punycode",
	} {
		st := s.ws("?after=latest")
		if c := s.turn(st, "/page "+page); c.StopReason != "end_turn" {
			t.Errorf("%s: %+v", page, c)
		}
		if got := st.text("text"); !strings.Contains(got, "I could not ask: ") || !strings.Contains(got, want) {
			t.Errorf("%s: the agent said %q", page, got)
		}
	}
	s.turn(st, "hello")
	if strings.Contains(st.types(), "elicitation") {
		t.Errorf("people were asked: %s", st.types())
	}
}

// Whatever is killed while a question is open, the question ends for everybody, its message
// has one end, and the next message works and can ask again.
func TestQuestionOverKills(t *testing.T) {
	t.Parallel()
	ended := func(t *testing.T, s session, st *stream, q protocol.ElicitationData, code string) {
		t.Helper()
		var log strings.Builder
		judge.Within(t, 60*time.Second, "the end of the turn", func() bool {
			log.Reset()
			for _, raw := range s.history() {
				log.Write(raw)
			}
			return s.view().Status == protocol.StatusIdle && strings.Contains(log.String(), `"`+code+`"`)
		})
		if got := log.String(); strings.Count(got, `"type":"elicitation_resolved"`) != 1 || strings.Count(got, `"type":"complete"`) != 1 ||
			!strings.Contains(got, `"interactionId":"`+q.InteractionID+`","outcome":"cancelled"`) {
			t.Errorf("the log: %s", got)
		}
		if r := s.answer(q, `"action":"decline"`); r.Problem(409, protocol.CodeQuestionResolved) != nil {
			t.Errorf("a late answer: %d %s", r.StatusCode, r.Body)
		}
		next := s.asks(st, "/ask Again?")
		if r := s.answer(next, `"action":"accept","content":`+goodOrder); r.StatusCode != 200 {
			t.Errorf("the next question: %d %s", r.StatusCode, r.Body)
		}
		if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != protocol.StopEndTurn {
			t.Errorf("the next message: %+v", c)
		}
	}
	t.Run("the node", func(t *testing.T) {
		t.Parallel()
		dir, root := t.TempDir(), t.TempDir()
		start := func() *node {
			return serve(t, "--data-dir", dir, "--workspace-root", root, "--worker-lease", "3s")
		}
		n := start()
		s := n.create(`{}`)
		q := s.asks(s.ws(""), "/ask Before the fall?")
		n.kill()
		n = start()
		s = s.on(n)
		ended(t, s, s.ws("?after=latest"), q, protocol.TurnWorkerLost)
	})
	t.Run("the worker", func(t *testing.T) {
		t.Parallel()
		n := serveEnv(t, []string{"SESSIONHUB_WORKER_KEY=" + workerKey}, "--worker", "none", "--worker-lease", "3s")
		root := t.TempDir()
		w := n.worker(t, "first", root)
		s := n.create(`{}`)
		st := s.ws("")
		q := s.asks(st, "/ask Before the fall?")
		w.signal(t, syscall.SIGKILL)
		n.worker(t, "second", root)
		ended(t, s, st, q, protocol.TurnWorkerLost)
	})
	t.Run("the agent", func(t *testing.T) {
		t.Parallel()
		n := serve(t)
		s := n.create(`{}`)
		st := s.ws("")
		q := s.asks(st, "/ask Before the fall?")
		for _, pid := range agentsIn(t, n.Root) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		ended(t, s, st, q, protocol.TurnAgentCrashed)
	})
}

// agentsIn are the demo agents that run in a directory.
func agentsIn(t *testing.T, dir string) (pids []int) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		line, err := os.ReadFile(filepath.Join(filepath.Dir(name), "cmdline"))
		if cwd, e := os.Readlink(name); err != nil || e != nil || cwd != dir || !strings.Contains(string(line), "demo-agent") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) == 0 {
		t.Fatalf("no agent runs in %s", dir)
	}
	return pids
}

// A question that one node's worker asks is answered on another, once: of two answers at the
// same time, one wins.
func TestQuestionOverTwoNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32)}
	a := serveEnv(t, env, "--valkey-url", server.URL())
	b := serveEnv(t, env, "--valkey-url", server.URL(), "--worker", "none")
	s := a.create(`{"workingDirectory":"` + a.Root + `"}`)
	onA, onB := s.ws(""), s.on(b).ws("")
	q := s.asks(onA, "/ask Which node?")
	onB.until("elicitation")
	if list := ok[protocol.Elicitations](b, 200, "GET", s.path+"/elicitations", "", s.bearer()...); len(list.Elicitations) != 1 {
		t.Errorf("pending on the other node: %+v", list)
	}
	if r := s.on(b).answer(q, `"action":"accept"`); r.Problem(400, protocol.CodeInvalidAnswer) != nil {
		t.Errorf("a bad answer on the other node: %d %s", r.StatusCode, r.Body)
	}
	answers := make(chan hubtest.Answer, 2)
	for _, on := range []session{s, s.on(b)} {
		go func() { answers <- on.answer(q, `"action":"accept","content":`+goodOrder) }()
	}
	won := 0
	for range 2 {
		if r := <-answers; r.StatusCode == 200 {
			won++
		} else if err := r.Problem(409, protocol.CodeQuestionResolved); err != nil {
			t.Error(err)
		}
	}
	if won != 1 {
		t.Errorf("%d answers won", won)
	}
	for _, st := range []*stream{onA, onB} {
		if r := hubtest.Decode[protocol.ElicitationResolvedData](t, st.until("elicitation_resolved").Data); string(r.Content) != goodOrder {
			t.Errorf("resolved %+v", r)
		}
		st.until("complete")
		if got := st.text("text"); !strings.Contains(got, `You answered: {"extras":["ice"]`) {
			t.Errorf("the agent said %q", got)
		}
	}
	// A node dies with a question of its worker: the other one ends it.
	q = s.asks(onB, "/ask And now?")
	a.kill()
	done := hubtest.Decode[protocol.ElicitationResolvedData](t, onB.until("elicitation_resolved").Data)
	if done.InteractionID != q.InteractionID || done.Outcome != protocol.OutcomeCancelled {
		t.Errorf("resolved %+v", done)
	}
	if err := s.on(b).answer(q, `"action":"decline"`).Problem(409, protocol.CodeQuestionResolved); err != nil {
		t.Error(err)
	}
}
