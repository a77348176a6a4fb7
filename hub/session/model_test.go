package session

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
	listed    int                // lists of options in the log
	next      int                // for names
	title     string             // before the step
	seen      map[string]int     // by situation: see modellease_test.go
	reader    *queueReader
	attended  attended
}

func newModel(t *testing.T, rt *rapid.T) *model {
	m := &model{
		t: rt, r: &stepper{t: t, policy: Policy{MaxQueuedMessages: 3, ApprovalTimeout: time.Hour}, now: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)},
		completed: map[string]int{}, asked: map[string]int{}, resolved: map[string]int{}, commands: map[uint64]Command{},
		seen: map[string]int{}, reader: newQueueReader(),
	}
	c, err := NewState(Info{SessionID: "s1", UserID: "u1", Provider: "demo"}, m.r.policy, m.r.now)
	if err != nil {
		rt.Fatal(err)
	}
	m.r.s = c.State
	for _, e := range c.Events {
		m.event(e)
	}
	m.attended.logged = uint64(len(c.Events))
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
	if !change.Stores() && encode(m.t, change.State) != raw {
		m.t.Fatalf("%T: a change that nobody would store:\n%s\n%s", in, raw, encode(m.t, change.State))
	}
	m.r.s = change.State
	waited := slices.Clone(m.reader.waits)
	for _, e := range change.Events {
		m.event(e)
		if wrong := m.reader.event(e); wrong != "" {
			m.t.Fatalf("%T: %s", in, wrong)
		}
	}
	m.order(before, waited)
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
	m.title = m.r.s.Title()
	m.check()
	m.queue(in)
	m.attend(before, in, change)
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
	case protocol.EventToolApproval, protocol.EventElicitation:
		m.asked[get("interactionId")]++
	case protocol.EventApprovalResolved, protocol.EventElicitationResolved:
		id := get("interactionId")
		if m.resolved[id]++; m.resolved[id] > m.asked[id] {
			m.t.Fatalf("%s %d for %s, which was asked %d times", e.Type, m.resolved[id], id, m.asked[id])
		}
	case protocol.EventConfigOptions:
		m.listed++
	case protocol.EventSteered:
		if get("outcome") == protocol.SteerInjected {
			m.saw(sawInjected)
		} else {
			m.saw(sawFellBack)
		}
	case protocol.EventQueue, protocol.EventMessageEdited, protocol.EventAgentStarted:
	case protocol.EventClosed:
		m.closed = true
	case protocol.EventUsage:
		if turn, ok := m.r.s.Turn(); get("messageId") != "" && (!ok || turn.ID != get("messageId")) {
			m.t.Fatalf("usage of %s, the turn is %q", get("messageId"), turn.ID)
		}
	case protocol.EventSessionInfo:
		if title := get("title"); title == m.title || title != m.r.s.Title() {
			m.t.Fatalf("the title %q is told, after %q; it is %q", title, m.title, m.r.s.Title())
		}
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
	if c.Type == protocol.WorkerSetOption {
		return // check finds the newest of each option
	}
	if id == "" { // of the background
		if s := m.r.s; s.Worker != "" && s.Closed == "" && len(s.Answers) < maxLive {
			m.t.Fatalf("%s %d for the background was dropped in its assignment", c.Type, c.Seq)
		}
		return
	}
	// What was said to a turn about another message is over with its outcome.
	if c.Type == protocol.WorkerSteer {
		for _, o := range m.r.s.Messages {
			if o.Steer == c.Seq && len(m.r.s.Live) < maxLive {
				m.t.Fatalf("steer %d for %s was dropped, though it has no outcome", c.Seq, id)
			}
		}
		return
	}
	if c.Type == protocol.WorkerMessage { // it may have another one
		for _, o := range m.r.s.Messages {
			if o.ID == id && o.Command > c.Seq {
				m.saw(sawReissued)
				return
			}
		}
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
	for _, of := range askers(s) {
		if of == "" && s.Worker == "" || of != "" && (!ok || of != turn.ID) {
			m.t.Fatalf("a question is open for %q, but the turn is %q, with worker %q: %+v", of, turn.ID, s.Worker, s)
		}
	}
	pending := 0
	for id, n := range m.asked {
		pending += n - m.resolved[id]
	}
	if pending != s.Questions() {
		m.t.Fatalf("%d questions have no answer, %d are pending", pending, s.Questions())
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
		if o.Cancelled && (!ok || o.ID != turn.ID && o.Steer == 0) {
			m.t.Fatalf("%s waits, though it was cancelled", o.ID)
		}
	}
	for _, seq := range s.Live {
		c, there := m.commands[seq]
		of := fields(c.Data)("messageId")
		if c.Type == protocol.WorkerSteer {
			of = fields(c.Data)("into")
		}
		if !ok || !there || of != turn.ID {
			m.t.Fatalf("command %d is live without its turn", seq)
		}
	}
	for _, seq := range s.Answers {
		if c, there := m.commands[seq]; !there || s.Worker == "" || fields(c.Data)("messageId") != "" {
			m.t.Fatalf("command %d is kept for the background, with worker %q: %v", seq, s.Worker, c)
		}
	}
	kept := len(s.Messages) + len(s.Live) + len(s.Answers)
	if s.Evicting != 0 {
		kept++
	}
	kept += len(s.Options.Sent)
	m.checkOptions()
	if m.closed {
		kept++ // the close, which stays with the session
	}
	if len(m.commands) > kept {
		m.t.Fatalf("%d commands are kept for %d messages: %v", len(m.commands), len(s.Messages), m.commands)
	}
	if u := s.Usage; u != nil && u.Cost != nil && (u.Cost.Amount < u.TurnCost || u.Cost.Amount > protocol.MaxCost || u.TurnCost < 0) {
		m.t.Fatalf("the session has cost %+v, its turn %v", u.Cost, u.TurnCost)
	}
	status := s.Status.Status
	if len(s.Messages) > 0 && !ok && !wants(s) {
		m.saw(sawHeldRest)
	}
	switch {
	case m.closed != (s.Closed != ""), m.closed && s.Busy():
		m.t.Fatalf("closed %q, in the log %v, busy %v", s.Closed, m.closed, s.Busy())
	case m.closed && status != protocol.StatusEnded && status != protocol.StatusFailed, !m.closed && (status == protocol.StatusEnded || status == protocol.StatusFailed):
		m.t.Fatalf("closed %v with the status %s", m.closed, status)
	case (s.Questions() > 0) != (status == protocol.StatusRequiresAction):
		m.t.Fatalf("%d questions are pending, the status is %s", s.Questions(), status)
	case !m.closed && s.Busy() == (status == protocol.StatusIdle):
		m.t.Fatalf("%d messages are open, in the background %v, the status is %s", len(s.Messages), s.Background, status)
	case s.Background && s.Worker == "":
		m.t.Fatal("the background goes on without a worker")
	case s.Background && !ok && !wants(s) && s.Questions() == 0 && s.Status != protocol.StatusData{Status: protocol.StatusRunning}:
		m.t.Fatalf("only the background goes on, the status is %+v", s.Status)
	case s.Worker == "" && (s.Running != 0 || ok):
		m.t.Fatalf("command %d runs without a worker", s.Running)
	case ok && (status == protocol.StatusQueued || status == protocol.StatusIdle):
		m.t.Fatalf("%s runs, the status is %s", turn.ID, status)
	case !ok && wants(s) && s.Questions() == 0 && status != protocol.StatusQueued:
		m.t.Fatalf("no worker has received %s, the status is %s", s.Messages[0].ID, status)
	}
	if w, waits := s.Waiting(); waits && (ok || w.ID != s.Messages[0].ID) {
		m.t.Fatalf("%s waits for the worker, the turn is %q", w.ID, turn.ID)
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
		return FromWorker{Assignment: a, Input: in}
	}
	input := rapid.SampledFrom([]string{
		"message", "message", "queue", "queue", "steered", "steered", "started", "assign", "assign", "hand", "hand", "hand", "take back", "activity", "silent", "starting", "ask", "ask", "withdraw", "approve", "approve", "decide", "cancel", "cancel",
		"background", "background", "ask in the background", "elicit", "elicit", "answer", "answer", "end elicitation",
		"complete", "complete", "done", "done", "evict", "evict", "release", "lost", "late", "expire approvals", "expire", "close",
		"usage", "title", "rename", "set option", "set option", "options", "options", "seen", "mark",
	}).Draw(t, "input")
	switch input {
	case "usage", "title", "rename":
		return m.told(t, worker)
	case "seen", "mark":
		return m.user(t, input)
	case "message":
		return m.say(t)
	case "queue":
		return m.change(t)
	case "steered":
		return worker(m.steered(t))
	case "started":
		return worker(m.started(t))
	case "assign":
		return InAssign{Worker: rapid.SampledFrom([]string{"w1", "w2"}).Draw(t, "worker"), Workspace: rapid.SampledFrom([]string{"ws", "ws", "ws", "other"}).Draw(t, "workspace"), Options: rapid.IntRange(0, 4).Draw(t, "older") > 0}
	case "set option":
		return m.setOption(t)
	case "options":
		return worker(m.options(t))
	case "hand":
		return worker(m.hand(t))
	case "take back":
		return worker(m.takeBack(t))
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
		return worker(askFor(turnOf(s), id, rapid.SampledFrom([]string{"{}", `{"a":1}`}).Draw(t, "in"), options...))
	case "background":
		return worker(InBackground{Works: rapid.IntRange(0, 2).Draw(t, "works") > 0})
	case "ask in the background":
		return worker(ask(m.name("b"), rapid.SampledFrom([]string{"{}", `{"a":1}`}).Draw(t, "in")))
	case "withdraw":
		return worker(InWithdraw{InteractionID: anyQuestion()})
	case "elicit", "answer", "end elicitation":
		return m.elicitation(t, input, worker)
	case "approve":
		return m.reason(t, option(anyQuestion(), rapid.SampledFrom([]string{"once", "always", "no", "wrong"}).Draw(t, "option")))
	case "decide":
		return m.reason(t, decision(anyQuestion(), rapid.SampledFrom([]string{protocol.AllowOnce, protocol.AllowAlways, protocol.RejectOnce, "wrong"}).Draw(t, "decision")))
	case "cancel":
		if rapid.Bool().Draw(t, "any") {
			return InCancel{Hold: rapid.Bool().Draw(t, "hold")}
		}
		return InCancel{MessageID: anyMessage(), Hold: rapid.Bool().Draw(t, "hold")}
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
		return worker(InLost{Doubt: rapid.IntRange(0, 4).Draw(t, "doubt") == 0})
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
	if _, wrong := errors.AsType[*InvalidAnswerError](err); wrong {
		return true
	}
	for _, e := range []error{
		ErrNotFound, ErrSessionEnded, ErrQueueFull, ErrFenced, ErrUnknownOption, ErrInvalid,
		ErrNotPending, ErrNoAssignment, ErrNotDue, ErrNoTurn, ErrKnownInteraction, ErrMessageRunning,
		ErrModeNotAllowed, ErrNeedsApprove, ErrNeedsJudge,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
