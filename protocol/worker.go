package protocol

import (
	"encoding/json"
	"slices"
)

// FrameType names a frame of the worker link.
type FrameType string

// Frames from a worker to the hub, then from the hub to a worker.
const (
	FrameHello    FrameType = "hello"
	FrameEvent    FrameType = "event"
	FrameDone     FrameType = "done"
	FrameRelease  FrameType = "release"
	FramePong     FrameType = "pong"
	FrameResponse FrameType = "response"

	FrameProviders FrameType = "providers" // only to a hub whose welcome takes it

	FrameWelcome FrameType = "welcome"
	FrameAssign  FrameType = "assign"
	FrameCommand FrameType = "command"
	FrameAck     FrameType = "ack"
	FrameRevoke  FrameType = "revoke"
	FrameError   FrameType = "error"
	FramePing    FrameType = "ping"
	FrameRequest FrameType = "request"

	FrameAttachment FrameType = "attachment" // only to a worker whose hello takes it
)

// Frame is the envelope of every frame of the worker link.
type Frame struct {
	Type FrameType       `json:"type"`
	Data json.RawMessage `json:"data,omitempty"`
}

// NewFrame returns the JSON of a frame. data is one of the structs below, and t is one of
// the constants above.
func NewFrame(t FrameType, data any) []byte {
	// By hand: an encoder would read the data once more.
	d := Marshal(data)
	b := make([]byte, 0, len(`{"type":"","data":}`)+len(t)+len(d))
	b = append(b, `{"type":"`...)
	b = append(b, t...)
	b = append(b, `","data":`...)
	b = append(b, d...)
	return append(b, '}')
}

// Hello opens the link. Workspace names the file system that the worker's agents see.
// Capacity is the most agents that it runs at once. Sessions are the sessions that it still
// runs after a reconnect.
type Hello struct {
	Worker    string         `json:"worker"`
	Version   string         `json:"version"`
	Workspace string         `json:"workspace"`
	Capacity  int            `json:"capacity"`
	Providers []string       `json:"providers"`
	Sessions  []HelloSession `json:"sessions,omitempty"`

	// Commands are the commands that the worker takes beside message, approval, cancel and
	// close. A worker that takes WorkerSetOption also judges modes: it lets an agent into
	// those only that its providers file names.
	Commands []WorkerCommandType `json:"commands,omitempty"`

	// Requests are the methods of requests that the worker answers.
	Requests []WorkerMethod `json:"requests,omitempty"`

	// Details say more of some Providers, by their names. At most MaxDetailsBytes as JSON.
	Details map[string]ProviderDetails `json:"details,omitempty"`

	// Attachments says that the worker takes attachment frames, and messages that refer to
	// attachments. Any other worker gets the bytes in the message.
	Attachments bool `json:"attachments,omitempty"`
}

// ProviderDetails is what a worker says of a provider, for pages that offer it. Title has at
// most MaxProviderTitle bytes and Description MaxProviderDescription, both without control
// characters. See CheckIcon for Icon. Each list of Capabilities has at most MaxProviderModes
// names.
type ProviderDetails struct {
	Title        string                `json:"title,omitempty"`
	Description  string                `json:"description,omitempty"`
	Icon         string                `json:"icon,omitempty"`
	Login        Login                 `json:"login,omitempty"`
	Capabilities *ProviderCapabilities `json:"capabilities,omitempty"`
}

// Takes reports whether the worker that sent h takes a command beside the first four:
// message, approval, cancel and close.
func (h Hello) Takes(t WorkerCommandType) bool { return slices.Contains(h.Commands, t) }

// HelloSession is a session that a worker still runs. Message is the last message that it
// finished (a command's seq). Event is the last event that it sent (its n). Acked is the
// last event that was acknowledged; it may be left out.
//
// The worker has forgotten acknowledged events. If the hub's store lacks one of them (after
// a failover), the hub ends the assignment.
type HelloSession struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
	Message    uint64 `json:"message"`
	Event      uint64 `json:"event"`
	Acked      uint64 `json:"acked,omitempty"`

	// Turn is the last message that the worker has taken, finished or not. A store that has
	// lost the message may have given its number to another one.
	Turn *HelloTurn `json:"turn,omitempty"`
}

// HelloTurn names a message by the seq of its command and by its id.
type HelloTurn struct {
	Seq       uint64 `json:"seq"`
	MessageID string `json:"messageId"`
}

// WorkerEvent publishes one event. N counts the worker's events in this assignment from 1.
// The hub acknowledges and drops a repeat; a missing number closes the link.
type WorkerEvent struct {
	SessionID  string          `json:"sessionId"`
	Assignment uint64          `json:"assignment"`
	N          uint64          `json:"n"`
	Type       EventType       `json:"type"`
	Data       json.RawMessage `json:"data"`
}

