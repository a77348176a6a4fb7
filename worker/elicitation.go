package worker

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"sessionhub/protocol"
)

// onElicitation turns elicitation/create into an elicitation (ACP, "Elicitation"). Every
// request gets an answer in the end: from an elicitation command, from a cancel, or from the
// turn's end. A question that cannot be shown gets an error that says what is wrong with it.
// An agent may also ask while it starts, before it has a session: for a login. Then, and
// with the SDKs of drafts, no session is named: it is the only one.
func (s *session) onElicitation(id, params json.RawMessage) {
	var request struct {
		SessionID       string          `json:"sessionId"`
		ToolCallID      string          `json:"toolCallId"`
		Mode            string          `json:"mode"`
		Message         string          `json:"message"`
		RequestedSchema json.RawMessage `json:"requestedSchema"`
		URL             string          `json:"url"`
		ElicitationID   string          `json:"elicitationId"`
	}
	own := s.agent.sessionID
	open, openBytes := s.openAsks()
	if json.Unmarshal(params, &request) != nil {
		s.answer(encodeError(id, rpcInvalidParams, "the elicitation cannot be read"))
		return
	}
	if !s.w.hubTakes(protocol.EventElicitation) {
		s.answer(encodeError(id, rpcMethodNotFound, "the hub takes no elicitations"))
		return
	}
	data := protocol.ElicitationData{
		InteractionID: "ask-" + rand.Text(), ToolCallID: request.ToolCallID, Mode: request.Mode, Message: request.Message,
	}
	if len(data.ToolCallID) > maxToolID {
		data.ToolCallID = ""
	}
	var err error
	switch request.Mode {
	case protocol.ElicitForm:
		data.RequestedSchema, err = protocol.Compact(request.RequestedSchema)
	case protocol.ElicitURL:
		data.URL = request.URL
	}
	switch {
	case err != nil:
		err = errors.New("the requestedSchema cannot be read")
	case request.SessionID != "" && own != "" && request.SessionID != own:
		err = errors.New("unknown session")
	case open >= maxAsks:
		err = errors.New("too many open questions")
	default:
		err = data.Check()
	}
	if err != nil {
		s.answer(encodeError(id, rpcInvalidParams, clip(err.Error(), 512)))
		return
	}
	w := s.eliciting(data.ToolCallID)
	if w == nil || w.messageID != "" && s.turn.cancelled {
		s.answer(elicited(id, protocol.ActionCancel, nil)) // no user can be asked
		return
	}
	data.MessageID = w.messageID
	size := len(protocol.Marshal(data))
	if size > s.w.cfg.MaxEventBytes-eventMargin || openBytes+size > max(maxAskBytes, size) {
		s.answer(encodeError(id, rpcInvalidParams, "the open questions are too large"))
		return
	}
	s.beginWork(w)
	if s.inTurn() {
		s.turn.spoken = true
	}
	w.asks[data.InteractionID] = &ask{id: id, size: size, elicits: data.Mode, elicitationID: request.ElicitationID}
	kind := protocol.EventElicitation
	if s.agent.authenticating != "" && s.w.hubTakes(protocol.EventPrivateElicitation) {
		kind = protocol.EventPrivateElicitation // an address or a code to log in with
	}
	s.publish(kind, data)
}

// eliciting is the work that a question belongs to. An agent that starts asks for the
// message that it was started for.
func (s *session) eliciting(toolCallID string) *work {
	if s.turn != nil && (!s.agent.ready || s.agent.login) {
		return &s.turn.work
	}
	return s.workOf(toolCallID)
}

// onElicitationComplete ends the question of a url whose page was completed. An answer of a
// user may be on its way, so the hub decides which came first, as for a withdrawal. A question
// that was answered already is ignored.
func (s *session) onElicitationComplete(params json.RawMessage) {
	var done struct {
		ElicitationID string `json:"elicitationId"`
	}
	if json.Unmarshal(params, &done) != nil || done.ElicitationID == "" {
		return
	}
	for _, w := range s.works() {
		for interaction, asked := range w.asks {
			if asked.elicits != protocol.ElicitURL || asked.elicitationID != done.ElicitationID || !asked.withdrawn.IsZero() {
				continue
			}
			asked.completed = true
			s.withdraw(asked)
			s.publish(protocol.EventElicitationResolved, protocol.ElicitationResolvedData{
				InteractionID: interaction, Outcome: protocol.OutcomeAccepted,
			})
		}
	}
}

// onElicitationAnswer passes the users' answer to the agent, which asks in a work.
func (s *session) onElicitationAnswer(w *work, c protocol.ElicitationCommand) {
	asked := w.asks[c.InteractionID]
	if asked == nil || asked.elicits == "" || s.agent == nil {
		return // answered already, or not ours
	}
	delete(w.asks, c.InteractionID)
	s.beginWork(w) // the agent may say nothing for a while
	switch {
	case asked.own != nil:
		asked.own(c)
	case c.Reason != "":
		s.log.Warn("hub asks nobody", "interaction", c.InteractionID, "reason", clip(c.Reason, 512))
		s.answer(encodeError(asked.id, rpcInvalidParams, clip(c.Reason, 512)))
	case c.Action == protocol.ActionAccept, c.Action == protocol.ActionDecline:
		s.answer(elicited(asked.id, c.Action, c.Content))
	default:
		if asked.completed { // a user, or the hub's clock, was first
			asked.completed, asked.withdrawn = false, time.Time{}
		}
		s.answerCancelled(asked)
	}
}

// dropElicitations answers the open elicitations of a work with cancel. What the agent asks
// for permission stays open.
func (s *session) dropElicitations(w *work) {
	for interaction, asked := range w.asks {
		if asked.elicits != "" {
			delete(w.asks, interaction)
			if asked.withdrawn.IsZero() {
				s.publishWithdrawal(interaction, asked)
			}
			s.answerCancelled(asked)
		}
	}
}

// elicited encodes the answer to an elicitation.
func elicited(id json.RawMessage, action string, content json.RawMessage) []byte {
	result := map[string]any{"action": action}
	if len(content) > 0 {
		result["content"] = content
	}
	return encodeResult(id, result)
}
