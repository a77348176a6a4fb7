package session

import (
	"errors"
	"fmt"
)

// Errors of the rules that callers branch on. One table in handlers turns them into HTTP
// status and close codes.
var (
	ErrNotFound        = errors.New("not found")
	ErrInvalid         = errors.New("invalid request")
	ErrUnknownOption   = errors.New("unknown option")
	ErrSessionEnded    = errors.New("the session has ended")
	ErrTooLarge        = errors.New("too large")
	ErrQueueFull       = errors.New("queue full")
	ErrMessageRunning  = errors.New("the message is with a worker, or over")
	ErrApprovalExpired = errors.New("the approval has expired")
	ErrQuestionExpired = errors.New("the question has expired")
	ErrContentUnread   = errors.New("the question was not read whole")
	ErrModeNotAllowed  = errors.New("the worker's providers file does not allow this mode by name")
	ErrNeedsApprove    = errors.New("the scope approve is needed")
	ErrBusy            = errors.New("the session is at work: wait until it is idle, or stop it")
	ErrCannotFork      = errors.New("the session's agent has not said that it can fork a session")
	ErrTicket          = errors.New("no such ticket, or no more")
	ErrTooManyTickets  = errors.New("too many tickets")
)

// ErrFenced says that an input comes from a worker that no longer has the session.
var ErrFenced = errors.New("the assignment is not the last")

// Answers of the rules that stay inside the hub: its rooms branch on them, and no
// client sees them.
var (
	// ErrNotPending: an answer names a question that is not open, or not open any more.
	// The question's note says how it ended.
	ErrNotPending = errors.New("no such pending approval")

	// ErrNoAssignment: no message of the session waits for a worker, or none for this
	// workspace. For InEvict: the session is not idle.
	ErrNoAssignment = errors.New("the session wants no worker")

	// ErrNeedsJudge: the session names a mode, and the worker does not judge modes.
	ErrNeedsJudge = errors.New("the worker does not judge modes")

	// ErrNeedsMCP: the session brings MCP servers that the worker does not let it bring.
	ErrNeedsMCP = errors.New("the worker allows no such MCP servers")

	// ErrLost: FromWorker names a message that the state does not know. If the store
	// confirms that, a failover of the store has lost the message.
	ErrLost = errors.New("the store has lost the message that the worker runs")

	// ErrNotDue: InHand names a message that is not due.
	ErrNotDue = errors.New("the message is not the one that is due")

	// ErrNoTurn: a worker has asked a question while no message ran.
	ErrNoTurn = errors.New("no turn is running")

	// ErrKnownInteraction: a question with this id is open already.
	ErrKnownInteraction = errors.New("the interaction is known")
)

// ResolvedError answers an approval that another user has answered first.
type ResolvedError struct {
	Outcome  string
	OptionID string // the option that won, if one did
}

func (e *ResolvedError) Error() string { return "the approval was answered before: " + e.Outcome }

// NoMessageError says that no open message has this id. It is ErrNotFound.
type NoMessageError struct{ ID string }

func (e *NoMessageError) Error() string { return fmt.Sprintf("message %q: not found", Clip(e.ID)) }

func (e *NoMessageError) Unwrap() error { return ErrNotFound }

// AnsweredError answers a question of the agent that has ended before.
type AnsweredError struct{ Outcome string }

func (e *AnsweredError) Error() string { return "the question was answered before: " + e.Outcome }

// Refusal is an event that a worker may not send. Code is for the link
// (protocol.LinkInvalid and its kin). Detail is for the operator of the worker. A Refusal
// is ErrInvalid.
type Refusal struct{ Code, Detail string }

func (r *Refusal) Error() string { return r.Detail }

func (r *Refusal) Unwrap() error { return ErrInvalid }
