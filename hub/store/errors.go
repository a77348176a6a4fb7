package store

import (
	"errors"
	"fmt"

	"sessionhub/hub/session"
)

// Errors of a Store. Any other error means that the store could not be asked. Nothing was
// acknowledged then, and the change may or may not have happened.
var (
	ErrExists       = errors.New("the session exists")
	ErrConflict     = errors.New("the state has changed")           // read it again and decide again
	ErrRepeat       = errors.New("the event is stored already")     // acknowledge it
	ErrHole         = errors.New("an event before this is missing") // the link must be closed
	ErrNotYet       = errors.New("not yet")                         // nothing was changed; later it may be done
	ErrSessionLimit = errors.New("too many sessions")

	ErrSessionFull = errors.New("the session has the most streams")
	ErrUserFull    = errors.New("the user has the most streams")
)

// Errors of a store that could not be asked.
var (
	ErrUnavailable = errors.New("unavailable")
	ErrUnreachable = fmt.Errorf("%w: the store cannot be reached", ErrUnavailable) // the error that it wraps names servers
)

// ErrBehind says that a primary answered after another server had taken its place.
var ErrBehind = errors.New("a server that is behind has answered")

// Answered reports whether an error is an answer of the store or of the rules. Asking again
// would change nothing.
func Answered(err error) bool {
	for _, answer := range []error{
		ErrRepeat, ErrHole, session.ErrFenced, session.ErrNotFound, session.ErrInvalid, session.ErrLost,
		session.ErrNoTurn, session.ErrKnownInteraction,
	} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return false
}
