package session

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sessionhub/protocol"
)

// InAssign gives the session to a worker, and hands it the oldest message in the same
// step, if one waits. ErrNoAssignment: the session no longer waits for a worker of this workspace.
//
// ErrNeedsJudge: the session names a mode, and the worker does not judge modes. An agent
// could get a mode there that no providers file allows. Or the session takes up one of the
// agent's, and the worker may not load it.
//
// ErrNeedsWorktrees: the session works in a worktree, and the worker knows of none.
//
// ErrNeedsMCP: the session brings MCP servers that the worker does not let it bring.
type InAssign struct {
	Worker    string
	Workspace string
	Options   bool // the worker takes set_option and judges modes
	Loads     bool // the worker loads an agent's history
	Worktrees bool // the worker makes worktrees
	MCP       protocol.SessionMCP
}

func (in InAssign) apply(st *step) error {
	s := st.s
	if !s.NeedsWorker() || (s.Workspace != "" && s.Workspace != in.Workspace) {
		return ErrNoAssignment
	}
	if !in.Options && s.AgentOptions().Mode != "" || !in.Loads && (s.Load != "" || s.ForkOf != "") {
		return ErrNeedsJudge
	}
	if !in.Worktrees && s.Info.Worktree != nil {
		return ErrNeedsWorktrees
	}
	if _, refused := in.MCP.Refuses(s.Info.AgentOptions.MCPServers); refused {
		return ErrNeedsMCP
	}
	s.Assignment++
	s.Worker, s.Workspace, s.Options.Takes = in.Worker, in.Workspace, in.Options
	if !in.Options { // it tells of no modes: nobody knows whether the agent will ask
		s.Options.Mode, s.Options.Asking = "", nil
	}
	if !wants(s) { // the agent's history is all that it is for
		st.rest()
		return nil
	}
	st.hand()
	st.status(protocol.StatusStarting, s.Messages[0].ID, "")
	return nil
}

// FromWorker is an input of the worker of an assignment. ErrFenced: the session has no
// worker, or another assignment.
type FromWorker struct {
	Assignment uint64
	Input      Input

	// Sent is the last message that the link has sent to the worker, if the input is
	// about a turn. ErrLost: the session does not know that message.
	Sent OpenMessage
}

func (in FromWorker) apply(st *step) error {
	if st.s.Worker == "" || st.s.Assignment != in.Assignment {
		return ErrFenced
	}
	if !st.s.Knows(in.Sent) {
		return ErrLost
	}
	return in.Input.apply(st)
}

// InActivity is a sign of life of a turn that was starting or silent. Events are the
// events that show it.
type InActivity struct{ Events []NewEvent }

func (in InActivity) apply(st *step) error {
	m, ok := st.s.Turn()
	if ok && (st.s.Status.Status == protocol.StatusStarting || st.s.Status.Detail != "") && st.s.Questions() == 0 {
		st.status(protocol.StatusRunning, m.ID, "")
	}
	st.events = append(st.events, in.Events...)
	return nil
}

// InSilent says that a turn has shown no sign of life for a while. The status tells
// people; the turn goes on.
type InSilent struct{ For time.Duration }

func (in InSilent) apply(st *step) error {
	if m, ok := st.s.Turn(); ok && st.s.Questions() == 0 {
		st.status(st.s.Status.Status, m.ID, fmt.Sprintf("no activity for %s", in.For))
	}
	return nil
}

// InStarting is a worker's status event. With an AgentSession the agent has started, and
// has a session of its own; the first GitBase that comes with one stays. Otherwise the agent
// starts, or starts again.
type InStarting struct{ Detail, AgentSession, GitBase string }

func (in InStarting) apply(st *step) error {
	if in.AgentSession != "" {
		if in.AgentSession != st.s.AgentSession {
			st.s.anotherAgentSession()
		}
		st.s.AgentSession = in.AgentSession
		if st.s.GitBase == "" {
			st.s.GitBase = in.GitBase
		}
		return nil
	}
	if m, ok := st.s.Turn(); ok && st.s.Questions() == 0 {
		st.status(protocol.StatusStarting, m.ID, in.Detail)
	}
	return nil
}

// InToolApproval is a worker's question.
//
// A question that an "always" covers is answered in the same step. A question that cannot
// be read whole is rejected in the same step, and people see why. A question that cannot
// be asked is refused: it is not logged, its agent gets an answer with the reason, and
// the result has the reason too.
type InToolApproval struct {
	Data  protocol.ToolApprovalData
	Whole *Whole   // all of a question that Data shows in part
	Parts [][]byte // of Whole, unless the worker has sent them (State.Upload)
	Unfit *Refusal // why it cannot be asked, if the caller knows a reason
}

