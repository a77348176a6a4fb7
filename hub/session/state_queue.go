package session

import (
	"fmt"
	"maps"
	"slices"

	"sessionhub/protocol"
)

// The open messages stand in this order: the turn's; those that the turn took in or may
// have taken in; those that wait; those that are held. Their commands grow in the same
// order, since a worker takes no message with a number below one that it has had. So a
// message that changes, or changes its place, gets a new command. So do those behind it.

// Contents are what the open messages say, by message id. An input that can change their
// order needs the contents of the state that it is decided on.
type Contents map[string]protocol.MessageData

// with returns the contents with those of one more message.
func (c Contents) with(data protocol.MessageData) Contents {
	all := maps.Clone(c)
	if all == nil {
		all = make(Contents, 1)
	}
	all[data.MessageID] = data
	return all
}

// maxSteered bounds the messages that one turn takes in. Others wait.
const maxSteered = 256

// queue is a step's work on the open messages that do not run.
type queue struct{ *step }

// withTurn reports whether the turn's worker has the message, or may have it.
func (m OpenMessage) withTurn() bool { return m.Steer != 0 || m.Steered }

// head is how many of the open messages are not waiting: the turn's.
func head(s *State) int {
	if _, ok := s.Turn(); ok {
		return 1
	}
	return 0
}

// WaitingMessages are the open messages that do not run, in their order. They include
// those whose steering has no outcome yet.
func WaitingMessages(s *State) []OpenMessage {
	var waiting []OpenMessage
	for _, m := range s.Messages[head(s):] {
		if !m.Steered {
			waiting = append(waiting, m)
		}
	}
	return waiting
}

// changeable finds a message that no worker has received. NoMessageError: it is not open.
func (st queue) changeable(id string) (int, error) {
	s := st.s
	i := slices.IndexFunc(s.Messages, func(m OpenMessage) bool { return m.ID == id })
	switch {
	case i < 0:
		return i, &NoMessageError{id}
	case i < head(s) || s.Messages[i].withTurn():
		return i, fmt.Errorf("message %q: %w", Clip(id), ErrMessageRunning)
	}
	return i, nil
}

// begun reports whether the worker has shown that it runs the turn: it has asked
// something, or it has taken a message in. What people have said to the turn shows nothing.
func begun(s *State) bool {
	said := len(s.Live)
	for _, m := range s.Messages {
		if m.Steered {
			return true
		}
		if m.Steer != 0 && slices.Contains(s.Live, m.Steer) {
			said--
		}
	}
	turn, _ := s.Turn()
	return s.asked(turn.ID) || said > 0
}

// unsteer forgets what was said to a turn that no worker has begun.
func (st queue) unsteer() {
	st.drop = append(st.drop, st.s.Live...)
	st.s.Live = nil
	st.settleSteers(protocol.CompleteData{})
}

// settleSteers ends the messages that a turn took in, as the turn ended. Those that it
// has not taken in by then wait.
func (st queue) settleSteers(end protocol.CompleteData) {
	s := st.s
	for i := 0; i < len(s.Messages); {
		m := &s.Messages[i]
		switch {
		case m.Steered:
			st.complete(i, protocol.CompleteData{StopReason: end.StopReason, Error: end.Error})
		case m.Steer != 0 && m.Cancelled:
			st.complete(i, protocol.CompleteData{StopReason: protocol.StopCancelled})
		default:
			m.Steer = 0
			i++
		}
	}
}

// assumeSteered makes messages without an outcome end with the turn: its worker is gone,
// and may have taken them in.
func (st queue) assumeSteered() {
	for i := range st.s.Messages {
		if m := &st.s.Messages[i]; m.Steer != 0 {
			m.Steer, m.Steered = 0, true
		}
	}
}

// arrange gives the open messages an order. A message without a command, and each whose
// command is not above the one before it, gets a new one.
func (st queue) arrange(order []OpenMessage, contents Contents) error {
	last := uint64(0)
	for i := range order {
		m := &order[i]
		if m.Command <= last {
			data, ok := contents[m.ID]
			if !ok {
				return fmt.Errorf("message %q: its content was not read", m.ID)
			}
			if m.Command != 0 {
				st.drop = append(st.drop, m.Command)
			}
			data.Delivery = ""
			m.Command = st.command(protocol.WorkerMessage, data)
		}
		last = m.Command
	}
	st.s.Messages = order
	return nil
}

