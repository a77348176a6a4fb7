package worker

import (
	"encoding/json"
	"errors"
	"slices"

	"sessionhub/protocol"
)

// turn is one message under way, from its command to its complete. Owned by the
// session's runner.
type turn struct {
	seq       uint64 // of the message command
	messageID string
	content   json.RawMessage
	prompted  bool            // the agent has it
	cancelled bool            // the agent was told to stop
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
	t.prompted = true
	s.agent.garbage = 0
	s.call("session/prompt", map[string]any{"sessionId": s.agent.sessionID, "prompt": blocks},
		func(result json.RawMessage, err error) {
			if s.turn == t {
				s.prompted(result, err)
			}
		})
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
		s.finish(protocol.CompleteData{StopReason: protocol.StopCancelled, Usage: usage})
		return
	}
	if err != nil {
		answered, ok := errors.AsType[*rpcError](err)
		s.finishError(protocol.TurnAgentFailed, err.Error(), !ok || answered.retryable())
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
	s.log.Debug("turn finished", "message", t.messageID, "stopReason", c.StopReason)
	if s.draining == nil {
		s.release(protocol.ReleaseDraining, true)
		return
	}
	s.idleTimer.Reset(s.w.cfg.AgentIdle)
}
