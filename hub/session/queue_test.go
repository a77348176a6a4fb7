package session

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// contentsOf reads what the open messages say, as the hub does.
func (r *stepper) contentsOf() Contents {
	out := make(Contents)
	for _, m := range r.s.Messages {
		for _, c := range r.open {
			var d protocol.MessageData
			if c.Seq == m.Command && json.Unmarshal(c.Data, &d) == nil {
				out[m.ID] = d
			}
		}
	}
	return out
}

// queue changes the queue. It takes the action, a message and more: a content, or an order.
func (r *stepper) queue(action, id string, more ...string) *stepper {
	r.t.Helper()
	in := InQueue{By: "u2", Request: protocol.QueueRequest{Action: action, MessageID: id}, Contents: r.contentsOf()}
	switch action {
	case protocol.QueueEdit:
		in.Request.Content = protocol.Marshal(more[0])
	case protocol.QueueOrder:
		in.Request.MessageIDs = more
	}
	return r.do(in)
}

func (r *stepper) deliver(id, how string) *stepper {
	r.t.Helper()
	in := say(id)
	in.Data.Delivery, in.Contents = how, r.contentsOf()
	return r.do(in)
}

var steerable = InAgentStarted{Event: NewEvent{Type: protocol.EventAgentStarted, Data: []byte(`{}`)}, Steering: true}

func queueWord(waits, held string) string {
	list := func(s string) []string { return append([]string{}, strings.Fields(s)...) }
	return "queue " + string(protocol.Marshal(protocol.QueueData{MessageIDs: list(waits), Held: list(held)}))
}

func outcome(id, what string) InSteered {
	return InSteered{Data: protocol.SteeredData{MessageID: id, Into: "m1", Outcome: what}}
}

// An edit and the hand of its message never cross: the one that is stored first wins. The
// numbers that a worker gets grow, since it takes a lower one for a failover's.
func TestEditOrHand(t *testing.T) {
	r := running(t).do(say("m2"), say("m3"))
	r.queue(protocol.QueueEdit, "m2", "better").want(`message_edited {"messageId":"m2","content":"better","userId":"u2"}`).wantCommands("message m2", "message m3")
	if c := r.contentsOf()["m2"]; string(c.Content) != `"better"` || c.UserID != "u1" {
		t.Errorf("m2 is %+v", c)
	}
	r.do(ended("m1"), InDone{Message: 1}).want("complete m1 end_turn", "queued m2")
	old := uint64(2)
	if r.do(handOver(old)); !errors.Is(r.err, ErrNotDue) {
		t.Errorf("the hand of the old command: %v", r.err)
	}
	r.do(handOver(r.s.Messages[0].Command)).want("running m2")
	for _, action := range []string{protocol.QueueRemove, protocol.QueueSendNow} {
		if r.queue(action, "m2"); !errors.Is(r.err, ErrMessageRunning) {
			t.Errorf("%s of a message that runs: %v", action, r.err)
		}
	}
	if r.queue(protocol.QueueEdit, "m2", "late"); !errors.Is(r.err, ErrMessageRunning) {
		t.Errorf("an edit of a message that runs: %v", r.err)
	}
	if r.queue(protocol.QueueOrder, "", "m3", "m2"); !errors.Is(r.err, ErrMessageRunning) {
		t.Errorf("an order with a message that runs: %v", r.err)
	}
	if r.queue(protocol.QueueRemove, "m1"); !errors.Is(r.err, ErrNotFound) {
		t.Errorf("a message that is over: %v", r.err)
	}
	r.queue(protocol.QueueEdit, "m3", "hi").want() // it says so already
}

func TestOrderOfTheQueue(t *testing.T) {
	r := running(t).do(say("m2"), say("m3"), say("m4"))
	r.queue(protocol.QueueOrder, "", "m4", "m2").want(queueWord("m4 m2 m3", "")).wantCommands("message m2", "message m3").
		wantOpen("message m1", "message m4", "message m2", "message m3")
	r.queue(protocol.QueueOrder, "", "m4", "m2", "m3").want().wantCommands()
	r.queue(protocol.QueueRemove, "m2").want("complete m2 cancelled")
	if r.queue(protocol.QueueOrder, "", "m4", "m4"); !errors.Is(r.err, ErrInvalid) {
		t.Errorf("a message twice: %v", r.err)
	}
	r.queue(protocol.QueueSendNow, "m3").want(queueWord("m3 m4", "")).wantCommands("message m4", "cancel m1")
	r.do(InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopCancelled}}).want("complete m1 cancelled", "queued m3")
}

