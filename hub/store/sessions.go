package store

import (
	"context"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// Sessions keeps a state, an event log, a command log, notes and the parts of questions for
// each session.
type Sessions interface {
	Reader
	Writer
	Compacter
	CommandLog
	Notes
	Parts
	Lister
}

// Reader is the part of a store that follows sessions.
type Reader interface {
	// Load reads the part of a session that the rules need. ErrNotFound if there is no
	// session.
	Load(ctx context.Context, id string) (Snapshot, error)

	// Confirm reads what Load reads, from a server that has just proven to be the primary.
	// The caller needs it before it reports that a log lacks events. A frozen primary whose
	// place was taken answers from its old data until it learns of the change. Confirm
	// costs the store a write. The snapshot names the epoch of the events that follow it.
	// ErrNotFound if there is no session.
	Confirm(ctx context.Context, id string) (Snapshot, error)

	// Read gives the events after a seq, in order and without a hole. It gives at most
	// maxBytes by JSONLen and at most maxEvents, but always one event if there is one.
	// ErrNotFound if there is no session.
	Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (Page, error)

	// Watch calls notify after appends. Calls may come out of order, and some may be
	// missing: a notice is a hint, the log is the truth. notify must not block, must not
	// call the store and must not keep the entries. The store does not call notify after
	// stop has returned.
	Watch(id string, notify func(Notice)) (stop func())
}

// Writer changes sessions. Each method is one atomic step for its session.
type Writer interface {
	// Create stores a new session with its first change, in one step. It fails with
	// ErrExists if the id is taken. It fails with ErrSessionLimit if the user already has
	// maxOpen sessions that count (0: no limit).
	//
	// Every session counts that is not closed. In a store that keeps sessions for long,
	// sleeping sessions (State.Asleep) do not count. Such a store can refuse an Append that
	// wakes a session.
	Create(ctx context.Context, id string, c Batch, maxOpen int) (Appended, error)

	// Append stores a batch whole or not at all, in one atomic step for the session. It
	// gives the batch's events the next seqs and one time of the store's clock. It
	// announces them to the watchers. Errors: ErrNotFound, ErrConflict, ErrFenced,
	// ErrRepeat, ErrHole, ErrSessionLimit.
	Append(ctx context.Context, id string, b Batch) (Appended, error)

	// Delete forgets a session and its logs. A session that does not exist is no error.
	Delete(ctx context.Context, id string) error
}

// CommandLog holds what clients want a session's worker to do.
type CommandLog interface {
	// Commands gives the commands after a seq that have not been dropped.
	Commands(ctx context.Context, id string, after uint64) ([]session.Command, error)
}

// Notes are the facts that sessions keep outside their states.
type Notes interface {
	// Note reads a note and the seq of its event.
	Note(ctx context.Context, id, key string) (value string, seq uint64, ok bool, err error)

	// LoadNote does Load and Note at one moment, with one wait for the store. A missing
	// note is no error. ErrNotFound if there is no session.
	LoadNote(ctx context.Context, id, key string) (Snapshot, Noted, error)
}

// Noted is a note as it was read: its value and the seq of its event. OK is false if there
// is no note.
type Noted struct {
	Value string
	Seq   uint64
	OK    bool
}

// Lister lists sessions.
type Lister interface {
	// List gives sessions, newest first, from the place where the last listing ended
	// (empty: from the newest). next is empty at the end. With a Scan, the listing can stop
	// before it has found Limit sessions, or any: next is then where it goes on.
	List(ctx context.Context, q ListQuery) (sessions []Snapshot, next string, err error)
}

// ListQuery chooses sessions. An empty field chooses all.
type ListQuery struct {
	User     string
	Status   protocol.Status
	Archived *bool
	Class    Class
	Limit    int
	After    string

	// Scan is how many sessions List looks at, at most and about; 0: no bound. A store may
	// look at a page more.
	Scan int
}

// Class is a kind of sessions that an inbox shows.
type Class uint8

// The classes.
const (
	AnyClass Class = iota
	Working        // not at rest: something runs, waits to run, or is asked
	News           // unread, and at rest
)

// Filters reports whether the query leaves out sessions of its user.
func (q ListQuery) Filters() bool { return q.Status != "" || q.Archived != nil || q.Class != AnyClass }

// Takes reports whether the query asks for a session of its user. A deleted one is in no listing.
func (q ListQuery) Takes(s *session.State) bool {
	switch {
	case s.Closed == protocol.ClosedDeleted,
		q.Status != "" && s.Status.Status != q.Status,
		q.Archived != nil && s.Archived != *q.Archived,
		q.Class == Working && session.AtRest(s),
		q.Class == News && !(s.Unread && session.AtRest(s)):
		return false
	}
	return true
}
