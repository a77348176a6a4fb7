package session

import (
	"slices"

	"sessionhub/protocol"
)

// InMessage is a user's message. The caller knows from the notes that its ID is new. The
// store refuses the change if the state moved meanwhile.
type InMessage struct {
	Data protocol.MessageData // Delivery is what was asked for
	Hash string               // of the content: a repeat must be the same
	// Contents are needed for a message that does not go behind all others.
	Contents Contents
}

func (in InMessage) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return s.Ended()
	}
	attention{st}.acted()
	s.Archived = false // the session is of interest again
	q := queue{st}
	data, m, at := in.Data, OpenMessage{}, q.last()
	var err error
	if data.Content, err = st.refer(data.Content); err != nil {
		return err
	}
	switch {
	case data.Delivery == protocol.DeliverNow:
		m.First, at = true, head(s)
	case data.Delivery == protocol.DeliverSteer && head(s) > 0: // else there is nothing that it could steer
		m.First, at = true, q.next()
		if !q.steers() {
			data.Delivery = ""
		}
	default:
		data.Delivery = ""
	}
	if err := q.accept(data, in.Hash, m, at, in.Contents); err != nil {
		return err
	}
	st.result.Deliver = protocol.DeliverQueue
	switch data.Delivery {
	case protocol.DeliverSteer:
		st.result.Deliver = protocol.DeliverSteer
		q.steer(data)
	case protocol.DeliverNow:
		st.result.Deliver = protocol.DeliverNow
		stopTurn(st)
	}
	if _, ok := s.Turn(); !ok {
		st.rest() // no worker has received it yet
	}
	return nil
}

// InApprove answers a question, by option or by decision (the kind of an option). By is
// the user. The result has the chosen option.
type InApprove struct {
	Request protocol.ApproveRequest
	By      string
	// Message is the reason as a message, for ReasonAsMessage; Hash is that of its content.
	// Contents are needed with it.
	Message  protocol.MessageData
	Hash     string
	Contents Contents
}

func (in InApprove) apply(st *step) error {
	if st.s.Closed != "" {
		return st.s.Ended()
	}
	i := st.s.Pending(in.Request.InteractionID)
	if i < 0 {
		return ErrNotPending
	}
	p := st.s.Approvals[i]
	a := p.Data
	pick, err := choose(a.Options, in.Request.OptionID, in.Request.Decision)
	if err != nil {
		return err
	}
	if err := p.unread(pick.kind, in.By); err != nil {
		return err
	}
	if pick.kind == protocol.AllowAlways {
		st.s.addRule(p.rule())
	}
	attention{st}.acted()
	st.resolve(i, protocol.ApprovalResolvedData{
		Outcome: protocol.OutcomeSelected, OptionID: pick.logged, Kind: pick.kind, By: in.By,
	})
	st.answer(protocol.ApprovalCommand{
		MessageID: a.MessageID, InteractionID: a.InteractionID,
		Outcome: protocol.OutcomeSelected, OptionID: pick.agent, Reason: in.Request.Reason,
	})
	st.resume()
	st.result.Chosen = protocol.ApproveResponse{InteractionID: a.InteractionID, OptionID: pick.logged}
	if in.Message.MessageID != "" && !st.s.Reasons {
		st.result.Chosen.MessageID = in.Message.MessageID
		q := queue{st}
		if err := q.accept(in.Message, in.Hash, OpenMessage{First: true}, q.next(), in.Contents); err != nil {
			return err
		}
		if _, ok := st.s.Turn(); !ok { // the question was asked in the background
			st.rest()
		}
	}
	return nil
}

// InExpireApprovals ends the questions that were not answered in time. The agent is told
// no.
type InExpireApprovals struct{}

func (InExpireApprovals) apply(st *step) error {
	asked := st.s.Questions()
	elicitations{st}.expire()
	for i := 0; i < len(st.s.Approvals); {
		a := st.s.Approvals[i].Data
		if a.ExpiresAt == nil || st.now.Before(*a.ExpiresAt) {
			i++
			continue
		}
		st.resolve(i, protocol.ApprovalResolvedData{Outcome: protocol.OutcomeExpired})
		no, err := choose(a.Options, "", protocol.RejectOnce)
		c := protocol.ApprovalCommand{MessageID: a.MessageID, InteractionID: a.InteractionID, Outcome: protocol.OutcomeExpired}
		if err == nil {
			c.OptionID = no.agent
		}
		st.answer(c)
	}
	if st.s.Questions() < asked {
		st.resume()
	}
	return nil
}

