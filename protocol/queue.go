package protocol

import "encoding/json"

// How a message is delivered. DeliverSteer asks that the running turn takes it in, and
// DeliverNow stops that turn.
const (
	DeliverQueue = "queue" // behind what waits; the default
	DeliverSteer = "steer" // to the running turn. If that cannot take it: in front of what waits
	DeliverNow   = "now"   // the running turn is stopped, and this is the next message
)

// QueueData is the data of a queue event: the messages that wait, in their order. Those in
// MessageIDs run by themselves, one after the other. Those in Held run after somebody has
// sent them. A message that is accepted later stands behind MessageIDs and before Held.
type QueueData struct {
	MessageIDs []string `json:"messageIds"`
	Held       []string `json:"held"`
}

// MessageEditedData is the data of a message_edited event: what a message that waits says
// from now on. UserID is who has changed it.
type MessageEditedData struct {
	MessageID string          `json:"messageId"`
	Content   json.RawMessage `json:"content"`
	UserID    string          `json:"userId"`
}

// The outcomes of a steering.
const (
	SteerInjected = "injected" // the turn has the message, which completes with the turn
	SteerQueued   = "queued"   // the turn has not taken it: it waits in front of the others
)

// SteeredData is the data of a steered event: what became of a message that was sent to
// the turn of the message Into. Detail says why it was not taken.
type SteeredData struct {
	MessageID string `json:"messageId"`
	Into      string `json:"into"`
	Outcome   string `json:"outcome"`
	Detail    string `json:"detail,omitempty"`
}

// The ways of an agent's start.
const (
	HistoryNew     = "new"
	HistoryLoaded  = "loaded"
	HistoryResumed = "resumed"
)

// AgentStartedData is the data of an agent_started event: an agent is ready. Steering says
// that a running turn of it takes messages in. Reasons says that it takes the reason of an
// answer to its question. The others are the agent's own words (ACP, "Initialization").
type AgentStartedData struct {
	AgentInfo         json.RawMessage `json:"agentInfo,omitempty"`
	AgentCapabilities json.RawMessage `json:"agentCapabilities,omitempty"`
	History           string          `json:"history"` // one of the ways
	Steering          bool            `json:"steering"`
	Reasons           bool            `json:"reasons"`
}

// The actions of a QueueRequest.
const (
	QueueEdit    = "edit"     // the message says Content from now on
	QueueRemove  = "remove"   // takes the message back; it completes with cancelled
	QueueOrder   = "order"    // those of MessageIDs first, in that order
	QueueHold    = "hold"     // what waits is held
	QueueRelease = "release"  // what is held waits again
	QueueDiscard = "discard"  // takes back what is held
	QueueSendNow = "send_now" // the running turn is stopped, and the message is next
)

// QueueRequest is the body of POST queue and the data of a queue command. It changes the
// messages that no worker has received.
type QueueRequest struct {
	Action     string          `json:"action"`
	MessageID  string          `json:"messageId,omitempty"`  // of edit, remove and send_now
	Content    json.RawMessage `json:"content,omitempty"`    // of edit
	MessageIDs []string        `json:"messageIds,omitempty"` // of order
}

// QueuedMessage is a message that waits. Held: until somebody sends it. Steering: it is on
// its way to the running turn, so it cannot be changed now.
type QueuedMessage struct {
	MessageID string          `json:"messageId"`
	Content   json.RawMessage `json:"content"`
	UserID    string          `json:"userId"`
	Held      bool            `json:"held,omitempty"`
	Steering  bool            `json:"steering,omitempty"`
}

// Queue answers GET and POST queue: the messages that wait, the next one first. Those that
// are held come last.
type Queue struct {
	Messages []QueuedMessage `json:"messages"`
}
