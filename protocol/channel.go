package protocol

// A channel is one connection for many sessions of a user: GET /api/ws and /api/events. Its
// frames are those of a session's stream with the session's id as first member. The frames
// of the connection itself name no session.

// Control frames of a channel. Of a subscription are ControlConnected, ControlCaughtUp,
// ControlGap and ControlUnsubscribed. ControlExpiring and ControlDraining are the channel's.
const (
	ControlReady        ControlType = "ready"
	ControlUnsubscribed ControlType = "unsubscribed"
	ControlRefused      ControlType = "refused" // of the first subscriptions of an event stream: see Refusal
)

// Ready is the first frame on every channel. Connection names it in POST
// /api/events/{connection}.
type Ready struct {
	Connection       string `json:"connection"`
	UserID           string `json:"userId"`
	Node             string `json:"node"`
	HeartbeatSeconds int    `json:"heartbeatSeconds"`
}

// Unsubscribed says that the hub has ended a subscription. Code is a close code of a
// session's WebSocket, and means the same.
type Unsubscribed struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// Commands of a channel's WebSocket, beside CommandAuth and CommandPing.
const (
	CommandSubscribe   CommandType = "subscribe"
	CommandUnsubscribe CommandType = "unsubscribe"
)

// ChannelCommandTypes lists every command of a channel.
var ChannelCommandTypes = []CommandType{CommandSubscribe, CommandUnsubscribe, CommandAuth, CommandPing}

// MaxSubscribe bounds the sessions that one command, or one request, names.
const MaxSubscribe = 1000

// SubscribeRequest is the data of a subscribe command, and the body of POST /api/events. It
// names at most MaxSubscribe sessions; one that is subscribed to begins anew. List asks for
// the feed of the list.
type SubscribeRequest struct {
	Sessions []Subscription `json:"sessions,omitempty"`
	List     bool           `json:"list,omitempty"`
}

// Subscription is a session and where to start in its log: a cursor, "latest" or nothing, as
// the after of a session's stream.
type Subscription struct {
	SessionID string `json:"sessionId"`
	After     string `json:"after,omitempty"`
}

// UnsubscribeRequest is the data of an unsubscribe command.
type UnsubscribeRequest struct {
	SessionIDs []string `json:"sessionIds,omitempty"`
	List       bool     `json:"list,omitempty"`
}

// ChannelRequest is the body of POST /api/events/{connection}. What is given up comes first.
type ChannelRequest struct {
	Subscribe   SubscribeRequest   `json:"subscribe,omitzero"`
	Unsubscribe UnsubscribeRequest `json:"unsubscribe,omitzero"`
}

// SubscribeResponse answers a SubscribeRequest and a ChannelRequest. Each session of the
// request that is not among the Refused is subscribed to.
type SubscribeResponse struct {
	Subscribed []string  `json:"subscribed"`
	Refused    []Refusal `json:"refused,omitempty"`
}

// Refusal says why a session was not subscribed to. RetryAfter is in seconds.
type Refusal struct {
	SessionID  string `json:"sessionId"`
	Code       Code   `json:"code"`
	Detail     string `json:"detail"`
	RetryAfter int    `json:"retryAfter,omitempty"`
}
