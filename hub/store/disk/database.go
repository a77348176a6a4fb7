package disk

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// database is Pebble, until it fails or is closed.
type database struct {
	db     *pebble.DB
	dir    string // for people
	log    *slog.Logger
	failed func(error) // called once

	failure atomic.Pointer[failure]
	stopped chan struct{} // closed with failure
	trouble trouble
	opening atomic.Bool
	closed  atomic.Bool
	gate    sync.RWMutex // each use of db holds it for reading
}

// apply writes a batch and waits until it is on the disk. Pebble writes and syncs
// concurrent batches together.
func (d *database) apply(batch *pebble.Batch) error { return d.commit(batch, pebble.Sync) }

// applyLater writes a batch and does not wait for the disk. A power cut can lose the batch,
// but then also everything that was applied after it.
func (d *database) applyLater(batch *pebble.Batch) error { return d.commit(batch, pebble.NoSync) }

func (d *database) commit(batch *pebble.Batch, sync *pebble.WriteOptions) error {
	if err := d.down(); err != nil {
		return err
	}
	if err := d.db.Apply(batch, sync); err != nil {
		d.fail(err)
	}
	return d.down()
}

// flush moves everything from the log to tables. It waits until the tables are on the disk,
// the store fails or ctx ends.
func (d *database) flush(ctx context.Context) error {
	done, err := d.db.AsyncFlush()
	if err != nil {
		return err
	}
	select {
	case <-done:
	case <-d.stopped:
	case <-ctx.Done():
		return ctx.Err()
	}
	return d.down()
}

// scan calls do for every key of a kind, in order.
func (d *database) scan(kind byte, do func(order uint64, value []byte) error) (err error) {
	it, err := d.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		order, err := orderOf(it.Key())
		if err != nil {
			return damaged(err)
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		if err := do(order, value); err != nil {
			return err
		}
	}
	return it.Error()
}

// get reads a key; ok is false if it is not there.
func (d *database) get(key []byte) (value []byte, ok bool, err error) {
	v, closer, err := d.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	value = slices.Clone(v)
	return value, true, closer.Close()
}
