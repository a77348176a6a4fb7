package session

import (
	"errors"
	"testing"

	"sessionhub/protocol"
)

func TestCreationLogsIdle(t *testing.T) {
	newStepper(t).want("idle")
}

func TestTurnFromMessageToDone(t *testing.T) {
	r := newStepper(t)
	r.do(say("m1")).want("message m1", "queued m1").wantCommands("message m1")
	r.do(assign).want("starting m1")
	r.do(InActivity{}).want("running m1")
	r.do(InActivity{}).want()
	r.do(ended("m1")).want("complete m1 end_turn", "idle").wantOpen()
	r.do(InDone{Message: 1}).want()
	if r.s.Finished != 1 || r.s.Running != 0 || r.s.Worker != "w1" {
		t.Errorf("state %+v", r.s)
	}
	// The worker still has the session: the next message waits until it is about to
	// be written to that worker.
	r.do(say("m2")).want("message m2", "queued m2").wantCommands("message m2")
	r.do(handOver(2)).want("running m2")
}

func TestMessagesRunOneAfterTheOther(t *testing.T) {
	r := running(t)
	r.do(say("m2"), say("m3")).want("message m2", "message m3")
	r.do(ended("m1")).want("complete m1 end_turn", "queued m2")
	r.do(InDone{Message: 1}, handOver(2)).want("running m2")
	r.do(ended("m2"), InDone{Message: 2}, handOver(3)).want("complete m2 end_turn", "queued m3", "running m3")
	r.do(ended("m3"), InDone{Message: 3}).want("complete m3 end_turn", "idle").wantOpen()
}

// Between a turn's complete and the worker's done nothing runs, but the worker
// is not free yet: a message that waits or comes then is queued, and the status
// says so. It once named the turn that had ended as the running one.
func TestMessageBetweenCompleteAndDone(t *testing.T) {
	r := running(t).do(ended("m1"))
	r.do(say("m2")).want("message m2", "queued m2")
	if r.do(handOver(2)); !errors.Is(r.err, ErrNotDue) {
		t.Errorf("handed before done: %v", r.err)
	}
	r.do(InDone{Message: 1}, handOver(2)).want("running m2")
}

func TestQueueIsBounded(t *testing.T) {
	r := newStepper(t).do(say("m1"), say("m2"), say("m3"))
	if r.do(say("m4")); !errors.Is(r.err, ErrQueueFull) {
		t.Errorf("a fourth message without a worker: %v", r.err)
	}
	// The running one does not wait.
	if r.do(assign, say("m4")); r.err != nil {
		t.Errorf("a third message behind the running one: %v", r.err)
	}
	if r.do(say("m5")); !errors.Is(r.err, ErrQueueFull) {
		t.Errorf("a fourth message behind the running one: %v", r.err)
	}
}

func TestSecondOrUnknownCompleteIsNotLogged(t *testing.T) {
	r := running(t).do(say("m2"))
	r.do(ended("m2")).want() // not with the worker yet
	r.do(ended("nope")).want()
	r.do(ended("m1")).want("complete m1 end_turn", "queued m2")
	r.do(ended("m1")).want()
	r.do(InDone{Message: 7}).want()
	r.do(InDone{Message: 1}, InDone{Message: 1}, handOver(2)).want("running m2")
}

func TestDoneWithoutCompleteIsCompletedWithAnError(t *testing.T) {
	running(t).do(InDone{Message: 1}).want("complete m1 error agent_protocol retryable=true", "idle").wantOpen()
}

func TestStarting(t *testing.T) {
	r := newStepper(t).do(say("m1"), assign)
	r.do(InStarting{}).want() // it is that already
	r.do(InStarting{Detail: "npm install"}).want("starting m1 npm install")
	r.do(InActivity{}, InStarting{Detail: "again"}).want("running m1", "starting m1 again")
	// A question weighs more: people must see that they are asked.
	r.do(ask("i1", "{}")).want("asked i1 for m1", "requires_action m1")
	r.do(InStarting{}).want()
	newStepper(t).do(InStarting{}, InActivity{}).want() // nothing runs

	// The agent's own session is kept for the next worker, and not logged.
	r.do(InStarting{AgentSession: "a1", GitBase: "c1"}).want()
	// What the session began with is said once.
	if r.do(InStarting{AgentSession: "a1", GitBase: "c2"}).want(); r.s.GitBase != "c1" {
		t.Errorf("the session began with %q", r.s.GitBase)
	}
	if r.do(InLost{}); r.s.AgentSession != "a1" {
		t.Errorf("the agent's session is %q after its worker was lost", r.s.AgentSession)
	}
}

func TestCancel(t *testing.T) {
	r := running(t)
	r.do(InCancel{}).want().wantCommands("cancel m1")
	r.do(InCancel{}, InCancel{MessageID: "m1"}).want().wantCommands()
	r.do(InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopCancelled}}).want("complete m1 cancelled", "idle").wantOpen()
	r.do(InCancel{}, InCancel{MessageID: "m1"}, InCancel{MessageID: "nope"}).want().wantCommands()
}

