package fleet

import (
	"fmt"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// elicitation makes the input of a question of an agent. Data is at most most bytes long.
// A question that breaks another limit is refused by the rules, so that its agent gets an
// answer.
func elicitation(t protocol.EventType, data []byte, most int) (session.Input, error) {
	var q protocol.ElicitationData
	if err := protocol.DecodePart(data, &q); err != nil {
		return nil, err
	}
	if err := session.CheckName("interactionId", q.InteractionID, protocol.MaxNameBytes); err != nil {
		return nil, err
	}
	q.Private = t == protocol.EventPrivateElicitation
	in := session.InElicitation{Data: q}
	err := session.FirstOf(checkTurnID("messageId", q.MessageID), session.CheckLength("toolCallId", q.ToolCallID, protocol.MaxToolIDBytes), q.Check())
	size := len(protocol.Marshal(q)) + approvalMargin
	switch {
	case err != nil:
		in.Unfit = &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("%s: %v", t, err)}
	case size > most:
		in.Unfit = &session.Refusal{Code: protocol.LinkTooLarge, Detail: fmt.Sprintf("%d bytes of elicitation data are over --max-event-bytes %d", size, most)}
	}
	return in, nil
}

// endOfElicitation makes the input of an agent's end of its own question.
func endOfElicitation(data []byte) (session.Input, error) {
	var r protocol.ElicitationResolvedData
	invalid := func(err error) error {
		return &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("%s: %v", protocol.EventElicitationResolved, err)}
	}
	if err := protocol.DecodePart(data, &r); err != nil {
		return nil, invalid(err)
	}
	if r.Outcome != protocol.OutcomeCancelled && r.Outcome != protocol.OutcomeAccepted {
		return nil, &session.Refusal{Code: protocol.LinkForbidden, Detail: fmt.Sprintf(
			"a worker may not resolve a question as %q: it may withdraw it, as %q, or say that the page of a url was completed, as %q",
			session.Clip(r.Outcome), protocol.OutcomeCancelled, protocol.OutcomeAccepted)}
	}
	if err := session.CheckName("interactionId", r.InteractionID, protocol.MaxNameBytes); err != nil {
		return nil, invalid(err)
	}
	return session.InEndElicitation{InteractionID: r.InteractionID, Completed: r.Outcome == protocol.OutcomeAccepted}, nil
}
