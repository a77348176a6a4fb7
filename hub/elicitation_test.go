package hub_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/protocol"
)

const whichDatabase = `{"type":"object","properties":{"db":{"type":"string","enum":["pg","my"]}},"required":["db"]}`

// elicit has the agent of a session ask for a database.
func (p *peer) elicit(id string, assignment, n uint64, messageID, interaction string) {
	p.event(id, assignment, n, protocol.EventElicitation, protocol.ElicitationData{
		MessageID: messageID, InteractionID: interaction, Mode: protocol.ElicitForm, Message: "Which?", RequestedSchema: []byte(whichDatabase),
	})
}

func answer(w *world, id, interaction, action, content string) error {
	r := protocol.AnswerRequest{InteractionID: interaction, Action: action}
	if content != "" {
		r.Content = []byte(content)
	}
	_, err := w.hub.Answer(w.ctx, id, "u1", r)
	return err
}

// A question goes from a worker of one node to people of another, in a turn and behind it,
// and each answer goes back once.
func TestElicitationOverTheLink(t *testing.T) {
	twoNodes(t, func(a, b *world, _, _ *shared) {
		p := b.join(hello("w1"))
		id := b.create()
		b.say(id, "m1")
		p.want("welcome assign(1 after 0 resume=false) message(1 m1)")
		p.elicit(id, 1, 1, "m1", "q1")
		p.want("ack(1)")
		if open, err := a.hub.Elicitations(a.ctx, id); err != nil || len(open.Elicitations) != 1 || open.Elicitations[0].ExpiresAt == nil || open.Elicitations[0].MessageID != "m1" {
			t.Errorf("open %+v, %v", open, err)
		}
		var wrong *hub.InvalidAnswerError
		if err := answer(a, id, "q1", "accept", `{"db":"ora"}`); !errors.As(err, &wrong) || wrong.Field != "db" {
			t.Errorf("a wrong answer: %v", err)
		}
		if err := answer(a, id, "q1", "accept", ` { "db" : "pg" } `); err != nil {
			t.Fatal(err)
		}
		p.want("elicitation(2 m1 q1)")
		var late *hub.AnsweredError
		if err := answer(b, id, "q1", "decline", ""); !errors.As(err, &late) || late.Outcome != protocol.OutcomeAccepted {
			t.Errorf("a late answer: %v", err)
		}
		if err := answer(b, id, "none", "decline", ""); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("an answer to nothing: %v", err)
		}
		// The agent takes one back, its page is completed, and one is asked in the background.
		p.elicit(id, 1, 2, "m1", "q2")
		p.event(id, 1, 3, protocol.EventElicitationResolved, protocol.ElicitationResolvedData{InteractionID: "q2", Outcome: protocol.OutcomeCancelled})
		p.event(id, 1, 4, protocol.EventElicitation, protocol.ElicitationData{InteractionID: "u1", Mode: protocol.ElicitURL, Message: "Log in", URL: "https://example.org/"})
		p.event(id, 1, 5, protocol.EventElicitationResolved, protocol.ElicitationResolvedData{InteractionID: "u1", Outcome: protocol.OutcomeAccepted})
		p.want("elicitation(3 m1 q2) elicitation(4 m1 u1) ack(5)")
		p.background(id, 1, 6, protocol.StatusRunning)
		p.elicit(id, 1, 7, "", "q3")
		p.complete(id, 1, 8, "m1")
		p.finish(id, 1, 1)
		p.want("ack(8)")
		if err := answer(a, id, "q3", "cancel", ""); err != nil {
			t.Fatal(err)
		}
		p.want("elicitation(5 q3)")
		want := "idle message queued starting elicitation requires_action elicitation_resolved.accepted running elicitation requires_action " +
			"elicitation_resolved.cancelled running elicitation requires_action elicitation_resolved.accepted running elicitation requires_action " +
			"complete.end_turn requires_action elicitation_resolved.cancelled running"
		if got := a.logWords(id); got != want {
			t.Errorf("the log is  %s\nwant %s", got, want)
		}
	})
}

// A worker that comes back within its lease gets the answers that it missed.
func TestAnswerToElicitationIsRepeated(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.elicit(id, 1, 1, "m1", "q1")
		p.script()
		_ = p.conn.Close()
		synctest.Wait()
		if err := answer(w, id, "q1", "accept", `{"db":"pg"}`); err != nil {
			t.Fatal(err)
		}
		held := protocol.HelloSession{SessionID: id, Assignment: 1, Event: 1, Acked: 1, Turn: &protocol.HelloTurn{Seq: 1, MessageID: "m1"}}
		p = w.join(hello("w1", held))
		p.want("welcome elicitation(2 m1 q1) ack(1)")
	})
}

