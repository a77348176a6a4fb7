package protocol

import "encoding/json"

// FrameType names a frame of the worker link.
type FrameType string

// Frames from a worker to the hub, then from the hub to a worker.
const (
	FrameHello   FrameType = "hello"
	FrameEvent   FrameType = "event"
	FrameDone    FrameType = "done"
	FrameRelease FrameType = "release"
	FramePong    FrameType = "pong"

	FrameWelcome FrameType = "welcome"
	FrameAssign  FrameType = "assign"
	FrameCommand FrameType = "command"
	FrameAck     FrameType = "ack"
	FrameRevoke  FrameType = "revoke"
	FrameError   FrameType = "error"
	FramePing    FrameType = "ping"
)

// Frame is the envelope of every frame of the worker link.
type Frame struct {
	Type FrameType       `json:"type"`
	Data json.RawMessage `json:"data,omitempty"`
}

// NewFrame returns the JSON of a frame whose data is one of the structs below. t
// is one of the constants above.
func NewFrame(t FrameType, data any) []byte {
	// By hand: an encoder would read through the data once more.
	d := Marshal(data)
	b := make([]byte, 0, len(`{"type":"","data":}`)+len(t)+len(d))
	b = append(b, `{"type":"`...)
	b = append(b, t...)
	b = append(b, `","data":`...)
	b = append(b, d...)
	return append(b, '}')
}

// Hello opens the link. Workspace names the file system that the worker's
// agents see; Capacity is the most agents it runs at once; Sessions are those
// that it still runs after a reconnect.
type Hello struct {
	Worker    string         `json:"worker"`
	Version   string         `json:"version"`
	Workspace string         `json:"workspace"`
	Capacity  int            `json:"capacity"`
	Providers []string       `json:"providers"`
	Sessions  []HelloSession `json:"sessions,omitempty"`
}

// HelloSession is a session that a worker still runs: the last message that it
// finished (a command's seq), the last event that it sent (its n) and the last one
// that was acknowledged. The worker has forgotten what was acknowledged: a hub whose
// store lacks some of it (a failover) ends the assignment. It may be left out.
type HelloSession struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
	Message    uint64 `json:"message"`
	Event      uint64 `json:"event"`
	Acked      uint64 `json:"acked,omitempty"`

	// Turn is the last message that the worker has taken, finished or not. A store
	// that has lost it may have given its number to another one.
	Turn *HelloTurn `json:"turn,omitempty"`
}

// HelloTurn names a message by the seq of its command and by its id.
type HelloTurn struct {
	Seq       uint64 `json:"seq"`
	MessageID string `json:"messageId"`
}

// WorkerEvent publishes one event. N counts the worker's events in this
// assignment from 1: a repeat is acknowledged and dropped, a hole closes the
// link.
type WorkerEvent struct {
	SessionID  string          `json:"sessionId"`
	Assignment uint64          `json:"assignment"`
	N          uint64          `json:"n"`
	Type       EventType       `json:"type"`
	Data       json.RawMessage `json:"data"`
}

// WorkerStatusData is the data of a worker's status event. With AgentSession it
// says that the agent has opened the session, under this id of its own: the hub
// keeps the id, which is not logged, and gives it back with the session's next
// assignments, so that any worker of the workspace can load the agent's history.
type WorkerStatusData struct {
	StatusData
	AgentSession string `json:"agentSession,omitempty"`
}

// MaxAgentSessionBytes is the longest id that an agent may give its session. It
// has no control characters.
const MaxAgentSessionBytes = 256

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

// The reasons of a release that the hub and its own worker know. Others are
// passed on as they are.
const (
	ReleaseIdle             = "idle"   // the agent had nothing to do for --agent-idle
	ReleaseClosed           = "closed" // the answer to a close command
	ReleaseDraining         = "draining"
	ReleaseDrained          = "drained"       // draining, and nothing was under way: a message that crossed it has not begun
	ReleaseOverCapacity     = "over capacity" // there was no place: nothing has begun
	ReleaseNotRun           = "not run here"  // the worker does not know the session: nothing has begun
	ReleaseWorkingDirectory = string(CodeWorkingDirectory)
	ReleaseUnknownProvider  = string(CodeUnknownProvider)
)

// Welcome answers hello.
type Welcome struct {
	Node             string `json:"node"`
	HeartbeatSeconds int    `json:"heartbeatSeconds"`
}

// Assign gives a session to a worker. Assignment is the fence: it grows with
// each assignment of the session. Message is the last finished one. Resume says
// that the session has run before, and AgentSession, if it is known, under which
// id of the agent's, so that the agent's own history may be loaded.
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
}

// WorkerCommandType names a command to a worker.
type WorkerCommandType string

const (
	WorkerMessage  WorkerCommandType = "message"  // data: MessageData
	WorkerApproval WorkerCommandType = "approval" // data: ApprovalCommand
	WorkerCancel   WorkerCommandType = "cancel"   // data: CancelCommand
	WorkerClose    WorkerCommandType = "close"    // data: ClosedData; answered by release
)

// WorkerCommand is one entry of a session's command log. Seq is of its own
// numbering. One message is under way at a time; approvals and cancels go out
// at once, may come again after a reconnect, and are ignored when their seq is
// known.
type WorkerCommand struct {
	SessionID  string            `json:"sessionId"`
	Assignment uint64            `json:"assignment"`
	Seq        uint64            `json:"seq"`
	Type       WorkerCommandType `json:"type"`
	Data       json.RawMessage   `json:"data"`
}

// ApprovalCommand tells the agent how its question was answered. OptionID is
// the agent's own option to select (empty unless Outcome is selected); it can
// differ from the one that the user chose, since "always" is kept in the hub.
type ApprovalCommand struct {
	MessageID     string `json:"messageId"`
	InteractionID string `json:"interactionId"`
	Outcome       string `json:"outcome"`
	OptionID      string `json:"optionId,omitempty"`
	Reason        string `json:"reason,omitempty"`
}

// CancelCommand stops a turn.
type CancelCommand struct {
	MessageID string `json:"messageId"`
}

// EventAck says that the events up to N are stored: the worker may forget them.
type EventAck struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
	N          uint64 `json:"n"`
}

// Revoke answers anything stale or foreign: stop it, publish no more.
type Revoke struct {
	SessionID  string `json:"sessionId"`
	Assignment uint64 `json:"assignment"`
}

// The codes of LinkError.
const (
	LinkHole      = "hole"      // an event's n left one out: the link closes
	LinkForbidden = "forbidden" // an event type or status a worker may not send
	LinkInvalid   = "invalid"   // a frame or an event's data that cannot be read
	LinkTooLarge  = "too_large" // an event's data over the limit that cannot be split or cut; of a frame over it: the link closes

	// The link closes for what the worker cannot mend by a frame.
	LinkSilent       = "silent"       // nothing was heard of the worker for the time of its lease
	LinkReplaced     = "replaced"     // another link was opened under the worker's name: who reads this stops
	LinkUnauthorized = "unauthorized" // the key was taken away
	LinkDraining     = "draining"     // the node stops: come back, perhaps to another one
	LinkInternal     = "internal"     // a fault of the node, which is in its log: come back
)

// LinkError tells a worker what was wrong with a frame, or why its link ends. It
// is an error, so that it can be the reason of an end.
type LinkError struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

func (e LinkError) Error() string { return e.Code + ": " + e.Detail }

// WorkerLinkPath is where a hub serves the worker link.
const WorkerLinkPath = "/worker/link"
