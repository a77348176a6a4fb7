package stream

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// Streams serves the readers of this node. Each is a cursor on a session's event log and
// a connection. All methods may be called concurrently. Run must run while it is used.
type Streams struct {
	*engine.Env
	store  Store
	limits StreamLimits

	// keyHolds reports whether the API key that a grant names still opens the user's
	// sessions; nil: no key is ever taken away. It is called with a lock held.
	keyHolds func(user string, g session.Grant) bool

	tails    tails
	pumps    pumps
	tokens   *tokenChecks
	accounts *accountChecks
	keys     chan struct{} // holds one: the keys have changed
	open     atomic.Int64  // streams of this node that have a slot
}

// Store is the part of a store that readers need.
type Store interface {
	store.Reader
	store.Slots
	store.Accounts
	store.UserWatcher
}

// StreamLimits bound the open streams; 0: no limit. Each subscription of a channel counts
// for its session, and the channel once for the user and the node.
type StreamLimits struct {
	PerNode    int
	PerSession int // of all nodes
	PerUser    int // of all nodes
	PerChannel int // subscriptions of one channel
}

// NewStreams returns the readers' room on a store. keyHolds is Config.KeyHolds of the
// hub.
func NewStreams(env *engine.Env, store Store, limits StreamLimits, keyHolds func(user string, g session.Grant) bool) *Streams {
	ss := &Streams{Env: env, store: store, limits: limits, keyHolds: keyHolds, keys: make(chan struct{}, 1)}
	ss.tails.init()
	ss.pumps.over = make(chan struct{})
	ss.tokens = newTokenChecks(ss)
	ss.accounts = newAccountChecks(ss)
	return ss
}

// Run cuts slow subscribers, sends heartbeats to idle ones and enforces tokens until ctx
// ends. Then it cuts the streams that are left, and waits for writes to them. These end:
// a cut sink fails its write, and a read of the store has a time limit. No stream
// outlives Run. It is called once. A panic in one of its loops is logged and ends one
// round of that loop.
func (ss *Streams) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { ss.Keep(ctx, "the sweeper", ss.sweep) })
	wg.Go(func() { ss.Keep(ctx, "the checks of tokens", ss.tokens.run) })
	wg.Go(func() { ss.Keep(ctx, "the checks of keys", ss.checkKeys) })
	wg.Go(func() { ss.Keep(ctx, "the checks of accounts", ss.accounts.run) })
	wg.Wait()
	ss.pumps.close()
	ss.tails.each(func(t *tail) {
		t.mu.Lock()
		all := slices.Clone(t.subs)
		t.mu.Unlock()
		for _, s := range all {
			_ = ss.Guard("a stream", func() error { s.cut(); return nil }, "session", t.session)
		}
	})
	<-ss.pumps.over
}

// Count is how many streams this node serves.
func (ss *Streams) Count() int {
	ss.tails.mu.Lock()
	defer ss.tails.mu.Unlock()
	return ss.tails.count
}

// Errors of a stream that callers branch on.
var (
	ErrConnectionLimit = errors.New("too many connections")
	ErrStreamEnded     = errors.New("the stream is at its end")
)
