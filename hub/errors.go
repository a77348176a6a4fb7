package hub

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. handlers turns them into HTTP status and
// close codes in one table.
var (
	ErrNotFound          = errors.New("not found")
	ErrInvalid           = errors.New("invalid request")
	ErrUnknownProvider   = errors.New("unknown provider")
	ErrWorkingDirectory  = errors.New("working directory not allowed")
	ErrUnknownOption     = errors.New("unknown option")
	ErrSessionEnded      = errors.New("the session has ended")
	ErrTooLarge          = errors.New("too large")
	ErrQueueFull         = errors.New("queue full")
	ErrIdempotency       = errors.New("the same key was used with another body")
	ErrSessionLimit      = errors.New("too many sessions")
	ErrConnectionLimit   = errors.New("too many connections")
	ErrStreamEnded       = errors.New("the stream is at its end")
	ErrUnavailable       = errors.New("unavailable")
	ErrUnreachable       = fmt.Errorf("%w: the store cannot be reached", ErrUnavailable) // what it wraps names servers
	ErrApprovalExpired   = errors.New("the approval has expired")
	ErrTicket            = errors.New("no such ticket, or no more")
	ErrTooManyTickets    = errors.New("too many tickets")
	ErrUnsupportedCursor = errors.New("invalid cursor")
)

// Answers of the rules that stay inside the hub.
var (
	errNotPending       = errors.New("no such pending approval")
	errNoAssignment     = errors.New("the session wants no worker")
	errLost             = errors.New("the store has lost the message that the worker runs")
	errNoTurn           = errors.New("no turn is running")
	errKnownInteraction = errors.New("the interaction is known")
)

// ResolvedError is the answer to an approval that somebody else answered first.
type ResolvedError struct {
	Outcome  string
	OptionID string // the option that won, if one did
}

func (e *ResolvedError) Error() string { return "the approval was answered before: " + e.Outcome }
