package session

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"sessionhub/protocol"
)

// takingUp is a session that takes one of its agent's up, in an assignment that may load it.
func takingUp(t testing.TB) *stepper {
	t.Helper()
	r := &stepper{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), notes: make(map[string]string), policy: Policy{MaxQueuedMessages: 3, ApprovalTimeout: time.Hour}}
	c, err := NewState(Info{SessionID: "s1", UserID: "u1", Provider: "demo", TakeUp: &TakeUp{AgentSession: "a1", Workspace: "w"}}, r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.take(c)
	return r
}

func (r *stepper) fromWorker(in Input) *stepper {
	r.t.Helper()
	return r.do(FromWorker{Assignment: r.s.Assignment, Input: in})
}

func history(id string) InReplayMessage {
	return InReplayMessage{Data: protocol.MessageData{MessageID: id, Content: json.RawMessage(`"before"`)}, Hash: "h"}
}

// types are the events of the last steps, in short.
func types(c Change) (all []protocol.EventType) {
	for _, e := range c.Events {
		all = append(all, e.Type)
	}
	return all
}

// The history is taken once: a worker that begins it again, or sends it outside of an
// assignment for it, is refused. A worker that cannot load does not get the session.
func TestHistoryIsTakenOnce(t *testing.T) {
	r := takingUp(t)
	if !r.s.NeedsWorker() || !r.s.Busy() || r.s.AgentSession != "a1" || r.s.Status.Status != protocol.StatusQueued {
		t.Fatalf("the state is %+v", r.s)
	}
	assign := InAssign{Worker: "w1", Workspace: "w", Options: true}
	if r.do(assign); !errors.Is(r.err, ErrNeedsJudge) {
		t.Errorf("a worker that loads nothing: %v", r.err)
	}
	assign.Loads = true
	r.do(assign)
	if r.s.Running != 0 || r.s.Status.Status != protocol.StatusStarting {
		t.Errorf("assigned: %+v", r.s)
	}
	if r.fromWorker(history("h1")); !errors.Is(r.err, ErrNoReplay) {
		t.Errorf("a message before the beginning: %v", r.err)
	}
	r.fromWorker(InReplay{Begins: true})
	if r.fromWorker(InReplay{Begins: true}); !errors.Is(r.err, ErrNoReplay) {
		t.Errorf("a second beginning: %v", r.err)
	}
	r.fromWorker(history("h1"))
	r.fromWorker(history("h2"))
	if r.s.ReplayMessage != "h2" || r.notes[MessageNote("h1")] != "h" {
		t.Errorf("after two messages: %+v, notes %v", r.s, r.notes)
	}
	r.fromWorker(InUsage{Data: protocol.UsageData{Cost: &protocol.Cost{Amount: 5, Currency: "USD"}}})
	r.fromWorker(InReplay{})
	if r.s.Load != "" || r.s.ReplayMessage != "" || r.s.Busy() || r.s.Status.Status != protocol.StatusIdle || r.s.Usage.Cost != nil {
		t.Errorf("after the end: %+v, usage %+v", r.s, r.s.Usage)
	}
	for _, in := range []Input{history("h3"), InReplay{Begins: true}, InReplay{}} {
		if r.fromWorker(in); !errors.Is(r.err, ErrNoReplay) {
			t.Errorf("%T behind the end: %v", in, r.err)
		}
	}
	r.fromWorker(InUsage{Data: protocol.UsageData{Cost: &protocol.Cost{Amount: 6, Currency: "USD"}}})
	if r.s.Usage.Cost.Amount != 1 {
		t.Errorf("it has cost %v, want what came behind the history", r.s.Usage.Cost)
	}
}

