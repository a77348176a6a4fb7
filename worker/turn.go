package worker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"sessionhub/internal/processtree"
	"sessionhub/protocol"
)

// turn is one message under way, from its command to its complete. Owned by the
// session's runner.
type turn struct {
	work
	seq       uint64 // of the message command
	content   json.RawMessage
	prompted  bool            // the agent has the message, or it is on its way there
	at        int64           // where the prompt begins in the agent's input, in bytes
	started   bool            // an agent was started for it
	spoken    bool            // the agent has sent something since it was prompted
	cancelled bool            // the agent was told to stop
	timedOut  bool            // by the worker, since the agent was silent for too long
	seen      map[uint64]bool // seqs of the approvals and cancels that were handled
	steers    []string        // messages that the agent was given and has said nothing about, oldest first
	answered  *promptAnswer   // the turn is over when the agent has said what became of steers
}

func newTurn(seq uint64, data protocol.MessageData) *turn {
	return &turn{
		work: newWork(data.MessageID), seq: seq, content: data.Content,
		seen: make(map[uint64]bool),
	}
}

// prompt sends the message to the agent, which is ready (ACP, "Prompt Turn").
func (s *session) prompt() {
	t := s.turn
	content, problem := s.resolve(t.content, s.agent.takes)
	if problem != "" {
		s.finishError(protocol.TurnAgentFailed, problem, false)
		return
	}
	blocks, ok := promptBlocks(content)
	if !ok {
		s.finishError(protocol.TurnAgentFailed, "the message is neither a text nor a list of content blocks", false)
		return
	}
	if kind := s.agent.takes.lacking(content); kind != "" {
		s.finishError(protocol.TurnAgentFailed, "the agent takes no "+kind+" in a message", false)
		return
	}
	if problem := mislabelled(content); problem != "" { // an older hub has let it through
		s.finishError(protocol.TurnAgentFailed, problem, false)
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
			if s.turn == t && !s.awaitsSteers(result, err) {
				s.prompted(result, err)
			}
		})
}

// survives reports whether another agent gets the message although this one has ended. It
// does so if the message came while the agent was ending, and the agent has not seen it.
// The message can then have had no effects.
//
// wanted says that the worker ended the agent. Otherwise the message goes to another agent
// only once: an agent that dies as soon as it is ready would be started for ever.
func (t *turn) survives(a *agent, wanted bool) bool {
	if !t.prompted && wanted {
		return true
	}
	unseen := !t.prompted || !t.spoken && !a.stopped && a.seen <= t.at
	return unseen && a.ready && !t.started
}

// errorSettle is how long the worker leaves an agent alone after it has answered a prompt
// with an error. codex-acp 0.16.0 answers a moment before it has ended the turn. It never
// answers a prompt that comes in that moment (seen 1 time in 60; with 50 ms between, never
// in 80).
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

// prompted handles the answer to session/prompt: the turn ends.
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
	usage := s.turnUsage(answer.Usage)
	if t.cancelled {
		s.cancelTimer.Stop()
		s.endStrays(func(ended []processtree.Running) {
			s.publishEnded(endedCancelled, ended)
			if s.turn == t {
				s.finishCancelled(usage)
			}
		})
		return
	}
	if err != nil {
		s.agent.settled = time.Now().Add(errorSettle)
		if s.loginForPrompt(err) {
			return
		}
		answered, ok := errors.AsType[*rpcError](err)
		s.finishError(protocol.TurnAgentFailed, s.describe(err), !ok || answered.retryable())
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

// onCancel stops the turn. If the agent does not have the message yet, the turn ends at
// once. Otherwise the worker sends session/cancel, and stops the agent after the grace time
// (ACP, "Cancellation").
func (s *session) onCancel() {
	t := s.turn
	if t.cancelled {
		return
	}
	t.cancelled = true
	if !t.prompted {
		if s.agent != nil && s.agent.login {
			s.stopAgent() // nobody goes on with its start
		}
		s.finish(protocol.CompleteData{StopReason: protocol.StopCancelled})
		return
	}
	if s.agent == nil || s.agent.stopped {
		return // the agent is ending, and that ends the turn
	}
	s.answer(encodeNotification("session/cancel", map[string]string{"sessionId": s.agent.sessionID}))
	s.dropAsks(&t.work)
	s.cancelTimer.Reset(s.w.cfg.CancelGrace)
}

// finishCancelled ends a turn that a user or the worker has stopped.
func (s *session) finishCancelled(usage json.RawMessage) {
	if s.turn.timedOut {
		s.finishError(protocol.TurnTimedOut, "the agent showed no sign of life for "+s.w.cfg.TurnTimeout.String(), true)
		return
	}
	s.finish(protocol.CompleteData{StopReason: protocol.StopCancelled, Usage: usage})
}

// straysMost bounds how long a cancelled turn waits for the end of the processes that it
// left.
const straysMost = 5 * time.Second

// endStrays ends the processes that the turn has started, and then calls next with them.
// Some agents (codex) leave a tool running when its turn is cancelled.
func (s *session) endStrays(next func(ended []processtree.Running)) {
	process := s.agent.process.Load()
	if process == nil {
		next(nil)
		return
	}
	below, strays := s.agent.below, s.strays
	s.afterStrays = next
	s.agents.Go(func() {
		ctx, cancel := context.WithTimeout(s.w.life, straysMost)
		defer cancel()
		ended, left := process.EndNew(ctx, below)
		if left > 0 {
			s.log.Warn("a cancelled turn left processes that do not end", "processes", left)
		}
		select {
		case strays <- ended:
		default: // an earlier one waits to be seen: that is enough
		}
	})
}

// onSilence ends a turn whose agent was silent for too long. While a question is open, the
// time is the users'.
func (s *session) onSilence() {
	if s.turn == nil || s.agent == nil || s.turn.cancelled {
		return
	}
	if len(s.turn.asks) > 0 || s.out.full() || s.deaf {
		s.agent.heard = time.Now() // the worker does not read the agent while the hub is out of reach
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

// finish ends the turn. Each message has exactly one complete, after all its other events.
func (s *session) finish(c protocol.CompleteData) {
	t := s.turn
	s.tellNow()
	s.dropAsks(&t.work)
	s.endSteers(false)
	for _, id := range t.tools.open() {
		s.publish(protocol.EventToolCall, protocol.ToolCallData{
			MessageID: t.messageID, ToolCallID: id, Status: toolFailed,
		})
		t.tools.end(id)
	}
	if c.Error == nil {
		s.forkFrom = "" // from now on the agent keeps its fork
	}
	s.background.before = t.tools
	c.MessageID = t.messageID
	s.publish(protocol.EventComplete, c)
	s.out.pushDone(t.seq)
	s.w.wakeWriter()
	s.turn = nil
	s.cancelTimer.Stop()
	s.silentTimer.Stop()
	s.log.Debug("turn finished", "message", t.messageID, "stopReason", c.StopReason)
	if s.draining == nil && (s.handOver == nil || !s.background.works && !s.replay.due) {
		s.release(protocol.ReleaseDrained, true)
		return
	}
	s.beginIdle()
}
