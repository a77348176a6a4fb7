package worker

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"sessionhub/protocol"
)

// loginTime is how long a start may take once a person has chosen how to log in. The agent may
// wait for a page in a browser meanwhile.
const loginTime = 10 * time.Minute

// askPeople asks a question of the worker's own, which is never logged. answer is called on
// the runner's goroutine when the question ends, unless the turn or the agent ends first. It
// gives the question's interaction; empty: nobody can be asked now.
func (s *session) askPeople(data protocol.ElicitationData, answer func(protocol.ElicitationCommand)) string {
	if s.turn == nil || s.turn.cancelled || !s.w.hubTakes(protocol.EventPrivateElicitation) {
		return ""
	}
	data.InteractionID, data.MessageID = "ask-"+rand.Text(), s.turn.messageID
	if err := data.Check(); err != nil {
		s.log.Warn("people are not asked", "error", err)
		return ""
	}
	s.turn.asks[data.InteractionID] = &ask{size: len(protocol.Marshal(data)), elicits: data.Mode, own: answer}
	s.publish(protocol.EventPrivateElicitation, data)
	return data.InteractionID
}

// askLogin has people choose among the agent's ways to log in, if there is one that can be
// begun from here. method and refused are the agent's refusal, and next goes on with the start.
func (s *session) askLogin(method string, refused error, next func()) bool {
	a := s.agent
	var choices []authMethod
	for _, m := range a.authMethods {
		if m.isAgents() || m.isTerminal() {
			choices = append(choices, m)
		}
	}
	if len(choices) == 0 {
		return false
	}
	a.people = true
	a.login = s.askPeople(s.loginForm(choices), func(c protocol.ElicitationCommand) {
		var chosen struct {
			Method string `json:"method"`
		}
		_ = json.Unmarshal(c.Content, &chosen) // the hub has held it to the form
		i := slices.IndexFunc(choices, func(m authMethod) bool { return m.ID == chosen.Method })
		if c.Action != protocol.ActionAccept || i < 0 {
			s.agentFailed(protocol.TurnError{Code: protocol.TurnAgentStart, Message: fmt.Sprintf(
				"%s: nobody has chosen how to log in. Send a message to be asked again. %s", method, s.describe(refused))})
			return
		}
		s.startTimeout = max(s.startTimeout, loginTime)
		s.startTimer.Reset(s.startTimeout)
		if choices[i].isTerminal() {
			s.beginTerminal(choices[i])
			return
		}
		s.callAuthenticate(chosen.Method, next)
	}) != ""
	return a.login
}

// isTerminal reports whether people log in by the agent's program in a terminal.
func (m authMethod) isTerminal() bool {
	return m.Type == authTerminal && len(m.Args) <= maxAuthArgs && len(m.env()) <= maxAuthVars
}

// loginForPrompt has people log in if the agent refuses a prompt for the lack of a login
// (claude does so). Then it gets the prompt again. It has done nothing for it yet.
func (s *session) loginForPrompt(refused error) bool {
	a, t := s.agent, s.turn
	if !authRequired(refused) || s.provider.AuthMethod != "" || a.authenticated || t.spoken {
		return false
	}
	t.prompted = false // another agent may get it
	s.silentTimer.Stop()
	if !s.askLogin("session/prompt", refused, s.prompt) {
		t.prompted = true
		return false
	}
	return true
}

// isAgents reports whether the agent itself does what the method needs.
func (m authMethod) isAgents() bool { return m.Type == "" || m.Type == authAgent }

// loginForm asks which of the choices it shall be. Ways that need the worker's machine are
// told, and cannot be chosen.
func (s *session) loginForm(choices []authMethod) protocol.ElicitationData {
	type choice struct {
		Const       string `json:"const"`
		Title       string `json:"title"`
		Description string `json:"description,omitempty"`
	}
	var list []choice
	for _, m := range choices {
		title := printable(clip(m.Name, 200))
		if title == "" {
			title = printable(m.ID)
		}
		list = append(list, choice{Const: m.ID, Title: title, Description: printable(clip(m.Description, 500))})
	}
	var b strings.Builder
	b.WriteString("The agent needs a login before it can work. It logs in as the user of the worker, whose other sessions use the login too.")
	for _, m := range s.agent.authMethods {
		if !m.isAgents() && !m.isTerminal() {
			fmt.Fprintf(&b, "\nOn the worker's machine one could also use %q (%s).", printable(clip(m.Name, 100)), s.authHint(m))
		}
	}
	return protocol.ElicitationData{
		Mode: protocol.ElicitForm, Message: b.String(),
		RequestedSchema: protocol.Marshal(map[string]any{
			"type": "object", "required": []string{"method"},
			"properties": map[string]any{"method": map[string]any{"type": "string", "title": "How to log in", "oneOf": list}},
		}),
	}
}