// A worker that is lost before the history began costs nothing: another one loads it, a few
// times. One that is lost in the middle ends it.
func TestLossOfTheWorkerThatLoads(t *testing.T) {
	assign := InAssign{Worker: "w1", Workspace: "w", Options: true, Loads: true}
	r := takingUp(t)
	for n := 1; n < maxLoads; n++ {
		r.do(assign)
		if r.fromWorker(InLost{}); r.s.Load != LoadWanted || !r.s.NeedsWorker() {
			t.Fatalf("after %d losses: %+v", n, r.s)
		}
	}
	r.do(assign)
	if r.fromWorker(InLost{}); r.s.Load != "" || r.s.NeedsWorker() || r.s.Status.Status != protocol.StatusIdle {
		t.Errorf("after %d losses: %+v", maxLoads, r.s)
	}

	r = takingUp(t)
	r.do(assign).fromWorker(InReplay{Begins: true}).fromWorker(history("h1"))
	c, err := Step(r.s, FromWorker{Assignment: r.s.Assignment, Input: InLost{}}, r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	var end protocol.CompleteData
	if got := types(c); len(got) != 2 || got[0] != protocol.EventComplete || protocol.Decode(c.Events[0].Data, &end) != nil ||
		!end.Replay || end.MessageID != "h1" || end.StopReason != protocol.StopError {
		t.Errorf("the loss has the events %v, the end %+v", got, end)
	}
	if c.State.Load != "" || c.State.NeedsWorker() || c.State.AgentSession != "a1" {
		t.Errorf("after the loss: %+v", c.State)
	}
}

// An assignment that no worker has heard of is taken back, also without a message.
func TestTakeBackOfALoad(t *testing.T) {
	r := takingUp(t).do(InAssign{Worker: "w1", Workspace: "w", Options: true, Loads: true})
	r.fromWorker(InTakeBack{Handed: r.s.Handed, Unassign: true})
	if r.s.Worker != "" || !r.s.NeedsWorker() || r.s.Status.Status != protocol.StatusQueued {
		t.Errorf("the state is %+v", r.s)
	}
}

// A fork waits until its log is copied. Its agent's session is not kept until a turn has
// ended.
func TestForkIsMadeAnewUntilItsFirstTurn(t *testing.T) {
	original := newStepper(t)
	if _, err := CanFork(original.s); !errors.Is(err, ErrCannotFork) {
		t.Errorf("an agent that was never started: %v", err)
	}
	r := &stepper{t: t, now: original.now, notes: make(map[string]string), policy: original.policy}
	c, err := NewState(Info{SessionID: "s2", UserID: "u1", Fork: &Fork{SessionID: "s1", AgentSession: "a1", Workspace: "w"}}, r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.take(c)
	if r.s.NeedsWorker() || r.s.Busy() {
		t.Errorf("while the log is copied: %+v", r.s)
	}
	if r.do(InCopy{Events: []NewEvent{{Type: protocol.EventOutput, Data: json.RawMessage(`{"text":"x","kind":"text"}`)}}}, InCopied{}); !r.s.NeedsWorker() {
		t.Errorf("behind the copy: %+v", r.s)
	}
	if r.do(InCopy{}); !errors.Is(r.err, ErrNoReplay) {
		t.Errorf("a copy behind the end: %v", r.err)
	}
	assign := InAssign{Worker: "w1", Workspace: "w", Options: true, Loads: true}
	r.do(assign).fromWorker(InReplay{Begins: true}).fromWorker(InReplay{}).fromWorker(InStarting{AgentSession: "f1"})
	if from, err := CanFork(r.s); !errors.Is(err, ErrCannotFork) || from.AgentSession != "a1" {
		t.Errorf("a fork of the fork: %+v, %v", from, err)
	}
	if r.fromWorker(InRelease{Reason: protocol.ReleaseIdle, Retry: true}); r.s.ForkOf != "a1" || r.s.AgentSession != "" {
		t.Errorf("after the idle end: %+v", r.s)
	}
	r.do(InMessage{Data: protocol.MessageData{MessageID: "m1", Content: json.RawMessage(`"x"`)}}, assign)
	r.fromWorker(InStarting{AgentSession: "f2"}).fromWorker(InComplete{Data: protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn}}).fromWorker(InDone{Message: r.s.Running})
	if r.fromWorker(InRelease{Reason: protocol.ReleaseIdle, Retry: true}); r.s.ForkOf != "" || r.s.AgentSession != "f2" {
		t.Errorf("behind the first turn: %+v", r.s)
	}
}
