package mem

import (
	"slices"
	"sync"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// record is a session. There are very many of them and most are at rest, so it is kept
// small.
type record struct {
	order uint64 // of creation

	mu       sync.Mutex
	state    *session.State
	version  uint64
	n        uint64 // last event of the present assignment
	entries  []protocol.Entry
	bytes    int64
	last     uint64
	compact  uint64 // up to here the log was compacted
	activity int64  // unix nanoseconds of the last event
	commands []session.Command
	notes    map[string]note
	parts    map[string][]byte // nil while there is none
	watchers []*watcher
	deleted  bool
}

type note struct {
	value string
	seq   uint64
}

type watcher struct{ notify func(store.Notice) }

// Order implements Aged.
func (x *record) Order() uint64 { return x.order }

// snapshot is the session as it is. ok is false once the session is deleted.
func (x *record) snapshot(epochs []store.EpochStart) (snap store.Snapshot, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return store.Snapshot{
		State: x.state, Version: x.version, Epochs: epochs,
		First: x.first(), Last: x.last, Compacted: x.compact, LastActivity: time.Unix(0, x.activity), N: x.n,
	}, !x.deleted
}

// append stores a batch that the checks have let through. Called with x.mu held.
func (x *record) append(b store.Batch, r store.Retention) store.Appended {
	now := time.Now()
	done := store.Appended{First: x.last + 1, Time: now}
	if len(b.Events) > 0 {
		x.activity = now.UnixNano()
	}
	if b.Forget {
		x.entries, x.bytes, x.commands, x.notes, x.parts = nil, 0, nil, nil, nil
		x.compact = x.last
	}
	if b.Fence != nil {
		x.n = b.Fence.Last()
	}
	if b.State != nil {
		if x.state != nil && b.State.Assignment != x.state.Assignment {
			x.n = 0
		}
		x.state = b.State
		x.version++
	}
	added := len(x.entries)
	for _, e := range b.Events {
		x.last++
		entry := protocol.Entry{Seq: x.last, Type: e.Type}
		entry.Tail = protocol.AppendEventTail(make([]byte, 0, len(e.Data)+len(e.Type)+64), e.Type, now, e.Data)
		x.entries = append(x.entries, entry)
		x.bytes += int64(entry.JSONLen())
	}
	done.Last = x.last
	fresh := slices.Clip(x.entries[added:])

	for _, n := range b.Notes {
		if x.notes == nil {
			x.notes = make(map[string]note)
		}
		x.notes[n.Key] = note{value: n.Value, seq: done.First + uint64(n.Event)}
	}
	x.commands = append(x.commands, b.Commands...)
	if len(b.Drop) > 0 {
		x.commands = slices.DeleteFunc(x.commands, func(c session.Command) bool { return slices.Contains(b.Drop, c.Seq) })
	}
	x.keepParts(b)
	notice := store.Notice{Entries: fresh, Last: x.last, Changed: b.State != nil}
	for _, w := range x.watchers {
		w.notify(notice)
	}
	x.trim(r) // last: the watchers were shown its slice
	return done
}

// keepParts stores and drops parts of questions.
func (x *record) keepParts(b store.Batch) {
	for _, p := range b.Parts {
		if x.parts == nil {
			x.parts = make(map[string][]byte)
		}
		x.parts[p.Key] = p.Data
	}
	for _, key := range b.Dropped {
		delete(x.parts, key)
	}
	if len(x.parts) == 0 {
		x.parts = nil
	}
}

// trim drops the oldest entries. The slice moves on, and append copies it when it grows, so
// dropped entries do not stay in memory.
func (x *record) trim(r store.Retention) {
	drop := 0
	for r.Exceeded(len(x.entries)-drop, x.bytes) {
		x.bytes -= int64(x.entries[drop].JSONLen())
		x.entries[drop].Tail = nil
		drop++
	}
	x.entries = x.entries[drop:]
}

// first is the first seq that the log still has. Called with x.mu held.
func (x *record) first() uint64 {
	if len(x.entries) == 0 {
		return x.last + 1
	}
	return x.entries[0].First()
}