// InCancel stops the turn of the message with MessageID, or of the oldest open message if
// MessageID is empty. A message that still waits is taken back. With Hold, what waits is
// held, and an empty MessageID means the turn alone. Without a MessageID, a turn and a
// message that waits to run, it stops the agent's work in the background.
type InCancel struct {
	MessageID string
	Hold      bool
}

func (in InCancel) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return nil
	}
	known := lineup(s)
	if !in.Hold {
		in.cancel(st)
		return nil
	}
	if in.MessageID != "" || head(s) > 0 || !wants(s) {
		in.cancel(st)
		known = lineup(s)
	}
	queue{st}.hold()
	queue{st}.tell(known)
	if _, ok := s.Turn(); !ok {
		st.rest()
	}
	return nil
}

func (in InCancel) cancel(st *step) {
	s := st.s
	i := 0
	if in.MessageID != "" {
		i = slices.IndexFunc(s.Messages, func(m OpenMessage) bool { return m.ID == in.MessageID })
	}
	if in.MessageID == "" && head(s) == 0 && !wants(s) {
		cancelBackground(st)
		return
	}
	if i < 0 {
		return // the message has ended: the caller's aim is met
	}
	switch m := s.Messages[i]; {
	case s.Running == m.Command, m.Steered:
		stopTurn(st)
	case m.Steer != 0: // it ends with the turn, whether that takes it in or not
		s.Messages[i].Cancelled = true
		stopTurn(st)
	case in.MessageID == "" && m.Held: // nothing runs
	default:
		st.complete(i, protocol.CompleteData{StopReason: protocol.StopCancelled})
		if _, ok := s.Turn(); !ok {
			st.rest()
		}
	}
}

// stopTurn tells the worker to stop the turn, if one runs and the worker does not know.
func stopTurn(st *step) {
	s := st.s
	m, ok := s.Turn()
	if !ok || m.Cancelled {
		return
	}
	s.Messages[0].Cancelled = true
	st.live(st.command(protocol.WorkerCancel, protocol.CancelCommand{MessageID: m.ID}))
	st.resolveOf(m.ID)
	st.resume()
}

// InClose ends the session. Every open message gets its complete, the worker is told to
// stop, and closed is the last event. A second InClose changes nothing.
type InClose struct {
	Reason string // protocol.ClosedDeleted, ClosedExpired or ClosedFailed
	Detail string // for ClosedFailed: why
}

func (in InClose) apply(st *step) error {
	st.close(in.Reason, in.Detail)
	return nil
}

// InDelete ends a session for good. It is not found any more, but streams that are open
// read its log to the end. A session that had ended before gets no second closed event.
type InDelete struct{}

func (InDelete) apply(st *step) error {
	s := st.s
	if s.Closed != "" && s.Closed != protocol.ClosedDeleted {
		s.Closed, s.ClosedAt = protocol.ClosedDeleted, st.now
	}
	st.close(protocol.ClosedDeleted, "")
	return nil
}

// InExpire ends an idle session. A session that is busy by now stays.
type InExpire struct{}

func (InExpire) apply(st *step) error {
	if !st.s.Busy() {
		st.close(protocol.ClosedExpired, "")
	}
	return nil
}

func (st *step) close(reason, detail string) {
	s := st.s
	if s.Closed != "" {
		return
	}
	end := protocol.CompleteData{StopReason: protocol.StopCancelled}
	status := protocol.StatusEnded
	if reason == protocol.ClosedFailed {
		status = protocol.StatusFailed
		end = protocol.CompleteData{StopReason: protocol.StopError, Error: &protocol.TurnError{
			Code: protocol.TurnSessionFailed, Message: detail,
		}}
	}
	for len(s.Messages) > 0 {
		st.complete(0, end)
	}
	st.endBackground()
	replayStep{st}.endReplay(end)
	st.status(status, "", detail)
	st.event(protocol.EventClosed, protocol.ClosedData{Reason: reason})
	s.Running, s.Live, s.Rules = 0, nil, nil
	optionStep{st}.dropSent(s.NextCommand)
	mcpStep{st}.drop()
	s.Closed, s.ClosedAt = reason, st.now
	if s.Worker != "" {
		st.command(protocol.WorkerClose, protocol.ClosedData{Reason: reason})
	}
}

// InForget marks a deleted session whose streams have read to the end. Its idempotency
// key stays, so that a late repeat of its creation makes no second session.
type InForget struct{}

func (InForget) apply(st *step) error {
	st.s.Forgotten = true
	return nil
}