func (in InToolApproval) apply(st *step) error {
	s := st.s
	a := in.Data
	m, err := s.asker(a.MessageID)
	if err != nil {
		return err
	}
	if s.Pending(a.InteractionID) >= 0 || s.Elicitation(a.InteractionID) >= 0 {
		return ErrKnownInteraction
	}
	whole, refused := wholes{st}.take(in)
	a.MessageID = m.ID
	command := protocol.ApprovalCommand{MessageID: a.MessageID, InteractionID: a.InteractionID}
	asked := PendingApproval{Data: a, Asked: st.now, Whole: whole}
	rule := slices.Index(s.Rules, asked.rule())
	pick, err := choose(a.Options, "", protocol.AllowAlways)
	covered := refused == "" && rule >= 0 && err == nil // without an option that allows, people decide
	unfit := in.Unfit
	if unfit == nil && refused == "" && !m.Cancelled && !covered {
		unfit = s.tooMuchToAsk(len(protocol.Marshal(a)))
	}
	if unfit != nil {
		if whole != nil { // the content is not needed
			st.parts = nil
			wholes{st}.drop(a.InteractionID, whole.Parts)
		}
		command.Outcome, command.Reason = protocol.OutcomeCancelled, unfit.Detail
		st.answer(command)
		st.result.Refused = unfit
		return nil
	}
	expires := st.now.Add(st.policy.ApprovalTimeout).UTC().Truncate(time.Millisecond)
	a.ExpiresAt = &expires
	st.event(protocol.EventToolApproval, a)
	asked.Data = a
	s.Approvals = append(s.Approvals, asked)
	last := len(s.Approvals) - 1
	switch {
	case m.Cancelled:
		// Asked while the cancel was on its way.
		st.resolve(last, protocol.ApprovalResolvedData{Outcome: protocol.OutcomeCancelled})
		command.Outcome = protocol.OutcomeCancelled
	case refused != "":
		resolved := protocol.ApprovalResolvedData{Outcome: protocol.OutcomeCancelled, By: protocol.ByLimit, Detail: refused}
		command.Outcome, command.Reason = protocol.OutcomeCancelled, refused
		if no, err := choose(a.Options, "", protocol.RejectOnce); err == nil {
			resolved.Outcome, resolved.OptionID, resolved.Kind = protocol.OutcomeSelected, no.agent, no.kind
			command.Outcome, command.OptionID = protocol.OutcomeSelected, no.agent
		}
		st.resolve(last, resolved)
	case covered:
		s.Rules = append(slices.Delete(s.Rules, rule, rule+1), asked.rule()) // the last one is the one that matched last
		st.resolve(last, protocol.ApprovalResolvedData{
			Outcome: protocol.OutcomeSelected, OptionID: pick.agent, Kind: pick.kind, By: protocol.ByRule,
		})
		command.Outcome, command.OptionID = protocol.OutcomeSelected, pick.agent
	default:
		st.requireAction()
		return nil
	}
	st.answer(command)
	if s.Status.Status == protocol.StatusStarting && m.ID != "" {
		st.resume()
	}
	return nil
}

// tooMuchToAsk says why one more question of size bytes cannot be kept; nil: it can. All open
// questions are in the state, and each change stores the state anew.
func (s *State) tooMuchToAsk(size int) *Refusal {
	if s.Questions() >= protocol.MaxOpenApprovals {
		return &Refusal{protocol.LinkTooLarge, fmt.Sprintf(
			"%d questions are open in this session, which is the most: ask again when one is answered", s.Questions())}
	}
	open := size
	for _, other := range s.Elicitations {
		open += len(protocol.Marshal(other.Data))
	}
	for _, other := range s.Approvals {
		open += len(protocol.Marshal(other.Data))
	}
	if open > max(protocol.MaxOpenApprovalBytes, size) {
		return &Refusal{protocol.LinkTooLarge, fmt.Sprintf(
			"the open questions of this session would have %d bytes, over the %d that fit: ask again when one is answered",
			open, protocol.MaxOpenApprovalBytes)}
	}
	return nil
}

// InWithdraw takes a question back for the agent. The worker is told the outcome, as for
// every question: it answers its agent once it knows the outcome. A question that was
// resolved before keeps its outcome.
type InWithdraw struct{ InteractionID string }

func (in InWithdraw) apply(st *step) error {
	i := slices.IndexFunc(st.s.Approvals, func(a PendingApproval) bool { return a.Data.InteractionID == in.InteractionID })
	if i < 0 {
		return nil
	}
	a := st.s.Approvals[i].Data
	st.resolve(i, protocol.ApprovalResolvedData{Outcome: protocol.OutcomeCancelled})
	st.answer(protocol.ApprovalCommand{
		MessageID: a.MessageID, InteractionID: a.InteractionID, Outcome: protocol.OutcomeCancelled,
	})
	st.resume()
	return nil
}

