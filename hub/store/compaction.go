package store

import (
	"context"
	"fmt"

	"sessionhub/protocol"
)

// Compacter keeps a log small: it replaces a run of small events with one event.
type Compacter interface {
	// Compact replaces events with the entries that stand for them, in one atomic step.
	// Readers see the log as it was before the step or after it. The store tells no
	// watcher, because what the log says is the same.
	//
	// Steps follow the order of the log: Snapshot.Compacted says how far they have come.
	// ErrConflict says that another node was faster, that the log was trimmed or forgotten
	// meanwhile, or that its epoch has changed. The step then changed nothing, and the
	// caller must read the events again. ErrNotFound says that there is no such session.
	//
	// ErrNotYet says that a node of an earlier version is alive, whose readers would miss
	// compacted events. It concerns all sessions: the caller tries again in a minute.
	Compact(ctx context.Context, id string, c Compaction) error
}

// Compaction is one step. It must hold every event of its range, also those that stay as
// they are.
type Compaction struct {
	Epoch string // of the Page that the events were read from
	After uint64 // the session's Snapshot.Compacted

	// Entries begin after After, or with the log's first event if the log was trimmed
	// beyond After. They follow each other without a hole.
	Entries []protocol.Entry
}

// First is the first seq of the range. Entries must not be empty, here and in Last.
func (c Compaction) First() uint64 { return c.Entries[0].First() }

// Last is the last seq of the range.
func (c Compaction) Last() uint64 { return c.Entries[len(c.Entries)-1].Seq }

// Fits returns ErrConflict if the step must not be done on a log, otherwise nil. first and
// last are the log's ends; compacted is how far the steps have come. A store calls it under
// the lock of its session.
func (c Compaction) Fits(epoch string, first, last, compacted uint64) error {
	for i, e := range c.Entries {
		if i > 0 && e.First() != c.Entries[i-1].Seq+1 || e.First() > e.Seq {
			return fmt.Errorf("compact: %w: entry %d does not follow the one before it", ErrConflict, e.Seq)
		}
	}
	switch {
	case len(c.Entries) == 0:
		return fmt.Errorf("compact: %w: no entries", ErrConflict)
	case c.Epoch != epoch:
		return fmt.Errorf("compact: %w: the log is in another epoch", ErrConflict)
	case c.After != compacted:
		return fmt.Errorf("compact: %w: the log is compacted up to %d, not to %d", ErrConflict, compacted, c.After)
	case c.First() != max(compacted+1, first) || c.Last() > last:
		return fmt.Errorf("compact: %w: entries %d to %d in a log from %d to %d", ErrConflict, c.First(), c.Last(), first, last)
	}
	return nil
}
