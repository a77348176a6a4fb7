package stream

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/session"
)

// tokenChecks checks the tokens of open streams after their session's state has changed.
// The sweeper notices the change, but must not wait for the store. When a node was cut
// off from the store, every session may have changed.
//
// Any goroutine may call add; run calls the store. The list is bounded by the tails of
// this node: each is in it once.
type tokenChecks struct {
	streams *Streams
	wake    chan struct{} // holds one

	mu  sync.Mutex
	due map[*tail]struct{}
}

const (
	// checksAtOnce is how many sessions are read at a time: those of a whole node
	// within the 2 s in which a revocation takes effect.
	checksAtOnce = 16
	// checkAgain is the pause before the next try while the store does not answer.
	checkAgain = 200 * time.Millisecond
)

func newTokenChecks(ss *Streams) *tokenChecks {
	return &tokenChecks{streams: ss, wake: make(chan struct{}, 1), due: make(map[*tail]struct{})}
}

// add has the tokens of some tails checked.
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

// take gives all tails that are due.
func (c *tokenChecks) take() []*tail {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Collect(maps.Keys(c.due))
	clear(c.due)
	return all
}

// run checks the tails that are due until ctx ends.
func (c *tokenChecks) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		left := c.checkAll(ctx, c.take())
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

// checkAll enforces the tokens of some tails. It gives back the tails for which the store
// did not answer. It stops asking after one failure, since each call could wait for its
// whole time limit.
func (c *tokenChecks) checkAll(ctx context.Context, tails []*tail) (left []*tail) {
	var next atomic.Int64
	var failed atomic.Bool
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range min(checksAtOnce, len(tails)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(tails)); i = next.Add(1) - 1 {
				if !failed.Load() && c.check(ctx, tails[i]) {
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

// check is enforce with a guard. A panic ends the streams of the tail: whether they may
// go on is unknown, and the other tails must not wait. asked is false if the store did
// not answer.
func (c *tokenChecks) check(ctx context.Context, t *tail) (asked bool) {
	err := c.streams.Guard("a check of tokens", func() error { asked = c.enforce(ctx, t); return nil }, "session", t.session)
	if err != nil {
		t.fail()
		return true
	}
	return asked
}

// enforce ends the streams of a tail whose tokens were revoked. It returns false if the
// store did not answer.
func (c *tokenChecks) enforce(ctx context.Context, t *tail) bool {
	if t.empty() {
		return true
	}
	snap, err := c.streams.store.Load(ctx, t.session)
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		// The store has lost the session, or a server that is behind has answered. The pumps
		// find out which, as when a log goes on in another epoch.
		t.moveLocked()
		return true
	}
	for _, s := range t.subs {
		if !snap.State.TokenValid(s.grant) {
			s.endForLocked(session.ErrGrantRevoked)
		}
	}
	return true
}

// empty reports whether the tail has no subscriber.
func (t *tail) empty() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.subs) == 0
}
