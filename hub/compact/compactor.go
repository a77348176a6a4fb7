// Package compact makes one event of each run of small ones, in the background. So a
// session's log stays whole, small and quick to read. docs/PROTOCOL.md, "Compaction",
// says what readers see of it.
package compact

import (
	"context"
	"errors"
	"sync"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// Compactor compacts logs on this node. Schedule queues the sessions whose log is due,
// and Run compacts them, one after the other. All methods may be called concurrently.
//
// Its work can be lost at any moment and done again: the log itself says how far it is
// compacted (Snapshot.Compacted). The compactor remembers only when to check each log
// next.
type Compactor struct {
	env     *engine.Env
	store   Store
	after   time.Duration
	pending chan string // sessions to be compacted now

	mu        sync.Mutex
	nextCheck map[string]time.Time // by session
	nextPrune time.Time
}

// Store is what a compactor needs of a store.
type Store interface {
	store.Reader
	store.Compacter
}

// queueLength is the most sessions that wait for this node's compactor. One that finds no
// room is scheduled again later.
const queueLength = 1024

// NewCompactor returns a compactor. after is the age at which an ended run is compacted;
// 0: nothing is ever compacted.
func NewCompactor(env *engine.Env, st Store, after time.Duration) *Compactor {
	return &Compactor{env: env, store: st, after: after, pending: make(chan string, queueLength), nextCheck: make(map[string]time.Time)}
}

// Schedule queues a session's log for compaction if it is time. It says when to call it
// next for this session; zero: when something was appended.
func (c *Compactor) Schedule(id string, snap store.Snapshot, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.after <= 0 || snap.Compacted >= snap.Last {
		delete(c.nextCheck, id)
		return time.Time{}
	}
	next, known := c.nextCheck[id]
	if known && now.Before(next) {
		return next
	}
	if known {
		select {
		case c.pending <- id:
		default:
		}
	}
	c.pruneLocked(now)
	next = now.Add(c.after)
	c.nextCheck[id] = next
	return next
}

// pruneLocked forgets sessions that another node schedules by now. It looks at all of
// them, so it does that once in after.
func (c *Compactor) pruneLocked(now time.Time) {
	if len(c.nextCheck) < queueLength || now.Before(c.nextPrune) {
		return
	}
	c.nextPrune = now.Add(c.after)
	for id, next := range c.nextCheck {
		if now.Sub(next) > c.after+c.env.Timers.WorkerLease {
			delete(c.nextCheck, id)
		}
	}
}

// Run compacts the sessions that Schedule has queued, until ctx ends.
func (c *Compactor) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case id := <-c.pending:
			err := c.env.Guard("the compaction of a log", func() error { return c.compact(ctx, id) }, "session", id)
			switch {
			case err == nil, ctx.Err() != nil, errors.Is(err, session.ErrNotFound), errors.Is(err, store.ErrConflict), errors.Is(err, engine.ErrPanic):
				// A conflict: another node has compacted the log meanwhile, or it was trimmed.
			case errors.Is(err, store.ErrNotYet):
				c.env.Log.Debug("compact a log; it is tried again", "session", id, "error", err)
			default:
				c.env.Log.Warn("compact a log; it is tried again", "session", id, "error", err)
			}
		}
	}
}

// Bounds of one step. A store takes about a millisecond for it, in which it does nothing
// else for the session. A single run can exceed them.
const (
	stepBytes  = 256 << 10
	stepEvents = 4096

	pageEvents = 1000
	pageBytes  = 256 << 10
)

// compact compacts everything in the log that is old enough now.
func (c *Compactor) compact(ctx context.Context, id string) error {
	snap, err := c.store.Load(ctx, id)
	if err != nil {
		return err
	}
	g := gather{before: time.Now().Add(-c.after)}
	compacted, cursor := snap.Compacted, max(snap.Compacted, snap.First-1)
	for young := false; !young && ctx.Err() == nil; {
		page, err := c.store.Read(ctx, id, cursor, pageEvents, pageBytes)
		if err != nil {
			return err
		}
		if len(page.Entries) == 0 {
			if !snap.State.Busy() {
				g.close() // at rest, the end of the log is the end of its last run
			}
			break
		}
		if page.Epoch != snap.Epoch() || page.Entries[0].First() != cursor+1 {
			return store.ErrConflict
		}
		for _, e := range page.Entries {
			if young = !g.add(e); young {
				break
			}
			cursor = e.Seq
		}
		if young || g.bytes >= stepBytes || g.taken >= stepEvents {
			if compacted, err = c.step(ctx, id, page.Epoch, compacted, &g); err != nil {
				return err
			}
		}
	}
	_, err = c.step(ctx, id, snap.Epoch(), compacted, &g)
	return err
}

// step stores the gathered entries. It gives the seq up to which the log is compacted
// then.
func (c *Compactor) step(ctx context.Context, id, epoch string, compacted uint64, g *gather) (uint64, error) {
	entries, events := g.take()
	if len(entries) == 0 {
		return compacted, nil
	}
	step := store.Compaction{Epoch: epoch, After: compacted, Entries: entries}
	if err := c.store.Compact(ctx, id, step); err != nil {
		return compacted, err
	}
	c.env.Metrics.Compacted(events - len(entries))
	return step.Last(), nil
}
