package hub

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

// The situations that the model must have come through, so that its invariants
// about assignments say something.
const (
	sawLate         = "an input of an older assignment"
	sawLost         = "a worker lost in a turn"
	sawLostIdle     = "a worker lost with nothing to do"
	sawLostAsking   = "a worker lost that had asked something"
	sawAgain        = "an assignment after another"
	sawForeign      = "a worker of another workspace refused"
	sawNotBegun     = "a message given back before it began"
	sawEvictCrossed = "a message that crossed an eviction"
)

var situations = []string{sawLate, sawLost, sawLostIdle, sawLostAsking, sawAgain, sawForeign, sawNotBegun, sawEvictCrossed}

func (m *model) saw(situation string) { m.seen[situation]++ }

// lease holds one step to what assignments promise. before is the state that it
// was decided on; m.r.s is what came of it.
func (m *model) lease(before *State, in Input, err error) {
	after := m.r.s
	inner := in
	if w, ok := in.(fromWorker); ok {
		late := before.Worker == "" || w.Assignment != before.Assignment
		if late != errors.Is(err, ErrFenced) {
			m.t.Fatalf("%T of assignment %d, while %d is with %q: %v", w.Input, w.Assignment, before.Assignment, before.Worker, err)
		}
		if late && w.Assignment < before.Assignment {
			m.saw(sawLate)
		}
		inner = w.Input
	}
	foreign := false
	if a, ok := in.(InAssign); ok {
		foreign = before.NeedsWorker() && before.Workspace != "" && a.Workspace != before.Workspace
		if foreign {
			m.saw(sawForeign)
		}
		if refused := !before.NeedsWorker() || foreign; refused != errors.Is(err, errNoAssignment) {
			m.t.Fatalf("assign to %q, of %q, refused: %v", a.Workspace, before.Workspace, err)
		}
	}
	if err != nil {
		return
	}
	switch {
	case before.Workspace != "" && after.Workspace != before.Workspace:
		m.t.Fatalf("the session moved from workspace %q to %q", before.Workspace, after.Workspace)
	case after.Finished < before.Finished:
		m.t.Fatalf("the last message finished was %d and is %d", before.Finished, after.Finished)
	case len(after.Messages) > 0 && after.Messages[0].Command <= after.Finished:
		m.t.Fatalf("message %d is open, %d is finished", after.Messages[0].Command, after.Finished)
	}
	// One worker may publish, if any: that of the last assignment.
	for a := range after.Assignment + 2 {
		if may := after.Closed == "" && after.Worker != "" && a == after.Assignment; after.Has(a) != may {
			m.t.Fatalf("assignment %d of %d may publish: %v, with worker %q", a, after.Assignment, !may, after.Worker)
		}
	}
	if after.Worker != before.Worker && after.Worker != "" {
		m.assigned(before, in)
	} else if after.Assignment != before.Assignment {
		m.t.Fatalf("assignment %d became %d without a worker", before.Assignment, after.Assignment)
	}
	if before.Worker != "" && after.Worker == "" {
		m.parted(before, inner)
	}
}

// assigned is a session that got a worker: the oldest message runs there, with
// nothing of the worker before.
func (m *model) assigned(before *State, in Input) {
	s := m.r.s
	if _, ok := in.(InAssign); !ok || before.Worker != "" || s.Assignment != before.Assignment+1 {
		m.t.Fatalf("%T: worker %q with assignment %d after %q with %d", in, s.Worker, s.Assignment, before.Worker, before.Assignment)
	}
	if s.Running != s.Messages[0].Command || len(s.Live)+len(s.Approvals) > 0 || s.Evicting != 0 {
		m.t.Fatalf("a new assignment begins with %+v", s)
	}
	if s.Assignment > 1 {
		m.saw(sawAgain)
	}
}

