package metrics

import "sessionhub/protocol"

// Every label value belongs to a closed set of this file or of package protocol. So each
// series exists at zero from the start, and no series is made from a client's text.

// Transport says how a connection reaches this node. The counters of the hot path are
// indexed by it.
type Transport uint8

const (
	TransportWebSocket Transport = iota // a client's WebSocket
	TransportSSE                        // a client's event stream
	TransportWorker                     // the worker link
	transports
)

// Transports lists every transport.
var Transports = [transports]Transport{TransportWebSocket, TransportSSE, TransportWorker}

func (t Transport) String() string {
	switch t {
	case TransportWebSocket:
		return "websocket"
	case TransportSSE:
		return "sse"
	case TransportWorker:
		return "worker"
	}
	return "unknown"
}

// CloseReason says why an open connection ended. The first cause counts.
type CloseReason string

const (
	CloseClient        CloseReason = "client_closed"     // the peer ended it, with or without a close handshake
	CloseVanished      CloseReason = "vanished"          // the peer answered no ping
	CloseSlow          CloseReason = "slow"              // the peer took nothing for --write-timeout
	CloseWriteError    CloseReason = "write_error"       // a write failed: the connection was gone
	CloseToken         CloseReason = "token"             // the token expired or was revoked, or the API key was taken away
	CloseSessionEnded  CloseReason = "session_ended"     // the log was read to its end, or the session is gone
	CloseDraining      CloseReason = "draining"          // this node stops
	CloseMaxAge        CloseReason = "max_age"           // an event stream reached --sse-max-age
	CloseBadFrame      CloseReason = "bad_frame"         // no valid command, binary, against RFC 6455, or bytes from the client on an event stream
	CloseTooBig        CloseReason = "too_big"           // a message over --max-message-bytes
	CloseTooMany       CloseReason = "too_many_commands" // commands over the limit over and over
	CloseUnavailable   CloseReason = "unavailable"       // the store is unreachable
	CloseWorkerInvalid CloseReason = "worker_invalid"    // a worker's frame that cannot be read, or a missing event
	CloseReplaced      CloseReason = "replaced"          // the same worker has connected again
	CloseInternal      CloseReason = "internal"          // a fault of this node: see its log
)

// CloseReasons lists every close reason.
var CloseReasons = []CloseReason{
	CloseClient, CloseVanished, CloseSlow, CloseWriteError, CloseToken, CloseSessionEnded, CloseDraining, CloseMaxAge,
	CloseBadFrame, CloseTooBig, CloseTooMany, CloseUnavailable, CloseWorkerInvalid, CloseReplaced, CloseInternal,
}

// RejectReasons lists the codes with which a stream or a worker link can be refused before
// it opens.
var RejectReasons = []protocol.Code{
	protocol.CodeInvalidRequest,  // a cursor that cannot be read, or a handshake that is none
	protocol.CodeUpgradeRequired, // a WebSocket's address without a handshake
	protocol.CodeUnauthorized,
	protocol.CodeTokenExpired,
	protocol.CodeTokenRevoked,
	protocol.CodeForbidden,
	protocol.CodeScope,
	protocol.CodeHostRefused,
	protocol.CodeOriginRefused,
	protocol.CodeNotFound,
	protocol.CodeSessionEnded,
	protocol.CodeConnectionLimit,
	protocol.CodeRateLimited,
	protocol.CodeInternal,
	protocol.CodeUnavailable, // the store is unreachable, or the node drains
}

// CommandResult says how a client's command ended.
type CommandResult string

const (
	CommandOK      CommandResult = "ok"      // carried out, or a repeat that got its first answer again
	CommandRefused CommandResult = "refused" // the client's to mend: bad data, scope, limit, conflict
	CommandFailed  CommandResult = "failed"  // the node's fault: internal or unavailable
)

// CommandResults lists every result.
var CommandResults = []CommandResult{CommandOK, CommandRefused, CommandFailed}