// lineup is what a reader of the log knows of the queue.
func lineup(s *State) protocol.QueueData {
	q := protocol.QueueData{MessageIDs: []string{}, Held: []string{}}
	for _, m := range WaitingMessages(s) {
		if m.Held {
			q.Held = append(q.Held, m.ID)
		} else {
			q.MessageIDs = append(q.MessageIDs, m.ID)
		}
	}
	return q
}

// tellQueue logs the queue unless a reader knows it from before.
func (st queue) tell(known protocol.QueueData) {
	now := lineup(st.s)
	if !slices.Equal(now.MessageIDs, known.MessageIDs) || !slices.Equal(now.Held, known.Held) {
		st.event(protocol.EventQueue, now)
	}
}

// noteReleased notes the held messages that wait again. The queue event before it says so.
func (st queue) noteReleased(known protocol.QueueData) {
	for _, id := range lineup(st.s).MessageIDs {
		if slices.Contains(known.Held, id) {
			st.note(ReleaseNote(id), "released")
		}
	}
}

// next is the place of a message that is to wait in front of the others, behind those that
// were put there before it.
func (st queue) next() int {
	s := st.s
	i := head(s)
	for i < len(s.Messages) && !s.Messages[i].Held && (s.Messages[i].withTurn() || s.Messages[i].First) {
		i++
	}
	return i
}

// last is the place behind everything that waits, and before what is held.
func (st queue) last() int {
	s := st.s
	if i := slices.IndexFunc(s.Messages, func(m OpenMessage) bool { return m.Held }); i >= 0 {
		return i
	}
	return len(s.Messages)
}

// accept takes a new message in at a place: it logs it, and gives it a command.
func (st queue) accept(data protocol.MessageData, hash string, m OpenMessage, at int, contents Contents) error {
	s := st.s
	if waiting := len(WaitingMessages(s)); waiting >= st.policy.MaxQueuedMessages {
		return fmt.Errorf("%w: %d messages wait already", ErrQueueFull, waiting)
	}
	m.ID = data.MessageID
	st.event(protocol.EventMessage, data)
	st.note(MessageNote(m.ID), hash)
	begin(s, data.Content)
	known := lineup(s)
	known.MessageIDs = append(known.MessageIDs, m.ID)
	if err := st.arrange(slices.Insert(s.Messages, at, m), contents.with(data)); err != nil {
		return err
	}
	st.tell(known)
	return nil
}

// steers reports whether the running turn can take a message in.
func (st queue) steers() bool {
	s := st.s
	turn, ok := s.Turn()
	if !ok || turn.Cancelled || !s.Steering {
		return false
	}
	steered := 0
	for _, m := range s.Messages {
		if m.withTurn() {
			steered++
		}
	}
	return steered < maxSteered
}

// steer has the turn's worker give a message to the turn.
func (st queue) steer(data protocol.MessageData) {
	s := st.s
	turn, _ := s.Turn()
	i := slices.IndexFunc(s.Messages, func(m OpenMessage) bool { return m.ID == data.MessageID })
	s.Messages[i].Steer = st.command(protocol.WorkerSteer, protocol.SteerCommand{
		MessageID: data.MessageID, Into: turn.ID, Content: data.Content, UserID: data.UserID,
	})
	st.live(s.Messages[i].Steer)
}

// InSteered is a worker's word about a message that it was to give to the turn. Nothing
// changes if the message does not wait for that any more.
type InSteered struct{ Data protocol.SteeredData }

func (in InSteered) apply(st *step) error {
	s := st.s
	turn, ok := s.Turn()
	i := slices.IndexFunc(s.Messages, func(m OpenMessage) bool { return m.ID == in.Data.MessageID && m.Steer != 0 })
	if !ok || turn.ID != in.Data.Into || i < 0 {
		return nil
	}
	m := &s.Messages[i]
	if at := slices.Index(s.Live, m.Steer); at >= 0 {
		s.Live = slices.Delete(s.Live, at, at+1)
		st.drop = append(st.drop, m.Steer)
	}
	m.Steer, m.Steered = 0, in.Data.Outcome == protocol.SteerInjected
	st.event(protocol.EventSteered, in.Data)
	switch {
	case m.Steered:
		m.Held, m.Cancelled = false, false
	case m.Cancelled:
		st.complete(i, protocol.CompleteData{StopReason: protocol.StopCancelled})
	}
	return nil
}

// InAgentStarted says that an agent is ready, and what it can. Event is the event that
// tells so.
type InAgentStarted struct {
	Event             NewEvent
	Steering, Reasons bool
	Forks             bool // it can fork its session
}

