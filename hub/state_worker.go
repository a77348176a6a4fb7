package hub

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sessionhub/protocol"
)

// InAssign gives the session to a worker. It is refused when the session no
// longer waits for one.
type InAssign struct {
	Worker    string
	Workspace string
}

func (in InAssign) apply(st *step) error {
	s := st.s
	if !s.NeedsWorker() || (s.Workspace != "" && s.Workspace != in.Workspace) {
		return errNoAssignment
	}
	s.Assignment++
	s.Worker, s.Workspace = in.Worker, in.Workspace
	s.Running = s.Messages[0].Command
	s.TurnStarted = st.now
	st.status(protocol.StatusStarting, s.Messages[0].ID, "")
	return nil
}

// fromWorker lets an input through only while the assignment that it comes from
// is the session's.
type fromWorker struct {
	Assignment uint64
	Input      Input

	// Sent is the last message that the link has sent to the worker, if the input
	// speaks of a turn: errLost if the session does not know it.
	Sent OpenMessage
}

func (in fromWorker) apply(st *step) error {
	if st.s.Worker == "" || st.s.Assignment != in.Assignment {
		return ErrFenced
	}
	if !st.s.knows(in.Sent) {
		return errLost
	}
	return in.Input.apply(st)
}

// InActivity is a sign of life of a turn whose agent was starting, or silent, with
// the events that are it.
type InActivity struct{ Events []NewEvent }

func (in InActivity) apply(st *step) error {
	m, ok := st.s.Turn()
	if ok && (st.s.Status.Status == protocol.StatusStarting || st.s.Status.Detail != "") && len(st.s.Approvals) == 0 {
		st.status(protocol.StatusRunning, m.ID, "")
	}
	st.events = append(st.events, in.Events...)
	return nil
}

// InSilent is a turn that has shown no sign of life for a while: people see it,
// the turn goes on.
type InSilent struct{ For time.Duration }

func (in InSilent) apply(st *step) error {
	if m, ok := st.s.Turn(); ok && len(st.s.Approvals) == 0 {
		st.status(st.s.Status.Status, m.ID, fmt.Sprintf("no activity for %s", in.For))
	}
	return nil
}

// InStarting is a worker's status event: the agent starts (again), or it has, and
// has a session of its own.
type InStarting struct{ Detail, AgentSession string }

func (in InStarting) apply(st *step) error {
	if in.AgentSession != "" {
		st.s.AgentSession = in.AgentSession
		return nil
	}
	if m, ok := st.s.Turn(); ok && len(st.s.Approvals) == 0 {
		st.status(protocol.StatusStarting, m.ID, in.Detail)
	}
	return nil
}

// InToolApproval is a worker's question. One that an "always" covers is
// answered in the same step.
type InToolApproval struct{ Data protocol.ToolApprovalData }

func (in InToolApproval) apply(st *step) error {
	s := st.s
	a := in.Data
	m, ok := s.Turn()
	if !ok {
		return errNoTurn
	}
	if slices.ContainsFunc(s.Approvals, func(p PendingApproval) bool { return p.Data.InteractionID == a.InteractionID }) {
		return errKnownInteraction
	}
	a.MessageID = m.ID
	expires := st.now.Add(st.policy.ApprovalTimeout).UTC().Truncate(time.Millisecond)
	a.ExpiresAt = &expires
	st.event(protocol.EventToolApproval, a)
	s.Approvals = append(s.Approvals, PendingApproval{Data: a, Asked: st.now})
	last := len(s.Approvals) - 1
	command := protocol.ApprovalCommand{MessageID: a.MessageID, InteractionID: a.InteractionID}
	switch {
	case m.Cancelled:
		// Asked while the cancel was on its way.
		st.resolve(last, protocol.ApprovalResolvedData{Outcome: protocol.OutcomeCancelled})
		command.Outcome = protocol.OutcomeCancelled
	case slices.Contains(s.Rules, ruleFor(a)):
		pick, err := choose(a.Options, "", protocol.AllowAlways)
		if err != nil { // it offers no way to say yes: people decide
			st.status(protocol.StatusRequiresAction, m.ID, "")
			return nil
		}
		st.resolve(last, protocol.ApprovalResolvedData{
			Outcome: protocol.OutcomeSelected, OptionID: pick.agent, Kind: pick.kind, By: protocol.ByRule,
		})
		command.Outcome, command.OptionID = protocol.OutcomeSelected, pick.agent
	default:
		st.status(protocol.StatusRequiresAction, m.ID, "")
		return nil
	}
	st.answer(command)
	if s.Status.Status == protocol.StatusStarting {
		st.resume()
	}
	return nil
}

