package transcript

import (
	"encoding/json"
	"time"

	"sessionhub/protocol"
)

// Session holds the facts of a transcript about the session as a whole.
type Session struct {
	SessionID        string    `json:"sessionId"`
	UserID           string    `json:"userId"`
	Title            string    `json:"title"`
	Provider         string    `json:"provider"`
	WorkingDirectory string    `json:"workingDirectory"`
	CreatedAt        time.Time `json:"createdAt"`
}

// The types of an entry.
const (
	typeMessage    = "message"
	typeAnswer     = "answer"
	typeThought    = "thought"
	typeTool       = "tool"
	typePlan       = "plan"
	typeDecision   = "decision"
	typeQuestion   = "question"
	typeCompletion = "completion"
	typeUnfinished = "unfinished"
	typeGap        = "gap"
	typeNotice     = "notice"
	typeClosed     = "closed"
)

// message is a message of a user, with who changed it last before it ran. Into is the
// message whose turn took this one in.
type message struct {
	Type      string  `json:"type"`
	MessageID string  `json:"messageId"`
	UserID    string  `json:"userId"`
	Time      string  `json:"time"`
	EditedBy  string  `json:"editedBy,omitempty"`
	EditedAt  string  `json:"editedAt,omitempty"`
	Into      string  `json:"into,omitempty"`
	Content   []block `json:"content"`
}

// tool is a tool call as it ended. Stopped says that its turn was over before the call.
// Continued says that an earlier entry has the first part.
type tool struct {
	Type       string          `json:"type"`
	MessageID  string          `json:"messageId,omitempty"` // empty: in the background
	ToolCallID string          `json:"toolCallId"`
	Title      string          `json:"title,omitempty"`
	Kind       string          `json:"kind,omitempty"`
	Status     string          `json:"status,omitempty"`
	Stopped    bool            `json:"stopped,omitempty"`
	Continued  bool            `json:"continued,omitempty"`
	Time       string          `json:"time"` // of its last change
	Input      json.RawMessage `json:"input,omitempty"`
	Output     json.RawMessage `json:"output,omitempty"`
	Content    []block         `json:"content,omitempty"`
	Locations  json.RawMessage `json:"locations,omitempty"`
}

// plan is the last plan of a turn, or of the background.
type plan struct {
	Type      string               `json:"type"`
	MessageID string               `json:"messageId,omitempty"`
	Time      string               `json:"time"`
	Entries   []protocol.PlanEntry `json:"entries"`
}

// outcomePending is the outcome of a question that has none yet.
const outcomePending = "pending"

// decision is a question of the agent and its outcome. Without a title, the question
// itself was not kept, or is in an earlier entry.
type decision struct {
	Type          string                    `json:"type"`
	MessageID     string                    `json:"messageId,omitempty"`
	InteractionID string                    `json:"interactionId"`
	ToolCallID    string                    `json:"toolCallId,omitempty"`
	Title         string                    `json:"title,omitempty"`
	Kind          string                    `json:"kind,omitempty"`
	Input         json.RawMessage           `json:"input,omitempty"`
	Content       []block                   `json:"content,omitempty"`
	Truncated     bool                      `json:"truncated,omitempty"`
	Options       []protocol.ApprovalOption `json:"options,omitempty"`
	AskedAt       string                    `json:"askedAt,omitempty"`
	Outcome       string                    `json:"outcome"`
	Option        *protocol.ApprovalOption  `json:"option,omitempty"` // that was chosen
	By            string                    `json:"by,omitempty"`
	Detail        string                    `json:"detail,omitempty"`
	Time          string                    `json:"time,omitempty"` // of the outcome
}

// elicitation is a question of the agent to people, and its outcome. Without a message, the
// question itself was not kept, or is in an earlier entry.
type elicitation struct {
	Type            string          `json:"type"`
	MessageID       string          `json:"messageId,omitempty"`
	InteractionID   string          `json:"interactionId"`
	ToolCallID      string          `json:"toolCallId,omitempty"`
	Mode            string          `json:"mode,omitempty"`
	Message         string          `json:"message,omitempty"`
	RequestedSchema json.RawMessage `json:"requestedSchema,omitempty"`
	URL             string          `json:"url,omitempty"`
	AskedAt         string          `json:"askedAt,omitempty"`
	Outcome         string          `json:"outcome"`
	Content         json.RawMessage `json:"content,omitempty"` // the answer
	By              string          `json:"by,omitempty"`
	Detail          string          `json:"detail,omitempty"`
	Time            string          `json:"time,omitempty"` // of the outcome
}

// completion ends a turn.
type completion struct {
	Type       string              `json:"type"`
	MessageID  string              `json:"messageId"`
	StopReason string              `json:"stopReason"`
	Error      *protocol.TurnError `json:"error,omitempty"`
	Usage      json.RawMessage     `json:"usage,omitempty"`
	Cost       *protocol.Cost      `json:"cost,omitempty"`
	Time       string              `json:"time"`
}

// unfinished replaces a completion that was not logged.
type unfinished struct {
	Type      string          `json:"type"`
	MessageID string          `json:"messageId"`
	Status    protocol.Status `json:"status"`
}

// gap names events that were not kept, both ends inclusive.
type gap struct {
	Type    string `json:"type"`
	FromSeq uint64 `json:"fromSeq"`
	ToSeq   uint64 `json:"toSeq"`
	Reason  string `json:"reason"`
}

// notice is a text of the hub or of a worker for people.
type notice struct {
	Type    string `json:"type"`
	Kind    string `json:"kind"`
	Message string `json:"message"`
	Time    string `json:"time"`
}

// closed is the end of the session.
type closed struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Time   string `json:"time"`
}