// WorkerStatusData is the data of a worker's status event. With AgentSession it says that
// the agent has opened the session, and under which id of its own. The hub keeps the id and
// does not log it. It sends the id with the session's next assignments, so that any worker
// of the workspace can load the agent's history.
//
// GitBase comes with an AgentSession, and says what git had in the working directory before
// the session's first agent did anything: see SplitGitBase. The hub keeps the first one, and
// sends it with requests about changes.
//
// Without a MessageID the status is about the background, which is all that an agent does
// outside of a turn. StatusRunning begins it: what the agent says, does and asks then comes
// without a messageId. StatusIdle ends it. See Welcome.TakesBackground.
//
// With Replay the two statuses are about the agent's history of a session that was assigned
// with Assign.Load. Between them come the history's events. Each message of it begins with
// a message event that has a messageId of the worker's; the hub makes its complete, when
// the next one or the end comes. The hub takes one replay of a session, and no part of it
// twice.
type WorkerStatusData struct {
	StatusData
	AgentSession string `json:"agentSession,omitempty"`
	Replay       bool   `json:"replay,omitempty"`
	GitBase      string `json:"gitBase,omitempty"`
}

// EventApprovalContent carries the part of a question that does not fit into its
// tool_approval. A worker sends it before the tool_approval. The event is numbered and
// acknowledged as others are, and never logged. The hub keeps it until the question is
// answered.
const EventApprovalContent = EventType("approval_content")

// Bounds of what a question may hold beside its tool_approval, in bytes of its
// ApprovalContent. The hub declines a question that exceeds them, and tells people why.
const (
	MaxApprovalContent  = 8 << 20   // of one question
	MaxApprovalContents = 16 << 20  // of a session's open ones together
	MaxContentPart      = 512 << 10 // of one event
)

// ApprovalContentData is the data of an approval_content event: one part of a question's
// ApprovalContent, in base64. The parts of a question come in order, Index from 0. Its
// tool_approval follows the last part. A part of another question drops the parts of a
// question that was not asked.
type ApprovalContentData struct {
	InteractionID string `json:"interactionId"`
	Index         int    `json:"index"`
	Data          []byte `json:"data"`
}

// Done says that the message with this command seq is finished.
type Done struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
	Message    uint64 `json:"message"`
}

// Release gives a session back. Without Retry the session fails with Reason.
type Release struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
	Reason     string `json:"reason"`
	Retry      bool   `json:"retry"`
}

// Reasons of a release that the hub and its own worker know. The hub passes on other
// reasons as they are.
const (
	ReleaseIdle             = "idle"   // the agent had nothing to do for --agent-idle
	ReleaseClosed           = "closed" // the answer to a close command
	ReleaseDraining         = "draining"
	ReleaseDrained          = "drained"       // draining, and no turn was under way: a message that crossed the release has not begun
	ReleaseOverCapacity     = "over capacity" // there was no place: nothing has begun
	ReleaseNotRun           = "not run here"  // the worker does not know the session: no turn has begun
	ReleaseWorkingDirectory = string(CodeWorkingDirectory)
	ReleaseUnknownProvider  = string(CodeUnknownProvider)
	ReleaseMCPNotAllowed    = string(CodeMCPNotAllowed)
)

// Welcome answers hello. Events are all event types that the hub takes from a worker. A hub
// without the list takes those of firstWorkerEvents.
type Welcome struct {
	Node             string      `json:"node"`
	HeartbeatSeconds int         `json:"heartbeatSeconds"`
	Events           []EventType `json:"events,omitempty"`

	// Providers says that the hub takes the frame providers.
	Providers bool `json:"providers,omitempty"`
}

// ProvidersUpdate replaces the providers and details of the worker's hello, within the same
// limits: an agent was installed or removed, or more of one is known. Sessions that the
// worker has go on.
type ProvidersUpdate struct {
	Providers []string                   `json:"providers"`
	Details   map[string]ProviderDetails `json:"details,omitempty"`
}

// Assign gives a session to a worker. Assignment is the fence: it grows with each
// assignment of the session. Message is the last finished message. Resume says that the
// session has run before. AgentSession, if known, is the agent's own id of the session,
// under which the agent's history may be loaded.
type Assign struct {
	SessionID        string       `json:"sessionId"`
	Assignment       uint64       `json:"assignment"`
	Provider         string       `json:"provider"`
	WorkingDirectory string       `json:"workingDirectory"`
	AgentOptions     AgentOptions `json:"agentOptions"`
	UserID           string       `json:"userId"`
	Message          uint64       `json:"message"`
	Resume           bool         `json:"resume"`
	AgentSession     string       `json:"agentSession,omitempty"`

	// Load says that the log does not have the agent's history of AgentSession yet. The
	// worker starts the agent at once, loads the history and publishes it. If the agent
	// cannot load it, the worker releases the session without Retry.
	Load bool `json:"load,omitempty"`

	// Fork says that the session is a fork: the agent forks AgentSession at each start,
	// until a turn has ended. With Load, there is no history to be published. The worker
	// starts the agent at once and says that the history is whole.
	Fork bool `json:"fork,omitempty"`

	// Worktree is the id of the worktree that the session works in, which is the id of the
	// session that it was made for. The agent works at the place of WorkingDirectory in it.
	// Empty: the session works in WorkingDirectory itself.
	Worktree string `json:"worktree,omitempty"`
}

