package protocol

import (
	"encoding/json"
	"time"
)

// EventType names a logged event.
type EventType string

// The logged events. A worker may send the types for which WorkerMaySend is true. The hub
// makes the others in the same step as their cause.
const (
	EventStatus           EventType = "status"
	EventMessage          EventType = "message"
	EventOutput           EventType = "output"
	EventToolCall         EventType = "tool_call"
	EventPlan             EventType = "plan"
	EventToolApproval     EventType = "tool_approval"
	EventApprovalResolved EventType = "approval_resolved"
	EventAgentUpdate      EventType = "agent_update"
	EventConfigOptions    EventType = "config_options"
	EventAgentStarted     EventType = "agent_started"
	EventQueue            EventType = "queue"
	EventMessageEdited    EventType = "message_edited"
	EventSteered          EventType = "steered"
	EventComplete         EventType = "complete"
	EventClosed           EventType = "closed"
)

// EventTypes lists every logged event type: the closed set of the metrics label.
var EventTypes = []EventType{
	EventStatus, EventMessage, EventOutput, EventToolCall, EventPlan,
	EventToolApproval, EventApprovalResolved, EventAgentUpdate, EventComplete, EventClosed,
	EventNotice, EventCommands, EventUsage, EventSessionInfo, EventConfigOptions,
	EventAgentStarted, EventQueue, EventMessageEdited, EventSteered,
	EventElicitation, EventElicitationResolved,
}

// WorkerMaySend reports whether a worker may publish events of this type.
func (t EventType) WorkerMaySend() bool {
	switch t {
	case EventOutput, EventToolCall, EventPlan, EventToolApproval, EventAgentUpdate, EventComplete, EventStatus, EventApprovalContent, EventConfigOptions:
		return true
	case EventNotice, EventCommands, EventUsage, EventSessionInfo:
		return true
	case EventApprovalResolved: // with OutcomeCancelled only: the agent withdraws its question
		return true
	case EventAgentStarted, EventSteered, EventElicitation, EventPrivateElicitation:
		return true
	case EventMessage: // of a loaded history only: see WorkerStatusData
		return true
	case EventElicitationResolved: // with OutcomeCancelled, or with OutcomeAccepted for a url
		return true
	}
	return false
}

// ChangesState reports whether an event of this type belongs to a step of the session's
// state. The store appends other events by the worker's fence alone.
func (t EventType) ChangesState() bool {
	switch t {
	case EventOutput, EventToolCall, EventPlan, EventAgentUpdate:
		return false
	case EventNotice, EventCommands:
		return false
	}
	return true
}

// Event is one entry of a session's event log as a reader decodes it. The hub itself never
// encodes this struct: it keeps the bytes (see AppendEventTail).
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
	StatusRequiresAction Status = "requires_action" // a question is open: an approval or an elicitation
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

// MessageData is the data of a message event, and of a message command to a worker. Content
// is a JSON string or an array of content blocks, as the user sent it. Delivery is
// DeliverSteer or DeliverNow in the event of a message that did not go behind the others.
//
// Replay says that the message is of the agent's history: it was sent somewhere else. Its
// events follow it, and its complete. Nothing of it ran here.
type MessageData struct {
	MessageID string          `json:"messageId"`
	Content   json.RawMessage `json:"content"`
	UserID    string          `json:"userId"`
	Delivery  string          `json:"delivery,omitempty"`
	Replay    bool            `json:"replay,omitempty"`
}

// The kinds of output.
const (
	OutputText    = "text"
	OutputThought = "thought"
)

// OutputData is a piece of the agent's answer. A reader appends it to the pieces before it.
// Without a MessageID the agent has said it in the background: see WorkerStatusData.
type OutputData struct {
	MessageID string `json:"messageId,omitempty"`
	Text      string `json:"text"`
	Kind      string `json:"kind"`
}

