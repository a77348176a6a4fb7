package protocol

import (
	"encoding/json"
	"time"
)

// CommandType names a client's command on the WebSocket.
type CommandType string

const (
	CommandMessage   CommandType = "message"
	CommandApprove   CommandType = "approve"
	CommandAnswer    CommandType = "answer"
	CommandCancel    CommandType = "cancel"
	CommandSetOption CommandType = "set_option"
	CommandQueue     CommandType = "queue"
	CommandAuth      CommandType = "auth"
	CommandPing      CommandType = "ping"
)

// CommandTypes lists every command: the closed set of the metrics label.
var CommandTypes = []CommandType{
	CommandMessage, CommandApprove, CommandCancel, CommandAuth, CommandPing,
	CommandRename, CommandSetOption, CommandQueue, CommandAnswer,
}

// Command is a frame from a client. ID is the client's own; the answer repeats it.
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

// CommandErrorBody says why a command was refused. RetryAfter is in seconds. When Code is
// CodeApprovalResolved or CodeQuestionResolved, Outcome and OptionID tell how the question
// was answered. When it is CodeInvalidAnswer, Field is the field of the form, if one is wrong.
type CommandErrorBody struct {
	Code       Code   `json:"code"`
	Detail     string `json:"detail"`
	RetryAfter int    `json:"retryAfter,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	OptionID   string `json:"optionId,omitempty"`
	Field      string `json:"field,omitempty"`
}

// NewAck returns the JSON of an ack with one of this package's answers as data.
func NewAck(id string, data any) []byte {
	return Marshal(Ack{Type: "ack", ID: id, Data: Marshal(data)})
}

// NewCommandError returns the JSON of an error.
func NewCommandError(id string, body CommandErrorBody) []byte {
	return Marshal(CommandError{Type: "error", ID: id, Error: body})
}

// AuthResponse is the data of the ack of an auth command.
type AuthResponse struct {
	ExpiresAt time.Time `json:"expiresAt"`
	Scope     string    `json:"scope"`
}

// AuthRequest is the data of an auth command.
type AuthRequest struct {
	Token string `json:"token"`
}