// WorkerCommandType names a command to a worker.
type WorkerCommandType string

const (
	WorkerMessage  WorkerCommandType = "message"  // data: MessageData
	WorkerApproval WorkerCommandType = "approval" // data: ApprovalCommand
	WorkerCancel   WorkerCommandType = "cancel"   // data: CancelCommand
	WorkerSteer    WorkerCommandType = "steer"    // data: SteerCommand; answered by a steered event
	WorkerClose    WorkerCommandType = "close"    // data: ClosedData; answered by release

	WorkerSetOption   WorkerCommandType = "set_option"  // data: SetOptionCommand; answered by config_options
	WorkerElicitation WorkerCommandType = "elicitation" // data: ElicitationCommand
)

// WorkerCommand is one entry of a session's command log. Seq has a numbering of its own.
// One message is under way at a time. Answers and cancels go out at once, and may come
// again after a reconnect. The worker ignores them if it knows their seq.
type WorkerCommand struct {
	SessionID  string            `json:"sessionId"`
	Assignment uint64            `json:"assignment"`
	Seq        uint64            `json:"seq"`
	Type       WorkerCommandType `json:"type"`
	Data       json.RawMessage   `json:"data"`
}

// ApprovalCommand tells the agent how its question was answered. OptionID is the agent's
// own option to select; it is empty unless Outcome is selected. It can differ from the
// option that the user chose, since the hub keeps "always" itself. Without a MessageID the
// question was asked in the background.
type ApprovalCommand struct {
	MessageID     string `json:"messageId,omitempty"`
	InteractionID string `json:"interactionId"`
	Outcome       string `json:"outcome"`
	OptionID      string `json:"optionId,omitempty"`
	Reason        string `json:"reason,omitempty"`
}

// ElicitationCommand tells the agent how its question ended. Reason is there if nobody was
// asked: it says why.
type ElicitationCommand struct {
	MessageID     string          `json:"messageId,omitempty"`
	InteractionID string          `json:"interactionId"`
	Action        string          `json:"action"`
	Content       json.RawMessage `json:"content,omitempty"`
	Reason        string          `json:"reason,omitempty"`
}

// CancelCommand stops a turn, or without a MessageID the agent's work in the background.
type CancelCommand struct {
	MessageID string `json:"messageId,omitempty"`
}

// SetOptionCommand has a worker set an option of the agent. By is the user.
type SetOptionCommand struct {
	ConfigID string      `json:"configId"`
	Value    OptionValue `json:"value"`
	By       string      `json:"by"`
}

// WorkerOptionsData is the data of a worker's config_options event. Command is the seq of
// the last set_option command that the worker has dealt with. The hub does not log it.
type WorkerOptionsData struct {
	ConfigOptionsData
	Command uint64 `json:"command,omitempty"`
}

// SteerCommand asks a worker to give a message to the turn of the message Into.
type SteerCommand struct {
	MessageID string          `json:"messageId"`
	Into      string          `json:"into"`
	Content   json.RawMessage `json:"content"`
	UserID    string          `json:"userId"`
}

// WorkerAttachment is the data of an attachment frame: one part of an attachment, in base64.
// The parts come in order, Index from 0. The attachment is whole when Size bytes have come. A
// part with Index 0 begins it anew.
//
// The hub sends the attachments of a session before the first message that needs them, and
// again with each assignment and over each link.
type WorkerAttachment struct {
	SessionID    string `json:"sessionId"`
	Assignment   uint64 `json:"assignment"`
	AttachmentID string `json:"attachmentId"`
	Name         string `json:"name"`
	MediaType    string `json:"mediaType"`
	Size         int64  `json:"size"` // of the whole, in bytes
	Index        int    `json:"index"`
	Data         []byte `json:"data"`
}

// EventAck says that the store has the events up to N: the worker may forget them.
type EventAck struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
	N          uint64 `json:"n"`
}

// Revoke tells a worker that its assignment is stale or foreign. The worker stops the
// session and publishes no more of it.
type Revoke struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
}

// The codes of LinkError.
const (
	LinkHole      = "hole"      // an event before this n is missing: the link closes
	LinkForbidden = "forbidden" // an event type or status a worker may not send
	LinkInvalid   = "invalid"   // the hub cannot read a frame or an event's data
	LinkTooLarge  = "too_large" // an event's data over the limit that cannot be split or cut; of a frame over it: the link closes

	// The link closes for a reason that no other frame of the worker can mend.
	LinkSilent       = "silent"       // nothing came from the worker for the time of its lease
	LinkReplaced     = "replaced"     // another link was opened under the worker's name: this worker stops
	LinkUnauthorized = "unauthorized" // the key was taken away
	LinkDraining     = "draining"     // the node stops: come back, perhaps to another one
	LinkInternal     = "internal"     // a fault of the node, described in its log: come back
)

// LinkError tells a worker what was wrong with a frame, or why its link ends. It is an
// error, so that it can be the cause of a link's end.
type LinkError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (e LinkError) Error() string { return e.Code + ": " + e.Detail }

// WorkerLinkPath is where a hub serves the worker link.
const WorkerLinkPath = "/worker/link"
