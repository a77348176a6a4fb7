package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Load implements store.Reader. It waits for nothing.
func (s *sessions) Load(_ context.Context, id string) (store.Snapshot, error) {
	_, h, err := s.find(id)
	if err != nil {
		return store.Snapshot{}, err
	}
	return h.snapshot(), nil
}

// Confirm implements store.Reader. It is Load, as there is no other server.
func (s *sessions) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	return s.Load(ctx, id)
}

func (h *head) snapshot() store.Snapshot {
	return store.Snapshot{
		State: h.state, Version: h.version, Epochs: h.epochs,
		First: h.first, Last: h.last, Compacted: h.compact, LastActivity: time.Unix(0, h.activity), N: h.n,
	}
}

// steady calls read with a session's present head. A writer changes the files before it
// shows its new head, so read can find files that are ahead of its head. read then returns
// false. steady calls it again with a newer head, or else under the writers' lock. What
// does not fit under that lock is damaged.
func (s *sessions) steady(id string, read func(x *record, h *head) (fits bool, err error)) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.gate.RUnlock()
	x, h, err := s.find(id)
	if err != nil {
		return err
	}
	fits, err := read(x, h)
	if now := x.head.Load(); err == nil && !fits && now != h {
		fits, err = read(x, now)
	}
	if err == nil && fits {
		return nil
	}
	if err == nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.gone {
			return notFound(id)
		}
		if fits, err = read(x, x.head.Load()); err == nil && fits {
			return nil
		}
	}
	return x.unreadable(fits, err)
}

// unreadable makes the error for a session that cannot be read. err is nil if the data that
// was read does not fit together.
func (x *record) unreadable(fits bool, err error) error {
	if err == nil {
		err = errors.New("its log has a hole")
	}
	if errors.Is(err, errShort) || errors.Is(err, pebble.ErrCorruption) || !fits {
		err = damaged(err)
	}
	return fmt.Errorf("session %s: %w: %w", x.id, store.ErrUnavailable, err)
}

// Read implements store.Reader. The first event can be a compacted one that begins at or
// before the cursor.
func (s *sessions) Read(_ context.Context, id string, after uint64, maxEvents, maxBytes int) (store.Page, error) {
	var page store.Page
	err := s.steady(id, func(x *record, h *head) (bool, error) {
		page = store.Page{First: h.first, Last: h.last, Epoch: h.epochs[len(h.epochs)-1].Epoch}
		next, bytes, full := max(h.first, after+1), 0, false
		if after >= h.last || maxEvents <= 0 {
			return true, nil
		}
		err := x.events(next, h.last, func(e protocol.Entry) bool {
			if e.First() != next && (len(page.Entries) > 0 || e.First() > next || e.First() < h.first) {
				return false
			}
			bytes += e.JSONLen()
			if full = len(page.Entries) == maxEvents || bytes > maxBytes && len(page.Entries) > 0; full {
				return false
			}
			page.Entries = append(page.Entries, e)
			next = e.Seq + 1
			return true
		})
		return full || next == h.last+1, err
	})
	if err != nil {
		return store.Page{}, err
	}
	return page, nil
}

