package worker

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

const whichDatabase = `{"type":"object","properties":{"db":{"type":"string","title":"Database","oneOf":[{"const":"pg","title":"Postgres"},{"const":"my","title":"MySQL"}]}},"required":["db"]}`

// elicit is the scripted agent's part: it asks, and says what it was answered.
//
//	elicit FILE [PARAMS]   a form, or with PARAMS these; taken back when FILE is there ("-": never)
//	elicit-later           a form, when the turn has ended
//	elicit-page FILE       a page, completed when FILE is there
func (a *scripted) elicit(words []string) {
	switch words[0] {
	case "first":
		a.say(a.first)
		return
	case "elicit-later": // behind the turn's end
		go func() {
			time.Sleep(50 * time.Millisecond)
			a.say(string(a.request("elicitation/create", `{"sessionId":"acp-1","mode":"form","message":"Later?","requestedSchema":`+whichDatabase+`}`)))
		}()
		return
	}
	params := `{"sessionId":"acp-1","toolCallId":"t1","mode":"form","message":"Which database?","requestedSchema":` + whichDatabase + `}`
	end := func(id string) {
		a.print(`{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":%s}}`, id)
	}
	if words[0] == "elicit-page" {
		params = `{"sessionId":"acp-1","mode":"url","elicitationId":"e1","message":"Log in","url":"https://login.example.org/?a=1"}`
		end = func(string) {
			a.print(`{"jsonrpc":"2.0","method":"elicitation/complete","params":{"elicitationId":"other"}}`)
			a.print(`{"jsonrpc":"2.0","method":"elicitation/complete","params":{"elicitationId":"e1"}}`)
			a.print(`{"jsonrpc":"2.0","method":"elicitation/complete","params":{"elicitationId":"e1"}}`) // again
		}
	}
	if len(words) > 2 {
		params = strings.Join(words[2:], " ")
	}
	id, answer := a.ask("elicitation/create", params)
	if words[1] != "-" {
		for { // when the test says so
			if _, err := os.Stat(words[1]); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		end(id)
	}
	a.say(string(<-answer))
}

func (s *scene) elicitation(seen ...string) protocol.ElicitationData {
	s.h.t.Helper()
	return until(s, protocol.EventElicitation, "a question", func(q protocol.ElicitationData) bool {
		for _, id := range seen {
			if q.InteractionID == id {
				return false
			}
		}
		return true
	})
}

// count is how many events of a type came.
func (s *scene) count(t protocol.EventType) (n int) {
	for _, e := range s.events() {
		if e.Type == t {
			n++
		}
	}
	return n
}

// The hub's end of the agent's questions: each answer reaches the agent as it is, once.
func TestElicitation(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m0", "client")
	s.complete("m0")
	if got := s.text("m0"); !strings.Contains(got, `"elicitation":{"form":{},"url":{}}`) {
		t.Errorf("announced %s", got)
	}
	var seen []string
	for i, test := range []struct {
		answer protocol.ElicitationCommand
		want   string
	}{
		{protocol.ElicitationCommand{Action: protocol.ActionAccept, Content: json.RawMessage(`{"db":"pg"}`)}, `{"action":"accept","content":{"db":"pg"}}`},
		{protocol.ElicitationCommand{Action: protocol.ActionDecline}, `{"action":"decline"}`},
		{protocol.ElicitationCommand{Action: protocol.ActionCancel}, `{"action":"cancel"}`},
		{protocol.ElicitationCommand{Action: protocol.ActionCancel, Reason: "too much"}, `"code":-32602,"message":"too much"`},
	} {
		id := "m" + string(rune('1'+i))
		s.message(id, "elicit -")
		q := s.elicitation(seen...)
		seen = append(seen, q.InteractionID)
		if q.MessageID != id || q.Mode != protocol.ElicitForm || q.Message != "Which database?" || q.ToolCallID != "t1" || string(q.RequestedSchema) != whichDatabase || q.URL != "" {
			t.Errorf("asked %+v", q)
		}
		test.answer.MessageID, test.answer.InteractionID = id, q.InteractionID
		// An approval's answer is none to a question, and another question's answer neither.
		s.command(protocol.WorkerApproval, protocol.ApprovalCommand{MessageID: id, InteractionID: q.InteractionID, Outcome: protocol.OutcomeCancelled})
		s.command(protocol.WorkerElicitation, protocol.ElicitationCommand{MessageID: id, InteractionID: "other", Action: protocol.ActionAccept})
		seq := s.command(protocol.WorkerElicitation, test.answer)
		s.repeat(seq, protocol.WorkerElicitation, test.answer)
		s.complete(id)
		if got := s.text(id); !strings.Contains(got, test.want) || strings.Count(got, "{") > 3 {
			t.Errorf("the agent got %s, want %s", got, test.want)
		}
	}
}

// The agent takes its question back, or its page is completed; an answer may be first.
func TestElicitationThatItsAgentEnds(t *testing.T) {
	for _, test := range []struct {
		name, words, outcome string
		hub                  *protocol.ElicitationCommand // nil: it says nothing
		want                 string
	}{
		{"withdrawn", "elicit", protocol.OutcomeCancelled, &protocol.ElicitationCommand{Action: protocol.ActionCancel}, `"code":-32800`},
		{"answered before it was withdrawn", "elicit", protocol.OutcomeCancelled, &protocol.ElicitationCommand{Action: protocol.ActionDecline}, `{"action":"decline"}`},
		{"withdrawn, the hub says nothing", "elicit", protocol.OutcomeCancelled, nil, `"code":-32800`},
		{"completed", "elicit-page", protocol.OutcomeAccepted, &protocol.ElicitationCommand{Action: protocol.ActionAccept}, `{"action":"accept"}`},
		{"closed before it was completed", "elicit-page", protocol.OutcomeAccepted, &protocol.ElicitationCommand{Action: protocol.ActionCancel}, `{"action":"cancel"}`},
		{"completed, the hub says nothing", "elicit-page", protocol.OutcomeAccepted, nil, `{"action":"accept"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, nil)
			s := h.assign("plain")
			flag := filepath.Join(t.TempDir(), "now")
			s.message("m1", test.words+" "+flag)
			q := s.elicitation()
			if err := os.WriteFile(flag, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			said := until(s, protocol.EventElicitationResolved, "the end of the question", func(protocol.ElicitationResolvedData) bool { return true })
			if said.InteractionID != q.InteractionID || said.Outcome != test.outcome {
				t.Errorf("the worker said %+v", said)
			}
			if test.hub != nil {
				test.hub.MessageID, test.hub.InteractionID = "m1", q.InteractionID
				s.command(protocol.WorkerElicitation, *test.hub)
			}
			s.complete("m1")
			if got := s.text("m1"); !strings.Contains(got, test.want) {
				t.Errorf("the agent got %s", got)
			}
			if n := s.count(protocol.EventElicitationResolved); n != 1 {
				t.Errorf("the worker said %d times that the question ended", n)
			}
		})
	}
}

// What cannot be shown to people gets an error that says why, and nobody is asked.
func TestElicitationThatCannotBeShown(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	for i, test := range []struct{ params, want string }{
		{`{"sessionId":"acp-1","mode":"form","message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"object"}}}}`, `field \"a\": the type \"object\" cannot stand in a form`},
		{`{"sessionId":"acp-1","mode":"form","message":"m"}`, `the requestedSchema cannot be read`},
		{`{"sessionId":"acp-1","mode":"form","message":"","requestedSchema":{}}`, `message is missing`},
		{`{"sessionId":"acp-1","mode":"url","message":"m","url":"javascript:alert(1)"}`, `neither http nor https`},
		{`{"sessionId":"acp-1","mode":"_own","message":"m"}`, `neither form nor url`},
		{`{"sessionId":"other","mode":"form","message":"m","requestedSchema":{}}`, `unknown session`},
		{`{"sessionId":7}`, `cannot be read`},
		{`{"sessionId":"acp-1","mode":"form","message":"m","requestedSchema":{"title":"` + strings.Repeat("x", protocol.MaxFormBytes) + `"}}`, `at most 65536`},
	} {
		id := "m" + string(rune('1'+i))
		s.message(id, "elicit - "+test.params)
		s.complete(id)
		if got := s.text(id); !strings.Contains(got, `"code":-32602`) || !strings.Contains(got, test.want) {
			t.Errorf("%.100s: %s, want %s", test.params, got, test.want)
		}
	}
	if n := s.count(protocol.EventElicitation); n != 0 {
		t.Errorf("%d questions were asked", n)
	}
}

// A cancel ends the question: the agent gets its answer at once.
func TestCancelWithAQuestion(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "elicit -")
	q := s.elicitation()
	s.cancel("m1")
	s.output(`{"action":"cancel"}`)
	s.complete("m1")
	s.command(protocol.WorkerElicitation, protocol.ElicitationCommand{MessageID: "m1", InteractionID: q.InteractionID, Action: protocol.ActionDecline})
	s.message("m2", "hi")
	s.complete("m2")
}

// An agent that needs a login asks for it while it starts. People have the time of a
// question for it, not that of a start.
func TestQuestionBeforeTheAgentIsReady(t *testing.T) {
	h := start(t, nil, "asks-first")
	s := h.assign("asks-first")
	s.message("m1", "first")
	q := s.elicitation()
	if q.MessageID != "m1" || q.Mode != protocol.ElicitURL || q.URL != "https://login.example.org/" {
		t.Errorf("asked %+v", q)
	}
	s.command(protocol.WorkerElicitation, protocol.ElicitationCommand{MessageID: "m1", InteractionID: q.InteractionID, Action: protocol.ActionAccept})
	if c := s.complete("m1"); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
	if got := s.text("m1"); got != `{"action":"accept"}` {
		t.Errorf("the agent got %s", got)
	}

	late := prompted(t)
	late.agent.ready, late.startTimeout = false, time.Hour
	late.elicitFor(t, whichDatabase)
	late.startTimedOut()
	if late.agent.failure != nil {
		t.Errorf("with an open question: %v", late.agent.failure)
	}
	late.dropAsks(&late.turn.work)
	late.startTimedOut()
	if late.agent.failure == nil {
		t.Error("without a question the start has no end")
	}
}

// elicitFor has the agent ask. It returns the error that it got, if any.
func (s *session) elicitFor(t *testing.T, schema string) string {
	t.Helper()
	s.onLine(parseLine([]byte(`{"id":7,"method":"elicitation/create","params":{"sessionId":"acp-1","mode":"form","message":"m","requestedSchema":` + schema + `}}`)))
	line := s.agent.stdin.take()
	if line == nil {
		return ""
	}
	var answer struct{ Error rpcError }
	if err := json.Unmarshal(line, &answer); err != nil {
		t.Fatal(err)
	}
	return answer.Error.Message
}

// Questions of both kinds share the bounds of a turn.
func TestElicitationsAreBounded(t *testing.T) {
	s := prompted(t)
	for range maxAsks - 1 {
		if refusal := s.elicitFor(t, whichDatabase); refusal != "" {
			t.Fatal(refusal)
		}
	}
	if refusal := s.askFor(t, `{"toolCallId":"t"}`, scriptedOptions); refusal != "" {
		t.Fatal(refusal)
	}
	if refusal := s.elicitFor(t, whichDatabase); refusal != "too many open questions" {
		t.Errorf("one too many: %q", refusal)
	}
	s = prompted(t)
	big := `{"title":"` + strings.Repeat("x", protocol.MaxFormBytes-100) + `"}`
	for range maxAskBytes / protocol.MaxFormBytes {
		if refusal := s.elicitFor(t, big); refusal != "" {
			if n := len(s.turn.asks); refusal != "the open questions are too large" || n < 60 {
				t.Errorf("question %d: %q", n, refusal)
			}
			return
		}
	}
	if n := len(s.published(t, protocol.EventElicitation)); n > maxAsks {
		t.Errorf("%d questions", n)
	}
}

// A question outside of a turn is the background's: it is asked without a message, and its
// answer reaches the agent once.
func TestElicitationInTheBackground(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "elicit-later")
	s.complete("m1")
	q := s.elicitation()
	if q.MessageID != "" || q.Mode != protocol.ElicitForm {
		t.Errorf("asked %+v", q)
	}
	answer := protocol.ElicitationCommand{InteractionID: q.InteractionID, Action: protocol.ActionAccept, Content: json.RawMessage(`{"db":"my"}`)}
	seq := s.command(protocol.WorkerElicitation, answer)
	s.output(`{"action":"accept","content":{"db":"my"}}`)
	s.repeat(seq, protocol.WorkerElicitation, answer)
	s.message("m2", "elicit-later")
	s.complete("m2")
	seen := []string{q.InteractionID}
	seen = append(seen, s.elicitation(seen...).InteractionID)
	s.command(protocol.WorkerCancel, protocol.CancelCommand{})
	s.output(`{"action":"cancel"}`)

	// If the agent dies alone, its questions are withdrawn.
	s.message("m3", "elicit-later")
	s.complete("m3")
	last := s.elicitation(seen...)
	s.message("m4", "crash")
	s.complete("m4")
	gone := until(s, protocol.EventElicitationResolved, "the end of the question", func(r protocol.ElicitationResolvedData) bool { return r.InteractionID == last.InteractionID })
	if gone.Outcome != protocol.OutcomeCancelled {
		t.Errorf("%+v", gone)
	}
}

// An older hub has nobody who could answer: the agent is told so, and keeps its questions.
func TestElicitationWithAnOlderHub(t *testing.T) {
	h := prepare(t, nil)
	h.early = true
	h.run()
	s := h.assign("plain")
	s.message("m1", "client")
	s.complete("m1")
	if got := s.text("m1"); strings.Contains(got, "elicitation") {
		t.Errorf("announced %s", got)
	}
	s.message("m2", "elicit -")
	s.complete("m2")
	if got := s.text("m2"); !strings.Contains(got, `"code":-32601`) {
		t.Errorf("the agent got %s", got)
	}
}

// An agent asked for a login while it started, and died before it read the message. The next
// agent gets the message. It counts its requests anew, so the answer is none of its own.
func TestQuestionOfADeadAgentIsWithdrawn(t *testing.T) {
	s := prompted(t)
	defer s.stopAll()
	s.out.meet(s.w.hub)
	s.agent.ready, s.turn.prompted = false, false
	s.onLine(parseLine([]byte(`{"id":7,"method":"elicitation/create","params":{"mode":"form","message":"Log in","requestedSchema":` + whichDatabase + `}}`)))
	s.agent.ready, s.turn.prompted = true, true
	asked := s.published(t, protocol.EventElicitation)
	if len(asked) != 1 {
		t.Fatalf("asked %s, the agent was told %s", asked, s.agent.stdin.take())
	}
	interaction := decodeTo[protocol.ElicitationData](t, asked[0]).InteractionID
	dead := s.agent
	s.onAgentGone()
	if s.agent == nil || s.agent == dead {
		t.Fatal("no other agent was started")
	}
	s.agent.stdin.take() // initialize
	s.onCommand(protocol.WorkerCommand{Seq: 2, Type: protocol.WorkerElicitation, Data: protocol.Marshal(protocol.ElicitationCommand{
		MessageID: "m", InteractionID: interaction, Action: protocol.ActionAccept, Content: raw(`{"db":"pg"}`),
	})})
	if line := s.agent.stdin.take(); line != nil {
		t.Errorf("the next agent was told %s", line)
	}
	ended := s.published(t, protocol.EventElicitationResolved)
	if len(ended) != 1 || decodeTo[protocol.ElicitationResolvedData](t, ended[0]).Outcome != protocol.OutcomeCancelled {
		t.Errorf("the question ended with %s", ended)
	}
}
