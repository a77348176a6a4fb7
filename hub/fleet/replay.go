package fleet

import (
	"errors"
	"fmt"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// replayMessage reads a message of the agent's history. It must be one that a user could
// have sent.
func replayMessage(data []byte, most int) (session.Input, error) {
	invalid := func(err error) error {
		return &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("%s: %v", protocol.EventMessage, err)}
	}
	var d protocol.MessageData
	if err := protocol.Decode(data, &d); err != nil {
		return nil, invalid(err)
	}
	if !d.Replay {
		return nil, &session.Refusal{Code: protocol.LinkForbidden, Detail: fmt.Sprintf("a worker may not send %q, but for one of a history", protocol.EventMessage)}
	}
	if d.MessageID == "" {
		return nil, invalid(errors.New("messageId is missing"))
	}
	if err := checkTurnID("messageId", d.MessageID); err != nil {
		return nil, invalid(err)
	}
	content, err := session.CheckContent(d.Content)
	if err != nil {
		return nil, invalid(err)
	}
	d.Content, d.UserID = content, ""
	if n := len(protocol.Marshal(d)) + replayMargin; n > most {
		return nil, &session.Refusal{Code: protocol.LinkTooLarge, Detail: fmt.Sprintf("%s: its data has %d bytes, over %d", protocol.EventMessage, n, most)}
	}
	return session.InReplayMessage{Data: d, Hash: session.HashJSON(content)}, nil
}

// replayMargin is room for the fields that the hub adds to a message of the history.
const replayMargin = protocol.MaxNameBytes + 40