// Nobody answers: the session itself ends the question when its time is over.
func TestElicitationExpires(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.elicit(id, 1, 1, "m1", "q1")
		p.script()
		at(hub.DefaultPolicy.ApprovalTimeout + time.Minute)
		if got := p.script(); !strings.Contains(got, "elicitation(2 m1 q1)") {
			t.Errorf("the worker was told %q", got)
		}
		if got := w.logWords(id); !strings.HasSuffix(got, "elicitation_resolved.expired running") {
			t.Errorf("the log is %s", got)
		}
		if err := answer(w, id, "q1", "decline", ""); !errors.Is(err, hub.ErrQuestionExpired) {
			t.Errorf("a late answer: %v", err)
		}
	})
}

// A hostile worker: nobody is asked, its agent has its answer, and nothing else notices.
func TestElicitationThatCannotBeAsked(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		p := w.join(hello("w1"))
		id := w.create()
		w.say(id, "m1")
		synctest.Wait()
		p.script()
		before := w.load(id)
		n := before.N
		for _, test := range []struct{ data, why string }{
			{`{"interactionId":"q","mode":"form","message":"m"}`, "the requestedSchema cannot be read"},
			{`{"interactionId":"q","mode":"form","message":"m","requestedSchema":{"$ref":"#"}}`, `"$ref" cannot stand in a form`},
			{`{"interactionId":"q","mode":"form","message":"m","requestedSchema":{"properties":{"a":{"type":"object"}}}}`, `field "a": the type "object" cannot stand in a form`},
			{`{"interactionId":"q","mode":"form","message":"` + strings.Repeat("m", 40<<10) + `","requestedSchema":{}}`, "message has 40960 bytes: at most 32768"},
			{`{"interactionId":"q","mode":"form","message":"m","requestedSchema":{"title":"` + strings.Repeat("x", 70<<10) + `"}}`, "at most 65536"},
			{`{"interactionId":"q","mode":"url","message":"m","url":"file:///etc/passwd"}`, "neither http nor https"},
			{`{"interactionId":"q","mode":"url","message":"m","url":"https://a.example/","requestedSchema":{}}`, "a url has no requestedSchema"},
			{`{"interactionId":"q","mode":"_x","message":"m"}`, "neither form nor url"},
			{`{"interactionId":"q","mode":"form","message":" ","requestedSchema":{}}`, "message is missing"},
			{`{"interactionId":"q","messageId":"m\u0001","mode":"form","message":"m","requestedSchema":{}}`, "not printable ASCII"},
			{`{"interactionId":"q","toolCallId":"` + strings.Repeat("t", 1025) + `","mode":"form","message":"m","requestedSchema":{}}`, "toolCallId is 1025 bytes long"},
		} {
			n++
			p.send(protocol.FrameEvent, protocol.WorkerEvent{SessionID: id, Assignment: 1, N: n, Type: protocol.EventElicitation, Data: []byte(test.data)})
			got := p.script()
			if !strings.Contains(got, "error(invalid)") || !strings.Contains(got, "elicitation(") || !strings.Contains(got, test.why) || !strings.Contains(got, fmt.Sprintf("ack(%d)", n)) {
				t.Errorf("%.90s: the worker was told %.300q", test.data, got)
			}
		}
		// What has no name for an answer, or is not a worker's to say.
		for data, kind := range map[string]protocol.EventType{
			`{"interactionId":"","mode":"form","message":"m","requestedSchema":{}}`: protocol.EventElicitation,
			`{"interactionId":7}`:                        protocol.EventElicitation,
			`{"interactionId":"q","outcome":"declined"}`: protocol.EventElicitationResolved,
			`{"interactionId":"","outcome":"cancelled"}`: protocol.EventElicitationResolved,
			`{"interactionId":"q","outcome":7}`:          protocol.EventElicitationResolved,
		} {
			n++
			p.send(protocol.FrameEvent, protocol.WorkerEvent{SessionID: id, Assignment: 1, N: n, Type: kind, Data: []byte(data)})
			if got := p.script(); !strings.Contains(got, "error(") || strings.Contains(got, "elicitation(") {
				t.Errorf("%s: the worker was told %q", data, got)
			}
		}
		after := w.load(id)
		if after.Last != before.Last || after.State.Questions() != 0 || after.N != n {
			t.Errorf("%d events were logged, %d questions are open, %d of %d events count", after.Last-before.Last, after.State.Questions(), after.N, n)
		}
		// The form is the people's: a worker does not answer it.
		p.elicit(id, 1, n+1, "m1", "q1")
		p.event(id, 1, n+2, protocol.EventElicitationResolved, protocol.ElicitationResolvedData{InteractionID: "q1", Outcome: protocol.OutcomeAccepted})
		if got := p.script(); !strings.Contains(got, "error(forbidden)") || w.load(id).State.Questions() != 1 {
			t.Errorf("the worker was told %q", got)
		}
	})
}
