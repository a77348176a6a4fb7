package protocol

import (
	"encoding/json"
	"time"
)

// AgentOptions reach the agent when it starts.
type AgentOptions struct {
	Model string `json:"model,omitempty"`
	Mode  string `json:"mode,omitempty"`
}

// CreateRequest is the body of POST /api/sessions.
type CreateRequest struct {
	Provider         string          `json:"provider,omitempty"`
	WorkingDirectory string          `json:"workingDirectory,omitempty"`
	UserID           string          `json:"userId,omitempty"`
	SpaceID          string          `json:"spaceId,omitempty"`
	Title            string          `json:"title,omitempty"`
	Metadata         json.RawMessage `json:"metadata,omitempty"`
	AgentOptions     AgentOptions    `json:"agentOptions,omitzero"`
}

// Connections counts a session's open streams in the whole cluster.
type Connections struct {
	WebSocket int `json:"websocket"`
	SSE       int `json:"sse"`
}

// Session is a session as its users see it.
type Session struct {
	SessionID        string          `json:"sessionId"`
	UserID           string          `json:"userId"`
	SpaceID          string          `json:"spaceId"`
	Provider         string          `json:"provider"`
	WorkingDirectory string          `json:"workingDirectory"`
	Title            string          `json:"title"`
	Metadata         json.RawMessage `json:"metadata"`
	AgentOptions     AgentOptions    `json:"agentOptions"`
	Status           Status          `json:"status"`
	CreatedAt        time.Time       `json:"createdAt"`
	LastActivityAt   time.Time       `json:"lastActivityAt"`
	ExpiresAt        time.Time       `json:"expiresAt"` // idle expiry; of an ended session: until when it can be read
	LastSeq          uint64          `json:"lastSeq"`
	Epoch            string          `json:"epoch"`
	Connections      Connections     `json:"connections"`
	PendingApprovals int             `json:"pendingApprovals"`
}

// CreateResponse answers POST /api/sessions. ExpiresAt is the token's.
type CreateResponse struct {
	SessionID    string    `json:"sessionId"`
	Token        string    `json:"token"`
	ExpiresAt    time.Time `json:"expiresAt"`
	Session      Session   `json:"session"`
	EventsURL    string    `json:"eventsUrl"`
	WebsocketURL string    `json:"websocketUrl"`
	MessagesURL  string    `json:"messagesUrl"`
	ApproveURL   string    `json:"approveUrl"`
}

// SessionList answers GET /api/sessions.
type SessionList struct {
	Sessions   []Session `json:"sessions"`
	NextCursor string    `json:"nextCursor,omitempty"`
}

// History answers GET /api/sessions/:id/history. First and Last are the log's
// ends; NextAfter is there when more can be read.
type History struct {
	Events    []json.RawMessage `json:"events"`
	First     uint64            `json:"first"`
	Last      uint64            `json:"last"`
	Epoch     string            `json:"epoch"`
	NextAfter string            `json:"nextAfter,omitempty"`
	Gap       *Gap              `json:"gap,omitempty"`
}

// MessageRequest is the body of POST messages and the data of a message command.
type MessageRequest struct {
	Content   json.RawMessage `json:"content"`
	MessageID string          `json:"messageId,omitempty"`
}

// MessageResponse is the answer to it. Seq is that of the message event.
type MessageResponse struct {
	MessageID string `json:"messageId"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
}

// ApproveRequest is the body of POST approve and the data of an approve
// command: OptionID, or Decision (the kind of an option).
type ApproveRequest struct {
	InteractionID string `json:"interactionId"`
	OptionID      string `json:"optionId,omitempty"`
	Decision      string `json:"decision,omitempty"`
	Reason        string `json:"reason,omitempty"`
}

// ApproveResponse is the answer to it.
type ApproveResponse struct {
	InteractionID string `json:"interactionId"`
	OptionID      string `json:"optionId"`
}

// Approvals answers GET approvals: those that are pending, oldest first.
type Approvals struct {
	Approvals []ToolApprovalData `json:"approvals"`
}

// CancelRequest is the body of POST cancel and the data of a cancel command.
type CancelRequest struct {
	MessageID string `json:"messageId,omitempty"`
}

// Empty is an answer with nothing to say: {}.
type Empty struct{}

// TokenRequest is the body of POST token.
type TokenRequest struct {
	Scope        string `json:"scope,omitempty"` // space-separated; empty: the caller's
	TTLSeconds   int64  `json:"ttlSeconds,omitempty"`
	RevokeOthers bool   `json:"revokeOthers,omitempty"`
}

// TokenResponse is the answer to it.
type TokenResponse struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
	Scope     string    `json:"scope"`
}

// TicketResponse answers POST ticket.
type TicketResponse struct {
	Ticket    string    `json:"ticket"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// Provider is a kind of agent and how many workers offer it now.
type Provider struct {
	Name      string `json:"name"`
	Available bool   `json:"available"`
	Workers   int    `json:"workers"`
}

// Providers answers GET /api/providers.
type Providers struct {
	Providers []Provider `json:"providers"`
}

// Stats answers GET /api/stats: what one node has counted since it started. The
// counts only grow, so two answers of one node (same node, same startedAt) tell
// what happened between them.
type Stats struct {
	Node      string           `json:"node"`
	StartedAt time.Time        `json:"startedAt"`
	Delivery  []DeliveryBucket `json:"delivery"`
}

// DeliveryBucket counts writes of events to live subscribers that came longer
// after the events' arrival on the node than the bucket before says, and at most
// UpToMicros. The last bucket has no bound.
type DeliveryBucket struct {
	UpToMicros uint64 `json:"upToMicros,omitempty"`
	Count      uint64 `json:"count"`
}

// Problem is an error answer (RFC 9457, application/problem+json). Outcome and
// OptionID tell who won when Code is CodeApprovalResolved.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Code     Code   `json:"code"`
	Outcome  string `json:"outcome,omitempty"`
	OptionID string `json:"optionId,omitempty"`
}
