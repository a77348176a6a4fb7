package protocol

import (
	"encoding/json"
	"strconv"
	"time"
)

// AgentOptions reach the agent when it starts. Config has values of other options by their
// ids, at most MaxChosenOptions. MCPServers are within the limits of CheckMCPServers; of a
// session that exists, clients see what NamesOfMCP leaves.
type AgentOptions struct {
	Model      string                 `json:"model,omitempty"`
	Mode       string                 `json:"mode,omitempty"`
	Config     map[string]OptionValue `json:"config,omitempty"`
	MCPServers []MCPServer            `json:"mcpServers,omitempty"`
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

	// AgentSession takes up a session that the agent has from elsewhere: see
	// AgentSession. Workspace is that of the list; empty: that of any worker of the user
	// that takes up sessions.
	AgentSession string `json:"agentSession,omitempty"`
	Workspace    string `json:"workspace,omitempty"`

	// Worktree gives the session a git worktree of its own.
	Worktree WorktreeRequest `json:"worktree,omitzero"`
}

// ForkRequest is the body of POST fork. Without a Title, the fork has that of its original.
type ForkRequest struct {
	Title string `json:"title,omitempty"`
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
	Usage            *SessionUsage   `json:"usage,omitempty"` // absent while nothing is known

	// Mode is the agent's mode as it was last told. Asking says whether the agent asks in
	// it before it acts. Both are absent until an agent with modes has started.
	Mode                string `json:"mode,omitempty"`
	Asking              *bool  `json:"asking,omitempty"`
	PendingElicitations int    `json:"pendingElicitations,omitempty"` // absent: none

	Worktree *SessionWorktree `json:"worktree,omitempty"` // absent: it works in WorkingDirectory itself
	// Pinned and Archived are what the user wants of lists. Unread says that the session has
	// asked something, or that its work has ended, since the user last read it. Absent: no.
	Pinned   bool `json:"pinned,omitempty"`
	Archived bool `json:"archived,omitempty"`
	Unread   bool `json:"unread,omitempty"`
}

// CreateResponse answers POST /api/sessions. ExpiresAt is the token's. Both are absent if
// the caller has a user token with nothing of a session token's scope.
type CreateResponse struct {
	SessionID    string    `json:"sessionId"`
	Token        string    `json:"token,omitempty"`
	ExpiresAt    time.Time `json:"expiresAt,omitzero"`
	Session      Session   `json:"session"`
	EventsURL    string    `json:"eventsUrl"`
	WebsocketURL string    `json:"websocketUrl"`
	MessagesURL  string    `json:"messagesUrl"`
	ApproveURL   string    `json:"approveUrl"`
}

// SessionList answers GET /api/sessions. A page of a search can be short, or empty, and have
// a NextCursor: the search goes on there. Unsearched are sessions of the page's part of the
// list whose logs were too long to be read to the end, so a text in them may be missed.
type SessionList struct {
	Sessions   []Session `json:"sessions"`
	NextCursor string    `json:"nextCursor,omitempty"`
	Unsearched []string  `json:"unsearched,omitempty"`
}

// History answers GET /api/sessions/:id/history. First and Last are the log's ends.
// NextAfter is set when more can be read.
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
	Delivery  string          `json:"delivery,omitempty"` // DeliverQueue if empty
}

// MessageResponse answers a MessageRequest. Seq is the seq of the message event. Delivery is
// how the message was taken: DeliverSteer says that it is on its way to the running turn,
// and a steered event will say what became of it. It is empty if the request named no
// delivery, and in the answer to a duplicate.
type MessageResponse struct {
	MessageID string `json:"messageId"`
	Seq       uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Delivery  string `json:"delivery,omitempty"`
}

// ApproveRequest is the body of POST approve and the data of an approve command. It has an
// OptionID, or a Decision (the kind of an option). With ReasonAsMessage, the Reason becomes
// the next message if the agent takes no reasons.
type ApproveRequest struct {
	InteractionID string `json:"interactionId"`
	OptionID      string `json:"optionId,omitempty"`
	Decision      string `json:"decision,omitempty"`
	Reason        string `json:"reason,omitempty"`

	ReasonAsMessage bool `json:"reasonAsMessage,omitempty"`
}

// ApproveResponse answers an ApproveRequest. MessageID is that of the reason, if the reason
// became a message.
type ApproveResponse struct {
	InteractionID string `json:"interactionId"`
	OptionID      string `json:"optionId"`
	MessageID     string `json:"messageId,omitempty"`
}

// Approvals answers GET approvals: the pending questions, oldest first.
type Approvals struct {
	Approvals []ToolApprovalData `json:"approvals"`
}

// ApprovalContent answers GET approvals/{interactionId}/content with everything that a
// question asks. FullBytes is the length of the answer, in bytes.
type ApprovalContent struct {
	InteractionID string            `json:"interactionId"`
	ToolCallID    string            `json:"toolCallId"`
	Title         string            `json:"title"`
	Kind          string            `json:"kind"`
	Input         json.RawMessage   `json:"input"`
	Content       []json.RawMessage `json:"content"`
	Options       []ApprovalOption  `json:"options"`
	FullBytes     int               `json:"fullBytes"`
}

