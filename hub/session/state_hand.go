package session

import "sessionhub/protocol"

// A message is handed to a worker in a step of its own. It is stored before the
// first byte of the command is written. So the state says at any time, to every
// node, whether a worker may have received the message:
//
//   - Before that step no worker has received it, and any worker may get it.
//   - After it the worker may have run it, and a message is never run twice. If the
//     worker does not come back, the message ends with an error.
//
// InAssign hands the first message of an assignment in its own step.

// InHand says that a link is about to write a message to the session's worker. ErrNotDue:
// another message is due, or none. A link that takes the session over hands the message
// of the last link again. So the last link cannot take it back any more.
type InHand struct{ Command uint64 }

func (in InHand) apply(st *step) error {
	s := st.s
	if turn, ok := s.Turn(); ok && turn.Command == in.Command {
		s.Handed++
		return nil
	}
	if m, ok := s.Waiting(); !ok || m.Command != in.Command {
		return ErrNotDue
	}
	st.hand()
	if s.asked("") { // in the background: people must still answer
		st.requireAction()
		return nil
	}
	st.status(protocol.StatusRunning, s.Messages[0].ID, "")
	return nil
}

// InTakeBack says that a link has ended before it began to write the message that was
// handed to it. No worker has received the message, so it waits again. Nothing changes if
// the message was handed again since.
type InTakeBack struct {
	Handed uint64 // State.Handed as of the hand that is taken back
	// Unassign says that the worker has not heard of the assignment either.
	Unassign bool
}

func (in InTakeBack) apply(st *step) error {
	s := st.s
	turn, ok := s.Turn()
	if !ok && in.Unassign && s.Load == LoadWanted && s.Closed == "" {
		st.unassign() // there was no message
		st.rest()
		return nil
	}
	if !ok || s.Closed != "" || s.Handed != in.Handed {
		return nil
	}
	known := lineup(s)
	switch {
	case turn.Cancelled:
		st.complete(0, protocol.CompleteData{StopReason: protocol.StopCancelled})
	case begun(s):
		return nil // a worker runs it, whatever the link says
	}
	queue{st}.unsteer()
	s.Running = 0
	if in.Unassign {
		st.unassign()
	}
	st.rest()
	if s.Status.Status == protocol.StatusRequiresAction { // of the background: it does not name the message
		queue{st}.tell(known)
	}
	return nil
}