// ToolCallData describes a tool call or a change to one. Readers merge by ToolCallID: a
// field that is present replaces the earlier one. Without a MessageID the tool runs in the
// background.
type ToolCallData struct {
	MessageID  string            `json:"messageId,omitempty"`
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

// PlanData replaces the earlier plan. Without a MessageID it is of the background.
type PlanData struct {
	MessageID string      `json:"messageId,omitempty"`
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

// ContentDiff is the type of a tool call's content that is a diff.
const ContentDiff = "diff"

// DiffContent is a diff whose texts were too long for an event, as hunks. Its type is
// ContentDiff (see PROTOCOL.md, "What does not fit"). A short diff has oldText and newText
// instead. Truncated says that changed lines are missing.
type DiffContent struct {
	Type      string `json:"type"`
	Path      string `json:"path"`
	Hunks     []Hunk `json:"hunks"`
	SHA256    string `json:"sha256"` // of the content as the agent sent it
	Truncated bool   `json:"truncated,omitempty"`
}

// Hunk is a piece of a unified diff (POSIX, "diff -u"). Lines count from 1. If a hunk has
// no lines of a text, its start for that text is the line before it. Each of Lines begins
// with a space, a minus or a plus, or is `\ No newline at end of file`.
type Hunk struct {
	OldStart int      `json:"oldStart"`
	OldLines int      `json:"oldLines"`
	NewStart int      `json:"newStart"`
	NewLines int      `json:"newLines"`
	Lines    []string `json:"lines"`
}

// ToolApprovalData asks the users whether a tool may run. The hub sets ExpiresAt. Truncated
// says that a part of the question is not in here. FullBytes is then the length of the
// ApprovalContent, which has all of it. Users must read that before an answer that allows.
// Without a MessageID the agent asks in the background.
type ToolApprovalData struct {
	MessageID     string            `json:"messageId,omitempty"`
	InteractionID string            `json:"interactionId"`
	ToolCallID    string            `json:"toolCallId"`
	Title         string            `json:"title"`
	Kind          string            `json:"kind"`
	Input         json.RawMessage   `json:"input"`
	Content       []json.RawMessage `json:"content,omitempty"`
	Options       []ApprovalOption  `json:"options"`
	ExpiresAt     *time.Time        `json:"expiresAt,omitempty"`
	Truncated     bool              `json:"truncated,omitempty"`
	FullBytes     int               `json:"fullBytes,omitempty"`
}

// The outcomes of an approval.
const (
	OutcomeSelected  = "selected"
	OutcomeCancelled = "cancelled"
	OutcomeExpired   = "expired"
)

// By names one of these if no user has answered.
const (
	ByRule  = "rule"  // an earlier "always"
	ByLimit = "limit" // the hub: what was asked is too large to be shown to anybody
)

// ApprovalResolvedData says how an approval ended. By is the user who answered, ByRule or
// ByLimit. Detail says what was too large.
type ApprovalResolvedData struct {
	InteractionID string `json:"interactionId"`
	Outcome       string `json:"outcome"`
	OptionID      string `json:"optionId,omitempty"`
	Kind          string `json:"kind,omitempty"`
	By            string `json:"by,omitempty"`
	Detail        string `json:"detail,omitempty"`
}

// AgentUpdateData carries an update of the agent for which the hub has no type.
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
	TurnWorkerLost     = "worker_lost"      // the worker's lease ran out
	TurnWorkerReleased = "worker_released"  // the worker gave the session back
	TurnDraining       = "draining"         // the worker's node was stopped
	TurnAgentFailed    = "agent_failed"     // the agent answered the prompt with an error
	TurnAgentCrashed   = "agent_crashed"    // the agent's process ended in the turn
	TurnAgentStart     = "agent_start"      // the agent could not be started
	TurnAgentProtocol  = "agent_protocol"   // the agent did not speak ACP
	TurnSessionFailed  = "session_failed"   // the session was refused: see its status
	TurnTimedOut       = "turn_timeout"     // the agent showed no sign of life for --turn-timeout
	TurnModeRefused    = "mode_not_allowed" // the agent went into a mode that is not allowed, and stayed there
)

// TurnError says why a turn ended with StopError.
type TurnError struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

// CompleteData ends a message. Each message has exactly one. Usage is what the agent tells
// of the turn: see Tokens. Cost is what the turn has cost, if the agent tells costs. Replay
// says that the message was of the agent's history; how its turn ended there is not known.
type CompleteData struct {
	MessageID  string          `json:"messageId"`
	StopReason string          `json:"stopReason"`
	Error      *TurnError      `json:"error,omitempty"`
	Usage      json.RawMessage `json:"usage,omitempty"`
	Cost       *Cost           `json:"cost,omitempty"`
	Replay     bool            `json:"replay,omitempty"`
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