// parted is a session whose worker is gone. What it ran has its one complete,
// unless it says that it had not begun; what waits behind goes on waiting.
func (m *model) parted(before *State, in Input) {
	s := m.r.s
	if s.Running != 0 || len(s.Live)+len(s.Approvals) > 0 || s.Evicting != 0 {
		m.t.Fatalf("%T left %+v", in, s)
	}
	if s.Closed != "" {
		return
	}
	waiting := before.Messages
	turn, ran := before.Turn()
	kept := ran && len(s.Messages) == len(before.Messages)
	if ran && !kept {
		waiting = waiting[1:]
	}
	if !slices.Equal(s.Messages, waiting) {
		m.t.Fatalf("%T: %+v waited, %+v waits", in, before.Messages, s.Messages)
	}
	if ran && !kept && m.completed[turn.ID] != 1 {
		m.t.Fatalf("%T: %s has %d completes", in, turn.ID, m.completed[turn.ID])
	}
	switch in := in.(type) {
	case InLost:
		switch {
		case kept:
			m.t.Fatalf("%s is to run again, though its worker was lost with it", turn.ID)
		case !ran:
			m.saw(sawLostIdle)
		case len(before.Approvals) > 0:
			m.saw(sawLostAsking)
		default:
			m.saw(sawLost)
		}
	case InRelease:
		begun := turn.Cancelled || len(before.Approvals)+len(before.Live) > 0 || !in.notBegun()
		if ran && kept == begun {
			m.t.Fatalf("release %q: %s runs again: %v", in.Reason, turn.ID, kept)
		}
		if kept {
			m.saw(sawNotBegun)
			if before.Evicting != 0 {
				m.saw(sawEvictCrossed)
			}
		}
	default:
		m.t.Fatalf("%T took the worker away", in)
	}
}

// late makes what a worker sends that was replaced and does not know it.
func (m *model) late(t *rapid.T) Input {
	inputs := []Input{
		InActivity{}, InSilent{For: time.Minute}, InStarting{AgentSession: "late"}, ask(m.name("late"), "{}"),
		InDone{Message: m.r.s.Running}, InRelease{Reason: protocol.ReleaseIdle, Retry: true}, InRelease{Reason: "x"}, InLost{}, InEvict{},
		InClose{Reason: protocol.ClosedFailed, Detail: "late"},
	}
	if turn, ok := m.r.s.Turn(); ok {
		inputs = append(inputs, ended(turn.ID))
	}
	of := uint64(rapid.IntRange(0, max(0, int(m.r.s.Assignment)-1)).Draw(t, "of"))
	return fromWorker{Assignment: of, Input: rapid.SampledFrom(inputs).Draw(t, "late input")}
}

// drawLease makes what happens between a session that lives on and its workers.
func (m *model) drawLease(t *rapid.T) Input {
	s := m.r.s
	turn, running := s.Turn()
	worker := func(in Input) Input { return fromWorker{Assignment: s.Assignment, Input: in} }
	var may []Input
	add := func(ok bool, ins ...Input) {
		if ok {
			may = append(may, ins...)
		}
	}
	add(true, say(m.name("m")), m.late(t))
	add(s.NeedsWorker(), InAssign{Worker: "w1", Workspace: "ws"}, InAssign{Worker: "w2", Workspace: "ws"}, InAssign{Worker: "w3", Workspace: "other"})
	add(running, worker(ask(m.name("i"), "{}")), worker(ended(turn.ID)), worker(ended(turn.ID)), InCancel{MessageID: turn.ID})
	add(s.Worker != "" && s.Running != 0 && !running, worker(InDone{Message: s.Running}), worker(InDone{Message: s.Running}))
	evict := worker(InEvict{})
	add(s.Worker != "" && len(s.Messages) == 0 && s.Running == 0, evict, evict, evict, evict)
	add(s.Evicting != 0, say(m.name("m")), worker(InRelease{Reason: protocol.ReleaseClosed, Retry: true}))
	for _, a := range s.Approvals {
		add(true, option(a.Data.InteractionID, "once"))
	}
	if s.Worker != "" && rapid.IntRange(0, 3).Draw(t, "parts") == 3 {
		idle := InRelease{Reason: rapid.SampledFrom([]string{protocol.ReleaseIdle, protocol.ReleaseClosed, protocol.ReleaseOverCapacity, protocol.ReleaseDraining, protocol.ReleaseDrained}).Draw(t, "reason"), Retry: true}
		add(true, worker(idle), worker(InLost{}))
	}
	return rapid.SampledFrom(may).Draw(t, "input")
}

// However often its workers are lost, give it back, or speak up too late: a
// session's log is whole, and one worker at a time writes it.
func TestAssignmentsHoldForAnyLosses(t *testing.T) {
	seen := make(map[string]int)
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt)
		m.seen = seen
		for range 200 {
			m.r.now = m.r.now.Add(time.Second)
			in := m.drawLease(rt)
			if err := m.step(in); err != nil && !expected(err) {
				rt.Fatalf("%T: %v", in, err)
			}
		}
	})
	if t.Failed() {
		return
	}
	for _, s := range situations {
		if seen[s] == 0 {
			t.Errorf("the model never met %s", s)
		}
	}
	t.Logf("met: %v", seen)
}
