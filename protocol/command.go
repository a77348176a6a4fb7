package protocol

import (
	"encoding/json"
	"time"
)

// CommandType names a client's command on the WebSocket.
type CommandType string

const (
	CommandMessage CommandType = "message"
	CommandApprove CommandType = "approve"
	CommandCancel  CommandType = "cancel"
	CommandAuth    CommandType = "auth"
	CommandPing    CommandType = "ping"
)

// CommandTypes lists every command: the closed set of the metrics label.
var CommandTypes = []CommandType{CommandMessage, CommandApprove, CommandCancel, CommandAuth, CommandPing}

// Command is a frame from a client. ID is the client's own and comes back in
// the answer.
type Command struct {
	Type CommandType     `json:"type"`
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data,omitempty"`
}

// Ack answers a command that was carried out.
type Ack struct {
	Type string          `json:"type"` // "ack"
	ID   string          `json:"id"`
	Data json.RawMessage `json:"data"`
}

// CommandError answers a command that was refused.
type CommandError struct {
	Type  string           `json:"type"` // "error"
	ID    string           `json:"id"`
	Error CommandErrorBody `json:"error"`
}

// CommandErrorBody says why. RetryAfter is in seconds. Outcome and OptionID
// tell who won when Code is CodeApprovalResolved.
type CommandErrorBody struct {
	Code       Code   `json:"code"`
	Detail     string `json:"detail"`
	RetryAfter int    `json:"retryAfter,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	OptionID   string `json:"optionId,omitempty"`
}

// NewAck returns the JSON of an ack with one of this package's answers as data.
func NewAck(id string, data any) []byte {
	return Marshal(Ack{Type: "ack", ID: id, Data: Marshal(data)})
}

// NewCommandError returns the JSON of an error.
func NewCommandError(id string, body CommandErrorBody) []byte {
	return Marshal(CommandError{Type: "error", ID: id, Error: body})
}

// AuthResponse is the data of its ack.
type AuthResponse struct {
	ExpiresAt time.Time `json:"expiresAt"`
	Scope     string    `json:"scope"`
}

// AuthRequest is the data of an auth command.
type AuthRequest struct {
	Token string `json:"token"`
}
