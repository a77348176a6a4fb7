package disk

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// eraseEvery is how often the eraser removes the text of deleted sessions from the files.
// The text is gone within an hour.
const eraseEvery = 20 * time.Minute

// eraseFirst is how soon the eraser begins after a start, so that it also works in a
// process that never lives long.
const eraseFirst = time.Minute

// oldLogs is how many log files that it no longer needs Pebble may keep. It is one for each
// memory table that may wait, and one more.
const oldLogs = 4

// eraser knows whose text is still to be removed from the files. A deletion only marks the
// text. It stays in the tables and the logs until they are written anew.
type eraser struct {
	*database

	marking sync.RWMutex // held for reading while a mark is written and counted
	mu      sync.Mutex
	garbage map[uint64]uint64 // by order: how often the session was marked
}

// mark writes a deletion of a session or of its text, and has the eraser remove the text
// from the files. A session can be marked twice: when its user deletes it, and when it is
// forgotten.
func (e *eraser) mark(order uint64, deletion *pebble.Batch) error {
	e.marking.RLock()
	defer e.marking.RUnlock()
	_ = deletion.Set(key(kindGarbage, order), nil, nil)
	if err := e.apply(deletion); err != nil {
		return err
	}
	e.add(order)
	return nil
}

func (e *eraser) add(order uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.garbage == nil {
		e.garbage = make(map[uint64]uint64)
	}
	e.garbage[order]++
}

// marked returns the sessions whose text is to be removed, and how often each was marked.
func (e *eraser) marked() map[uint64]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.garbage)
}

func (e *eraser) run(ctx context.Context) {
	timer := time.NewTimer(eraseFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			timer.Reset(eraseEvery)
			if err := e.erase(ctx); err != nil && ctx.Err() == nil {
				e.log.Error("store: take deleted text out of the files; it is tried again", "again_in", eraseEvery.String(), "error", explain(err))
			}
		}
	}
}

// erase removes the text of all marked sessions from the files.
func (e *eraser) erase(ctx context.Context) error {
	round := e.marked()
	if len(round) == 0 {
		return e.down()
	}
	if err := e.rewrite(ctx, round); err != nil {
		return err
	}
	return e.unmark(round)
}

// rewrite writes the tables that hold deleted text anew, without it. It makes Pebble remove
// the logs that hold such text.
func (e *eraser) rewrite(ctx context.Context, round map[uint64]uint64) error {
	for _, order := range slices.Sorted(maps.Keys(round)) {
		for _, kind := range []byte{kindIdentity, kindHead, kindState, kindData} {
			err := e.db.Compact(ctx, key(kind, order), key(kind, order+1), false)
			if down := e.down(); down != nil {
				return down
			}
			if err != nil {
				return err
			}
		}
	}
	for range oldLogs {
		if err := e.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// unmark ends a round. A session that was marked again meanwhile stays for the next round:
// the files may still hold the text of its later deletion.
func (e *eraser) unmark(round map[uint64]uint64) error {
	e.marking.Lock()
	defer e.marking.Unlock()
	batch := e.db.NewBatch()
	defer batch.Close()
	now := e.marked()
	for order, n := range round {
		if now[order] != n {
			delete(round, order)
			continue
		}
		if err := batch.Delete(key(kindGarbage, order), nil); err != nil {
			return err
		}
	}
	if err := e.apply(batch); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for order := range round {
		delete(e.garbage, order)
	}
	return nil
}
