package session

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/internal/testkit/judge"
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
	sawLostWaiting  = "a worker lost with a message that it had not received"
	sawLostDoubt    = "a worker and the end of a log lost, with a message that waited"
	sawTakenBack    = "a message taken back from a link"
	sawHandedAgain  = "a message handed to a second link"
	sawLateTakeBack = "a message taken back by a link that had lost it to another"

	sawBackground     = "work in the background beside a turn"
	sawBackgroundLost = "a worker lost that had asked in the background"
	sawBackgroundBack = "a message taken back from a link, while the background asked"
	sawBackgroundTold = "an answer for the background kept behind a turn's end"
)

var situations = []string{
	sawLate, sawLost, sawLostIdle, sawLostAsking, sawAgain, sawForeign, sawNotBegun, sawEvictCrossed,
	sawLostWaiting, sawLostDoubt, sawTakenBack, sawHandedAgain, sawLateTakeBack,
	sawBackground, sawBackgroundLost, sawBackgroundBack, sawBackgroundTold,
}

func (m *model) saw(situation string) { m.seen[situation]++ }

// lease holds one step to what assignments promise. before is the state that it
// was decided on; m.r.s is what came of it.
func (m *model) lease(before *State, in Input, err error) {
	after := m.r.s
	inner := in
	if w, ok := in.(FromWorker); ok {
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
		if refused := !before.NeedsWorker() || foreign; refused != errors.Is(err, ErrNoAssignment) {
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
	m.handed(before, inner)
	m.background(before, inner)
}

// background holds a step to what is promised about work outside of a turn: it goes on
// whatever becomes of a turn, and it changes no turn.
func (m *model) background(before *State, in Input) {
	after := m.r.s
	turn, runs := after.Turn()
	if after.Background && runs {
		m.saw(sawBackground)
	}
	open := func(s *State) (n int) { return s.Questions() - ofTurn(s) }
	switch in := in.(type) {
	case InComplete, InDone, InHand:
		if after.Background != before.Background || open(after) != open(before) || len(after.Answers) != len(before.Answers) {
			m.t.Fatalf("%T changed the work in the background: %+v", in, after)
		}
		if len(after.Answers) > 0 {
			m.saw(sawBackgroundTold)
		}
	case InBackground:
		if was, ran := before.Turn(); was != turn || ran != runs || after.Closed == "" && after.Background != in.Works {
			m.t.Fatalf("%+v: %+v", in, after)
		}
	}
}

// ofTurn counts the open questions of the turn.
func ofTurn(s *State) (n int) {
	for _, of := range askers(s) {
		if of != "" {
			n++
		}
	}
	return n
}

// askers are the messages that the open questions are about; empty: the background.
func askers(s *State) (all []string) {
	for _, a := range s.Approvals {
		all = append(all, a.Data.MessageID)
	}
	for _, q := range s.Elicitations {
		all = append(all, q.Data.MessageID)
	}
	return all
}

// handed holds a step to what the hand of a message promises: a worker may have
// received a message only behind it, and it counts as received until a worker
// or the link that it was handed to says otherwise.
func (m *model) handed(before *State, in Input) {
	after := m.r.s
	turn, ran := before.Turn()
	switch in := in.(type) {
	case InAssign:
	case InHand:
		switch {
		case after.Running != in.Command || after.Handed != before.Handed+1:
			m.t.Fatalf("hand of %d: %+v", in.Command, after)
		case ran && turn.Command != in.Command:
			m.t.Fatalf("%d was handed while %s ran", in.Command, turn.ID)
		case ran:
			m.saw(sawHandedAgain)
		}
	case InTakeBack:
		_, runs := after.Turn()
		begun := !turn.Cancelled && begun(before)
		last := ran && in.Handed == before.Handed && before.Closed == ""
		switch {
		case last && runs != begun:
			m.t.Fatalf("%s was begun: %v, runs: %v", turn.ID, begun, runs)
		case last && !begun:
			m.saw(sawTakenBack)
			if before.asked("") {
				m.saw(sawBackgroundBack)
			}
		case after.Running != before.Running || after.Worker != before.Worker:
			m.t.Fatalf("take back of hand %d changed hand %d", in.Handed, before.Handed)
		case ran:
			m.saw(sawLateTakeBack)
		}
	default:
		if after.Running != 0 && after.Running != before.Running || after.Handed != before.Handed {
			m.t.Fatalf("%T handed %d", in, after.Running)
		}
		again := ran && slices.ContainsFunc(after.Messages, func(o OpenMessage) bool { return o.ID == turn.ID }) && after.Running == 0
		if r, ok := in.(InRelease); again && (!ok || !r.notBegun()) {
			m.t.Fatalf("%T: %s runs again, which may have had effects", in, turn.ID)
		}
	}
}

// hand makes a hand of a message, most often of the one that is due.
func (m *model) hand(t *rapid.T) Input {
	s := m.r.s
	if len(s.Messages) > 0 && rapid.IntRange(0, 9).Draw(t, "due") > 0 {
		return InHand{Command: s.Messages[0].Command}
	}
	return InHand{Command: uint64(rapid.IntRange(0, int(s.NextCommand)+1).Draw(t, "hand"))}
}

// takeBack makes a link take back the last hand, or one before it.
func (m *model) takeBack(t *rapid.T) Input {
	s := m.r.s
	in := InTakeBack{Handed: s.Handed, Unassign: rapid.Bool().Draw(t, "unassign")}
	if rapid.IntRange(0, 2).Draw(t, "older") == 0 {
		in.Handed = uint64(rapid.IntRange(0, max(0, int(s.Handed)-1)).Draw(t, "handed"))
	}
	return in
}

// assigned is a session that got a worker: the oldest message runs there, with
// nothing of the worker before.
func (m *model) assigned(before *State, in Input) {
	s := m.r.s
	if _, ok := in.(InAssign); !ok || before.Worker != "" || s.Assignment != before.Assignment+1 {
		m.t.Fatalf("%T: worker %q with assignment %d after %q with %d", in, s.Worker, s.Assignment, before.Worker, before.Assignment)
	}
	if s.Running != s.Messages[0].Command || len(s.Live)+s.Questions()+len(s.Answers) > 0 || s.Evicting != 0 || s.Background {
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
	if s.Running != 0 || len(s.Live)+s.Questions()+len(s.Answers) > 0 || s.Evicting != 0 || s.Background {
		m.t.Fatalf("%T left %+v", in, s)
	}
	if s.Closed != "" {
		return
	}
	waiting := before.Messages
	turn, ran := before.Turn()
	kept := ran && slices.ContainsFunc(s.Messages, func(o OpenMessage) bool { return o.ID == turn.ID })
	unsaid := turn.Cancelled // the worker gives back what it was to stop, and had not begun
	if r, ok := in.(InRelease); !ok || !r.notBegun() {
		_, unsaid = in.(InTakeBack)
	}
	if ran && !kept {
		waiting = waiting[1:]
	}
	waiting = behind(waiting, ran && !kept && !unsaid)
	if in, ok := in.(InLost); ok {
		if _, waits := before.Waiting(); waits && in.Doubt {
			m.saw(sawLostDoubt)
			waiting = waiting[1:]
		} else if waits {
			m.saw(sawLostWaiting)
		}
	}
	if !slices.Equal(s.Messages, waiting) {
		m.t.Fatalf("%T: %+v waited, %+v waits", in, before.Messages, s.Messages)
	}
	if ran && !kept && m.completed[turn.ID] != 1 {
		m.t.Fatalf("%T: %s has %d completes", in, turn.ID, m.completed[turn.ID])
	}
	if before.asked("") {
		m.saw(sawBackgroundLost)
	}
	switch in := in.(type) {
	case InLost:
		switch {
		case kept:
			m.t.Fatalf("%s is to run again, though its worker was lost with it", turn.ID)
		case !ran:
			m.saw(sawLostIdle)
		case ofTurn(before) > 0:
			m.saw(sawLostAsking)
		default:
			m.saw(sawLost)
		}
	case InRelease:
		begun := turn.Cancelled || begun(before) || !in.notBegun()
		if ran && kept == begun {
			m.t.Fatalf("release %q: %s runs again: %v", in.Reason, turn.ID, kept)
		}
		if kept {
			m.saw(sawNotBegun)
		}
		if before.Evicting != 0 && len(before.Messages) > 0 {
			m.saw(sawEvictCrossed)
		}
	case InTakeBack:
		if !in.Unassign || !ran {
			m.t.Fatalf("%+v took the worker away", in)
		}
	default:
		m.t.Fatalf("%T took the worker away", in)
	}
}

// late makes what a worker sends that was replaced and does not know it.
func (m *model) late(t *rapid.T) Input {
	inputs := []Input{
		InActivity{}, InSilent{For: time.Minute}, InStarting{AgentSession: "late"}, ask(m.name("late"), "{}"), InBackground{Works: true},
		InDone{Message: m.r.s.Running}, InRelease{Reason: protocol.ReleaseIdle, Retry: true}, InRelease{Reason: "x"}, InLost{}, InEvict{},
		InHand{Command: m.r.s.Running}, InTakeBack{Handed: m.r.s.Handed},
		InClose{Reason: protocol.ClosedFailed, Detail: "late"},
	}
	if turn, ok := m.r.s.Turn(); ok {
		inputs = append(inputs, ended(turn.ID))
	}
	of := uint64(rapid.IntRange(0, max(0, int(m.r.s.Assignment)-1)).Draw(t, "of"))
	return FromWorker{Assignment: of, Input: rapid.SampledFrom(inputs).Draw(t, "late input")}
}

// drawLease makes what happens between a session that lives on and its workers.
func (m *model) drawLease(t *rapid.T) Input {
	s := m.r.s
	turn, running := s.Turn()
	worker := func(in Input) Input { return FromWorker{Assignment: s.Assignment, Input: in} }
	var may []Input
	add := func(ok bool, ins ...Input) {
		if ok {
			may = append(may, ins...)
		}
	}
	add(true, m.say(t), m.say(t), m.late(t), m.change(t))
	add(running, worker(m.started(t)))
	add(running && !s.Steering, worker(m.started(t)), worker(m.started(t)))
	add(slices.ContainsFunc(s.Messages, func(o OpenMessage) bool { return o.Steer != 0 }), worker(m.steered(t)), worker(m.steered(t)), worker(m.steered(t)))
	add(s.NeedsWorker(), InAssign{Worker: "w1", Workspace: "ws", Options: true}, InAssign{Worker: "w2", Workspace: "ws", Options: true}, InAssign{Worker: "w3", Workspace: "other", Options: true})
	add(s.Worker != "", worker(InBackground{Works: !s.Background}))
	add(s.Background, worker(ask(m.name("b"), "{}")), worker(elicit(m.name("qb"))))
	add(running, worker(askFor(turn.ID, m.name("i"), "{}")), worker(elicitFor(turn.ID, m.name("q"))), worker(ended(turn.ID)), worker(ended(turn.ID)), InCancel{MessageID: turn.ID})
	add(s.Worker != "" && s.Running != 0 && !running, worker(InDone{Message: s.Running}), worker(InDone{Message: s.Running}))
	_, waits := s.Waiting()
	add(waits || running, worker(m.hand(t)))
	add(waits, worker(m.hand(t)), worker(m.hand(t)), worker(m.hand(t)))
	evict := worker(InEvict{})
	add(s.Worker != "" && !s.Busy() && s.Running == 0, evict, evict, evict, evict)
	add(s.Evicting != 0, m.say(t), worker(InRelease{Reason: protocol.ReleaseClosed, Retry: true}))
	for _, a := range s.Approvals {
		add(true, option(a.Data.InteractionID, "once"))
	}
	for _, q := range s.Elicitations {
		add(true, respond(q.Data.InteractionID, protocol.ActionDecline, ""))
	}
	if s.Worker != "" && rapid.IntRange(0, 3).Draw(t, "parts") == 3 {
		idle := InRelease{Reason: rapid.SampledFrom([]string{protocol.ReleaseIdle, protocol.ReleaseClosed, protocol.ReleaseOverCapacity, protocol.ReleaseDraining, protocol.ReleaseDrained}).Draw(t, "reason"), Retry: true}
		add(true, worker(idle), worker(InLost{}), worker(m.takeBack(t)))
		add(waits, worker(InLost{Doubt: true}), worker(InLost{}))
	}
	return rapid.SampledFrom(may).Draw(t, "input")
}

// However often its workers are lost, give it back, or speak up too late: a
// session's log is whole, and one worker at a time writes it.
func TestAssignmentsHoldForAnyLosses(t *testing.T) {
	seen := make(map[string]int)
	steps := 500
	if judge.Raced {
		steps = 50
	}
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt)
		m.seen = seen
		for range steps {
			m.r.now = m.r.now.Add(time.Second)
			in := m.drawLease(rt)
			if err := m.step(in); err != nil && !expected(err) {
				rt.Fatalf("%T: %v", in, err)
			}
		}
	})
	if t.Failed() || judge.Raced {
		return
	}
	for _, s := range slices.Concat(situations, queueSituations) {
		if seen[s] == 0 {
			t.Errorf("the model never met %s", s)
		}
	}
	t.Logf("met: %v", seen)
}
