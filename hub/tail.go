package hub

import (
	"slices"
	"sync"
	"time"

	"sessionhub/protocol"
)

// Encoding is how a stream writes the log.
type Encoding uint8

const (
	WebSocket Encoding = iota
	SSE
	encodings // how many there are
)

// append encodes an event at the end of b.
func (enc Encoding) append(b []byte, epoch string, e protocol.Entry) []byte {
	if enc == SSE {
		return protocol.AppendEventSSE(b, epoch, e)
	}
	return protocol.AppendEventFrame(b, e)
}

// size is at least what append needs.
func (enc Encoding) size(epoch string, e protocol.Entry) int {
	size := e.JSONLen() + 64 // room for the largest header of either encoding
	if enc == SSE {
		size += len(epoch) + 40
	}
	return size
}

// encode joins events in one piece of memory: grown event by event, a page
// would be copied several times, and every reader who has fallen off the tail
// would leave as much garbage.
func (enc Encoding) encode(epoch string, entries []protocol.Entry) []byte {
	size := 0
	for _, e := range entries {
		size += enc.size(epoch, e)
	}
	p := make([]byte, 0, size)
	for _, e := range entries {
		p = enc.append(p, epoch, e)
	}
	return p
}

// maxTailBytes bounds what a tail keeps of its session in one encoding, unless
// a single event is larger. It is also what a write that waits can hold on to,
// so together with the kernel's send buffer it stays below 256 KB.
const (
	minTailBytes = 2 << 10
	maxTailBytes = 96 << 10
)

// tail is the live end of one session's event log on this node, encoded once
// for all who read it. It exists while somebody listens.
//
// The bytes of an encoding lie in one buffer, so that what a subscriber lacks
// is a subslice of it. Bytes that were handed out are never changed: a full
// buffer is replaced by a new one that begins with its later half.
//
// mu guards the tail and the cursors of its subscribers. It is held for no
// call that blocks. Lock order: the store's session lock, then mu (a notice
// comes under the first).
type tail struct {
	// Immutable.
	hub     *Hub
	session string
	user    string

	watch sync.Once // has the store watched, by the first who joins
	stop  func()    // of the watch

	mu      sync.Mutex
	epoch   string             // that the cursors of its subscribers count in
	moved   bool               // the log has gone on to another epoch: see adopt
	changed bool               // the state has, since the sweeper looked at it
	last    uint64             // last seq that was announced
	closed  uint64             // seq of the closed event, once it was announced
	touched time.Duration      // last append, since tails.began
	subs    []*Subscriber      // who listens
	readers [encodings]int32   // how many of them in each encoding
	bufs    *[encodings]buffer // nil: nothing came for a while
}

// buffer holds the encoded events first to first+len(marks)-1. An empty one
// stands before whatever comes next.
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
func (b *buffer) add(enc Encoding, epoch string, e protocol.Entry, now int64) {
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
	size := enc.size(epoch, e)
	if len(b.data)+size > cap(b.data) {
		b.grow(size)
	}
	b.data = enc.append(b.data, epoch, e)
	b.marks = append(b.marks, mark{end: len(b.data), at: now})
}

// grow makes room for size more bytes in a new array, dropping the older half
// when the bound is reached.
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

// after returns the bytes behind the cursor, whole events of at most most bytes
// (one at least), the last seq in them and when the first one arrived. ok is
// false when the buffer does not begin at the cursor.
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

// after is buffer.after of an encoding.
func (t *tail) after(enc Encoding, cursor uint64, most int) (p []byte, last uint64, at int64, ok bool) {
	if t.bufs == nil {
		return nil, 0, 0, false
	}
	return t.bufs[enc].after(cursor, most)
}

// notify takes a store's notice. It is called under the store's lock: it only
// encodes and wakes.
func (t *tail) notify(n Notice) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.touched = now.Sub(t.hub.tails.began)
	t.changed = t.changed || n.Changed
	if t.moved || n.Epoch != "" && n.Epoch != t.epoch {
		t.moveLocked()
		return
	}
	before := t.last
	for _, e := range n.Entries {
		// A repeat or a hole: the buffers end here, and who lacks something
		// reads the store, which has it whole.
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
			t.bufs = new([encodings]buffer)
		}
		for enc := range encodings {
			if t.readers[enc] > 0 {
				t.bufs[enc].add(enc, t.epoch, e, now.UnixNano())
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

// tails are this node's tails by session.
type tails struct {
	began time.Time // the beginning of this node's time: see now

	mu    sync.Mutex
	by    map[string]*tail
	count int // subscribers on this node
}

func (ts *tails) init() { ts.began, ts.by = time.Now(), make(map[string]*tail) }

// now is a moment in 8 bytes, where a time.Time has 24, and as safe from clocks
// that are set.
func (ts *tails) now() time.Duration { return time.Since(ts.began) }

// join puts a subscriber on its session's tail. When it returns, the store's
// notices come; those between the snapshot and now are missing, which the next
// one shows, or the check in Start.
func (ts *tails) join(h *Hub, s *Subscriber, snap Snapshot) {
	t := ts.enter(h, s, snap)
	// With no lock held: a store can be slow. Others who join this session wait
	// for the same watch, and nobody else does.
	t.watch.Do(func() { t.stop = h.store.Watch(t.session, t.notify) })
}

func (ts *tails) enter(h *Hub, s *Subscriber, snap Snapshot) *tail {
	info := &snap.State.Info
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.count++
	t := ts.by[info.SessionID]
	if t == nil {
		t = &tail{
			hub: h, session: info.SessionID, user: info.UserID, epoch: snap.Epoch(), last: snap.Last, touched: ts.now(),
		}
		ts.by[t.session] = t
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last, snap.Last)
	t.subs = append(t.subs, s)
	s.slot = int32(len(t.subs) - 1)
	t.readers[s.enc]++
	s.tail = t
	return t
}

// leave takes a subscriber off. The tail goes with the last one.
func (ts *tails) leave(s *Subscriber) {
	if ts.exit(s) {
		// With no lock held. Notices that still come find nobody.
		s.tail.stop()
	}
}

// exit reports whether the tail is nobody's any more.
func (ts *tails) exit(s *Subscriber) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := s.tail
	t.mu.Lock()
	i, end := s.slot, len(t.subs)-1
	t.subs[i] = t.subs[end]
	t.subs[i].slot = i
	t.subs[end] = nil
	t.subs = t.subs[:end]
	if t.readers[s.enc]--; t.readers[s.enc] == 0 && t.bufs != nil {
		t.bufs[s.enc] = buffer{}
	}
	empty := len(t.subs) == 0
	t.mu.Unlock()
	ts.count--
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

// Streams is how many streams this node serves.
func (h *Hub) Streams() int {
	h.tails.mu.Lock()
	defer h.tails.mu.Unlock()
	return h.tails.count
}
