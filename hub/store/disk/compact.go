package disk

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Compact implements store.Compacter. It does not wait for the disk: if a power cut loses
// the step, the text is still there in its old form. Compact reads the stored events before
// it locks the session, so appends wait only while it writes the batch.
func (s *sessions) Compact(_ context.Context, id string, c store.Compaction) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.gate.RUnlock()
	x, h, err := s.find(id)
	if err != nil {
		return err
	}
	if err := h.fits(c); err != nil {
		return err
	}
	e := exchange{x: x, batch: s.db.NewBatch()}
	defer e.batch.Close()
	fits, err := e.prepare(c)

	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone {
		return notFound(id)
	}
	next := *x.head.Load()
	// If the step still fits, nothing in its range has changed. An append trims or forgets
	// from the log's first event on. Another step moves the place where this step begins.
	if conflict := next.fits(c); conflict != nil {
		return conflict
	}
	if err != nil || !fits {
		return x.unreadable(fits, err)
	}
	next.count += e.count
	next.bytes += e.bytes
	next.compact = c.Last()
	next.set(e.batch, x.order)
	if err := s.applyLater(e.batch); err != nil {
		return fmt.Errorf("session %s: %w", id, err)
	}
	x.show(&next)
	return nil
}

func (h *head) fits(c store.Compaction) error {
	return c.Fits(h.epochs[len(h.epochs)-1].Epoch, h.first, h.last, h.compact)
}

// exchange collects in a batch the writes that replace stored entries with others.
type exchange struct {
	x            *record
	batch        *pebble.Batch
	count, bytes uint64 // to be added to the head's, so modulo 2^64

	// A stretch of the log in which no stored entry stays.
	old   []uint64 // keys that go
	fresh []protocol.Entry
}

// prepare compares the entries of a step with the stored ones. Equal entries stay as they
// are. An entry that does not fit was changed meanwhile, or is damaged.
func (e *exchange) prepare(c store.Compaction) (fits bool, err error) {
	rest, next := c.Entries, c.First()
	err = e.x.events(c.First(), c.Last(), func(old protocol.Entry) bool {
		now := rest[0]
		if old.First() != next || old.Seq > now.Seq {
			return false
		}
		next = old.Seq + 1
		if old.Seq == now.Seq {
			rest = rest[1:]
			if old.From == now.From && old.Type == now.Type && bytes.Equal(old.Tail, now.Tail) {
				e.write()
				return true
			}
			e.fresh = append(e.fresh, now)
			e.count++
			e.bytes += uint64(now.JSONLen())
		} else {
			e.old = append(e.old, old.Seq)
		}
		e.count--
		e.bytes -= uint64(old.JSONLen())
		return true
	})
	e.write()
	return err == nil && next == c.Last()+1, err
}

// write ends a stretch. It covers the stretch's old keys with one deletion mark, and sets
// the new keys after that.
func (e *exchange) write() {
	e.x.remove(e.batch, e.old)
	for _, entry := range e.fresh {
		setEvent(e.batch, e.x.order, entry)
	}
	e.old, e.fresh = e.old[:0], e.fresh[:0]
}
