package hub

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// tokenChecks look whether the tokens of open streams still hold, when their
// session's state has changed. The sweeper finds that out, and must not wait for
// the store: when a node has been parted from it, every session may have changed.
//
// add may be called by any goroutine; run is the one that asks. What waits is
// bounded by the tails of this node: each is there once.
type tokenChecks struct {
	hub  *Hub
	wake chan struct{} // holds one

	mu  sync.Mutex
	due map[*tail]struct{}
}

const (
	// checksAtOnce is how many sessions are read at a time: those of a whole node
	// within the 2 s in which a revocation takes effect.
	checksAtOnce = 16
	// checkAgain is how soon it is tried again while the store does not answer.
	checkAgain = 200 * time.Millisecond
)

func newTokenChecks(h *Hub) *tokenChecks {
	return &tokenChecks{hub: h, wake: make(chan struct{}, 1), due: make(map[*tail]struct{})}
}

// add has the tokens of some tails looked at.
func (c *tokenChecks) add(tails []*tail) {
	if len(tails) == 0 {
		return
	}
	c.mu.Lock()
	for _, t := range tails {
		c.due[t] = struct{}{}
	}
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// take gives all that is due.
func (c *tokenChecks) take() []*tail {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Collect(maps.Keys(c.due))
	clear(c.due)
	return all
}

// run looks at what is due until ctx ends.
func (c *tokenChecks) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		left := c.look(ctx, c.take())
		if len(left) == 0 {
			continue
		}
		c.add(left)
		timer := time.NewTimer(checkAgain)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// look enforces the tokens of some tails, and gives those that it could not ask
// about. It asks no further when the store has failed once: each call could wait
// for its whole deadline.
func (c *tokenChecks) look(ctx context.Context, tails []*tail) (left []*tail) {
	var next atomic.Int64
	var failed atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range min(checksAtOnce, len(tails)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(tails)); i = next.Add(1) - 1 {
				if !failed.Load() && c.lookAt(ctx, tails[i]) {
					continue
				}
				failed.Store(true)
				mu.Lock()
				left = append(left, tails[i])
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return left
}

// lookAt is enforce. A panic of it ends the streams of the tail: whether they may go
// on cannot be told, and the other tails must not wait for it.
func (c *tokenChecks) lookAt(ctx context.Context, t *tail) (asked bool) {
	err := c.hub.guard("a check of tokens", func() error { asked = c.enforce(ctx, t); return nil }, "session", t.session)
	if err != nil {
		t.fail()
		return true
	}
	return asked
}

// enforce ends the streams of a tail whose tokens have been revoked. It returns
// false if the store could not be asked.
func (c *tokenChecks) enforce(ctx context.Context, t *tail) bool {
	if t.empty() {
		return true
	}
	snap, err := c.hub.store.Load(ctx, t.session)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		// The store has lost the session, or a server that is behind says so: the
		// pumps find out, as where a log goes on in another epoch.
		t.moveLocked()
		return true
	}
	for _, s := range t.subs {
		if !snap.State.TokenValid(s.grant) {
			s.endLocked(protocol.CloseToken, "the token was revoked", metrics.CloseToken)
		}
	}
	return true
}

// empty reports whether nobody listens to a tail.
func (t *tail) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subs) == 0
}
