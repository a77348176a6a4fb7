package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

const yesOrNo = `{"type":"object","properties":{"db":{"type":"string","enum":["pg","my"]}},"required":["db"]}`

// elicit is a question of the agent: a form, or with an id that begins with u a page.
func elicit(id string) InElicitation {
	q := protocol.ElicitationData{InteractionID: id, Mode: protocol.ElicitForm, Message: "Which?", RequestedSchema: []byte(yesOrNo)}
	if strings.HasPrefix(id, "u") {
		q.Mode, q.RequestedSchema, q.URL = protocol.ElicitURL, nil, "https://example.org/"
	}
	return InElicitation{Data: q}
}

// elicitFor is a question that names its message.
func elicitFor(messageID, id string) InElicitation {
	in := elicit(id)
	in.Data.MessageID = messageID
	return in
}

func respond(id, action, content string) *InAnswer {
	in := &InAnswer{Request: protocol.AnswerRequest{InteractionID: id, Action: action}, By: "u1"}
	if content != "" {
		in.Request.Content = []byte(content)
	}
	return in
}

func TestElicitation(t *testing.T) {
	r := running(t)
	whole := r.now.Add(time.Hour)
	r.now = r.now.Add(999_999)
	r.do(elicit("q1")).want("elicits q1 for m1", "requires_action m1").wantCommands()
	if at := r.s.Elicitations[0].Data.ExpiresAt; at == nil || !at.Equal(whole) {
		t.Errorf("expires at %v", at)
	}
	if !r.s.Due(r.now, r.policy, r.now, 2*time.Hour).Equal(whole) {
		t.Error("the session is not due when its question expires")
	}
	// What the form does not take leaves the question open.
	for _, in := range []*InAnswer{
		respond("q1", "accept", `{"db":"ora"}`), respond("q1", "accept", ""), respond("q1", "accept", `{"db":"pg","x":1}`), respond("q1", "decline", `{"db":"pg"}`),
	} {
		var wrong *InvalidAnswerError
		if r.do(in); !errors.As(r.err, &wrong) {
			t.Errorf("%+v: %v", in.Request, r.err)
		}
	}
	r.do(respond("q1", "accept", `{"db":"pg"}`)).want(`elicited q1 accepted {"db":"pg"} u1`, "running m1").
		wantCommands(`elicitation m1 q1 accept {"db":"pg"}`)
	if r.notes[ElicitationNote("q1")] != "accepted" {
		t.Errorf("notes %v", r.notes)
	}
	for _, in := range []*InAnswer{respond("q1", "decline", ""), respond("nope", "accept", "")} {
		if r.do(in); !errors.Is(r.err, ErrNotPending) {
			t.Errorf("answered %s: %v", in.Request.InteractionID, r.err)
		}
	}
	r.do(elicit("q2"), respond("q2", "decline", "")).want("elicits q2 for m1", "requires_action m1", "elicited q2 declined u1", "running m1").
		wantCommands("elicitation m1 q2 decline")
	r.do(elicit("q3"), respond("q3", "cancel", "")).want("elicits q3 for m1", "requires_action m1", "elicited q3 cancelled u1", "running m1").
		wantCommands("elicitation m1 q3 cancel")
	// All answers stay until the turn ends, for a worker that reconnects.
	r.wantOpen("message m1", `elicitation m1 q1 accept {"db":"pg"}`, "elicitation m1 q2 decline", "elicitation m1 q3 cancel")
	r.do(ended("m1")).wantOpen()
}