// Encode returns the document with FullBytes set.
func (c ApprovalContent) Encode() json.RawMessage {
	if c.Content == nil {
		c.Content = []json.RawMessage{}
	}
	c.FullBytes = 0
	raw := Marshal(c)
	head := raw[:len(raw)-len("0}")]
	size := len(raw)
	for size != len(head)+len(strconv.Itoa(size))+1 {
		size = len(head) + len(strconv.Itoa(size)) + 1
	}
	return append(strconv.AppendInt(head, int64(size), 10), '}')
}

// CancelRequest is the body of POST cancel and the data of a cancel command. With Hold,
// what waits does not run afterwards, until somebody sends it (QueueRelease).
type CancelRequest struct {
	MessageID string `json:"messageId,omitempty"`
	Hold      bool   `json:"hold,omitempty"`
}

// Empty is an answer without data: {}.
type Empty struct{}

// TokenRequest is the body of POST token.
type TokenRequest struct {
	Scope        string `json:"scope,omitempty"` // space-separated; empty: the caller's
	TTLSeconds   int64  `json:"ttlSeconds,omitempty"`
	RevokeOthers bool   `json:"revokeOthers,omitempty"`
}

// TokenResponse answers a TokenRequest.
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

// Provider is a kind of agent and how many workers offer it now. The fields behind Workers
// are what the first worker by name says of it, within the limits of ProviderDetails. A hub
// shows them to everybody who sees the provider, so treat them as a stranger's text.
type Provider struct {
	Name         string                `json:"name"`
	Available    bool                  `json:"available"`
	Workers      int                   `json:"workers"`
	Title        string                `json:"title,omitempty"`
	Description  string                `json:"description,omitempty"`
	Icon         string                `json:"icon,omitempty"`
	Login        Login                 `json:"login,omitempty"`
	Capabilities *ProviderCapabilities `json:"capabilities,omitempty"`
}

// Login says whether an agent is logged in on its worker's machine, as far as the name of a
// variable or of a file showed when the worker started.
type Login string

// The values of Login. Empty: nobody has looked.
const (
	LoginFound   Login = "found"
	LoginMissing Login = "missing"
)

// ProviderCapabilities is what a provider can do before an agent of it has started.
// agent_started tells more.
type ProviderCapabilities struct {
	Mode         string   `json:"mode,omitempty"`         // in which a session begins that names none
	AskingModes  []string `json:"askingModes,omitempty"`  // in which the agent asks before it acts
	AllowedModes []string `json:"allowedModes,omitempty"` // in which it does not, and which sessions may use

	SessionMCP SessionMCP `json:"sessionMCP,omitempty"` // the MCP servers that a session may bring; absent: none

	Agent *AgentAbilities `json:"agent,omitempty"` // absent until an agent of the provider has started on its worker
}

// AgentAbilities is what an agent said it can do when it last started (ACP, "Initialization").
// An absent field is false. Whether its model asks people questions, no agent says beforehand.
type AgentAbilities struct {
	Images          bool `json:"images,omitempty"`          // takes them in a message
	Audio           bool `json:"audio,omitempty"`           // the same
	EmbeddedContext bool `json:"embeddedContext,omitempty"` // takes blocks of the type resource
	Load            bool `json:"load,omitempty"`            // session/load
	Resume          bool `json:"resume,omitempty"`          // session/resume
	List            bool `json:"list,omitempty"`            // session/list
	Fork            bool `json:"fork,omitempty"`            // session/fork
	Steering        bool `json:"steering,omitempty"`        // takes messages in while it works
	Reasons         bool `json:"reasons,omitempty"`         // reads the reason of an approval
	MCPHTTP         bool `json:"mcpHttp,omitempty"`         // connects to MCP servers of the type http
	MCPSSE          bool `json:"mcpSse,omitempty"`          // the same for the type sse
}

// Providers answers GET /api/providers. Default is the one to preselect: what the hub is
// configured to use, else an agent that a worker offers, else the demo agent. A session that
// names no provider gets the configured one, and the demo agent if none is configured.
type Providers struct {
	Providers []Provider `json:"providers"`
	Default   string     `json:"default,omitempty"`
}

// Stats answers GET /api/stats with the counts of one node since its start. The counts only
// grow. The difference of two answers of one node (same node, same startedAt) tells what
// happened between them.
type Stats struct {
	Node      string           `json:"node"`
	StartedAt time.Time        `json:"startedAt"`
	Delivery  []DeliveryBucket `json:"delivery"`
}

// DeliveryBucket counts writes of events to live subscribers, by the time since the events
// arrived on the node. That time is longer than the bucket before says, and at most
// UpToMicros. The last bucket has no bound.
type DeliveryBucket struct {
	UpToMicros uint64 `json:"upToMicros,omitempty"`
	Count      uint64 `json:"count"`
}

// Problem is an error answer (RFC 9457, application/problem+json). When Code is
// CodeApprovalResolved or CodeQuestionResolved, Outcome and OptionID tell how the question
// was answered. When it is CodeInvalidAnswer, Field is the field of the form, if one is wrong.
type Problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Code     Code   `json:"code"`
	Outcome  string `json:"outcome,omitempty"`
	OptionID string `json:"optionId,omitempty"`
	Field    string `json:"field,omitempty"`

	SessionID string `json:"sessionId,omitempty"` // of CodeTakenUp: the session that has the agent's session
}
