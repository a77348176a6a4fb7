package protocol

import (
	"encoding/json"
	"time"
)

// EventType names a logged event.
type EventType string

// The logged events. A worker may send those that WorkerMaySend reports; the
// hub makes the others in the step of their cause.
const (
	EventStatus           EventType = "status"
	EventMessage          EventType = "message"
	EventOutput           EventType = "output"
	EventToolCall         EventType = "tool_call"
	EventPlan             EventType = "plan"
	EventToolApproval     EventType = "tool_approval"
	EventApprovalResolved EventType = "approval_resolved"
	EventAgentUpdate      EventType = "agent_update"
	EventComplete         EventType = "complete"
	EventClosed           EventType = "closed"
)

// EventTypes lists every logged event type: the closed set of the metrics label.
var EventTypes = []EventType{
	EventStatus, EventMessage, EventOutput, EventToolCall, EventPlan,
	EventToolApproval, EventApprovalResolved, EventAgentUpdate, EventComplete, EventClosed,
}

// WorkerMaySend reports whether a worker may publish events of this type.
func (t EventType) WorkerMaySend() bool {
	switch t {
	case EventOutput, EventToolCall, EventPlan, EventToolApproval, EventAgentUpdate, EventComplete, EventStatus:
		return true
	}
	return false
}

// ChangesState reports whether an event of this type belongs to a step of the
// session's state. The others pass on the worker's fence alone.
func (t EventType) ChangesState() bool {
	switch t {
	case EventOutput, EventToolCall, EventPlan, EventAgentUpdate:
		return false
	}
	return true
}

// Event is one entry of a session's event log as a reader decodes it. The hub
// itself never encodes this struct: it keeps the bytes (see AppendEventTail).
type Event struct {
	Seq  uint64          `json:"seq"`
	From uint64          `json:"from,omitempty"` // first seq that a compacted event stands for
	Type EventType       `json:"type"`
	Time time.Time       `json:"time"`
	Data json.RawMessage `json:"data"`
}

// First is the first seq that the event stands for.
func (e Event) First() uint64 {
	if e.From != 0 {
		return e.From
	}
	return e.Seq
}

// Status is a session's state as its users see it.
type Status string

const (
	StatusIdle           Status = "idle"            // nothing to do
	StatusQueued         Status = "queued"          // a message waits for a worker
	StatusStarting       Status = "starting"        // the agent starts
	StatusRunning        Status = "running"         // a turn runs
	StatusRequiresAction Status = "requires_action" // an approval is pending
	StatusEnded          Status = "ended"
	StatusFailed         Status = "failed" // its directory, provider or mode was refused
)

// Statuses lists every status: the closed set of the metrics label.
var Statuses = []Status{
	StatusIdle, StatusQueued, StatusStarting, StatusRunning, StatusRequiresAction, StatusEnded, StatusFailed,
}

// StatusData is the data of a status event.
type StatusData struct {
	Status    Status `json:"status"`
	MessageID string `json:"messageId,omitempty"`
	Detail    string `json:"detail,omitempty"`
}

// MessageData is the data of a message event and of a message command to a
// worker. Content is a JSON string or an array of content blocks, as the user
// sent it.
type MessageData struct {
	MessageID string          `json:"messageId"`
	Content   json.RawMessage `json:"content"`
	UserID    string          `json:"userId"`
}

// The kinds of output.
const (
	OutputText    = "text"
	OutputThought = "thought"
)

// OutputData is a piece of the answer, to be appended to those before it.
type OutputData struct {
	MessageID string `json:"messageId"`
	Text      string `json:"text"`
	Kind      string `json:"kind"`
}

// ToolCallData describes a tool call or a change to one: readers merge by
// ToolCallID, a field that is present replaces the one before.
type ToolCallData struct {
	MessageID  string            `json:"messageId"`
	ToolCallID string            `json:"toolCallId"`
	Title      string            `json:"title,omitempty"`
	Kind       string            `json:"kind,omitempty"`
	Status     string            `json:"status,omitempty"` // pending, in_progress, completed, failed
	Input      json.RawMessage   `json:"input,omitempty"`
	Output     json.RawMessage   `json:"output,omitempty"`
	Content    []json.RawMessage `json:"content,omitempty"`
	Locations  []json.RawMessage `json:"locations,omitempty"`
}

