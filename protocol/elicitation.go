package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// EventElicitation is a question of the agent to the users (ACP, "elicitation/create").
// EventElicitationResolved says how it ended.
const (
	EventElicitation         EventType = "elicitation"
	EventElicitationResolved EventType = "elicitation_resolved"
)

// The modes of an elicitation.
const (
	ElicitForm = "form" // the agent asks for values: RequestedSchema
	ElicitURL  = "url"  // the agent asks the user to open a page: URL
)

// EventPrivateElicitation is how a worker asks a question whose message, form and url must
// not be logged: an address or a code to log in with. Its data is that of an EventElicitation.
// The log has an EventElicitation that is Private in its place. A worker sends it only to a
// hub that names it in Welcome.Events.
const EventPrivateElicitation = EventType("elicitation_private")

// PrivateMessage is the message of a private question in the log.
const PrivateMessage = "The agent asks for a login. What it asks is shown to those who may answer."

// Public is what the log has of a private question: nothing that the agent has said. Clients
// that do not know private questions show an empty form, whose answer is not taken.
func (e ElicitationData) Public() ElicitationData {
	return ElicitationData{
		MessageID: e.MessageID, InteractionID: e.InteractionID, ToolCallID: e.ToolCallID, Mode: ElicitForm, Message: PrivateMessage,
		RequestedSchema: json.RawMessage(`{"type":"object","properties":{}}`), Private: true, ExpiresAt: e.ExpiresAt,
	}
}

// Limits of an elicitation, in bytes.
const (
	MaxElicitationMessage = 32 << 10
	MaxElicitationURL     = 8 << 10
)

// ElicitationData asks the users a question. Exactly one of RequestedSchema and URL is
// there; Mode says which. MessageID is that of the turn that asks; it is empty outside of a
// turn. The hub sets ExpiresAt.
//
// Private says that the question is not logged: see Public. Who may answer reads the whole by
// GET elicitations/:interactionId, until it is answered. Its answer is not logged either.
type ElicitationData struct {
	MessageID       string          `json:"messageId,omitempty"`
	InteractionID   string          `json:"interactionId"`
	ToolCallID      string          `json:"toolCallId,omitempty"`
	Mode            string          `json:"mode"`
	Message         string          `json:"message"`
	RequestedSchema json.RawMessage `json:"requestedSchema,omitempty"`
	URL             string          `json:"url,omitempty"`
	Private         bool            `json:"private,omitempty"`
	ExpiresAt       *time.Time      `json:"expiresAt,omitempty"`
}

// Check holds a question to the limits of the protocol, except the names of interaction and
// tool call. The error names the field.
func (e ElicitationData) Check() error {
	switch {
	case strings.TrimSpace(e.Message) == "":
		return errors.New("message is missing")
	case len(e.Message) > MaxElicitationMessage:
		return fmt.Errorf("message has %d bytes: at most %d", len(e.Message), MaxElicitationMessage)
	}
	switch e.Mode {
	case ElicitForm:
		if e.URL != "" {
			return errors.New("a form has no url")
		}
		_, err := ParseForm(e.RequestedSchema)
		return err
	case ElicitURL:
		if len(e.RequestedSchema) > 0 {
			return errors.New("a url has no requestedSchema")
		}
		return CheckElicitationURL(e.URL)
	}
	return fmt.Errorf("mode %q is neither %s nor %s", clip(e.Mode), ElicitForm, ElicitURL)
}

// CheckElicitationURL refuses a URL that people could take for another one, or that a
// browser would not open as a page. It has the scheme http or https, a host and no user name,
// and is printable ASCII. Other characters can be written as punycode and %XX.
func CheckElicitationURL(s string) error {
	if s == "" {
		return errors.New("url is missing")
	}
	if len(s) > MaxElicitationURL {
		return fmt.Errorf("url has %d bytes: at most %d", len(s), MaxElicitationURL)
	}
	if i := strings.IndexFunc(s, func(r rune) bool { return r <= 0x20 || r > 0x7e || r == '\\' }); i >= 0 {
		return fmt.Errorf("url has a character at byte %d that is not allowed: write it as punycode or %%XX", i)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("url cannot be read")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("url is neither http nor https")
	case u.Hostname() == "":
		return errors.New("url has no host")
	case u.User != nil:
		return errors.New("url has a user name before its host, which misleads people")
	}
	return nil
}

// The outcomes of an elicitation. OutcomeCancelled and OutcomeExpired are those of approvals.
const (
	OutcomeAccepted = "accepted"
	OutcomeDeclined = "declined"
)

// ElicitationResolvedData says how a question ended. By is the user who answered,
// or ByAgent: the page of a url was completed. Content is the answer to an accepted form,
// as the agent gets it.
type ElicitationResolvedData struct {
	InteractionID string          `json:"interactionId"`
	Outcome       string          `json:"outcome"`
	Content       json.RawMessage `json:"content,omitempty"`
	By            string          `json:"by,omitempty"`
	Detail        string          `json:"detail,omitempty"`
}

// The actions of an answer (ACP, "CreateElicitationResponse").
const (
	ActionAccept  = "accept"
	ActionDecline = "decline" // the user refuses to answer
	ActionCancel  = "cancel"  // the user closes the question without an answer
)

// OutcomeOf is the outcome of an answer's action; empty: there is no such action.
func OutcomeOf(action string) string {
	switch action {
	case ActionAccept:
		return OutcomeAccepted
	case ActionDecline:
		return OutcomeDeclined
	case ActionCancel:
		return OutcomeCancelled
	}
	return ""
}

// AnswerRequest is the body of POST answer and the data of an answer command. Content goes
// with ActionAccept of a form only.
type AnswerRequest struct {
	InteractionID string          `json:"interactionId"`
	Action        string          `json:"action"`
	Content       json.RawMessage `json:"content,omitempty"`
}

// AnswerResponse answers an AnswerRequest.
type AnswerResponse struct {
	InteractionID string `json:"interactionId"`
	Action        string `json:"action"`
}

// Elicitations answers GET elicitations: the pending questions, oldest first.
type Elicitations struct {
	Elicitations []ElicitationData `json:"elicitations"`
}
