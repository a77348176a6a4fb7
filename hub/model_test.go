package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

// model remembers what a session's clients and workers were promised.
type model struct {
	t         *rapid.T
	r         *stepper
	accepted  []string
	completed map[string]int
	asked     map[string]int
	resolved  map[string]int
	status    protocol.StatusData
	closed    bool
	commands  map[uint64]Command // not dropped
	lastSeq   uint64             // of the commands
	next      int                // for names
	seen      map[string]int     // by situation: see modellease_test.go
}

func newModel(t *testing.T, rt *rapid.T) *model {
	m := &model{
		t: rt, r: &stepper{t: t, policy: Policy{MaxQueuedMessages: 3, ApprovalTimeout: time.Hour}, now: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)},
		completed: map[string]int{}, asked: map[string]int{}, resolved: map[string]int{}, commands: map[uint64]Command{},
		seen: map[string]int{},
	}
	c, err := NewState(Info{SessionID: "s1", UserID: "u1", Provider: "demo"}, m.r.policy, m.r.now)
	if err != nil {
		rt.Fatal(err)
	}
	m.r.s = c.State
	for _, e := range c.Events {
		m.event(e)
	}
	return m
}

// step takes one input through the rules and holds the change to the
// invariants.
func (m *model) step(in Input) error {
	before := m.r.s
	raw := encode(m.t, before)
	change, err := Step(before, in, m.r.policy, m.r.now)
	if encode(m.t, before) != raw {
		m.t.Fatalf("%T changed the state that it was given", in)
	}
	// What is read back from a store decides the same.
	var stored State
	if e := json.Unmarshal([]byte(raw), &stored); e != nil {
		m.t.Fatal(e)
	}
	if encode(m.t, &stored) != raw {
		m.t.Fatalf("a state became another in JSON:\n%s\n%s", raw, encode(m.t, &stored))
	}
	again, errAgain := Step(&stored, in, m.r.policy, m.r.now)
	if fmt.Sprint(err) != fmt.Sprint(errAgain) || err == nil && encode(m.t, change) != encode(m.t, again) {
		m.t.Fatalf("%T: a stored state decides otherwise:\n%s %v\n%s %v", in, encode(m.t, change), err, encode(m.t, again), errAgain)
	}
	if err != nil {
		m.lease(before, in, err)
		return err
	}
	if len(change.Events)+len(change.Commands)+len(change.Drop) == 0 && change.State.same(before) && encode(m.t, change.State) != raw {
		m.t.Fatalf("%T: a change that nobody would store:\n%s\n%s", in, raw, encode(m.t, change.State))
	}
	m.r.s = change.State
	for _, e := range change.Events {
		m.event(e)
	}
	for _, c := range change.Commands {
		if c.Seq != m.lastSeq+1 {
			m.t.Fatalf("command %d after %d", c.Seq, m.lastSeq)
		}
		m.lastSeq = c.Seq
		m.commands[c.Seq] = c
	}
	for _, seq := range change.Drop {
		c, ok := m.commands[seq]
		if !ok {
			m.t.Fatalf("%T: command %d was dropped twice, or never made", in, seq)
		}
		m.mayDrop(c)
		delete(m.commands, seq)
	}
	m.check()
	m.lease(before, in, nil)
	return nil
}

