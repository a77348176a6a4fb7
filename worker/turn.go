package worker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"sessionhub/protocol"
)

// turn is one message under way, from its command to its complete. Owned by the
// session's runner.
type turn struct {
	seq       uint64 // of the message command
	messageID string
	content   json.RawMessage
	prompted  bool            // the agent has it, or it is on the way there
	at        int64           // where the prompt begins in what the agent is told
	started   bool            // an agent was started for it
	spoken    bool            // the agent has said something since it was prompted
	cancelled bool            // the agent was told to stop
	timedOut  bool            // by us, since it said nothing for too long
	seen      map[uint64]bool // seqs of the approvals and cancels that were handled
	tools     toolCalls
	asks      map[string]*ask // open permission requests by interaction
}

func newTurn(seq uint64, data protocol.MessageData) *turn {
	return &turn{
		seq: seq, messageID: data.MessageID, content: data.Content,
		seen: make(map[uint64]bool), asks: make(map[string]*ask),
	}
}

// prompt gives the message to the agent, which is ready (ACP, "Prompt Turn").
func (s *session) prompt() {
	t := s.turn
	blocks, ok := promptBlocks(t.content)
	if !ok {
		s.finishError(protocol.TurnAgentFailed, "the message is neither a text nor a list of content blocks", false)
		return
	}
	if kind := s.agent.takes.lacking(t.content); kind != "" {
		s.finishError(protocol.TurnAgentFailed, "the agent takes no "+kind+" in a message", false)
		return
	}
	if wait := time.Until(s.agent.settled); wait > 0 {
		s.settleTimer.Reset(wait)
		return
	}
	process := s.agent.process.Load()
	if process != nil && process.Dying() {
		s.log.Debug("the agent dies: the message waits for the next one")
		return // onAgentGone starts it
	}
	t.prompted, t.at = true, s.agent.stdin.offset()
	s.agent.garbage, s.agent.heard = 0, time.Now()
	s.silentTimer.Reset(s.w.cfg.TurnTimeout)
	if process != nil {
		s.agent.below = process.Below()
	}
	s.call("session/prompt", map[string]any{"sessionId": s.agent.sessionID, "prompt": blocks},
		func(result json.RawMessage, err error) {
			if s.turn == t {
				s.prompted(result, err)
			}
		})
}

// survives reports whether the message goes to another agent although this one
// has ended: it came while that was ending, and was not seen by it, so it can have
// had no effects. wanted says that the end was ours. Otherwise it goes on once
// only, since an agent that dies as soon as it is ready would be started for ever.
func (t *turn) survives(a *agent, wanted bool) bool {
	if !t.prompted && wanted {
		return true
	}
	unseen := !t.prompted || !t.spoken && !a.stopped && a.seen <= t.at
	return unseen && a.ready && !t.started
}

// errorSettle is how long an agent is left alone after it has answered a prompt
// with an error. codex-acp 0.16.0 does so a moment before the turn is over for
// it, and never answers a prompt that comes in that moment (seen 1 time in 60;
// with 50 ms between, never in 80).
const errorSettle = 250 * time.Millisecond

// onSettled gives the agent the message that waited for it.
func (s *session) onSettled() {
	if s.turn != nil && !s.turn.prompted && s.agent != nil && s.agent.ready && !s.agent.stopped {
		s.prompt()
	}
}

// promptBlocks turns a message's content into ACP's content blocks: a text
// becomes one block, a list is passed on as it is.
func promptBlocks(content json.RawMessage) (any, bool) {
	var text string
	if json.Unmarshal(content, &text) == nil && !isNull(content) {
		return []map[string]string{{"type": "text", "text": text}}, true
	}
	var blocks []json.RawMessage
	if json.Unmarshal(content, &blocks) != nil || len(blocks) == 0 {
		return nil, false
	}
	return blocks, true
}

// prompted handles the answer to session/prompt: the turn's end.
func (s *session) prompted(result json.RawMessage, err error) {
	t := s.turn
	var answer struct {
		StopReason string          `json:"stopReason"`
		Usage      json.RawMessage `json:"usage"`
	}
	if err == nil {
		err = json.Unmarshal(result, &answer)
		if err != nil && !t.cancelled {
			s.finishError(protocol.TurnAgentProtocol, "the answer to the prompt cannot be read", true)
			return
		}
	}
	usage := cleanRaw(answer.Usage, 16<<10)
	if t.cancelled {
		s.cancelTimer.Stop()
		s.sweep(func() {
			if s.turn == t {
				s.finishCancelled(usage)
			}
		})
		return
	}
	if err != nil {
		s.agent.settled = time.Now().Add(errorSettle)
		answered, ok := errors.AsType[*rpcError](err)
		s.finishError(protocol.TurnAgentFailed, err.Error(), !ok || answered.retryable())
		return
	}
	if answer.StopReason == "" {
		s.finishError(protocol.TurnAgentProtocol, "the agent's answer to the prompt has no stop reason", true)
		return
	}
	if answer.StopReason == protocol.StopError || !slices.Contains(protocol.StopReasons, answer.StopReason) {
		s.finishError(protocol.TurnAgentProtocol,
			"the agent gave an unknown stop reason: "+printable(clip(answer.StopReason, 200)), true)
		return
	}
	s.finish(protocol.CompleteData{StopReason: answer.StopReason, Usage: usage})
}