func (in InAgentStarted) apply(st *step) error {
	if st.s.Closed != "" {
		return nil
	}
	st.s.Steering, st.s.Reasons, st.s.Forks = in.Steering, in.Reasons, in.Forks
	return InActivity{Events: []NewEvent{in.Event}}.apply(st)
}

// InQueue changes the messages that no worker has received. By is the user.
// ErrMessageRunning: a worker has the message. NoMessageError: the message is not open.
type InQueue struct {
	Request  protocol.QueueRequest
	By       string
	Contents Contents // what the open messages say
}

func (in InQueue) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return s.Ended()
	}
	known := lineup(s)
	if err := in.change(queue{st}); err != nil {
		return err
	}
	switch in.Request.Action {
	case protocol.QueueRemove, protocol.QueueDiscard, protocol.QueueEdit: // readers know the queue
	default:
		queue{st}.tell(known)
		queue{st}.noteReleased(known)
	}
	if _, ok := s.Turn(); !ok {
		st.rest()
	}
	return nil
}

func (in InQueue) change(st queue) error {
	s, r := st.s, in.Request
	switch r.Action {
	case protocol.QueueEdit:
		return in.edit(st)
	case protocol.QueueRemove:
		i, err := st.changeable(r.MessageID)
		if err == nil {
			st.complete(i, protocol.CompleteData{StopReason: protocol.StopCancelled})
		}
		return err
	case protocol.QueueOrder:
		return in.order(st)
	case protocol.QueueHold:
		st.hold()
		return nil
	case protocol.QueueRelease:
		order := slices.Clone(s.Messages)
		for i := range order {
			order[i].Held = false
		}
		return st.arrange(order, in.Contents)
	case protocol.QueueDiscard:
		for i := 0; i < len(s.Messages); {
			if m := s.Messages[i]; !m.Held || m.withTurn() {
				i++
				continue
			}
			st.complete(i, protocol.CompleteData{StopReason: protocol.StopCancelled})
		}
		return nil
	case protocol.QueueSendNow:
		i, err := st.changeable(r.MessageID)
		if err != nil {
			return err
		}
		m := s.Messages[i]
		m.Held, m.First = false, true
		order := slices.Delete(slices.Clone(s.Messages), i, i+1)
		if err := st.arrange(slices.Insert(order, head(s), m), in.Contents); err != nil {
			return err
		}
		stopTurn(st.step)
		return nil
	}
	return fmt.Errorf("%w: unknown action %q", ErrInvalid, Clip(r.Action))
}

// hold holds what waits. A message whose steering has no outcome yet is held if the turn
// does not take it.
func (st queue) hold() {
	for i := head(st.s); i < len(st.s.Messages); i++ {
		st.s.Messages[i].Held = st.s.Messages[i].Held || !st.s.Messages[i].Steered
	}
}

func (in InQueue) edit(st queue) error {
	s := st.s
	i, err := st.changeable(in.Request.MessageID)
	if err != nil {
		return err
	}
	data, ok := in.Contents[in.Request.MessageID]
	if !ok {
		return fmt.Errorf("message %q: its content was not read", in.Request.MessageID)
	}
	content, err := st.refer(in.Request.Content)
	if err != nil {
		return err
	}
	if string(data.Content) == string(content) {
		return nil
	}
	data.Content = content
	order := slices.Clone(s.Messages)
	st.drop = append(st.drop, order[i].Command)
	order[i].Command = 0
	st.event(protocol.EventMessageEdited, protocol.MessageEditedData{MessageID: data.MessageID, Content: data.Content, UserID: in.By})
	return st.arrange(order, in.Contents.with(data))
}

// order puts the named messages in front, each among its kind: what is held stays behind
// what waits. Messages that are not named follow in the order that they had.
func (in InQueue) order(st queue) error {
	s := st.s
	place := make(map[string]int, len(in.Request.MessageIDs))
	for i, id := range in.Request.MessageIDs {
		if _, twice := place[id]; twice {
			return fmt.Errorf("%w: messageIds names %q twice", ErrInvalid, Clip(id))
		}
		if _, err := st.changeable(id); err != nil {
			return err
		}
		place[id] = i
	}
	at := func(m OpenMessage) int {
		i, named := place[m.ID]
		switch {
		case m.withTurn() && !m.Held:
			return -1
		case !named:
			i = len(place)
		}
		if m.Held {
			i += len(place) + 1
		}
		return i
	}
	order := slices.Clone(s.Messages)
	slices.SortStableFunc(order[head(s):], func(a, b OpenMessage) int { return at(a) - at(b) })
	return st.arrange(order, in.Contents)
}
