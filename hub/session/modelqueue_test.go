package session

import (
	"encoding/json"
	"slices"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

// queueReader is a reader of the log. It knows the queue from the events alone, as
// PROTOCOL.md tells clients to do it.
type queueReader struct {
	waits, held []string
	ran         string            // the message of the last turn that was told
	said        map[string]string // content by message
	ended       map[string]bool
	turns       map[string][]string // messages that a turn has taken in
	handed      uint64              // the highest command that a worker may have received
	handedID    string
}

func newQueueReader() *queueReader {
	return &queueReader{said: make(map[string]string), ended: make(map[string]bool), turns: make(map[string][]string)}
}

// event takes an event in. It says what is wrong with it; empty: nothing.
func (q *queueReader) event(e NewEvent) string {
	get := fields(e.Data)
	gone := func(id string) {
		is := func(other string) bool { return other == id }
		q.waits, q.held = slices.DeleteFunc(q.waits, is), slices.DeleteFunc(q.held, is)
	}
	id := get("messageId")
	switch e.Type {
	case protocol.EventMessage:
		q.waits = append(q.waits, id)
		q.said[id] = content(e.Data)
	case protocol.EventMessageEdited:
		if !slices.Contains(q.waits, id) && !slices.Contains(q.held, id) {
			return id + " was edited, and does not wait"
		}
		q.said[id] = content(e.Data)
	case protocol.EventQueue:
		var now protocol.QueueData
		if json.Unmarshal(e.Data, &now) != nil {
			return "the queue cannot be read"
		}
		before, after := slices.Concat(q.waits, q.held), slices.Concat(now.MessageIDs, now.Held)
		if slices.Equal(now.MessageIDs, q.waits) && slices.Equal(now.Held, q.held) {
			return "a queue that was known"
		}
		if slices.Contains(after, q.ran) && !slices.Contains(before, q.ran) && !q.ended[q.ran] { // it was handed out, and not begun
			before = append(before, q.ran)
		}
		slices.Sort(before)
		slices.Sort(after)
		if !slices.Equal(before, after) {
			return "a queue with other messages"
		}
		q.waits, q.held = now.MessageIDs, now.Held
	case protocol.EventSteered:
		if get("outcome") == protocol.SteerInjected {
			gone(id)
			q.turns[get("into")] = append(q.turns[get("into")], id)
		}
	case protocol.EventStatus:
		switch protocol.Status(get("status")) {
		case protocol.StatusStarting, protocol.StatusRunning, protocol.StatusRequiresAction:
			if gone(id); id != "" {
				q.ran = id
			}
		case protocol.StatusQueued:
			if !slices.Contains(q.waits, id) { // given back
				q.waits = slices.Insert(q.waits, 0, id)
			}
		}
	case protocol.EventComplete:
		gone(id)
		q.ended[id] = true
	}
	return ""
}

func content(data json.RawMessage) string {
	var d struct{ Content json.RawMessage }
	_ = json.Unmarshal(data, &d)
	return string(d.Content)
}

// queue holds a step to what people were told of the queue.
func (m *model) queue(in Input) {
	s, q := m.r.s, m.reader
	if now := lineup(s); !slices.Equal(now.MessageIDs, q.waits) || !slices.Equal(now.Held, q.held) {
		m.t.Fatalf("%T: the queue is %v, a reader of the log knows %v and %v", in, now, q.waits, q.held)
	}
	held := false
	for _, o := range s.Messages[head(s):] {
		if held && !o.Held && !o.Steered {
			m.t.Fatalf("%s stands behind what is held: %+v", o.ID, s.Messages)
		}
		held = held || o.Held
		if o.withTurn() && head(s) == 0 {
			m.t.Fatalf("%s is with a turn, and none runs", o.ID)
		}
	}
	for turn, taken := range q.turns {
		for _, id := range taken {
			if q.ended[id] != q.ended[turn] {
				m.t.Fatalf("%s was taken in by %s: ended %v and %v", id, turn, q.ended[id], q.ended[turn])
			}
		}
	}
	// What a worker receives is what people were told, and its numbers grow.
	if turn, ok := s.Turn(); ok && turn.Command != q.handed {
		if turn.Command < q.handed {
			m.t.Fatalf("%s was handed as %d, after %d", turn.ID, turn.Command, q.handed)
		}
		if got := content(m.commands[turn.Command].Data); got != q.said[turn.ID] {
			m.t.Fatalf("a worker gets %s of %s, people were told %s", got, turn.ID, q.said[turn.ID])
		}
		q.handed, q.handedID = turn.Command, turn.ID
	} else if ok && turn.ID != q.handedID {
		m.t.Fatalf("%d is %s, and was %s", turn.Command, turn.ID, q.handedID)
	}
}

// order holds a hand to the order that people were told before it.
func (m *model) order(before *State, waited []string) {
	turn, ok := m.r.s.Turn()
	if was, ran := before.Turn(); ok && (!ran || was.ID != turn.ID) && (len(waited) == 0 || waited[0] != turn.ID) {
		m.t.Fatalf("%s was handed, while %v waited", turn.ID, waited)
	}
}

// contents are what the open messages say, as a caller reads them.
func (m *model) contents() Contents {
	out := make(Contents)
	for _, o := range m.r.s.Messages {
		var d protocol.MessageData
		if err := json.Unmarshal(m.commands[o.Command].Data, &d); err != nil {
			m.t.Fatal(err)
		}
		out[o.ID] = d
	}
	return out
}

func (m *model) say(t *rapid.T) Input {
	in := say(m.name("m"))
	in.Data.Delivery = rapid.SampledFrom([]string{"", "", protocol.DeliverQueue, protocol.DeliverSteer, protocol.DeliverSteer, protocol.DeliverNow}).Draw(t, "delivery")
	in.Contents = m.contents()
	return in
}

// change makes a person change the queue.
func (m *model) change(t *rapid.T) Input {
	s := m.r.s
	some := func() string {
		if len(s.Messages) == 0 || rapid.IntRange(0, 9).Draw(t, "wrong message") == 0 {
			return "unknown"
		}
		return rapid.SampledFrom(s.Messages).Draw(t, "message").ID
	}
	in := InQueue{By: "u2", Contents: m.contents()}
	in.Request.Action = rapid.SampledFrom([]string{
		protocol.QueueEdit, protocol.QueueEdit, protocol.QueueRemove, protocol.QueueOrder, protocol.QueueOrder, protocol.QueueOrder,
		protocol.QueueHold, protocol.QueueRelease, protocol.QueueDiscard, protocol.QueueSendNow, "wrong",
	}).Draw(t, "action")
	switch in.Request.Action {
	case protocol.QueueEdit:
		in.Request.Content = json.RawMessage(`"` + m.name("edited") + `"`)
		in.Request.MessageID = some()
	case protocol.QueueOrder:
		ids := make([]string, 0, len(s.Messages))
		for _, o := range s.Messages {
			if _, err := (queue{&step{s: s}}).changeable(o.ID); err == nil || rapid.IntRange(0, 9).Draw(t, "also") == 0 {
				ids = append(ids, o.ID)
			}
		}
		in.Request.MessageIDs = rapid.Permutation(ids).Draw(t, "order")
		if rapid.Bool().Draw(t, "not all") && len(ids) > 1 {
			in.Request.MessageIDs = in.Request.MessageIDs[1:]
		}
	default:
		in.Request.MessageID = some()
	}
	return in
}

// steered makes a worker's word about a steering, most often about one that is asked for.
func (m *model) steered(t *rapid.T) Input {
	d := protocol.SteeredData{
		MessageID: "unknown", Into: "unknown",
		Outcome: rapid.SampledFrom([]string{protocol.SteerInjected, protocol.SteerInjected, protocol.SteerQueued}).Draw(t, "outcome"),
	}
	for _, o := range m.r.s.Messages {
		if o.Steer != 0 && rapid.IntRange(0, 3).Draw(t, "this one") > 0 {
			d.MessageID = o.ID
		}
	}
	if turn, ok := m.r.s.Turn(); ok && rapid.IntRange(0, 9).Draw(t, "right turn") > 0 {
		d.Into = turn.ID
	}
	return InSteered{Data: d}
}

// started makes an agent that has started.
func (m *model) started(t *rapid.T) Input {
	return InAgentStarted{
		Event:    NewEvent{Type: protocol.EventAgentStarted, Data: json.RawMessage(`{}`)},
		Steering: rapid.IntRange(0, 3).Draw(t, "steering") > 0, Reasons: rapid.Bool().Draw(t, "reasons"),
	}
}

// reason adds a reason, as a message, to an answer.
func (m *model) reason(t *rapid.T, in InApprove) Input {
	if rapid.IntRange(0, 2).Draw(t, "a reason") == 0 {
		in.Message = protocol.MessageData{MessageID: m.name("r"), Content: json.RawMessage(`"why"`), UserID: "u1"}
		in.Hash, in.Contents = "h", m.contents()
	}
	return in
}

// ended says which of the messages behind a turn are over with it. lost: what the turn's
// worker may have taken in is over too.
func behind(messages []OpenMessage, lost bool) []OpenMessage {
	var left []OpenMessage
	for _, o := range messages {
		if o.Steered || o.Steer != 0 && (lost || o.Cancelled) {
			continue
		}
		o.Steer = 0
		left = append(left, o)
	}
	return left
}

const (
	sawReissued = "a message that got another command"
	sawInjected = "a message that a turn took in"
	sawFellBack = "a message that a turn did not take in"
	sawHeldRest = "a session at rest, with messages that are held"
)

var queueSituations = []string{sawReissued, sawInjected, sawFellBack, sawHeldRest}