// events calls take with the events from one seq to another, until take returns false. A
// compacted event is stored under its last seq.
func (x *record) events(from, to uint64, take func(protocol.Entry) bool) (err error) {
	it, err := x.store.db.NewIter(&pebble.IterOptions{
		LowerBound: numbered(x.order, dataEvent, from), UpperBound: numbered(x.order, dataEvent, to+1),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		seq, err := seqOf(it.Key())
		if err != nil {
			return err
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		e, err := decodeEvent(seq, value)
		if err != nil {
			return fmt.Errorf("event %d: %w", seq, err)
		}
		if !take(e) {
			return nil
		}
	}
	return it.Error()
}

// seqOf returns the seq at the end of an event's or a command's key.
func seqOf(key []byte) (uint64, error) {
	if len(key) != numberedLen {
		return 0, errShort
	}
	return binary.BigEndian.Uint64(key[10:]), nil
}

// trim drops the oldest events. The last event always stays. Called with x.mu held.
func (x *record) trim(batch *pebble.Batch, h *head, fresh []protocol.Entry) error {
	r := x.store.retention
	over := func() bool {
		return r.Exceeded(int(h.count), int64(h.bytes))
	}
	if !over() {
		return nil
	}
	var gone []uint64
	drop := func(e protocol.Entry) bool {
		if !over() {
			return false
		}
		h.count--
		h.bytes -= uint64(e.JSONLen())
		h.first = e.Seq + 1
		gone = append(gone, e.Seq)
		return true
	}
	stored := h.last - uint64(len(fresh))
	if h.first <= stored {
		if err := x.events(h.first, stored, drop); err != nil {
			return fmt.Errorf("session %s: %w: %w", x.id, store.ErrUnavailable, explain(err))
		}
	}
	for _, e := range fresh {
		if e.Seq != h.first || !drop(e) {
			break
		}
	}
	x.remove(batch, gone)
	return nil
}

// singly is how many events remove deletes key by key. It deletes more of them with one
// range mark, which makes later reads dearer.
const singly = 64

// remove deletes stored events, and every key between them.
func (x *record) remove(batch *pebble.Batch, seqs []uint64) {
	if n := len(seqs); n > singly {
		_ = batch.DeleteRange(numbered(x.order, dataEvent, seqs[0]), numbered(x.order, dataEvent, seqs[n-1]+1), nil)
		return
	}
	for _, seq := range seqs {
		_ = batch.Delete(numbered(x.order, dataEvent, seq), nil)
	}
}

// Commands implements store.CommandLog.
func (s *sessions) Commands(_ context.Context, id string, after uint64) ([]session.Command, error) {
	var out []session.Command
	err := s.steady(id, func(x *record, h *head) (_ bool, err error) {
		out = nil
		if after == ^uint64(0) {
			return true, nil
		}
		it, err := s.db.NewIter(&pebble.IterOptions{
			LowerBound: numbered(x.order, dataCommand, after+1), UpperBound: named(x.order, dataCommand+1, ""),
		})
		if err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, it.Close()) }()
		for ok := it.First(); ok; ok = it.Next() {
			seq, err := seqOf(it.Key())
			if err != nil {
				return false, err
			}
			value, err := it.ValueAndErr()
			if err != nil {
				return false, err
			}
			stamp, c, err := decodeCommand(seq, value)
			if err != nil {
				return false, fmt.Errorf("command %d: %w", seq, err)
			}
			if stamp <= h.stamp {
				out = append(out, c)
			}
		}
		return true, it.Error()
	})
	return out, err
}

// Note implements store.Notes.
func (s *sessions) Note(_ context.Context, id, key string) (value string, seq uint64, ok bool, err error) {
	err = s.steady(id, func(x *record, h *head) (bool, error) {
		var b []byte
		var err error
		if b, ok, err = s.get(named(x.order, dataNote, key)); err != nil || !ok {
			return true, err
		}
		var stamp uint64
		if stamp, seq, value, err = decodeNote(b); err != nil {
			return false, fmt.Errorf("a note: %w", err)
		}
		return stamp <= h.stamp, nil
	})
	if err != nil || !ok {
		return "", 0, false, err
	}
	return value, seq, true, nil
}

// LoadNote implements store.Notes. A note is never taken away: a note that was there when
// the snapshot was read is still there when the note is read.
func (s *sessions) LoadNote(ctx context.Context, id, key string) (store.Snapshot, store.Noted, error) {
	snap, err := s.Load(ctx, id)
	if err != nil {
		return store.Snapshot{}, store.Noted{}, err
	}
	var n store.Noted
	n.Value, n.Seq, n.OK, err = s.Note(ctx, id, key)
	return snap, n, err
}

// Part implements store.Parts.
func (s *sessions) Part(_ context.Context, id, key string) (data []byte, ok bool, err error) {
	err = s.steady(id, func(x *record, _ *head) (bool, error) {
		var err error
		data, ok, err = s.get(named(x.order, dataPart, key))
		return true, err
	})
	return data, ok, err
}
