package stream

import (
	"slices"
	"sync"
	"time"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// maxTailBytes bounds the bytes that a tail keeps in one encoding, unless a single event
// is larger. A write that waits can hold on to as much. Together with the kernel's send
// buffer this stays below 256 KB.
const (
	minTailBytes = 2 << 10
	maxTailBytes = 96 << 10
)

// tail is the live end of one session's event log on this node, encoded once for all its
// readers. It exists while it has a subscriber.
//
// The bytes of an encoding lie in one buffer, and a subscriber gets a subslice of it.
// Bytes that were handed out never change. A full buffer is replaced by a new one that
// begins with its later half.
//
// mu guards the tail and the cursors of its subscribers. It is held for no call that
// blocks. Lock order: the store's session lock, then mu (a notice comes under the first).
type tail struct {
	// Immutable.
	streams *Streams
	session string
	user    string

	watch sync.Once // the first subscriber starts the watch
	stop  func()    // of the watch

	mu      sync.Mutex
	epoch   string                      // in which the cursors of its subscribers count
	moved   bool                        // the log has gone on in another epoch: see adoptLocked
	changed bool                        // the session's state has, since the last sweep
	last    uint64                      // last seq that was announced
	closed  uint64                      // seq of the closed event, once it was announced
	touched time.Duration               // last append, since tails.began
	subs    []*Subscriber               // the readers
	readers [protocol.Encodings]int32   // number of readers in each encoding
	bufs    *[protocol.Encodings]buffer // nil: no event came for a while
}

// buffer holds the encoded events first to first+len(marks)-1. An empty buffer begins
// with the next event.
type buffer struct {
	data  []byte
	first uint64
	marks []mark
}

type mark struct {
	end int   // offset behind the event in data
	at  int64 // unix nanoseconds of its arrival here
}

// add encodes an event at the end of the buffer.
func (b *buffer) add(enc protocol.Encoding, session, epoch string, e protocol.Entry, now int64) {
	if len(b.marks) > 0 && e.Seq != b.first+uint64(len(b.marks)) || e.From != 0 {
		*b = buffer{} // not the next one: readers find it in the store
		if e.From != 0 {
			return
		}
	}
	if len(b.marks) == 0 {
		b.first = e.Seq
		b.data = b.data[:0:0]
	}
	size := enc.Size(session, epoch, e)
	if len(b.data)+size > cap(b.data) {
		b.grow(size)
	}
	b.data = enc.Append(b.data, session, epoch, e)
	b.marks = append(b.marks, mark{end: len(b.data), at: now})
}

// grow makes room for size more bytes in a new array. At the bound it drops the older
// half.
func (b *buffer) grow(size int) {
	drop, from := 0, 0
	if len(b.data)+size > maxTailBytes {
		for drop < len(b.marks) && len(b.data)-from+size > maxTailBytes/2 {
			from = b.marks[drop].end
			drop++
		}
	}
	keep := b.data[from:]
	data := make([]byte, len(keep), max(minTailBytes, min(2*(len(keep)+size), maxTailBytes), len(keep)+size))
	copy(data, keep)
	marks := make([]mark, len(b.marks)-drop, cap(b.marks)-drop+1)
	for i, m := range b.marks[drop:] {
		marks[i] = mark{end: m.end - from, at: m.at}
	}
	b.data, b.marks, b.first = data, marks, b.first+uint64(drop)
}

// after returns the bytes after the cursor: whole events of at most most bytes, or one
// longer event. last is the last seq in them, at is when the first one arrived. ok is
// false when the buffer does not have the next event.
func (b *buffer) after(cursor uint64, most int) (p []byte, last uint64, at int64, ok bool) {
	n := uint64(len(b.marks))
	if n == 0 || cursor+1 < b.first || cursor+1 >= b.first+n {
		return nil, 0, 0, false
	}
	i := int(cursor + 1 - b.first)
	start := 0
	if i > 0 {
		start = b.marks[i-1].end
	}
	j, _ := slices.BinarySearchFunc(b.marks[i:], start+most, func(m mark, end int) int { return m.end - end })
	if j += i; j == len(b.marks) || b.marks[j].end > start+most {
		j = max(j-1, i)
	}
	end := b.marks[j].end
	return b.data[start:end:end], b.first + uint64(j), b.marks[i].at, true
}

// after is buffer.after for one encoding.
func (t *tail) after(enc protocol.Encoding, cursor uint64, most int) (p []byte, last uint64, at int64, ok bool) {
	if t.bufs == nil {
		return nil, 0, 0, false
	}
	return t.bufs[enc].after(cursor, most)
}

// notify takes a store's notice. It is called under the store's lock, so it only encodes
// and wakes.
func (t *tail) notify(n store.Notice) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touched = now.Sub(t.streams.tails.began)
	t.changed = t.changed || n.Changed
	if t.moved || n.Epoch != "" && n.Epoch != t.epoch {
		t.moveLocked()
		return
	}
	before := t.last
	for _, e := range n.Entries {
		// A repeat or a hole: the buffers end here. A subscriber that lacks an event reads
		// the store, which has all of them.
		if e.First() != t.last+1 {
			if e.Seq <= t.last {
				continue
			}
			t.bufs = nil
		}
		t.last = e.Seq
		if e.Type == protocol.EventClosed {
			t.closed = e.Seq
		}
		if t.bufs == nil {
			t.bufs = new([protocol.Encodings]buffer)
		}
		for enc := range protocol.Encodings {
			if t.readers[enc] > 0 {
				t.bufs[enc].add(enc, t.session, t.epoch, e, now.UnixNano())
			}
		}
	}
	if n.Last > t.last {
		t.last = n.Last
		t.bufs = nil
	}
	if t.last > before {
		for _, s := range t.subs {
			s.wakeLocked()
		}
	}
}