// PlanEntry is one line of a plan.
type PlanEntry struct {
	Content  string `json:"content"`
	Priority string `json:"priority"`
	Status   string `json:"status"`
}

// PlanData replaces the plan before it.
type PlanData struct {
	MessageID string      `json:"messageId"`
	Entries   []PlanEntry `json:"entries"`
}

// The kinds of approval options (ACP, "PermissionOptionKind").
const (
	AllowOnce    = "allow_once"
	AllowAlways  = "allow_always"
	RejectOnce   = "reject_once"
	RejectAlways = "reject_always"
)

// ApprovalOption is one answer that the agent offers.
type ApprovalOption struct {
	OptionID string `json:"optionId"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
}

// ToolApprovalData asks the users whether a tool may run. ExpiresAt is set by
// the hub.
type ToolApprovalData struct {
	MessageID     string            `json:"messageId"`
	InteractionID string            `json:"interactionId"`
	ToolCallID    string            `json:"toolCallId"`
	Title         string            `json:"title"`
	Kind          string            `json:"kind"`
	Input         json.RawMessage   `json:"input"`
	Content       []json.RawMessage `json:"content,omitempty"`
	Options       []ApprovalOption  `json:"options"`
	ExpiresAt     *time.Time        `json:"expiresAt,omitempty"`
}

// The outcomes of an approval.
const (
	OutcomeSelected  = "selected"
	OutcomeCancelled = "cancelled"
	OutcomeExpired   = "expired"
)

// ByRule is the "by" of an approval that an earlier "always" answered.
const ByRule = "rule"

// ApprovalResolvedData says how an approval ended. By is the user who answered,
// or ByRule.
type ApprovalResolvedData struct {
	InteractionID string `json:"interactionId"`
	Outcome       string `json:"outcome"`
	OptionID      string `json:"optionId,omitempty"`
	Kind          string `json:"kind,omitempty"`
	By            string `json:"by,omitempty"`
}

// AgentUpdateData carries what an agent sent and the hub has no name for.
type AgentUpdateData struct {
	Kind string          `json:"kind"`
	Raw  json.RawMessage `json:"raw"`
}

// The reasons why a turn stopped.
const (
	StopEndTurn         = "end_turn"
	StopCancelled       = "cancelled"
	StopRefusal         = "refusal"
	StopMaxTokens       = "max_tokens"
	StopMaxTurnRequests = "max_turn_requests"
	StopError           = "error"
)

// StopReasons lists every stop reason: the closed set of the metrics label.
var StopReasons = []string{StopEndTurn, StopCancelled, StopRefusal, StopMaxTokens, StopMaxTurnRequests, StopError}

// The codes of a turn's error.
const (
	TurnWorkerLost     = "worker_lost"     // the worker's lease ran out
	TurnWorkerReleased = "worker_released" // the worker gave the session back
	TurnDraining       = "draining"        // the worker's node was stopped
	TurnAgentFailed    = "agent_failed"    // the agent answered the prompt with an error
	TurnAgentCrashed   = "agent_crashed"   // the agent's process ended in the turn
	TurnAgentStart     = "agent_start"     // the agent could not be started
	TurnAgentProtocol  = "agent_protocol"  // the agent did not speak ACP
	TurnSessionFailed  = "session_failed"  // the session was refused: see its status
	TurnTimedOut       = "turn_timeout"    // the agent showed no sign of life for --turn-timeout
)

// TurnError says why a turn ended with StopError.
type TurnError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// CompleteData ends a message: there is exactly one for each.
type CompleteData struct {
	MessageID  string          `json:"messageId"`
	StopReason string          `json:"stopReason"`
	Error      *TurnError      `json:"error,omitempty"`
	Usage      json.RawMessage `json:"usage,omitempty"`
}

// The reasons why a session closed.
const (
	ClosedDeleted = "deleted"
	ClosedExpired = "expired"
	ClosedFailed  = "failed"
)

// ClosedData is the data of the last event of every log.
type ClosedData struct {
	Reason string `json:"reason"`
}
