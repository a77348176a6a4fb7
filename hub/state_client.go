package hub

import (
	"fmt"
	"slices"
	"time"

	"sessionhub/protocol"
)

// InMessage is a user's message. That its ID is new is known from the notes:
// the store refuses the change if the state moved meanwhile.
type InMessage struct {
	Data protocol.MessageData
	Hash string // of the content: a repeat must be the same
}

func (in InMessage) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return s.ended()
	}
	waiting := len(s.Messages)
	if _, ok := s.Turn(); ok {
		waiting--
	}
	if waiting >= st.policy.MaxQueuedMessages {
		return fmt.Errorf("%w: %d messages wait already", ErrQueueFull, waiting)
	}
	st.event(protocol.EventMessage, in.Data)
	st.note(messageNote(in.Data.MessageID), in.Hash)
	s.Messages = append(s.Messages, OpenMessage{ID: in.Data.MessageID, Command: st.command(protocol.WorkerMessage, in.Data)})
	st.advance()
	if _, ok := s.Turn(); !ok {
		st.rest() // no worker yet, or one that is about to say done
	}
	return nil
}

// InApprove answers a question, by option or by decision (the kind of an
// option). By is the user.
type InApprove struct {
	Request protocol.ApproveRequest
	By      string
	// Chosen is set by apply: what the answer to the caller names.
	Chosen *protocol.ApproveResponse
}

func (in InApprove) apply(st *step) error {
	if st.s.Closed != "" {
		return st.s.ended()
	}
	i := slices.IndexFunc(st.s.Approvals, func(a PendingApproval) bool {
		return a.Data.InteractionID == in.Request.InteractionID
	})
	if i < 0 {
		return errNotPending
	}
	a := st.s.Approvals[i].Data
	pick, err := choose(a.Options, in.Request.OptionID, in.Request.Decision)
	if err != nil {
		return err
	}
	if pick.kind == protocol.AllowAlways {
		rule := ruleFor(a)
		if !slices.Contains(st.s.Rules, rule) {
			st.s.Rules = append(st.s.Rules, rule)
		}
	}
	st.resolve(i, protocol.ApprovalResolvedData{
		Outcome: protocol.OutcomeSelected, OptionID: pick.logged, Kind: pick.kind, By: in.By,
	})
	st.answer(protocol.ApprovalCommand{
		MessageID: a.MessageID, InteractionID: a.InteractionID,
		Outcome: protocol.OutcomeSelected, OptionID: pick.agent, Reason: in.Request.Reason,
	})
	st.resume()
	*in.Chosen = protocol.ApproveResponse{InteractionID: a.InteractionID, OptionID: pick.logged}
	return nil
}

// InExpireApprovals ends the questions that nobody answered in time. The agent
// is told no.
type InExpireApprovals struct{}

func (InExpireApprovals) apply(st *step) error {
	asked := len(st.s.Approvals)
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
	if len(st.s.Approvals) < asked {
		st.resume()
	}
	return nil
}

// InCancel stops the turn of a message: the one with MessageID, or the oldest
// open one. A message that still waits is taken back.
type InCancel struct{ MessageID string }

func (in InCancel) apply(st *step) error {
	s := st.s
	i := 0
	if in.MessageID != "" {
		i = slices.IndexFunc(s.Messages, func(m OpenMessage) bool { return m.ID == in.MessageID })
	}
	if i < 0 || i >= len(s.Messages) {
		return nil // it has ended, or there is none: that is what the caller wants
	}
	m := s.Messages[i]
	if s.Running != m.Command {
		st.complete(i, protocol.CompleteData{StopReason: protocol.StopCancelled})
		if _, ok := s.Turn(); !ok {
			st.rest()
		}
		return nil
	}
	if m.Cancelled {
		return nil // the worker knows
	}
	s.Messages[i].Cancelled = true
	s.Live = append(s.Live, st.command(protocol.WorkerCancel, protocol.CancelCommand{MessageID: m.ID}))
	for len(s.Approvals) > 0 {
		st.resolve(0, protocol.ApprovalResolvedData{Outcome: protocol.OutcomeCancelled})
	}
	st.resume()
	return nil
}

// InClose ends the session: every open message gets its complete, the worker is
// told to stop, and closed is the last event. Closing twice does nothing.
type InClose struct {
	Reason string // protocol.ClosedDeleted, ClosedExpired or ClosedFailed
	Detail string // for a failed one: why
}

func (in InClose) apply(st *step) error {
	st.close(in.Reason, in.Detail)
	return nil
}

// InDelete ends a session for good: nobody finds it any more, but who reads its
// log may read to the end. One that had ended before has its last event already.
type InDelete struct{}

func (InDelete) apply(st *step) error {
	s := st.s
	if s.Closed != "" && s.Closed != protocol.ClosedDeleted {
		s.Closed, s.ClosedAt = protocol.ClosedDeleted, st.now
	}
	st.close(protocol.ClosedDeleted, "")
	return nil
}

// InExpire ends a session that nobody uses. One that got something to do since
// it was looked at stays.
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
	st.status(status, "", detail)
	st.event(protocol.EventClosed, protocol.ClosedData{Reason: reason})
	s.Running, s.Live, s.Rules = 0, nil, nil
	s.Closed, s.ClosedAt = reason, st.now
	if s.Worker != "" {
		st.command(protocol.WorkerClose, protocol.ClosedData{Reason: reason})
	}
}

// InForget is a deleted session whose streams have been read to their end. Its
// key stays, so that a late repeat of its creation does not make another one.
type InForget struct{}

func (InForget) apply(st *step) error {
	st.s.Forgotten = true
	return nil
}

// nextDue is when the rules want to look at the session again: an approval
// that expires, the idle end, the end of an ended session's retention.
func (s *State) nextDue(lastActivity time.Time, t Timers) time.Time {
	switch {
	case s.Closed == protocol.ClosedDeleted && !s.Forgotten:
		return s.ClosedAt.Add(t.DeletedLinger)
	case s.Closed != "":
		return s.ClosedAt.Add(t.EndedRetention)
	}
	var due time.Time
	for _, a := range s.Approvals {
		if e := a.Data.ExpiresAt; e != nil && (due.IsZero() || e.Before(due)) {
			due = *e
		}
	}
	if due.IsZero() {
		return lastActivity.Add(t.SessionIdleTTL)
	}
	return due
}