func encode(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// event holds the log to what its readers rely on.
func (m *model) event(e NewEvent) {
	if m.closed {
		m.t.Fatalf("%s after closed", e.Type)
	}
	if c, err := protocol.Compact(e.Data); err != nil || string(c) != string(e.Data) {
		m.t.Fatalf("%s: data is not compact JSON: %s", e.Type, e.Data)
	}
	get := fields(e.Data)
	switch e.Type {
	case protocol.EventStatus:
		var s protocol.StatusData
		if err := json.Unmarshal(e.Data, &s); err != nil {
			m.t.Fatal(err)
		}
		if s == m.status {
			m.t.Fatalf("the status %+v twice in a row", s)
		}
		m.status = s
	case protocol.EventMessage:
		m.accepted = append(m.accepted, get("messageId"))
	case protocol.EventComplete:
		id := get("messageId")
		if m.completed[id]++; m.completed[id] > 1 || !slices.Contains(m.accepted, id) {
			m.t.Fatalf("complete %d for %s", m.completed[id], id)
		}
	case protocol.EventToolApproval:
		m.asked[get("interactionId")]++
	case protocol.EventApprovalResolved:
		id := get("interactionId")
		if m.resolved[id]++; m.resolved[id] > m.asked[id] {
			m.t.Fatalf("approval_resolved %d for %s, which was asked %d times", m.resolved[id], id, m.asked[id])
		}
	case protocol.EventClosed:
		m.closed = true
	default:
		m.t.Fatalf("the rules made %s", e.Type)
	}
}

// mayDrop fails unless nobody waits for a command any more.
func (m *model) mayDrop(c Command) {
	id := fields(c.Data)("messageId")
	if c.Type == protocol.WorkerClose {
		if fields(c.Data)("reason") != protocol.ReleaseIdle {
			m.t.Fatal("a close was dropped")
		}
		return // an eviction is over with its assignment
	}
	// A message that is open, and what is said to its turn, must reach the
	// worker.
	if m.completed[id] == 0 {
		m.t.Fatalf("%s %d for %s was dropped, though it has no complete", c.Type, c.Seq, id)
	}
}

// check holds a state to the log that led to it.
func (m *model) check() {
	s := m.r.s
	if s.Status != m.status {
		m.t.Fatalf("status %+v, but the last status event says %+v", s.Status, m.status)
	}
	turn, ok := s.Turn()
	for _, a := range s.Approvals {
		if !ok || a.Data.MessageID != turn.ID {
			m.t.Fatalf("%s is pending for %s, but the turn is %q", a.Data.InteractionID, a.Data.MessageID, turn.ID)
		}
	}
	pending := 0
	for id, n := range m.asked {
		pending += n - m.resolved[id]
	}
	if pending != len(s.Approvals) {
		m.t.Fatalf("%d questions have no answer, %d are pending", pending, len(s.Approvals))
	}
	// Every accepted message is open or complete, and an open one has its
	// command.
	open := 0
	for _, id := range m.accepted {
		open += 1 - m.completed[id]
	}
	if open != len(s.Messages) {
		m.t.Fatalf("%d messages have no complete, %d are open", open, len(s.Messages))
	}
	for i, o := range s.Messages {
		if c, ok := m.commands[o.Command]; !ok || c.Type != protocol.WorkerMessage || i > 0 && o.Command <= s.Messages[i-1].Command {
			m.t.Fatalf("message %s has no command %d in order", o.ID, o.Command)
		}
		if o.Cancelled && (!ok || o.ID != turn.ID) {
			m.t.Fatalf("%s waits, though it was cancelled", o.ID)
		}
	}
	for _, seq := range s.Live {
		if c, there := m.commands[seq]; !ok || !there || fields(c.Data)("messageId") != turn.ID {
			m.t.Fatalf("command %d is live without its turn", seq)
		}
	}
	kept := len(s.Messages) + len(s.Live)
	if s.Evicting != 0 {
		kept++
	}
	if m.closed {
		kept++ // the close, which stays with the session
	}
	if len(m.commands) > kept {
		m.t.Fatalf("%d commands are kept for %d messages: %v", len(m.commands), len(s.Messages), m.commands)
	}
	status := s.Status.Status
	switch {
	case m.closed != (s.Closed != ""), m.closed && s.Busy():
		m.t.Fatalf("closed %q, in the log %v, busy %v", s.Closed, m.closed, s.Busy())
	case m.closed && status != protocol.StatusEnded && status != protocol.StatusFailed, !m.closed && (status == protocol.StatusEnded || status == protocol.StatusFailed):
		m.t.Fatalf("closed %v with the status %s", m.closed, status)
	case (len(s.Approvals) > 0) != (status == protocol.StatusRequiresAction):
		m.t.Fatalf("%d questions are pending, the status is %s", len(s.Approvals), status)
	case !m.closed && (len(s.Messages) == 0) != (status == protocol.StatusIdle):
		m.t.Fatalf("%d messages are open, the status is %s", len(s.Messages), status)
	case s.Worker == "" && (s.Running != 0 || ok):
		m.t.Fatalf("command %d runs without a worker", s.Running)
	case ok && (status == protocol.StatusQueued || status == protocol.StatusIdle):
		m.t.Fatalf("%s runs, the status is %s", turn.ID, status)
	case !m.closed && s.Worker != "" && s.Running == 0 && len(s.Messages) > 0:
		m.t.Fatal("a worker has nothing to do, though a message waits")
	}
}

func (m *model) name(prefix string) string {
	m.next++
	return fmt.Sprint(prefix, m.next)
}

// draw makes an input of any of the sides, most often a sensible one.
func (m *model) draw(t *rapid.T) Input {
	s := m.r.s
	anyMessage := func() string {
		if len(m.accepted) == 0 || rapid.IntRange(0, 9).Draw(t, "wrong message") == 0 {
			return "unknown"
		}
		if turn, ok := s.Turn(); ok && rapid.Bool().Draw(t, "the turn's") {
			return turn.ID
		}
		return rapid.SampledFrom(m.accepted).Draw(t, "message")
	}
	anyQuestion := func() string {
		if len(s.Approvals) == 0 {
			return "unknown"
		}
		return rapid.SampledFrom(s.Approvals).Draw(t, "question").Data.InteractionID
	}
	worker := func(in Input) Input {
		a := s.Assignment
		if rapid.IntRange(0, 9).Draw(t, "stale") == 0 {
			a = uint64(rapid.IntRange(0, int(a)+1).Draw(t, "assignment"))
		}
		return fromWorker{Assignment: a, Input: in}
	}
	switch rapid.SampledFrom([]string{
		"message", "message", "assign", "assign", "activity", "silent", "starting", "ask", "ask", "approve", "approve", "decide", "cancel", "cancel",
		"complete", "complete", "done", "done", "evict", "evict", "release", "lost", "late", "expire approvals", "expire", "close",
	}).Draw(t, "input") {
	case "message":
		return say(m.name("m"))
	case "assign":
		return InAssign{Worker: rapid.SampledFrom([]string{"w1", "w2"}).Draw(t, "worker"), Workspace: rapid.SampledFrom([]string{"ws", "ws", "ws", "other"}).Draw(t, "workspace")}
	case "activity":
		return worker(InActivity{})
	case "silent":
		return worker(InSilent{For: time.Minute})
	case "starting":
		return worker(InStarting{
			Detail:       rapid.SampledFrom([]string{"", "why"}).Draw(t, "detail"),
			AgentSession: rapid.SampledFrom([]string{"", "", "a1", "a2"}).Draw(t, "agentSession"),
		})
	case "ask":
		id := m.name("i")
		if rapid.IntRange(0, 9).Draw(t, "again") == 0 {
			id = anyQuestion()
		}
		options := rapid.SampledFrom([][]protocol.ApprovalOption{onceOrAlways, onceOrAlways[:1], onceOrAlways[2:]}).Draw(t, "options")
		return worker(ask(id, rapid.SampledFrom([]string{"{}", `{"a":1}`}).Draw(t, "in"), options...))
	case "approve":
		return option(anyQuestion(), rapid.SampledFrom([]string{"once", "always", "no", "wrong"}).Draw(t, "option"))
	case "decide":
		return decision(anyQuestion(), rapid.SampledFrom([]string{protocol.AllowOnce, protocol.AllowAlways, protocol.RejectOnce, "wrong"}).Draw(t, "decision"))
	case "cancel":
		if rapid.Bool().Draw(t, "any") {
			return InCancel{}
		}
		return InCancel{MessageID: anyMessage()}
	case "complete":
		return worker(InComplete{Data: protocol.CompleteData{MessageID: anyMessage(), StopReason: rapid.SampledFrom(protocol.StopReasons).Draw(t, "stop")}})
	case "done":
		if s.Running != 0 && rapid.IntRange(0, 9).Draw(t, "right") > 0 {
			return worker(InDone{Message: s.Running})
		}
		return worker(InDone{Message: uint64(rapid.IntRange(0, int(s.NextCommand)+1).Draw(t, "done"))})
	case "release":
		return worker(InRelease{
			Reason: rapid.SampledFrom([]string{protocol.ReleaseIdle, protocol.ReleaseIdle, protocol.ReleaseClosed, protocol.ReleaseOverCapacity, protocol.ReleaseDraining, protocol.ReleaseDrained, "x"}).Draw(t, "reason"),
			Retry:  rapid.IntRange(0, 4).Draw(t, "fatal") > 0,
		})
	case "evict":
		return worker(InEvict{})
	case "lost":
		return worker(InLost{})
	case "late":
		return m.late(t)
	case "expire approvals":
		m.r.now = m.r.now.Add(time.Duration(rapid.IntRange(0, 90).Draw(t, "minutes")) * time.Minute)
		return InExpireApprovals{}
	case "expire":
		return InExpire{}
	}
	if rapid.IntRange(0, 3).Draw(t, "close") > 0 {
		return InActivity{} // closing ends the interesting part
	}
	reasons := []string{protocol.ClosedDeleted, protocol.ClosedExpired, protocol.ClosedFailed}
	return InClose{Reason: rapid.SampledFrom(reasons).Draw(t, "reason"), Detail: "why"}
}

// Whoever does what in whatever order: exactly one complete for each accepted
// message, one answer for each question, nothing after closed, and nothing of a
// worker that does not have the session any more.
func TestRulesHoldForAnyInputs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt)
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			m.r.now = m.r.now.Add(time.Second)
			in := m.draw(rt)
			if err := m.step(in); err != nil && !expected(err) {
				rt.Fatalf("%T: %v", in, err)
			}
		}
		if err := m.step(InClose{Reason: protocol.ClosedDeleted}); err != nil {
			rt.Fatal(err)
		}
		for _, id := range m.accepted {
			if m.completed[id] != 1 {
				rt.Fatalf("%s has %d completes", id, m.completed[id])
			}
		}
		for id, n := range m.asked {
			if m.resolved[id] != n {
				rt.Fatalf("%s was asked %d times and resolved %d times", id, n, m.resolved[id])
			}
		}
		if !m.closed {
			rt.Fatal("no closed")
		}
	})
}

// expected are the answers that the rules give.
func expected(err error) bool {
	for _, e := range []error{
		ErrNotFound, ErrSessionEnded, ErrQueueFull, ErrFenced, ErrUnknownOption, ErrInvalid,
		errNotPending, errNoAssignment, errNoTurn, errKnownInteraction,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
