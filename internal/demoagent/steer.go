package demoagent

import (
	"context"
	"encoding/json"

	acp "github.com/coder/acp-go-sdk"
)

// steerMethod gives a message to the turn that runs. It is no part of ACP: clients find it
// announced in the _meta of the answer to initialize.
const steerMethod = "_session/steering"

// steerable announces steerMethod.
var steerable = map[string]any{"steering": map[string]any{"supported": true}}

// HandleExtensionMethod takes a message into the turn that runs. Without one it is for the
// client to prompt.
func (a *agent) HandleExtensionMethod(_ context.Context, method string, params json.RawMessage) (any, error) {
	if method != steerMethod {
		return nil, acp.NewMethodNotFound(method)
	}
	var r struct {
		SessionID acp.SessionId      `json:"sessionId"`
		Prompt    []acp.ContentBlock `json:"prompt"`
	}
	if json.Unmarshal(params, &r) != nil || len(r.Prompt) == 0 {
		return nil, invalid("a session and a prompt are needed")
	}
	s, err := a.session(r.SessionID)
	if err != nil {
		return nil, err
	}
	outcome := "promptRequired"
	if s.steer(promptText(r.Prompt)) {
		outcome = "injected"
	}
	return map[string]string{"outcome": outcome}, nil
}

// steer gives a text to the turn that runs. false: there is none, or it is ending.
func (s *session) steer(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.current {
		if t.ctx.Err() == nil && !t.ending {
			t.steered = append(t.steered, text)
			select {
			case t.nudge <- struct{}{}:
			default:
			}
			return true
		}
	}
	return false
}

// takeIn answers what the turn was steered by. With end, the turn takes nothing more after
// it has answered everything.
func (t *turn) takeIn(end bool) error {
	for {
		t.s.mu.Lock()
		texts := t.steered
		t.steered = nil
		t.ending = end && len(texts) == 0
		t.s.mu.Unlock()
		if len(texts) == 0 {
			return nil
		}
		for _, text := range texts {
			if err := t.say("\nYou steered me: " + clip(text, maxQuoteBytes) + "\n"); err != nil {
				return err
			}
		}
	}
}