// tails holds this node's tails by session.
type tails struct {
	began time.Time // the zero of now

	mu    sync.Mutex
	by    map[string]*tail
	count int // connections on this node
}

func (ts *tails) init() { ts.began, ts.by = time.Now(), make(map[string]*tail) }

// now is the time since began. It has 8 bytes, where a time.Time has 24, and a clock that
// is set does not affect it either.
func (ts *tails) now() time.Duration { return time.Since(ts.began) }

// join adds a subscriber to its session's tail. When it returns, the store sends notices.
// Notices between the snapshot and now are missing. The next notice shows that, or the
// second read in Start.
func (ts *tails) join(ss *Streams, s *Subscriber, snap store.Snapshot) {
	t := ts.enter(ss, s, snap)
	// With no lock held, since a store can be slow. Other subscribers of this session wait for
	// the same watch, and no others do.
	t.watch.Do(func() { t.stop = ss.store.Watch(t.session, t.notify) })
}

func (ts *tails) enter(ss *Streams, s *Subscriber, snap store.Snapshot) *tail {
	info := &snap.State.Info
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if !s.rides() {
		ts.count++
	}
	t := ts.by[info.SessionID]
	if t == nil {
		t = &tail{
			streams: ss, session: info.SessionID, user: info.UserID, epoch: snap.Epoch(), last: snap.Last, touched: ts.now(),
		}
		ts.by[t.session] = t
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last, snap.Last)
	t.subs = append(t.subs, s)
	s.index = int32(len(t.subs) - 1)
	t.readers[s.enc]++
	s.tail = t
	return t
}

// enterChannel gives a channel's own subscriber a tail without a log, so that the sweeper
// finds it.
func (ts *tails) enterChannel(ss *Streams, own *Subscriber) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.count++
	t := &tail{streams: ss, session: own.channel.id, user: own.channel.user, stop: func() {}, subs: []*Subscriber{own}}
	t.readers[own.enc]++
	ts.by[t.session], own.tail = t, t
}

// leave removes a subscriber. The tail goes with the last one.
func (ts *tails) leave(s *Subscriber) {
	if ts.exit(s) {
		// With no lock held. Later notices find no subscriber.
		s.tail.stop()
	}
}

// exit removes a subscriber, and reports whether it was the tail's last one.
func (ts *tails) exit(s *Subscriber) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := s.tail
	t.mu.Lock()
	i, end := s.index, len(t.subs)-1
	t.subs[i] = t.subs[end]
	t.subs[i].index = i
	t.subs[end] = nil
	t.subs = t.subs[:end]
	if t.readers[s.enc]--; t.readers[s.enc] == 0 && t.bufs != nil {
		t.bufs[s.enc] = buffer{}
	}
	empty := len(t.subs) == 0
	t.mu.Unlock()
	if !s.rides() {
		ts.count--
	}
	if empty {
		delete(ts.by, t.session)
	}
	return empty
}

// each calls f for every tail, with no lock held.
func (ts *tails) each(f func(*tail)) {
	ts.mu.Lock()
	all := make([]*tail, 0, len(ts.by))
	for _, t := range ts.by {
		all = append(all, t)
	}
	ts.mu.Unlock()
	for _, t := range all {
		f(t)
	}
}
