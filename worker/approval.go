package worker

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"slices"
	"time"

	"sessionhub/internal/excerpt"
	"sessionhub/protocol"
)

// Limits of the open permission requests. The hub has the same.
const (
	maxAsks     = protocol.MaxOpenApprovals // further requests are refused
	maxAskBytes = protocol.MaxOpenApprovalBytes
	maxOptions  = protocol.MaxApprovalOptions

	maxOptionName = protocol.MaxNameBytes // of an option's name in the event
)

// ask is an open question of the agent: a permission request or an elicitation.
type ask struct {
	id      json.RawMessage // of the JSON-RPC request
	size    int             // of the event's data
	options []protocol.ApprovalOption

	elicits       string // the mode of an elicitation; empty: a permission request
	elicitationID string // the agent's own name of a url

	own       func(protocol.ElicitationCommand) // of a question of the worker's: see askPeople
	completed bool                              // the agent says that the page of the url was completed

	withdrawn time.Time // when the agent withdrew the question; zero: it has not

	// unannounced is the tool call that the agent told of by this question alone; else empty.
	unannounced string
}

// withdrawGrace is how long the hub may take to say how a withdrawn question ended. A hub
// that does not know withdrawals never says it.
const withdrawGrace = 5 * time.Second

// onPermission turns session/request_permission into a tool_approval (ACP, "Requesting
// Permission"). Every request gets an answer in the end: from an approval command, from a
// cancel, or from the turn's end.
func (s *session) onPermission(id, params json.RawMessage) {
	var request struct {
		SessionID string                    `json:"sessionId"`
		ToolCall  json.RawMessage           `json:"toolCall"`
		Options   []protocol.ApprovalOption `json:"options"`
	}
	if err := json.Unmarshal(params, &request); err != nil {
		s.answer(encodeError(id, rpcInvalidParams, "the permission request cannot be read"))
		return
	}
	var refusal string
	open, openBytes := s.openAsks()
	switch {
	case request.SessionID != s.agent.sessionID:
		refusal = "unknown session"
	case len(request.Options) == 0 || len(request.Options) > maxOptions:
		refusal = "a permission request has 1 to 64 options"
	case open >= maxAsks:
		refusal = "too many open permission requests"
	}
	ids := make(map[string]bool, len(request.Options))
	for _, o := range request.Options {
		if ids[o.OptionID] {
			// One id could mean yes and no: the answer would be unclear.
			refusal = "a permission request has an optionId twice"
		}
		ids[o.OptionID] = true
		if o.OptionID == "" || len(o.OptionID) > protocol.MaxNameBytes || len(o.Kind) > 64 {
			refusal = "an option needs an optionId of at most 256 bytes and a kind of at most 64"
		}
	}
	if refusal != "" {
		s.answer(encodeError(id, rpcInvalidParams, refusal))
		return
	}
	request.Options = s.allowedAnswers(request.Options)
	interaction := "ask-" + rand.Text()
	var call toolUpdate
	if json.Unmarshal(request.ToolCall, &call) != nil {
		call = toolUpdate{} // the users are asked all the same: the options are what counts
	}
	w := s.workOf(call.ToolCallID)
	if w == nil || w.messageID != "" && s.turn.cancelled {
		s.answer(permission(id, "")) // no user can be asked
		return
	}
	if call.ToolCallID == "" || len(call.ToolCallID) > maxToolID {
		call.ToolCallID = interaction
	}
	known := w.tools.known(call.ToolCallID)
	if w.messageID == "" {
		s.background.meet(call, false)
	}
	card := w.tools.get(call)
	whole := protocol.ApprovalContent{
		InteractionID: interaction, ToolCallID: call.ToolCallID, Title: card.title(), Kind: card.kind(),
		Input: withoutKeys(card.input, s.provider.VolatileInput), Content: card.content, Options: request.Options,
	}
	data, parts := question(whole, card.missing, s.w.cfg.MaxEventBytes-eventMargin)
	data.MessageID = w.messageID
	size := len(protocol.Marshal(data))
	if size > s.w.cfg.MaxEventBytes || openBytes+size > max(maxAskBytes, size) {
		s.answer(encodeError(id, rpcInvalidParams, "the open permission requests are too large"))
		return
	}
	// Some agents (gemini) ask about a tool call that they never announced.
	if !known {
		s.publishTool(w, call, false)
	} else {
		w.tools.merge(call)
	}
	s.beginWork(w)
	if s.inTurn() {
		s.turn.spoken = true
	}
	asked := &ask{id: id, size: size, options: request.Options}
	if !known {
		asked.unannounced = call.ToolCallID
	}
	w.asks[interaction] = asked
	for _, part := range parts {
		s.publish(protocol.EventApprovalContent, part)
	}
	s.publish(protocol.EventToolApproval, data)
}

