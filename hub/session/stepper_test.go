package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// stepper takes a session through the rules without a store, and keeps what
// they made of it in short words.
type stepper struct {
	t        testing.TB
	s        *State
	now      time.Time
	policy   Policy
	events   []string // of the last step
	commands []string // of the last step
	open     []Command
	notes    map[string]string
	result   Result // of the last step
	err      error  // of the last step
}

func newStepper(t testing.TB) *stepper {
	t.Helper()
	r := &stepper{
		t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), notes: make(map[string]string),
		policy: Policy{MaxQueuedMessages: 3, ApprovalTimeout: time.Hour},
	}
	c, err := NewState(Info{SessionID: "s1", UserID: "u1", Provider: "demo"}, r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.take(c)
	return r
}

// do takes inputs one after the other; events and commands are those of all of
// them. An error ends it and is kept.
func (r *stepper) do(ins ...Input) *stepper {
	r.t.Helper()
	r.events, r.commands, r.result, r.err = nil, nil, Result{}, nil
	for _, in := range ins {
		c, err := Step(r.s, in, r.policy, r.now)
		if err != nil {
			r.err = err
			return r
		}
		r.take(c)
	}
	return r
}

func (r *stepper) take(c Change) {
	r.t.Helper()
	r.s, r.result = c.State, c.Result
	for _, e := range c.Events {
		r.events = append(r.events, word(e))
	}
	for _, cmd := range c.Commands {
		r.commands = append(r.commands, commandWord(cmd))
		r.open = append(r.open, cmd)
	}
	for _, n := range c.Notes {
		r.notes[n.Key] = n.Value
		if n.Event < 0 || n.Event >= len(c.Events) {
			r.t.Errorf("note %s stands at event %d of %d", n.Key, n.Event, len(c.Events))
		}
	}
	r.open = slices.DeleteFunc(r.open, func(o Command) bool { return slices.Contains(c.Drop, o.Seq) })
}

// want compares the events of the last steps.
func (r *stepper) want(events ...string) *stepper {
	r.t.Helper()
	if r.err != nil {
		r.t.Errorf("refused: %v", r.err)
	}
	if !slices.Equal(r.events, events) {
		r.t.Errorf("events\n  %s\nwant\n  %s", strings.Join(r.events, "\n  "), strings.Join(events, "\n  "))
	}
	return r
}

func (r *stepper) wantCommands(commands ...string) *stepper {
	r.t.Helper()
	if !slices.Equal(r.commands, commands) {
		r.t.Errorf("commands\n  %s\nwant\n  %s", strings.Join(r.commands, "\n  "), strings.Join(commands, "\n  "))
	}
	return r
}

// wantOpen compares the command log: what is not finished.
func (r *stepper) wantOpen(commands ...string) *stepper {
	r.t.Helper()
	var got []string
	for _, c := range r.open {
		got = append(got, commandWord(c))
	}
	if !slices.Equal(got, commands) {
		r.t.Errorf("open commands %q, want %q", got, commands)
	}
	return r
}

// word writes an event with all that its data says.
func word(e NewEvent) string {
	get := fields(e.Data)
	switch e.Type {
	case protocol.EventStatus:
		return strings.TrimRight(fmt.Sprintf("%s %s %s", get("status"), get("messageId"), get("detail")), " ")
	case protocol.EventMessage:
		return "message " + get("messageId")
	case protocol.EventToolApproval:
		return "asked " + get("interactionId") + " for " + get("messageId")
	case protocol.EventApprovalResolved:
		return strings.Join(strings.Fields(fmt.Sprintf("resolved %s %s %s %s %s", get("interactionId"), get("outcome"), get("optionId"), get("kind"), get("by"))), " ")
	case protocol.EventElicitation:
		return strings.TrimRight("elicits "+get("interactionId")+" for "+get("messageId"), " ")
	case protocol.EventElicitationResolved:
		var r protocol.ElicitationResolvedData
		if json.Unmarshal(e.Data, &r) != nil {
			return "broken"
		}
		return strings.Join(strings.Fields(fmt.Sprintf("elicited %s %s %s %s", r.InteractionID, r.Outcome, r.Content, r.By)), " ")
	case protocol.EventComplete:
		var c protocol.CompleteData
		if json.Unmarshal(e.Data, &c) != nil {
			return "broken"
		}
		w := "complete " + c.MessageID + " " + c.StopReason
		if c.Error != nil {
			w += fmt.Sprintf(" %s retryable=%v", c.Error.Code, c.Error.Retryable)
		}
		return w
	case protocol.EventClosed:
		return "closed " + get("reason")
	}
	return string(e.Type) + " " + string(e.Data)
}

func commandWord(c Command) string {
	get := fields(c.Data)
	switch c.Type {
	case protocol.WorkerApproval:
		return strings.Join(strings.Fields(fmt.Sprintf("approval %s %s %s %s %s", get("messageId"), get("interactionId"), get("outcome"), get("optionId"), get("reason"))), " ")
	case protocol.WorkerElicitation:
		var e protocol.ElicitationCommand
		if json.Unmarshal(c.Data, &e) != nil {
			return "broken"
		}
		return strings.Join(strings.Fields(fmt.Sprintf("elicitation %s %s %s %s %s", e.MessageID, e.InteractionID, e.Action, e.Content, e.Reason)), " ")
	case protocol.WorkerClose:
		return "close " + get("reason")
	}
	return string(c.Type) + " " + get("messageId")
}

func fields(data json.RawMessage) func(string) string {
	var m map[string]any
	_ = json.Unmarshal(data, &m)
	return func(k string) string {
		if v, ok := m[k]; ok {
			return fmt.Sprint(v)
		}
		return ""
	}
}

// Inputs in short.

func say(id string) InMessage {
	return InMessage{Data: protocol.MessageData{MessageID: id, Content: []byte(`"hi"`), UserID: "u1"}, Hash: "h"}
}

var (
	onceOrAlways = []protocol.ApprovalOption{
		{OptionID: "once", Kind: protocol.AllowOnce}, {OptionID: "always", Kind: protocol.AllowAlways}, {OptionID: "no", Kind: protocol.RejectOnce},
	}
	assign = InAssign{Worker: "w1", Workspace: "ws"}
)

func handOver(command uint64) InHand { return InHand{Command: command} }

func ask(id, input string, options ...protocol.ApprovalOption) InToolApproval {
	if options == nil {
		options = onceOrAlways
	}
	return InToolApproval{Data: protocol.ToolApprovalData{InteractionID: id, Kind: "execute", Input: []byte(input), Options: options}}
}

// askFor is a question that names its message.
func askFor(messageID, id, input string, options ...protocol.ApprovalOption) InToolApproval {
	in := ask(id, input, options...)
	in.Data.MessageID = messageID
	return in
}

func turnOf(s *State) string {
	turn, _ := s.Turn()
	return turn.ID
}

func option(id, optionID string) InApprove {
	return InApprove{Request: protocol.ApproveRequest{InteractionID: id, OptionID: optionID}, By: "u1"}
}

func decision(id, kind string) InApprove {
	return InApprove{Request: protocol.ApproveRequest{InteractionID: id, Decision: kind}, By: "u1"}
}

func ended(id string) InComplete {
	return InComplete{Data: protocol.CompleteData{MessageID: id, StopReason: protocol.StopEndTurn}}
}

// running is a session whose first message m1 runs as command 1.
func running(t testing.TB) *stepper {
	t.Helper()
	return newStepper(t).do(say("m1"), assign, InActivity{})
}
