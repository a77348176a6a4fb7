package hub

import (
	"sessionhub/hub/engine"
	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/stream"
	"sessionhub/hub/transcript"
	"sessionhub/protocol"
)

// Types of the rooms that callers of the hub use. A package that serves a hub imports
// only this one.
type (
	Snapshot      = store.Snapshot
	Store         = store.Store
	ListQuery     = store.ListQuery
	Rate          = store.Rate
	Policy        = session.Policy
	Grant         = session.Grant
	ResolvedError = session.ResolvedError
	AnsweredError = session.AnsweredError
	Timers        = engine.Timers
	Encoding      = protocol.Encoding
	Stream        = stream.Stream
	Subscriber    = stream.Subscriber
	Channel       = stream.Channel
	Sink          = stream.Sink
	WorkerKey     = fleet.WorkerKey
	WorkerConn    = fleet.WorkerConn

	InvalidAnswerError = session.InvalidAnswerError
	RequestError       = protocol.RequestError

	TranscriptFormat = transcript.Format
)

// The encodings of a stream.
const (
	WebSocket = protocol.WebSocket
	SSE       = protocol.SSE

	SharedWebSocket = protocol.SharedWebSocket
	SharedSSE       = protocol.SharedSSE
)

// The formats of a transcript.
const (
	TranscriptMarkdown = transcript.Markdown
	TranscriptJSON     = transcript.JSON
)

// Settings of a hub unless the operator sets others.
var (
	DefaultTimers = engine.DefaultTimers
	DefaultPolicy = session.DefaultPolicy
)

// Errors of the rooms that callers branch on.
var (
	ErrNotFound        = session.ErrNotFound
	ErrInvalid         = session.ErrInvalid
	ErrUnknownOption   = session.ErrUnknownOption
	ErrSessionEnded    = session.ErrSessionEnded
	ErrTooLarge        = session.ErrTooLarge
	ErrQueueFull       = session.ErrQueueFull
	ErrMessageRunning  = session.ErrMessageRunning
	ErrApprovalExpired = session.ErrApprovalExpired
	ErrQuestionExpired = session.ErrQuestionExpired
	ErrContentUnread   = session.ErrContentUnread
	ErrModeNotAllowed  = session.ErrModeNotAllowed
	ErrMCPNotAllowed   = fleet.ErrMCPNotAllowed
	ErrNeedsApprove    = session.ErrNeedsApprove
	ErrBusy            = session.ErrBusy
	ErrCannotFork      = session.ErrCannotFork
	ErrTicket          = session.ErrTicket
	ErrTooManyTickets  = session.ErrTooManyTickets
	ErrGrantExpired    = session.ErrGrantExpired
	ErrGrantRevoked    = session.ErrGrantRevoked
	ErrTokenKeyGone    = session.ErrTokenKeyGone
	ErrKeyGone         = session.ErrKeyGone
	ErrUnknownProvider = fleet.ErrUnknownProvider
	ErrNoWorker        = fleet.ErrNoWorker
	ErrWorkerBusy      = fleet.ErrWorkerBusy
	ErrWorkerSilent    = fleet.ErrWorkerSilent
	ErrSessionLimit    = store.ErrSessionLimit
	ErrConnectionLimit = stream.ErrConnectionLimit
	ErrStreamEnded     = stream.ErrStreamEnded

	ErrTooManySubscriptions = stream.ErrTooManySubscriptions
	ErrUnavailable          = store.ErrUnavailable
	ErrUnreachable          = store.ErrUnreachable
	ErrUnsupportedCursor    = store.ErrUnsupportedCursor
)
