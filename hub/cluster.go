package hub

import (
	"context"
	"time"

	"sessionhub/protocol"
)

// What the nodes of a cluster tell each other beside the sessions' logs. All of
// it but the slots are hints: the truth, who has which session and what is due in
// it, is in the session's state. A hint that is lost or stale costs time, never
// truth, because every open session keeps an entry in the due-index and is put
// right when it is looked at.

// DueIndex says when each session wants to be looked at next, by whichever node
// comes first.
type DueIndex interface {
	// Arm has the session looked at by due. An earlier entry stays, and so does
	// this one behind it: who looks at the earlier one may have read the session
	// before the change that this one is for.
	Arm(ctx context.Context, id string, due time.Time) error

	// TakeDue takes at most n sessions that are due by the store's clock. Each
	// is hidden from other takers for hide: if its taker dies, it comes back.
	// wait is how long nothing else is due, an hour at most.
	TakeDue(ctx context.Context, n int, hide time.Duration) (due []Due, wait time.Duration, err error)

	// Settle ends the look at a taken session: it is due again at next, or (zero)
	// never. What was armed meanwhile, or lay behind the entry that was taken,
	// holds if it is earlier. A Settle by a taker whose hide has run out and
	// whose session another one took changes nothing.
	Settle(ctx context.Context, d Due, next time.Time) error
}

// Due is a session that was taken from the due-index. Token is the index's own.
type Due struct {
	ID    string
	Token int64
}

// WorkQueue holds the sessions that wait for a worker.
type WorkQueue interface {
	// Enqueue puts a session behind those that wait for the same provider and
	// workspace. Users take turns (start-time fair queueing, Goyal 1996), each
	// user's own sessions in order. One that is queued already keeps its place.
	Enqueue(ctx context.Context, w Waiting) error

	// Dequeue takes a session out. That it is not there is no error.
	Dequeue(ctx context.Context, w Waiting) error

	// Queued gives the first n sessions that wait for a provider in a workspace
	// (empty: those that have not run anywhere yet).
	Queued(ctx context.Context, provider, workspace string, n int) ([]Waiting, error)

	// WatchQueue calls notify after an Enqueue on any node, perhaps not for
	// each. notify must not block.
	WatchQueue(notify func()) (stop func())
}

// Waiting is a session that waits for a worker.
type Waiting struct {
	ID        string
	User      string
	Provider  string
	Workspace string // where it must run, once it has run somewhere
}

// WorkerRegistry knows the workers of all nodes. A worker's lease is what keeps
// it alive: whichever node has its link renews it, and when nobody has for a
// while, the worker is lost.
type WorkerRegistry interface {
	// RenewWorker has the worker's lease end left from now; one that another node
	// has renewed ends no sooner for it.
	RenewWorker(ctx context.Context, w WorkerInfo, left time.Duration) error

	// ForgetWorker ends the lease of a worker that has left and had nothing, if
	// this node was the last to renew it.
	ForgetWorker(ctx context.Context, w WorkerInfo) error

	// WorkerLease tells how much of the worker's lease is left; 0 if it is over
	// or there is none. lapsed is true once for each lease that ended by itself,
	// for whoever asks first.
	WorkerLease(ctx context.Context, name string) (left time.Duration, lapsed bool, err error)

	// Workers lists those whose lease runs.
	Workers(ctx context.Context) ([]WorkerInfo, error)

	// Hold notes that a worker is about to get a session, Unhold that it has it
	// no more; Held lists them: at least those that it has.
	Hold(ctx context.Context, worker, session string) error
	Unhold(ctx context.Context, worker, session string) error
	Held(ctx context.Context, worker string) ([]string, error)
}

// WorkerInfo is what the nodes know of a worker.
type WorkerInfo struct {
	Name      string   `json:"name"`
	Node      string   `json:"node"` // that has its link
	Workspace string   `json:"workspace"`
	Providers []string `json:"providers"`
	Capacity  int      `json:"capacity"`
}

// Slots counts the open streams of all nodes. What a node counts is forgotten
// when the node dies, within 30 s.
type Slots interface {
	// TakeSlot counts one more stream of this node, unless its session or its
	// user has the most already (0: no limit): ErrSessionFull, ErrUserFull.
	TakeSlot(ctx context.Context, s Slot, perSession, perUser int) error

	// GiveSlot gives one back. It does not block; a store that is away is told
	// later.
	GiveSlot(s Slot)

	// Connections counts the streams of each session.
	Connections(ctx context.Context, sessions []string) ([]protocol.Connections, error)
}

// Slot is the place of one stream.
type Slot struct {
	Session  string
	User     string
	Encoding Encoding
}

// Census counts what belongs to no node.
type Census struct {
	Sessions         map[protocol.Status]int // that can be read
	ApprovalsPending int
	Queue            map[string]int // sessions that wait for a worker, by provider
}