func TestCancelOfAQueuedMessageTakesItBack(t *testing.T) {
	r := running(t).do(say("m2"), say("m3"))
	r.do(InCancel{MessageID: "m3"}).want("complete m3 cancelled").wantOpen("message m1", "message m2")
	r.do(InCancel{MessageID: "m3"}).want()
	r.do(ended("m1")).do(InCancel{MessageID: "m2"}).want("complete m2 cancelled", "idle").wantOpen()
	r.do(InDone{Message: 1}).want()

	r = newStepper(t).do(say("m1"), say("m2"))
	r.do(InCancel{}).want("complete m1 cancelled", "queued m2")
	r.do(InCancel{}).want("complete m2 cancelled", "idle").wantOpen()
}

func TestCancelResolvesTheTurnsQuestions(t *testing.T) {
	r := running(t).do(ask("i1", "{}"), ask("i2", "{}"))
	r.do(InCancel{}).want("resolved i1 cancelled", "resolved i2 cancelled", "running m1").wantCommands("cancel m1")
	// One that was asked while the cancel was on its way.
	r.do(ask("i3", "{}")).want("asked i3 for m1", "resolved i3 cancelled").wantCommands("approval m1 i3 cancelled")
	r.do(ended("m1")).want("complete m1 end_turn", "idle").wantOpen()
}

func TestLostWorker(t *testing.T) {
	r := running(t).do(say("m2"), ask("i1", "{}"))
	r.do(InLost{}).want("resolved i1 cancelled", "complete m1 error worker_lost retryable=true", "queued m2").wantOpen("message m2")
	if r.s.Worker != "" || r.s.Workspace != "ws" || r.s.Finished != 1 || !r.s.NeedsWorker() {
		t.Errorf("state %+v", r.s)
	}
	if r.do(InAssign{Worker: "w2", Workspace: "other"}); !errors.Is(r.err, ErrNoAssignment) {
		t.Errorf("a worker of another workspace: %v", r.err)
	}
	r.do(InAssign{Worker: "w2", Workspace: "ws"}).want("starting m2")
	if r.s.Assignment != 2 {
		t.Errorf("assignment %d", r.s.Assignment)
	}
	newStepper(t).do(say("m1"), assign, InActivity{}, ended("m1"), InDone{Message: 1}, InLost{}).do(InLost{}).want()
}

// The worker died between complete and done: the message is finished.
func TestLostWorkerAfterComplete(t *testing.T) {
	r := running(t).do(say("m2"), ended("m1"))
	r.do(InLost{}).want() // m2 was queued already
	if r.s.Status.Status != protocol.StatusQueued || r.s.Status.MessageID != "m2" {
		t.Errorf("status %+v", r.s.Status)
	}
	if r.s.Finished != 1 {
		t.Errorf("finished %d", r.s.Finished)
	}
	r.do(assign).want("starting m2")
	r.do(ended("m2")).want("complete m2 end_turn", "idle")
}

func TestRelease(t *testing.T) {
	r := running(t).do(say("m2"))
	r.do(InRelease{Reason: "tired", Retry: true}).want("complete m1 error worker_released retryable=true", "queued m2")
	running(t).do(InRelease{Reason: protocol.ReleaseDraining, Retry: true}).want("complete m1 error draining retryable=true", "idle")

	// A worker that ends has finished its turn, and meanwhile the next message is
	// on its way to it: another worker runs that one.
	r = running(t).do(say("m2"), ended("m1"), InDone{Message: 1}, handOver(2))
	r.do(InRelease{Reason: protocol.ReleaseDrained, Retry: true}).want("queued m2")
	r.do(assign).want("starting m2")
	r.do(ended("m2")).want("complete m2 end_turn", "idle")

	r = running(t)
	r.do(InRelease{Reason: protocol.ReleaseWorkingDirectory}).
		want("complete m1 error session_failed retryable=false", "failed  working_directory_not_allowed", "closed failed").wantCommands()
	if r.s.Worker != "" {
		t.Errorf("the worker that released it still has it")
	}
	if r.do(say("m2")); !errors.Is(r.err, ErrSessionEnded) {
		t.Errorf("a message to a failed session: %v", r.err)
	}
}

// A message that crosses the release of an idle agent has not begun.
func TestIdleReleaseGivesAMessageBack(t *testing.T) {
	r := running(t).do(ended("m1"), InDone{Message: 1}, say("m2"), handOver(2))
	r.do(InRelease{Reason: protocol.ReleaseIdle, Retry: true}).want("queued m2").wantOpen("message m2")
	r.do(assign).want("starting m2")

	// It was cancelled meanwhile: the next worker must not run it, and no one
	// would tell it to stop.
	r = running(t).do(ended("m1"), InDone{Message: 1}, say("m2"), handOver(2), InCancel{})
	r.do(InRelease{Reason: protocol.ReleaseIdle, Retry: true}).want("complete m2 cancelled", "idle").wantOpen()

	// An agent that waits for an answer is not idle, whatever its worker says:
	// the question may not stay without its turn.
	r = running(t).do(ask("i1", "{}"))
	r.do(InRelease{Reason: protocol.ReleaseIdle, Retry: true}).
		want("resolved i1 cancelled", "complete m1 error worker_released retryable=true", "idle").wantOpen()
}

