package protocol

// Code is the machine-readable name of an error, the same in HTTP problems
// (RFC 9457), WebSocket errors and logs.
type Code string

const (
	CodeInvalidRequest   Code = "invalid_request"
	CodeInvalidJSON      Code = "invalid_json"
	CodeUnknownProvider  Code = "unknown_provider"
	CodeUnknownOption    Code = "unknown_option"
	CodeUnauthorized     Code = "unauthorized"
	CodeTokenExpired     Code = "token_expired"
	CodeTokenRevoked     Code = "token_revoked"
	CodeForbidden        Code = "forbidden"
	CodeHostRefused      Code = "host_refused"
	CodeScope            Code = "insufficient_scope"
	CodeOriginRefused    Code = "origin_refused"
	CodeWorkingDirectory Code = "working_directory_not_allowed"
	CodeModeNotAllowed   Code = "mode_not_allowed" // 403: the providers file does not allow the mode by name
	CodeMCPNotAllowed    Code = "mcp_not_allowed"  // 403: the provider lets sessions bring no such MCP server
	CodeNotFound         Code = "not_found"
	CodeMethodNotAllowed Code = "method_not_allowed"
	CodeApprovalResolved Code = "approval_resolved"
	CodeContentUnread    Code = "content_unread"  // 409: an answer that allows what was not read whole
	CodeMessageRunning   Code = "message_running" // 409: a worker has the message, so it cannot be changed any more
	CodeBusy             Code = "busy"            // 409: the session is at work: wait, or stop it
	CodeTakenUp          Code = "taken_up"        // 409: a session of the user has the agent's session already
	CodeIdempotency      Code = "idempotency_conflict"
	CodeSessionEnded     Code = "session_ended"
	CodeApprovalExpired  Code = "approval_expired"
	CodeInvalidAnswer    Code = "invalid_answer"       // 400: what the form does not take
	CodeQuestionResolved Code = "elicitation_resolved" // 409
	CodeQuestionExpired  Code = "elicitation_expired"  // 410
	CodePayloadTooLarge  Code = "payload_too_large"
	CodeUnsupportedMedia Code = "unsupported_media_type"
	CodeQueueFull        Code = "queue_full"
	CodeSessionLimit     Code = "session_limit"
	CodeConnectionLimit  Code = "connection_limit"
	CodeRateLimited      Code = "rate_limited"
	CodeInternal         Code = "internal"
	CodeUnavailable      Code = "unavailable"
	CodeRequestTimeout   Code = "request_timeout"  // 408: the request did not come in time
	CodeUpgradeRequired  Code = "upgrade_required" // 426: a GET of /ws that is no WebSocket handshake
	CodeHeaderTooLarge   Code = "request_header_fields_too_large"
	CodeNotImplemented   Code = "not_implemented"            // 501: a method that HTTP does not have
	CodeHTTPVersion      Code = "http_version_not_supported" // 505: neither HTTP/1.0 nor HTTP/1.1

	// Of what a worker is asked: see WorkerRequest.
	CodePathNotAllowed Code = "path_not_allowed"      // 403: out of the session's directory, or not readable
	CodeChanged        Code = "changed"               // 409: the file has changed while it was read
	CodeRange          Code = "range_not_satisfiable" // 416
	CodeNoWorker       Code = "no_worker"             // 503: no worker that can answer is connected
	CodeWorkerFailed   Code = "worker_failed"         // 502: the worker could not do it
	CodeWorkerTimeout  Code = "worker_timeout"        // 504: the worker did not answer in time

	// Of worktrees, all 409.
	CodeWorktreeRefused Code = "worktree_refused"    // the directory, or its git, allows no worktree, or not this action
	CodeUncommitted     Code = "uncommitted_changes" // the session's worktree, or that of its base, has changes that are not committed
	CodeMergeConflict   Code = "merge_conflict"      // nothing was changed
	CodeUnmergedWork    Code = "unmerged_work"       // a discard would lose work, and did not name the version that the user saw
)

// WebSocket close codes (RFC 6455, section 7.4; 4000 to 4999 are ours). docs/PROTOCOL.md
// says what a client does after each: it stops, or it comes back with its cursor.
const (
	CloseGoingAway   = 1001 // the node drains
	CloseTooBig      = 1009 // a message over --max-message-bytes
	CloseInternal    = 1011 // a fault of this node; its log says more
	CloseBadFrame    = 4400 // no valid command, or binary
	CloseToken       = 4401 // token expired or revoked
	CloseNotFound    = 4404 // no such session
	CloseSlow        = 4408 // took nothing for --write-timeout
	CloseReplaced    = 4409 // of a worker link: another was opened under the worker's name
	CloseEnded       = 4410 // the session ended; closed was sent
	CloseRate        = 4429 // too many commands over and over
	CloseUnavailable = 4503 // the store is unreachable
)

// Subprotocols of the two WebSockets (RFC 6455, section 1.9), and the prefix
// under which a browser passes its token.
const (
	Subprotocol       = "sessionhub.v1"
	WorkerSubprotocol = "sessionhub.worker.v1"
	BearerPrefix      = "bearer."
)