// A page is accepted without content, by a person or by its agent.
func TestElicitationOfAPage(t *testing.T) {
	r := running(t).do(elicit("u1"))
	var wrong *InvalidAnswerError
	if r.do(respond("u1", "accept", `{}`)); !errors.As(r.err, &wrong) {
		t.Errorf("a page with content: %v", r.err)
	}
	r.do(respond("u1", "accept", "")).want("elicited u1 accepted u1", "running m1").wantCommands("elicitation m1 u1 accept")
	r.do(elicit("u2"), InEndElicitation{InteractionID: "u2", Completed: true}).
		want("elicits u2 for m1", "requires_action m1", "elicited u2 accepted agent", "running m1").wantCommands("elicitation m1 u2 accept")
	r.do(elicit("q1"))
	var refused *Refusal
	if r.do(InEndElicitation{InteractionID: "q1", Completed: true}); !errors.As(r.err, &refused) {
		t.Errorf("a worker answered a form: %v", r.err)
	}
	r.do(InEndElicitation{InteractionID: "q1"}).want("elicited q1 cancelled", "running m1").wantCommands("elicitation m1 q1 cancel")
	r.do(InEndElicitation{InteractionID: "q1"}, InEndElicitation{InteractionID: "u2", Completed: true}).want().wantCommands()
}

func TestElicitationExpires(t *testing.T) {
	r := running(t).do(elicit("q1"))
	r.now = r.now.Add(30 * time.Minute)
	r.do(ask("i1", "{}"), elicit("q2"))
	r.now = r.now.Add(30 * time.Minute)
	r.do(InExpireApprovals{}).want("elicited q1 expired").wantCommands("elicitation m1 q1 cancel")
	r.now = r.now.Add(30 * time.Minute)
	r.do(InExpireApprovals{}).want("elicited q2 expired", "resolved i1 expired", "running m1").
		wantCommands("elicitation m1 q2 cancel", "approval m1 i1 expired no")
	if r.notes[ElicitationNote("q1")] != "expired" {
		t.Errorf("notes %v", r.notes)
	}
}

// A turn takes its questions with it, however it ends.
func TestElicitationEndsWithItsTurn(t *testing.T) {
	for name, in := range map[string]Input{
		"complete": ended("m1"), "lost": InLost{}, "cancel": InCancel{}, "close": InClose{Reason: protocol.ClosedDeleted},
		"release": InRelease{Reason: "x", Retry: true}, "done": InDone{Message: 1},
	} {
		r := running(t).do(ask("i1", "{}"), elicit("q1"), elicit("q2"), in)
		got := strings.Join(r.events, ", ")
		if !strings.Contains(got, "resolved i1 cancelled, elicited q1 cancelled, elicited q2 cancelled") || r.s.Questions() != 0 {
			t.Errorf("%s: %s", name, got)
		}
	}
	// Asked while the cancel was on its way: nobody is asked, and the agent has its answer.
	running(t).do(InCancel{}).do(elicit("q1")).want("elicits q1 for m1", "elicited q1 cancelled").wantCommands("elicitation m1 q1 cancel")
}

// A message that has asked a question has begun, whatever its worker says.
func TestMessageThatHasAskedIsNotRunAgain(t *testing.T) {
	r := running(t).do(elicit("q1")).do(InRelease{Reason: protocol.ReleaseIdle, Retry: true})
	r.want("elicited q1 cancelled", "complete m1 error worker_released retryable=true", "idle")
	r = running(t).do(elicit("q1"))
	r.do(InTakeBack{Handed: r.s.Handed}).want()
}