// question makes a question's event of about limit bytes. Parts that do not fit go out
// before the event. missing is how many bytes of the question the worker has already
// dropped. The hub refuses a question whose event and parts together are incomplete.
func question(whole protocol.ApprovalContent, missing, limit int) (*protocol.ToolApprovalData, []protocol.ApprovalContentData) {
	data := &protocol.ToolApprovalData{
		InteractionID: whole.InteractionID, ToolCallID: whole.ToolCallID, Title: whole.Title, Kind: whole.Kind,
		Input: whole.Input, Content: whole.Content, Options: slices.Clone(whole.Options),
	}
	changed := excerpt.Approval(data, limit)
	for i := range data.Options {
		if len(data.Options[i].Name) > maxOptionName {
			data.Options[i].Name = clip(data.Options[i].Name, maxOptionName)
			data.Truncated, changed = true, true
		}
	}
	data.Truncated = data.Truncated || missing > 0
	if !changed && !data.Truncated {
		return data, nil
	}
	raw := whole.Encode()
	size := len(raw) + missing
	if data.Truncated {
		data.FullBytes = size
	}
	if missing > 0 || size > protocol.MaxApprovalContent {
		return data, nil
	}
	parts := make([]protocol.ApprovalContentData, 0, size/protocol.MaxContentPart+1)
	for part := range slices.Chunk(raw, protocol.MaxContentPart) {
		parts = append(parts, protocol.ApprovalContentData{InteractionID: whole.InteractionID, Index: len(parts), Data: part})
	}
	return data, parts
}

// onCancelRequest withdraws a question of the agent (ACP, "Cancellation":
// $/cancel_request). An answer of a user may be on its way, so the hub decides which came
// first. Its approval command tells the result. So the log, the users and the agent learn
// the same. A request that was answered already is ignored.
func (s *session) onCancelRequest(params json.RawMessage) {
	var cancel struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	if json.Unmarshal(params, &cancel) != nil {
		return
	}
	for _, w := range s.works() {
		for interaction, asked := range w.asks {
			if asked.own != nil || !bytes.Equal(asked.id, cancel.RequestID) || !asked.withdrawn.IsZero() {
				continue
			}
			s.withdraw(asked)
			s.publishWithdrawal(interaction, asked)
		}
	}
}

// withdraw begins the time in which the hub says how a question ended.
func (s *session) withdraw(asked *ask) {
	if !s.withdrawing() {
		s.graceTimer.Reset(withdrawGrace)
	}
	asked.withdrawn = time.Now()
}

func (s *session) publishWithdrawal(interaction string, asked *ask) {
	if asked.elicits != "" {
		s.publish(protocol.EventElicitationResolved, protocol.ElicitationResolvedData{
			InteractionID: interaction, Outcome: protocol.OutcomeCancelled,
		})
		return
	}
	s.publish(protocol.EventApprovalResolved, protocol.ApprovalResolvedData{
		InteractionID: interaction, Outcome: protocol.OutcomeCancelled,
	})
}

// answerCancelled tells the agent that nobody answers its question. If the agent has
// withdrawn the question, it expects an error.
func (s *session) answerCancelled(asked *ask) {
	switch {
	case s.agent == nil || s.agent.stopped || asked.own != nil:
	case asked.completed:
		s.answer(elicited(asked.id, protocol.ActionAccept, nil))
	case asked.elicits != "" && asked.withdrawn.IsZero():
		s.answer(elicited(asked.id, protocol.ActionCancel, nil))
	case asked.withdrawn.IsZero():
		s.answer(permission(asked.id, ""))
	default:
		s.answer(encodeError(asked.id, rpcRequestCancelled, "the request was cancelled"))
	}
}

// withoutKeys removes keys from a JSON object. Any other value stays as it is.
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

// onApproval passes the users' answer to the agent, which asks in a work.
func (s *session) onApproval(w *work, approval protocol.ApprovalCommand) {
	asked := w.asks[approval.InteractionID]
	if asked == nil || asked.elicits != "" || s.agent == nil {
		return // answered already, or not ours
	}
	delete(w.asks, approval.InteractionID)
	s.beginWork(w) // a tool that runs now may say nothing for a while
	if !asked.allows(approval) {
		s.neverRuns(w, asked)
	}
	if approval.Outcome == protocol.OutcomeCancelled && approval.Reason != "" {
		s.log.Warn("hub asks nobody", "interaction", approval.InteractionID, "reason", clip(approval.Reason, 512))
		s.answer(encodeError(asked.id, rpcInvalidParams, clip(approval.Reason, 512)))
		return
	}
	option := ""
	switch approval.Outcome {
	case protocol.OutcomeCancelled:
		s.answerCancelled(asked)
		return
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
		// Without an answer, the worker says no, and the turn goes on.
		for _, o := range asked.options {
			if o.Kind == protocol.RejectOnce {
				option = o.OptionID
				break
			}
		}
	}
	s.answer(permissionFor(asked.id, option, approval.Reason))
}

// allows reports whether an answer lets the call go on that was asked about.
func (a *ask) allows(answer protocol.ApprovalCommand) bool {
	return answer.Outcome == protocol.OutcomeSelected && slices.ContainsFunc(a.options, func(o protocol.ApprovalOption) bool {
		return o.OptionID == answer.OptionID && o.Kind != protocol.RejectOnce && o.Kind != protocol.RejectAlways
	})
}

// permission encodes the answer to a permission request. An empty option means cancelled.
func permission(id json.RawMessage, optionID string) []byte { return permissionFor(id, optionID, "") }

// reasonKey is the key under which an answer says why, for agents that read it (ACP,
// "Extensibility": _meta is free for such keys).
const reasonKey = "sessionhub/reason"

func permissionFor(id json.RawMessage, optionID, reason string) []byte {
	outcome := map[string]string{"outcome": protocol.OutcomeCancelled}
	if optionID != "" {
		outcome = map[string]string{"outcome": protocol.OutcomeSelected, "optionId": optionID}
	}
	result := map[string]any{"outcome": outcome}
	if reason != "" {
		result["_meta"] = map[string]string{reasonKey: reason}
	}
	return encodeResult(id, result)
}
