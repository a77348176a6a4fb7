package session

import (
	"errors"
	"testing"

	"sessionhub/protocol"
)

// works and rests are what a worker says of its agent's work in the background.
var works, rests = InBackground{Works: true}, InBackground{}

// idling is a session whose agent has nothing to do.
func idling(t testing.TB) *stepper {
	t.Helper()
	return running(t).do(ended("m1"), InDone{Message: 1})
}

// A question outside of a turn was answered with no before anybody had seen it, and the
// session said that it was idle.
func TestQuestionInTheBackground(t *testing.T) {
	r := idling(t)
	r.do(works).want("running")
	r.do(works).want()
	r.do(ask("i1", "{}")).want("asked i1 for ", "requires_action").wantCommands()
	r.do(option("i1", "once")).want("resolved i1 selected once allow_once u1", "running").wantCommands("approval i1 selected once")
	// The answer is kept for a worker that comes back, behind later turns too.
	r.do(say("m2"), handOver(3), ended("m2"), InDone{Message: 3}).want("message m2", "queued m2", "running m2", "complete m2 end_turn", "running")
	r.wantOpen("approval i1 selected once")
	r.do(rests).want("idle").wantOpen("approval i1 selected once")
	r.do(InRelease{Reason: protocol.ReleaseIdle, Retry: true}).want().wantOpen()
}

// Turns and the background end on their own.
func TestBackgroundAndTurn(t *testing.T) {
	r := idling(t).do(works, ask("i1", "{}"))
	r.do(say("m2")).want("message m2") // people must still answer
	r.do(handOver(2)).want("requires_action m2")
	r.do(askFor("m2", "i2", "{}")).want("asked i2 for m2")
	r.do(InActivity{}, InSilent{For: 1}).want()
	r.do(InCancel{}).want("resolved i2 cancelled").wantCommands("cancel m2")
	r.do(ended("m2")).want("complete m2 end_turn", "requires_action")
	r.do(InDone{Message: 2}).want()
	r.do(InWithdraw{InteractionID: "i1"}).want("resolved i1 cancelled", "running").wantCommands("approval i1 cancelled")
	r.do(rests).want("idle")

	r = running(t).do(works).want()
	r.do(ask("i1", "{}")).want("asked i1 for ", "requires_action m1")
	r.do(ended("m1")).want("complete m1 end_turn", "requires_action")
	r.do(say("m2"), InDone{Message: 1}, option("i1", "no")).want("message m2", "resolved i1 selected no reject_once u1", "queued m2")
}

// A worker that says nothing of a background asks for its turn, as workers did before.
func TestQuestionWithoutAMessageAndWithoutABackground(t *testing.T) {
	running(t).do(ask("i1", "{}")).want("asked i1 for m1", "requires_action m1")
	if r := idling(t).do(ask("i1", "{}")); !errors.Is(r.err, ErrNoTurn) {
		t.Errorf("%v", r.err)
	}
	if r := idling(t).do(works, rests, ask("i1", "{}")); !errors.Is(r.err, ErrNoTurn) {
		t.Errorf("%v", r.err)
	}
	if r := idling(t).do(works, askFor("m1", "i1", "{}")); !errors.Is(r.err, ErrNoTurn) {
		t.Errorf("%v", r.err)
	}
}

func TestBackgroundIsCancelled(t *testing.T) {
	r := idling(t).do(works, ask("i1", "{}"), ask("i2", "{}"))
	r.do(InCancel{}).want("resolved i1 cancelled", "resolved i2 cancelled", "running").wantCommands("cancel ")
	r.do(rests).want("idle")
	r.do(InCancel{}).want().wantCommands() // nothing goes on
	// Without an id the oldest open message is meant, if there is one. An id never means
	// the background.
	r.do(works, InCancel{MessageID: "m1"}).want("running").wantCommands()
	r.do(say("m2"), InCancel{}).want("message m2", "queued m2", "complete m2 cancelled", "running")
}