func TestQuestionsOfBothKindsShareTheirBounds(t *testing.T) {
	r := running(t)
	for i := range protocol.MaxOpenApprovals / 2 {
		r.do(ask(fmt.Sprint("i", i), "{}"), elicit(fmt.Sprint("q", i)))
	}
	const full = "64 questions are open in this session, which is the most: ask again when one is answered"
	r.do(elicit("q64")).want().wantCommands("elicitation m1 q64 cancel " + full)
	if r.result.Refused == nil || r.result.Refused.Code != protocol.LinkTooLarge {
		t.Errorf("refused %+v", r.result.Refused)
	}
	r.do(ask("i64", "{}")).want().wantCommands("approval m1 i64 cancelled " + full)
	// One id names one question.
	for _, in := range []Input{elicit("i1"), elicit("q1"), ask("q1", "{}"), InContent{Data: protocol.ApprovalContentData{InteractionID: "q1", Data: []byte("x")}}} {
		if r.do(in); !errors.Is(r.err, ErrKnownInteraction) {
			t.Errorf("%T: %v", in, r.err)
		}
	}
	// Bytes count together, too.
	r = running(t)
	big := elicit("q0")
	big.Data.Message = strings.Repeat("x", protocol.MaxOpenApprovalBytes/2)
	r.do(big, ask("i0", `"`+strings.Repeat("y", protocol.MaxOpenApprovalBytes/2)+`"`))
	if len(r.commands) != 1 || !strings.Contains(r.commands[0], "over the 4194304 that fit") {
		t.Errorf("commands %q", r.commands)
	}
}

func TestElicitationThatCannotBeAsked(t *testing.T) {
	r := running(t)
	in := elicit("q1")
	in.Unfit = &Refusal{protocol.LinkInvalid, "field \"x\": why"}
	r.do(in).want().wantCommands(`elicitation m1 q1 cancel field "x": why`)
	if r = newStepper(t).do(elicit("q1")); !errors.Is(r.err, ErrFenced) && !errors.Is(r.err, ErrNoTurn) {
		t.Errorf("without a turn: %v", r.err)
	}
	r = running(t).do(elicit("q1"), InClose{Reason: protocol.ClosedExpired})
	if r.do(respond("q1", "decline", "")); !errors.Is(r.err, ErrSessionEnded) {
		t.Errorf("after the end: %v", r.err)
	}
}

// What the agent asks in the background does not end with a turn, and its answers are kept
// until the assignment ends.
func TestElicitationInTheBackground(t *testing.T) {
	r := running(t).do(InBackground{Works: true}).do(elicit("q1"), elicitFor("m1", "q2")).
		want("elicits q1 for", "requires_action m1", "elicits q2 for m1")
	r.do(ended("m1")).want("elicited q2 cancelled", "complete m1 end_turn", "requires_action")
	r.do(InDone{Message: 1}, respond("q1", "accept", `{"db":"pg"}`)).want(`elicited q1 accepted {"db":"pg"} u1`, "running").
		wantCommands(`elicitation q1 accept {"db":"pg"}`).wantOpen(`elicitation q1 accept {"db":"pg"}`)
	r.do(elicit("u3"), InEndElicitation{InteractionID: "u3", Completed: true}).want("elicits u3 for", "requires_action", "elicited u3 accepted agent", "running")
	// A cancel of what goes on in the background ends its questions, and so does a lost worker.
	r.do(elicit("q4"), InCancel{}).want("elicits q4 for", "requires_action", "elicited q4 cancelled", "running")
	r.do(elicit("q5"), InLost{}).want("elicits q5 for", "requires_action", "elicited q5 cancelled", "idle").wantOpen()
	r = running(t).do(InBackground{Works: true}, elicit("q1"), InClose{Reason: protocol.ClosedDeleted})
	if got := strings.Join(r.events, ", "); !strings.Contains(got, "elicited q1 cancelled, ended, closed deleted") {
		t.Errorf("closed: %s", got)
	}
}