// Stop holds what waits. What comes later runs, and nobody waits for a session that is held.
func TestHold(t *testing.T) {
	r := running(t).do(say("m2"), say("m3"))
	r.do(InCancel{MessageID: "m1", Hold: true}).want(queueWord("", "m2 m3")).wantCommands("cancel m1")
	r.do(ended("m1"), InDone{Message: 1}).want("complete m1 end_turn", "idle")
	if _, waits := r.s.Waiting(); waits || r.s.Busy() || r.s.NeedsWorker() {
		t.Errorf("a held session wants something: %+v", r.s)
	}
	r.do(InEvict{}, InRelease{Reason: protocol.ReleaseIdle, Retry: true}).want()
	if !r.s.Asleep() {
		t.Error("a held session is awake")
	}
	r.do(InCancel{}).want() // nothing runs
	r.deliver("m4", "").want("message m4", "queued m4").wantCommands("message m4", "message m2", "message m3")
	r.do(assign, ended("m4"), InDone{Message: r.s.Messages[0].Command}).want("starting m4", "complete m4 end_turn", "idle")
	r.queue(protocol.QueueRelease, "").want(queueWord("m2 m3", ""), "queued m2")
	r.queue(protocol.QueueHold, "").want(queueWord("", "m2 m3"), "idle")
	r.queue(protocol.QueueHold, "").want()
	r.queue(protocol.QueueSendNow, "m3").want(queueWord("m3", "m2"), "queued m3")
	r.queue(protocol.QueueDiscard, "").want("complete m2 cancelled")
	r.queue(protocol.QueueDiscard, "").want()
	r.queue(protocol.QueueHold, "")
	r.do(InExpire{}).want("complete m3 cancelled", "ended", "closed expired")
}

// A message that the turn takes in completes with it. What the turn does not take in waits
// in front of the others, in the order in which it came.
func TestSteer(t *testing.T) {
	r := running(t).do(steerable, say("m2"))
	r.deliver("s1", protocol.DeliverSteer).want("message s1", queueWord("s1 m2", "")).wantCommands("message s1", "message m2", "steer s1")
	if r.result.Deliver != protocol.DeliverSteer {
		t.Errorf("delivery %q", r.result.Deliver)
	}
	r.deliver("s2", protocol.DeliverSteer).want("message s2", queueWord("s1 s2 m2", ""))
	if r.queue(protocol.QueueEdit, "s1", "x"); !errors.Is(r.err, ErrMessageRunning) {
		t.Errorf("an edit of a message on its way: %v", r.err)
	}
	r.do(outcome("s1", protocol.SteerInjected), outcome("s1", protocol.SteerInjected)).want(`steered {"messageId":"s1","into":"m1","outcome":"injected"}`)
	r.do(outcome("s2", protocol.SteerQueued)).want(`steered {"messageId":"s2","into":"m1","outcome":"queued"}`)
	r.deliver("s3", protocol.DeliverSteer).want("message s3", queueWord("s2 s3 m2", ""))
	// s3 has no outcome when the turn ends: the worker had not read it.
	r.do(ended("m1")).want("complete m1 end_turn", "complete s1 end_turn", "queued s2").wantOpen("message s2", "message s3", "message m2")
}

func TestSteerWhereNothingTakesIt(t *testing.T) {
	r := newStepper(t)
	r.policy.MaxQueuedMessages = 4
	r.deliver("m1", protocol.DeliverSteer).want("message m1", "queued m1")
	r.do(assign, say("m2"))
	r.deliver("s1", protocol.DeliverSteer).want("message s1", queueWord("s1 m2", ""))
	r.deliver("s2", protocol.DeliverSteer).want("message s2", queueWord("s1 s2 m2", "")).wantCommands("message s2", "message m2")
	if r.result.Deliver != protocol.DeliverQueue {
		t.Errorf("delivery %q", r.result.Deliver)
	}
	r.deliver("n1", protocol.DeliverNow).want("message n1", queueWord("n1 s1 s2 m2", ""), "running m1").
		wantCommands("message n1", "message s1", "message s2", "message m2", "cancel m1")
}

