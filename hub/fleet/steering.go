package fleet

import (
	"fmt"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// queueInput makes the input of an agent_started or a steered event.
func queueInput(t protocol.EventType, data []byte, most int) (session.Input, error) {
	invalid := func(err error) error {
		return &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("%s: %v", t, err)}
	}
	if t == protocol.EventAgentStarted {
		var d protocol.AgentStartedData
		if err := protocol.Decode(data, &d); err != nil {
			return nil, invalid(err)
		}
		switch d.History {
		case protocol.HistoryNew, protocol.HistoryLoaded, protocol.HistoryResumed:
		default:
			return nil, invalid(fmt.Errorf("history is none of %s, %s and %s", protocol.HistoryNew, protocol.HistoryLoaded, protocol.HistoryResumed))
		}
		if len(data) > most {
			return nil, &session.Refusal{Code: protocol.LinkTooLarge, Detail: fmt.Sprintf("%s: its data has %d bytes, over %d", t, len(data), most)}
		}
		return session.InAgentStarted{Event: session.NewEvent{Type: t, Data: data}, Steering: d.Steering, Reasons: d.Reasons, Forks: forks(d)}, nil
	}
	var d protocol.SteeredData
	if err := protocol.Decode(data, &d); err != nil {
		return nil, invalid(err)
	}
	if err := session.FirstOf(checkTurnID("messageId", d.MessageID), checkTurnID("into", d.Into)); err != nil {
		return nil, invalid(err)
	}
	if d.Outcome != protocol.SteerInjected && d.Outcome != protocol.SteerQueued {
		return nil, invalid(fmt.Errorf("outcome is neither %s nor %s", protocol.SteerInjected, protocol.SteerQueued))
	}
	d.Detail = session.CutText(d.Detail, protocol.MaxReasonBytes)
	return session.InSteered{Data: d}, nil
}

// forks reports whether an agent has said that it can fork a session (ACP, "Session Fork").
func forks(d protocol.AgentStartedData) bool {
	var can struct {
		SessionCapabilities struct {
			Fork map[string]any `json:"fork"`
		} `json:"sessionCapabilities"`
	}
	return protocol.Decode(d.AgentCapabilities, &can) == nil && can.SessionCapabilities.Fork != nil
}