// onCancel stops the turn: at once when the agent does not have it yet, else by
// session/cancel, and with force after the grace time (ACP, "Cancellation").
func (s *session) onCancel() {
	t := s.turn
	if t.cancelled {
		return
	}
	t.cancelled = true
	if !t.prompted {
		s.finish(protocol.CompleteData{StopReason: protocol.StopCancelled})
		return
	}
	if s.agent == nil || s.agent.stopped {
		return // its end is under way, and ends the turn
	}
	s.answer(encodeNotification("session/cancel", map[string]string{"sessionId": s.agent.sessionID}))
	s.dropAsks()
	s.cancelTimer.Reset(s.w.cfg.CancelGrace)
}

// finishCancelled ends a turn that was told to stop, by a user or by us.
func (s *session) finishCancelled(usage json.RawMessage) {
	if s.turn.timedOut {
		s.finishError(protocol.TurnTimedOut, "the agent showed no sign of life for "+s.w.cfg.TurnTimeout.String(), true)
		return
	}
	s.finish(protocol.CompleteData{StopReason: protocol.StopCancelled, Usage: usage})
}

// sweepMost bounds how long a cancelled turn waits for what it left running.
const sweepMost = 5 * time.Second

// sweep ends the processes that came up during the turn, and then calls next:
// some agents (codex) leave a tool running when its turn is cancelled.
func (s *session) sweep(next func()) {
	process := s.agent.process.Load()
	if process == nil {
		next()
		return
	}
	below, swept := s.agent.below, s.swept
	s.afterSweep = next
	s.agents.Go(func() {
		ctx, cancel := context.WithTimeout(s.w.life, sweepMost)
		defer cancel()
		if left := process.EndNew(ctx, below); left > 0 {
			s.log.Warn("a cancelled turn left processes that do not end", "processes", left)
		}
		select {
		case swept <- struct{}{}:
		default: // an earlier one waits to be seen: that is enough
		}
	})
}

// onSilence ends a turn whose agent has said nothing for too long. While users
// are asked, silence is theirs.
func (s *session) onSilence() {
	if s.turn == nil || s.agent == nil || s.turn.cancelled {
		return
	}
	if len(s.turn.asks) > 0 || s.out.full() || s.deaf {
		s.agent.heard = time.Now() // nobody listens to it while the hub is out of reach
	}
	if left := s.w.cfg.TurnTimeout - time.Since(s.agent.lastSign()); left > 0 {
		s.silentTimer.Reset(left)
		return
	}
	s.log.Warn("agent shows no sign of life", "timeout", s.w.cfg.TurnTimeout)
	s.turn.timedOut = true
	s.onCancel()
}

// finishError ends the turn with an error.
func (s *session) finishError(code, message string, retryable bool) {
	s.finish(protocol.CompleteData{
		StopReason: protocol.StopError,
		Error:      &protocol.TurnError{Code: code, Message: printable(clip(message, 2*stderrTail)), Retryable: retryable},
	})
}

// finish ends the turn: exactly one complete for each message, after everything
// that belongs to it.
func (s *session) finish(c protocol.CompleteData) {
	t := s.turn
	s.dropAsks()
	for _, id := range t.tools.open() {
		s.publish(protocol.EventToolCall, protocol.ToolCallData{
			MessageID: t.messageID, ToolCallID: id, Status: toolFailed,
		})
	}
	c.MessageID = t.messageID
	s.publish(protocol.EventComplete, c)
	s.out.pushDone(t.seq)
	s.w.wakeWriter()
	s.turn = nil
	s.cancelTimer.Stop()
	s.silentTimer.Stop()
	s.log.Debug("turn finished", "message", t.messageID, "stopReason", c.StopReason)
	if s.draining == nil {
		s.release(protocol.ReleaseDrained, true)
		return
	}
	s.idleTimer.Reset(s.w.cfg.AgentIdle)
}