// elicitation draws an input about the agent's own questions.
func (m *model) elicitation(t *rapid.T, input string, worker func(Input) Input) Input {
	id := "unknown"
	if open := m.r.s.Elicitations; len(open) > 0 {
		id = rapid.SampledFrom(open).Draw(t, "question").Data.InteractionID
	}
	switch input {
	case "elicit":
		if rapid.IntRange(0, 9).Draw(t, "again") > 0 {
			id = m.name(rapid.SampledFrom([]string{"q", "u"}).Draw(t, "mode"))
		}
		in := elicitFor(rapid.SampledFrom([]string{turnOf(m.r.s), turnOf(m.r.s), ""}).Draw(t, "asker"), id)
		if rapid.IntRange(0, 19).Draw(t, "unfit") == 0 {
			in.Unfit = &Refusal{protocol.LinkInvalid, "why"}
		}
		return worker(in)
	case "end elicitation":
		return worker(InEndElicitation{InteractionID: id, Completed: rapid.Bool().Draw(t, "completed")})
	}
	content := rapid.SampledFrom([]string{"", `{"db":"pg"}`, `{"db":"wrong"}`}).Draw(t, "content")
	return respond(id, rapid.SampledFrom([]string{"accept", "accept", "decline", "cancel"}).Draw(t, "action"), content)
}

// Of a private question the log and the state have only that it is asked. The whole is beside
// them until it ends, and its answer goes to the worker alone.
func TestPrivateElicitation(t *testing.T) {
	r := running(t)
	ask := func(id string) *InAnswer {
		t.Helper()
		in := elicit(id)
		in.Data.Private, in.Data.Message = true, "s3cr3t"
		c, err := Step(r.s, in, r.policy, r.now)
		if err != nil {
			t.Fatal(err)
		}
		state, _ := json.Marshal(c.State)
		if strings.Contains(string(state), "s3cr3t") || strings.Contains(string(c.Events[0].Data), "s3cr3t") || !strings.Contains(string(c.Events[0].Data), `"private":true`) {
			t.Errorf("the log has %s, the state is %s", c.Events[0].Data, state)
		}
		if len(c.Parts) != 1 || c.Parts[0].Key != PartKey(id, 0) || !strings.Contains(string(c.Parts[0].Data), "s3cr3t") {
			t.Errorf("the parts are %+v", c.Parts)
		}
		r.s = c.State
		var whole protocol.ElicitationData
		if err := json.Unmarshal(c.Parts[0].Data, &whole); err != nil {
			t.Fatal(err)
		}
		return &InAnswer{Whole: &whole, By: "u1", Request: protocol.AnswerRequest{InteractionID: id, Action: protocol.ActionAccept, Content: []byte(`{"db":"pg"}`)}}
	}
	in := ask("q1")
	in.Request.Content = []byte(`{"db":"ora"}`)
	var wrong *InvalidAnswerError
	if _, err := Step(r.s, in, r.policy, r.now); !errors.As(err, &wrong) {
		t.Errorf("a wrong answer: %v", err)
	}
	in.Request.Content = []byte(`{"db":"pg"}`)
	c, err := Step(r.s, in, r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(c.Events[0].Data), "pg") || len(c.Dropped) != 1 || c.Dropped[0] != PartKey("q1", 0) || !strings.Contains(string(c.Commands[0].Data), `{"db":"pg"}`) {
		t.Errorf("answered: %s, dropped %v, told %s", c.Events[0].Data, c.Dropped, c.Commands[0].Data)
	}
	r.s = c.State
	// It ends with its turn, and in time, as others do.
	ask("q2")
	if c, err = Step(r.s, InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn}}, r.policy, r.now); err != nil || !slices.Contains(c.Dropped, PartKey("q2", 0)) {
		t.Errorf("at the turn's end are dropped %v, %v", c.Dropped, err)
	}
	for i := range maxPrivateQuestions - 1 {
		ask(fmt.Sprint("more", i))
	}
	over := elicit("over")
	over.Data.Private = true
	if c, err := Step(r.s, over, r.policy, r.now); err != nil || c.Result.Refused == nil || len(c.Parts) > 0 {
		t.Errorf("one too many: %+v, %v", c.Result, err)
	}
	r.now = r.now.Add(2 * time.Hour)
	if c, err := Step(r.s, InExpireApprovals{}, r.policy, r.now); err != nil || len(c.Dropped) != maxPrivateQuestions {
		t.Errorf("expired: %v, %v", c.Dropped, err)
	}
}
