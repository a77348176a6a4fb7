package store

import (
	"context"
	"time"
)

// DueIndex says when each session is due for its next check. Whichever node comes first
// makes the check. Workers have entries too, under ids that no session has
// (fleet.DueWorker).
type DueIndex interface {
	// Arm makes the session due at the given time at the latest. An earlier entry stays,
	// and the index keeps the new time behind it. A node that is checking for the earlier
	// entry may have read the session before the change that the new time is for.
	Arm(ctx context.Context, id string, due time.Time) error

	// TakeDue takes at most n sessions that are due by the store's clock. It hides each
	// from other takers for hide. If its taker dies, the session is due again after that.
	// wait is the time until another session is due, an hour at most.
	TakeDue(ctx context.Context, n int, hide time.Duration) (due []Due, wait time.Duration, err error)

	// Settle ends the check of a taken session. The session is due again at next, or never
	// if next is zero. A time that was armed meanwhile, or lay behind the taken entry,
	// holds if it is earlier. Settle changes nothing if hide has run out and another taker
	// has taken the session.
	Settle(ctx context.Context, d Due, next time.Time) error
}

// Due is a session that was taken from the due-index. Token is the index's own.
type Due struct {
	ID    string
	Token int64
}