func TestClose(t *testing.T) {
	for reason, status := range map[string]string{protocol.ClosedDeleted: "ended", protocol.ClosedExpired: "ended"} {
		r := running(t).do(say("m2"), ask("i1", "{}"))
		r.do(InClose{Reason: reason}).want("resolved i1 cancelled", "complete m1 cancelled", "complete m2 cancelled", status, "closed "+reason).
			wantCommands("close " + reason).wantOpen("close " + reason)
		r.do(InClose{Reason: reason}, InClose{Reason: protocol.ClosedFailed}, InExpire{}, InCancel{}, ended("m1"), InDone{Message: 1},
			InExpireApprovals{}, InActivity{}, InStarting{}).want().wantCommands()
		r.do(InRelease{Reason: protocol.ReleaseClosed, Retry: true}).want()
		if r.s.Worker != "" || r.s.Busy() || r.s.NeedsWorker() {
			t.Errorf("%s: state %+v", reason, r.s)
		}
	}
	newStepper(t).do(InClose{Reason: protocol.ClosedFailed, Detail: "why"}).want("failed  why", "closed failed").wantCommands()
}

func TestWritesToAClosedSession(t *testing.T) {
	for reason, want := range map[string]error{
		protocol.ClosedDeleted: ErrNotFound, protocol.ClosedExpired: ErrSessionEnded, protocol.ClosedFailed: ErrSessionEnded,
	} {
		r := running(t).do(ask("i1", "{}"), InClose{Reason: reason})
		for _, in := range []Input{say("m2"), option("i1", "once")} {
			if r.do(in); !errors.Is(r.err, want) {
				t.Errorf("%T after %s: %v, want %v", in, reason, r.err, want)
			}
		}
		if r.do(assign); !errors.Is(r.err, ErrNoAssignment) {
			t.Errorf("assign after %s: %v", reason, r.err)
		}
		if r.do(ask("i2", "{}")); !errors.Is(r.err, ErrNoTurn) {
			t.Errorf("a question after %s: %v", reason, r.err)
		}
	}
}

func TestExpireLeavesABusySessionAlone(t *testing.T) {
	newStepper(t).do(say("m1"), InExpire{}).want("message m1", "queued m1")
	running(t).do(InExpire{}).want()
	running(t).do(ask("i1", "{}")).do(InExpire{}).want()
	newStepper(t).do(InExpire{}).want("ended", "closed expired")
}

func TestStaleAssignmentIsFenced(t *testing.T) {
	r := running(t)
	for _, a := range []uint64{0, 2, 99} {
		if r.do(FromWorker{Assignment: a, Input: ended("m1")}); !errors.Is(r.err, ErrFenced) {
			t.Errorf("assignment %d: %v", a, r.err)
		}
	}
	r.do(InLost{})
	if r.do(FromWorker{Assignment: 1, Input: ended("m1")}); !errors.Is(r.err, ErrFenced) {
		t.Errorf("a lost worker: %v", r.err)
	}
	if r.do(assign); !errors.Is(r.err, ErrNoAssignment) {
		t.Errorf("assigned with nothing to do: %v", r.err)
	}
}

// What a worker has received either runs or has ended. A store that has lost the hand of a
// message lets it wait again, and does not know that the worker has it.
func TestStateKnowsWhatItsWorkerHas(t *testing.T) {
	r := running(t).do(say("m2"))
	m1, m2 := OpenMessage{ID: "m1", Command: 1}, OpenMessage{ID: "m2", Command: 2}
	knows := func(when string, first, second bool) {
		t.Helper()
		if !r.s.Knows(OpenMessage{}) || r.s.Knows(OpenMessage{ID: "m3", Command: 3}) {
			t.Errorf("%s: it does not know nothing, or knows what was never there", when)
		}
		if r.s.Knows(m1) != first || r.s.Knows(m2) != second {
			t.Errorf("%s: knows m1 %v, m2 %v", when, r.s.Knows(m1), r.s.Knows(m2))
		}
	}
	knows("m1 runs", true, false)
	if r.s.Knows(OpenMessage{ID: "another", Command: 1}) {
		t.Error("another message has its number")
	}
	r.do(ended("m1"))
	knows("m1 has a complete", true, false)
	r.do(InDone{Message: 1})
	knows("m2 waits", true, false)
	r.do(handOver(2))
	knows("m2 runs", true, true)
	r.do(InTakeBack{Handed: r.s.Handed})
	knows("m2 waits again", true, false)
	r.do(InClose{Reason: "closed"})
	if !r.s.Knows(OpenMessage{ID: "m3", Command: 3}) {
		t.Error("a closed session knows all")
	}
}
