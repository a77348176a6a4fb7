package worker

import (
	"crypto/rand"
	"encoding/json"

	"sessionhub/protocol"
)

// Limits of a permission request.
const (
	maxAsks     = 64      // open at once in one turn; more are refused
	maxAskBytes = 4 << 20 // of all those together: the hub keeps them in the session's state
	maxOptions  = 64
)

// ask is an open permission request of the agent.
type ask struct {
	id      json.RawMessage // of the JSON-RPC request
	size    int             // of the event's data
	options []protocol.ApprovalOption
}

// onPermission turns session/request_permission into a tool_approval (ACP,
// "Requesting Permission"). Every request is answered in the end: by an approval
// command, by a cancel, or by the turn's end.
func (s *session) onPermission(id, params json.RawMessage) {
	var request struct {
		SessionID string                    `json:"sessionId"`
		ToolCall  json.RawMessage           `json:"toolCall"`
		Options   []protocol.ApprovalOption `json:"options"`
	}
	t := s.turn
	if err := json.Unmarshal(params, &request); err != nil {
		s.answer(encodeError(id, rpcInvalidParams, "the permission request cannot be read"))
		return
	}
	var refusal string
	switch {
	case request.SessionID != s.agent.sessionID:
		refusal = "unknown session"
	case len(request.Options) == 0 || len(request.Options) > maxOptions:
		refusal = "a permission request has 1 to 64 options"
	case t != nil && len(t.asks) >= maxAsks:
		refusal = "too many open permission requests"
	}
	ids := make(map[string]bool, len(request.Options))
	for _, o := range request.Options {
		if ids[o.OptionID] {
			// One could stand for yes and for no: nobody would know what was answered.
			refusal = "a permission request has an optionId twice"
		}
		ids[o.OptionID] = true
		if o.OptionID == "" || len(o.OptionID) > 256 || len(o.Kind) > 64 {
			refusal = "an option needs an optionId of at most 256 bytes and a kind of at most 64"
		}
	}
	if refusal != "" {
		s.answer(encodeError(id, rpcInvalidParams, refusal))
		return
	}
	if t == nil || !t.prompted || t.cancelled {
		s.answer(permission(id, "")) // nobody is there to be asked
		return
	}
	for i := range request.Options {
		request.Options[i].Name = clip(request.Options[i].Name, 256)
	}
	interaction := "ask-" + rand.Text()
	var call toolUpdate
	if json.Unmarshal(request.ToolCall, &call) != nil {
		call = toolUpdate{} // asked all the same: the options are what counts
	}
	if call.ToolCallID == "" || len(call.ToolCallID) > maxToolID {
		call.ToolCallID = interaction
	}
	card := t.tools.get(call)
	data := &protocol.ToolApprovalData{
		MessageID: t.messageID, InteractionID: interaction, ToolCallID: call.ToolCallID,
		Title: card.title(), Kind: card.kind(), Input: withoutKeys(card.input, s.provider.VolatileInput), Content: card.content,
		Options: request.Options,
	}
	size := s.fit(data)
	open := size
	for _, other := range t.asks {
		open += other.size
	}
	if size > s.w.cfg.MaxEventBytes || open > max(maxAskBytes, size) {
		s.answer(encodeError(id, rpcInvalidParams, "the open permission requests are too large"))
		return
	}
	// Some agents (gemini) ask about a tool call that they never announced.
	if !t.tools.known(call.ToolCallID) {
		s.publishTool(call)
	} else {
		t.tools.merge(call)
	}
	t.spoken = true
	t.asks[interaction] = &ask{id: id, size: size, options: request.Options}
	s.publish(protocol.EventToolApproval, data)
}

// withoutKeys leaves keys out of a JSON object; anything else stays as it is.
func withoutKeys(raw json.RawMessage, keys []string) json.RawMessage {
	var object map[string]json.RawMessage
	if len(keys) == 0 || json.Unmarshal(raw, &object) != nil || object == nil {
		return raw
	}
	for _, key := range keys {
		delete(object, key)
	}
	return protocol.Marshal(object)
}

// onApproval passes the users' answer on.
func (s *session) onApproval(approval protocol.ApprovalCommand) {
	asked := s.turn.asks[approval.InteractionID]
	if asked == nil || s.agent == nil {
		return // answered already, or not ours
	}
	delete(s.turn.asks, approval.InteractionID)
	option := ""
	switch approval.Outcome {
	case protocol.OutcomeSelected:
		for _, o := range asked.options {
			if o.OptionID == approval.OptionID {
				option = o.OptionID
			}
		}
		if option == "" {
			s.log.Warn("hub selected an option that the agent did not offer", "interaction", approval.InteractionID)
		}
	case protocol.OutcomeExpired:
		// No answer is a no, and leaves the turn running.
		for _, o := range asked.options {
			if o.Kind == protocol.RejectOnce {
				option = o.OptionID
				break
			}
		}
	}
	s.answer(permission(asked.id, option))
}

// dropAsks answers the open requests with cancelled, as a client must when the
// turn is cancelled.
func (s *session) dropAsks() {
	for interaction, asked := range s.turn.asks {
		delete(s.turn.asks, interaction)
		if s.agent != nil && !s.agent.stopped {
			s.answer(permission(asked.id, ""))
		}
	}
}

// permission encodes the answer to a permission request; no option: cancelled.
func permission(id json.RawMessage, optionID string) []byte {
	outcome := map[string]string{"outcome": protocol.OutcomeCancelled}
	if optionID != "" {
		outcome = map[string]string{"outcome": protocol.OutcomeSelected, "optionId": optionID}
	}
	return encodeResult(id, map[string]any{"outcome": outcome})
}