// InComplete is a worker's end of a turn. Nothing changes if the message has a complete
// already, or is not with the worker.
type InComplete struct{ Data protocol.CompleteData }

func (in InComplete) apply(st *step) error {
	m, ok := st.s.Turn()
	if !ok || m.ID != in.Data.MessageID {
		return nil
	}
	in.Data.Replay = false
	if in.Data.StopReason != protocol.StopError {
		st.s.ForkOf = "" // from now on the agent keeps its fork
	}
	st.complete(0, in.Data)
	st.rest() // a message that waits is queued until done: no turn runs
	return nil
}

// InDone says that the worker is ready for the next message. If the worker has left out
// the complete, the hub adds one with an error.
type InDone struct{ Message uint64 }

func (in InDone) apply(st *step) error {
	s := st.s
	if s.Running == 0 || in.Message != s.Running {
		return nil
	}
	if _, open := s.Turn(); open {
		queue{st}.assumeSteered()
		st.complete(0, protocol.CompleteData{StopReason: protocol.StopError, Error: &protocol.TurnError{
			Code: protocol.TurnAgentProtocol, Message: "the worker finished the message without a result", Retryable: true,
		}})
	}
	s.Finished, s.Running = s.Running, 0
	st.rest()
	return nil
}

// InRelease says that a worker gives the session back.
type InRelease struct {
	Reason string
	Retry  bool
}

// notBegun reports whether the reason says that no message was running. In an open
// session, ReleaseClosed answers an eviction, which only idle agents get.
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
		st.s.Worker = "" // the worker has released the session, so it needs no close
		st.close(protocol.ClosedFailed, in.Reason)
		st.unassign() // an eviction that crossed the release is over too
		return nil
	}
	if m, ok := st.s.Turn(); ok && in.notBegun() {
		// The agent was idle, or there was none. So a message on its way has not begun,
		// and waits for the next assignment unseen. A message that was cancelled
		// meanwhile must not begin at all. A message that has asked a question has
		// begun, whatever its worker says.
		switch {
		case m.Cancelled:
			st.complete(0, protocol.CompleteData{StopReason: protocol.StopCancelled})
		case !begun(st.s):
			queue{st}.unsteer()
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

// InEvict asks the worker of an idle session to end its agent, so that its capacity is
// free for a waiting session. ErrNoAssignment: the session is not idle. An agent that
// works in the background is not. A message that
// comes while the close is on its way waits for the next assignment.
type InEvict struct{}

func (InEvict) apply(st *step) error {
	s := st.s
	if s.Closed != "" || s.Worker == "" || s.Running != 0 || s.Evicting != 0 || s.Busy() {
		return ErrNoAssignment
	}
	s.Evicting = st.command(protocol.WorkerClose, protocol.ClosedData{Reason: protocol.ReleaseIdle})
	return nil
}

// InLost says that a worker is gone with the session. The message that it may have
// received may have had effects, so the hub does not run it again. A message that it has
// not received waits for the next worker.
type InLost struct {
	// Doubt says that the store may have lost the end of the session's log, and with it
	// the hand of the oldest message. So that message counts as received.
	Doubt bool
}

func (in InLost) apply(st *step) error {
	if st.s.Closed != "" {
		st.unassign()
		return nil
	}
	if m, waits := st.s.Waiting(); waits && in.Doubt {
		st.s.Running = m.Command
	}
	replayStep{st}.giveUpLoading()
	st.lose(protocol.TurnError{Code: protocol.TurnWorkerLost, Message: "the agent was cut off in the middle of its turn; what it had done by then is done", Retryable: true})
	return nil
}

func (st *step) lose(why protocol.TurnError) {
	if _, ok := st.s.Turn(); ok {
		queue{st}.assumeSteered()
		st.complete(0, protocol.CompleteData{StopReason: protocol.StopError, Error: &why})
	}
	st.unassign()
	st.rest()
}

// unassign frees the session from its worker. It drops the commands of the old
// assignment.
func (st *step) unassign() {
	s := st.s
	st.endBackground()
	replayStep{st}.loseReplay()
	if s.ForkOf != "" {
		s.AgentSession = ""
	}
	st.drop = append(st.drop, s.Live...)
	if s.Evicting != 0 {
		st.drop = append(st.drop, s.Evicting)
	}
	s.Live, s.Evicting = nil, 0
	optionStep{st}.end()
	s.Steering, s.Reasons = false, false
	if s.Running > s.Finished {
		if _, open := s.Turn(); !open {
			s.Finished = s.Running
		}
	}
	s.Running, s.Worker = 0, ""
}