// ResultOf returns the result for the error code of the answer. An empty code means no
// error.
func ResultOf(code protocol.Code) CommandResult {
	switch code {
	case "":
		return CommandOK
	case protocol.CodeInternal, protocol.CodeUnavailable:
		return CommandFailed
	}
	return CommandRefused
}

// Limit names a limit that refused something. Its flag, if it has one, is --max-<limit>.
type Limit string

const (
	LimitConnections           Limit = "connections"             // of this node
	LimitConnectionsPerSession Limit = "connections_per_session" // of one session
	LimitConnectionsPerUser    Limit = "connections_per_user"    // of one user
	LimitSessionsPerUser       Limit = "sessions_per_user"       // open ones of one user
	LimitMessageRate           Limit = "rate_messages"           // of one user
	LimitSessionRate           Limit = "rate_sessions"           // made by one user
	LimitQueuedMessages        Limit = "queued_messages"         // of one session
	LimitMessageBytes          Limit = "message_bytes"           // a body or a WebSocket message
	LimitOpenApprovals         Limit = "open_approvals"          // of one session, or a question that cannot be asked: docs/WORKERS.md
	LimitApprovalBytes         Limit = "approval_bytes"          // a question that cannot be shown whole
	LimitSubscriptions         Limit = "subscriptions_per_connection"
)

// Limits lists every limit.
var Limits = []Limit{LimitConnections, LimitConnectionsPerSession, LimitConnectionsPerUser, LimitSessionsPerUser,
	LimitMessageRate, LimitSessionRate, LimitQueuedMessages, LimitMessageBytes, LimitOpenApprovals, LimitApprovalBytes, LimitSubscriptions}

// AuthFailure says why a request or a frame was refused because of its credential or its
// origin.
type AuthFailure string

const (
	AuthMissing      AuthFailure = "missing"       // no credential where one is needed
	AuthMalformed    AuthFailure = "malformed"     // a credential that cannot be read
	AuthAPIKey       AuthFailure = "api_key"       // no such API key
	AuthWorkerKey    AuthFailure = "worker_key"    // no such worker key
	AuthTokenInvalid AuthFailure = "token_invalid" // not signed by this hub
	AuthTokenExpired AuthFailure = "token_expired" // signed by this hub, but over
	AuthTokenRevoked AuthFailure = "token_revoked" // taken back before its end, or the API key that it came from was
	AuthTicket       AuthFailure = "ticket"        // unknown, used or expired
	AuthCookie       AuthFailure = "cookie"        // unknown or expired
	AuthScope        AuthFailure = "scope"         // the token's scope is too narrow
	AuthForeign      AuthFailure = "foreign"       // a valid credential for somebody else's session or user
	AuthOrigin       AuthFailure = "origin"        // an Origin that is not allowed
	AuthHost         AuthFailure = "host"          // a Host that is not this machine's, in local mode
)

// AuthFailures lists every reason.
var AuthFailures = []AuthFailure{
	AuthMissing, AuthMalformed, AuthAPIKey, AuthWorkerKey, AuthTokenInvalid, AuthTokenExpired, AuthTokenRevoked,
	AuthTicket, AuthCookie, AuthScope, AuthForeign, AuthOrigin, AuthHost,
}

// StoreOps lists the calls of a store that can fail. A test compares it with the names that
// the store gives.
var StoreOps = []string{
	"create", "load", "append", "read", "compact", "commands", "note", "part", "list", "delete", "take_token",
	"arm", "take_due", "settle", "enqueue", "dequeue", "queued", "census",
	"renew_worker", "forget_worker", "worker_lease", "workers", "hold", "unhold", "held", "send_mail",
	"take_slot", "connections", "confirm", "load_account", "save_account",
}

// EndReasons lists the reasons why a session ended.
var EndReasons = []string{protocol.ClosedDeleted, protocol.ClosedExpired, protocol.ClosedFailed}

// The results of a resume.
const (
	resumeComplete = "complete" // the stream goes on after the cursor
	resumeGap      = "gap"      // some events after the cursor could not be given
)

// ProviderOther stands for every provider that is not in the list that New got: a remote
// worker may announce any name.
const ProviderOther = "other"