// InComplete is a worker's end of a turn. A second one for a message, or one
// for a message that is not with the worker, changes nothing.
type InComplete struct{ Data protocol.CompleteData }

func (in InComplete) apply(st *step) error {
	m, ok := st.s.Turn()
	if !ok || m.ID != in.Data.MessageID {
		return nil
	}
	st.complete(0, in.Data)
	st.rest() // a message that waits is queued until done: no turn runs
	return nil
}

// InDone says that the worker is ready for the next message. A worker that
// leaves the complete out has broken its promise: the hub keeps it.
type InDone struct{ Message uint64 }

func (in InDone) apply(st *step) error {
	s := st.s
	if s.Running == 0 || in.Message != s.Running {
		return nil
	}
	if _, open := s.Turn(); open {
		st.complete(0, protocol.CompleteData{StopReason: protocol.StopError, Error: &protocol.TurnError{
			Code: protocol.TurnAgentProtocol, Message: "the worker finished the message without a result", Retryable: true,
		}})
	}
	s.Finished, s.Running = s.Running, 0
	if len(s.Messages) == 0 {
		st.rest()
	}
	st.advance()
	return nil
}

// InRelease is a worker that gives the session back.
type InRelease struct {
	Reason string
	Retry  bool
}

// notBegun reports whether the reason says that no message was under way. A
// close in an open session is an eviction, and comes to idle agents only.
func (in InRelease) notBegun() bool {
	switch in.Reason {
	case protocol.ReleaseIdle, protocol.ReleaseClosed, protocol.ReleaseOverCapacity, protocol.ReleaseDrained:
		return true
	}
	return false
}

func (in InRelease) apply(st *step) error {
	if st.s.Closed != "" {
		st.unassign()
		return nil
	}
	if !in.Retry && !in.notBegun() {
		st.s.Worker = "" // its release is the answer: it needs no close
		st.close(protocol.ClosedFailed, in.Reason)
		return nil
	}
	if m, ok := st.s.Turn(); ok && in.notBegun() {
		// The agent was idle, or there was none, so a message that is on its way
		// has not begun: it waits for the next assignment, and nobody notices. One
		// that was cancelled meanwhile must not begin at all, and one that has
		// asked something has begun, whatever its worker says.
		switch {
		case m.Cancelled:
			st.complete(0, protocol.CompleteData{StopReason: protocol.StopCancelled})
		case len(st.s.Approvals)+len(st.s.Live) == 0:
			st.s.Running = 0
		}
	}
	code := protocol.TurnWorkerReleased
	if in.Reason == protocol.ReleaseDraining || in.Reason == protocol.ReleaseDrained {
		code = protocol.TurnDraining
	}
	st.lose(protocol.TurnError{
		Code: code, Message: "the worker gave the session back: " + strings.TrimSpace(in.Reason), Retryable: true,
	})
	return nil
}

// InEvict asks the worker of an idle session to end its agent, so that its place
// is free for a session that waits. It is refused when the session is not idle. A
// message that comes while the close is on its way waits for the next assignment.
type InEvict struct{}

func (InEvict) apply(st *step) error {
	s := st.s
	if s.Closed != "" || s.Worker == "" || s.Running != 0 || s.Evicting != 0 || len(s.Messages) > 0 {
		return errNoAssignment
	}
	s.Evicting = st.command(protocol.WorkerClose, protocol.ClosedData{Reason: protocol.ReleaseIdle})
	return nil
}

// InLost is a worker whose lease ran out. The message that it had may have had
// effects, so it is not run again by itself.
type InLost struct{}

func (InLost) apply(st *step) error {
	if st.s.Closed != "" {
		st.unassign()
		return nil
	}
	st.lose(protocol.TurnError{Code: protocol.TurnWorkerLost, Message: "the worker was lost", Retryable: true})
	return nil
}

func (st *step) lose(why protocol.TurnError) {
	if _, ok := st.s.Turn(); ok {
		st.complete(0, protocol.CompleteData{StopReason: protocol.StopError, Error: &why})
	}
	st.unassign()
	st.rest()
}

// unassign frees the session. Commands of the old assignment that nobody waits
// for leave the log.
func (st *step) unassign() {
	s := st.s
	st.drop = append(st.drop, s.Live...)
	if s.Evicting != 0 {
		st.drop = append(st.drop, s.Evicting)
	}
	s.Live, s.Evicting = nil, 0
	if s.Running > s.Finished {
		if _, open := s.Turn(); !open {
			s.Finished = s.Running
		}
	}
	s.Running, s.Worker = 0, ""
}
