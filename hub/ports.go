package hub

import (
	"context"
	"errors"
	"time"

	"sessionhub/protocol"
)

// Errors of a Store. Any other error means that the store could not be asked:
// nothing was acknowledged, and the change may or may not have happened.
var (
	ErrExists   = errors.New("the session exists")
	ErrConflict = errors.New("the state has changed")           // read it again and decide again
	ErrFenced   = errors.New("the assignment is not the last")  // the worker is not the session's any more
	ErrRepeat   = errors.New("the event is stored already")     // acknowledge it
	ErrHole     = errors.New("an event before this is missing") // the link must be closed

	ErrSessionFull = errors.New("the session has the most streams")
	ErrUserFull    = errors.New("the user has the most streams")
)

// Store is all that a hub keeps outside of its process's life, and shares with
// the other nodes of its cluster. Every method may be called by any number of
// goroutines. hub/hubtest holds every implementation to the text of its parts.
type Store interface {
	Sessions
	DueIndex
	WorkQueue
	WorkerRegistry
	Slots

	// Census counts what belongs to no node. ours says that this node is the
	// one that reports it now.
	Census(ctx context.Context) (c Census, ours bool, err error)

	// Available says why the store cannot be asked now, or nil. It does not
	// block: it tells how the last calls went.
	Available() error

	// Shared reports whether other nodes can serve the same sessions.
	Shared() bool
}

// Sessions keeps for each session a state, an event log, a command log and
// notes.
type Sessions interface {
	// Create stores a new session with its first change, in one step.
	// ErrExists if the id is taken; then ErrSessionLimit if the user has
	// maxOpen sessions that are not closed already (0: no limit).
	Create(ctx context.Context, id string, c Batch, maxOpen int) (Appended, error)

	// Load reads what the rules need. ErrNotFound if there is none.
	Load(ctx context.Context, id string) (Snapshot, error)

	// Confirm reads what Load reads, from a server that has just shown that what it
	// stores is kept. A primary that was frozen while another one took its place
	// answers with what it knew, until somebody tells it: so it is this that has to
	// say that a log lacks something. It costs the store a write. What comes behind
	// what it says is in the epoch that it names. ErrNotFound.
	Confirm(ctx context.Context, id string) (Snapshot, error)

	// Append stores a batch whole or not at all, gives its events the next
	// seqs and one time of the store's own clock, and announces them to the
	// watchers, in one atomic step for each session.
	// ErrNotFound, ErrConflict, ErrFenced, ErrRepeat, ErrHole.
	Append(ctx context.Context, id string, b Batch) (Appended, error)

	// Read gives the events after a seq, in order, without a hole among them:
	// at most maxBytes of them by JSONLen and at most maxEvents, but always one
	// if there is one. ErrNotFound.
	Read(ctx context.Context, id string, after uint64, maxEvents, maxBytes int) (Page, error)

	// Commands gives the commands after a seq that have not been dropped.
	Commands(ctx context.Context, id string, after uint64) ([]Command, error)

	// Note reads a note and the seq of its event.
	Note(ctx context.Context, id, key string) (value string, seq uint64, ok bool, err error)

	// Watch calls notify after every append, in the order of the appends or
	// not, perhaps not at all: a notice is a hint, the log is the truth.
	// notify must not block, must not call the store and must not keep the
	// entries. After stop has returned it is not called any more.
	Watch(id string, notify func(Notice)) (stop func())

	// List gives sessions, newest first, after the place where the last
	// listing ended (empty: from the newest). next is empty at the end.
	List(ctx context.Context, q ListQuery) (sessions []Snapshot, next string, err error)

	// TakeToken takes a token from the bucket of that name, or says how long to
	// wait for one. Every caller of a name gives the same rate.
	TakeToken(ctx context.Context, key string, r Rate) (wait time.Duration, err error)

	// Delete forgets a session and its logs. Deleting nothing is no error.
	Delete(ctx context.Context, id string) error
}

// Batch is one atomic change of a session.
type Batch struct {
	Events []NewEvent

	// With a State, the change is refused with ErrConflict unless the stored
	// state still has the version Expect; the new one has Expect+1. The epoch in
	// which it was read, if given, must still be the present one: after a failover
	// that loses the log's end, another state can come to have that version.
	State  *State
	Expect uint64
	Epoch  string

	// With a Fence, it is refused unless the worker still has the session
	// (State.Has) and these are its next events.
	Fence *Fence

	Commands []Command
	Drop     []uint64
	Notes    []Note

	// Forget drops the events, commands and notes that were there before. The
	// numbering goes on.
	Forget bool
}

// Fence is a worker's place: N counts its events in this assignment from 1. A
// batch can stand for Count of them that follow each other, of which N is the
// first; 0 means 1. How many events of the log they became is another matter.
//
// ErrRepeat says that N is stored, and nothing of those behind it: who sends
// the same batch again has stored all of it, but another link of the same worker
// may have stored less.
type Fence struct {
	Assignment uint64
	N          uint64
	Count      int
}

// Last is the last event that the batch stands for.
func (f Fence) Last() uint64 { return f.N + uint64(max(f.Count, 1)) - 1 }

// Appended tells where a batch's events are: First to Last, Last < First when
// it had none.
type Appended struct {
	First, Last uint64
	Time        time.Time
}

// Snapshot is a session as its store knows it.
type Snapshot struct {
	State        *State // never changed: shared
	Version      uint64
	Epochs       []EpochStart // at least one, oldest first
	First        uint64       // first seq that is kept; Last+1 if none is
	Last         uint64
	LastActivity time.Time
	N            uint64 // last stored event of the present assignment
}

// Epoch is the log's present epoch.
func (s Snapshot) Epoch() string { return s.Epochs[len(s.Epochs)-1].Epoch }

// EpochStart says that events from First on are numbered in this epoch.
type EpochStart struct {
	Epoch string `json:"epoch"`
	First uint64 `json:"first"`
}

// Page is a piece of an event log: Entries follow each other without a hole.
// The first one can reach back behind the seq that was asked for (a compacted
// one), or lie beyond it (First: the log was trimmed).
type Page struct {
	Entries     []protocol.Entry
	First, Last uint64 // ends of the whole log
	Epoch       string // the log's, as of this read
}

// Notice says that a batch was appended. Entries are its events when the store
// has them at hand. Changed says that the state or the command log changed, or
// that notices may have been lost, so that both must be read again.
type Notice struct {
	Entries []protocol.Entry
	Last    uint64
	Epoch   string // the log's present one; empty in a store whose epoch never changes
	Changed bool
}

// ListQuery chooses sessions. Empty fields choose all.
type ListQuery struct {
	User   string
	Status protocol.Status
	Limit  int
	After  string
}