// A lost worker may have given the message to its agent, so it does not run again.
func TestLostWorkerEndsWhatItMayHave(t *testing.T) {
	r := running(t).do(steerable, say("m2"))
	r.deliver("s1", protocol.DeliverSteer).do(outcome("s1", protocol.SteerInjected))
	r.deliver("s2", protocol.DeliverSteer)
	r.do(InLost{}).want("complete m1 error worker_lost retryable=true", "complete s1 error worker_lost retryable=true",
		"complete s2 error worker_lost retryable=true", "queued m2").wantOpen("message m2")
	if r.s.Steering {
		t.Error("a lost agent can be steered")
	}
}

// What people said to a turn is no sign that its worker has begun it.
func TestSteeredTurnIsTakenBack(t *testing.T) {
	r := running(t).do(steerable, ended("m1"), InDone{Message: 1}, say("m2"), handOver(2))
	r.deliver("s1", protocol.DeliverSteer).want("message s1").wantOpen("message m2", "message s1", "steer s1")
	r.do(InTakeBack{Handed: r.s.Handed}).want("queued m2").wantOpen("message m2", "message s1")
}

// A cancel of a message in a turn stops the turn. One that is on its way ends with it.
func TestCancelOfASteering(t *testing.T) {
	r := running(t).do(steerable)
	r.deliver("s1", protocol.DeliverSteer).do(outcome("s1", protocol.SteerInjected))
	r.deliver("s2", protocol.DeliverSteer)
	r.do(InCancel{MessageID: "s2"}).want().wantCommands("cancel m1")
	r.do(InCancel{MessageID: "s1"}).want()
	r.do(outcome("s2", protocol.SteerQueued)).want(`steered {"messageId":"s2","into":"m1","outcome":"queued"}`, "complete s2 cancelled")
	r.do(InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopCancelled}}).
		want("complete m1 cancelled", "complete s1 cancelled", "idle")
}

// A reason reaches an agent that takes it, and is the next message of any other.
func TestReasonAsMessage(t *testing.T) {
	for _, takes := range []bool{true, false} {
		r := running(t).do(InAgentStarted{Event: steerable.Event, Reasons: takes}, say("m2"), ask("i1", "{}"))
		in := decision("i1", protocol.RejectOnce)
		in.Request.Reason = "use tabs"
		in.Message, in.Contents = protocol.MessageData{MessageID: "r1", Content: []byte(`"use tabs"`), UserID: "u1"}, r.contentsOf()
		r.do(in)
		if takes {
			r.want("resolved i1 selected no reject_once u1", "running m1").wantCommands("approval m1 i1 selected no use tabs")
			continue
		}
		r.want("resolved i1 selected no reject_once u1", "running m1", "message r1", queueWord("r1 m2", "")).
			wantCommands("approval m1 i1 selected no use tabs", "message r1", "message m2")
		if r.result.Chosen.MessageID != "r1" {
			t.Errorf("answer %+v", r.result.Chosen)
		}
	}
}

// Behind a question of the background, the reason waits as any other message, and the status
// says so.
func TestReasonBehindTheBackground(t *testing.T) {
	r := running(t).do(InBackground{Works: true}, ended("m1"), InDone{Message: 1}, askFor("", "b1", "{}"))
	in := decision("b1", protocol.RejectOnce)
	in.Message, in.Contents = protocol.MessageData{MessageID: "r1", Content: []byte(`"no"`)}, r.contentsOf()
	r.do(in)
	if r.err != nil || r.s.Status != (protocol.StatusData{Status: protocol.StatusQueued, MessageID: "r1"}) {
		t.Errorf("the status is %+v: %v, %v", r.s.Status, r.events, r.err)
	}
}

// A full queue refuses the answer whole: nothing of it is stored.
func TestReasonInAFullQueue(t *testing.T) {
	r := running(t).do(say("m2"), say("m3"), say("m4"), ask("i1", "{}"))
	in := decision("i1", protocol.RejectOnce)
	in.Message, in.Contents = protocol.MessageData{MessageID: "r1", Content: []byte(`"no"`)}, r.contentsOf()
	if r.do(in); !errors.Is(r.err, ErrQueueFull) || r.s.Pending("i1") < 0 {
		t.Errorf("refused: %v", r.err)
	}
}