func TestBackgroundEndsWithItsAssignment(t *testing.T) {
	asking := func() *stepper { return idling(t).do(works, ask("i1", "{}"), option("i1", "once"), ask("i2", "{}")) }
	gone := func(r *stepper) {
		t.Helper()
		if r.s.Background || len(r.s.Answers)+len(r.s.Approvals) > 0 {
			t.Errorf("left %+v", r.s)
		}
	}
	gone(asking().do(InLost{}).want("resolved i2 cancelled", "idle").wantOpen())
	gone(asking().do(InRelease{Reason: protocol.ReleaseIdle, Retry: true}).want("resolved i2 cancelled", "idle").wantOpen())
	gone(asking().do(InRelease{Reason: "mode refused"}).want("resolved i2 cancelled", "failed  mode refused", "closed failed").wantOpen())
	r := asking().do(InDelete{}).want("resolved i2 cancelled", "ended", "closed deleted").wantOpen("close deleted")
	gone(r)
	// What comes until the worker reads the close changes nothing.
	r.do(works).want()
	if r.do(ask("i3", "{}")); !errors.Is(r.err, ErrNoTurn) {
		t.Errorf("%v", r.err)
	}
	r = asking().do(say("m2"), InLost{}).want("message m2", "resolved i2 cancelled", "queued m2")
	gone(r)
}

// An agent that works is not ended for another session, and its session does not expire.
func TestBackgroundIsNotIdle(t *testing.T) {
	r := idling(t).do(works)
	if r.do(InEvict{}); !errors.Is(r.err, ErrNoAssignment) {
		t.Errorf("evicted: %v", r.err)
	}
	r.do(InExpire{}).want()
	r.do(ask("i1", "{}"), rests).want("asked i1 for ", "requires_action") // a worker that forgets its question
	if r.do(InEvict{}); !errors.Is(r.err, ErrNoAssignment) {
		t.Errorf("evicted with a question: %v", r.err)
	}
	r.do(option("i1", "once")).want("resolved i1 selected once allow_once u1", "idle")
	r.do(InEvict{}).want().wantCommands("close idle")
}

// A message that waits in a link is taken back although the background asks: that question
// does not show that the message was begun.
func TestMessageIsTakenBackBesideTheBackground(t *testing.T) {
	r := idling(t).do(works, ask("i1", "{}"), say("m2"), handOver(2))
	r.do(InTakeBack{Handed: r.s.Handed}).want("requires_action", queueWord("m2", ""))
	if _, waits := r.s.Waiting(); !waits {
		t.Errorf("%+v", r.s)
	}
	r.do(handOver(2), InRelease{Reason: protocol.ReleaseIdle, Retry: true}).want("requires_action m2", "resolved i1 cancelled", "queued m2")
}

// The answers that are kept are bounded: a worker has at most MaxOpenApprovals questions
// open, so it has received older answers long ago.
func TestAnswersOfTheBackgroundAreBounded(t *testing.T) {
	r := idling(t).do(works)
	for range 3 * maxLive {
		r.do(ask("i", "{}"), option("i", "once"))
	}
	if len(r.s.Answers) != maxLive || len(r.open) != maxLive {
		t.Errorf("%d answers, %d commands", len(r.s.Answers), len(r.open))
	}
}

// Parts of a question and "always" hold in the background as they do in a turn.
func TestWholeQuestionInTheBackground(t *testing.T) {
	r := idling(t).do(works)
	r.do(ask("i1", `{"a":1}`), decision("i1", protocol.AllowAlways))
	r.do(ask("i2", `{"a":1}`)).want("asked i2 for ", "resolved i2 selected once allow_always rule").wantCommands("approval i2 selected once")
	part := InContent{Data: protocol.ApprovalContentData{InteractionID: "i3", Data: []byte("all of it")}}
	r.do(part).want()
	whole := ask("i3", "{}")
	whole.Data.Truncated, whole.Data.FullBytes = true, 9
	whole.Whole = &Whole{Bytes: 9, Parts: 1}
	r.do(whole).want("asked i3 for ", "requires_action")
	if r.do(option("i3", "once")); !errors.Is(r.err, ErrContentUnread) {
		t.Errorf("unread: %v", r.err)
	}
	r.do(InContentRead{InteractionID: "i3", User: "u1"}, option("i3", "once")).want("resolved i3 selected once allow_once u1", "running")
}
