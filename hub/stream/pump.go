package stream

import (
	"errors"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// pump is a subscriber that a goroutine writes to. The goroutine exists only while there
// is something to write. Subscriber.busy says that it does.
type pump struct{ *Subscriber }

// pumps counts the running pumps of a node, so that Streams.Run can wait for all of them.
// It costs each pump two additions, and an event nothing.
type pumps struct {
	running atomic.Int64  // running pumps; plus noMore after close
	once    sync.Once     // of over
	over    chan struct{} // closed when close was called and no pump runs
}

const noMore = 1 << 62

// start starts the pump of a subscriber, which the caller has claimed. After close it
// starts none, and the stream is cut. A subscriber of a channel has its turn there.
func (p *pumps) start(s *Subscriber) {
	if s.channel != nil {
		s.channel.enqueue(s)
		return
	}
	p.run(pump{s}.run)
}

// run runs f in a goroutine, which close waits for. After close it runs nothing.
func (p *pumps) run(f func()) {
	if p.running.Add(1) > noMore {
		p.done()
		return
	}
	go func() {
		defer p.done()
		f()
	}()
}

func (p *pumps) done() {
	if p.running.Add(-1) == noMore {
		p.once.Do(func() { close(p.over) })
	}
}

func (p *pumps) closed() bool { return p.running.Load() >= noMore }

// close ends the start of pumps. It is called once; over is closed when the last pump has
// ended.
func (p *pumps) close() {
	p.running.Add(1 + noMore)
	p.done()
}

// errTrimmed says that the log no longer has the reader's next event.
var errTrimmed = errors.New("trimmed")

// run writes until there is nothing more to write. No other goroutine writes the log to
// this sink meanwhile.
func (s pump) run() {
	defer s.recover()
	for s.write() {
	}
}

// first writes once, as the pump does. It reports whether there may be more to write.
func (s pump) first() (more bool) {
	defer s.recover()
	return s.write()
}

// write writes once. It reports whether there may be more to write.
func (s pump) write() bool {
	c := s.next(true)
	switch c.then {
	case ends:
		s.ended.CompareAndSwap(nil, c.end)
		s.sink.End(c.end.code, c.end.reason)
		return false
	case writes:
	default:
		return false
	}
	err := s.sink.Write(c.bytes)
	if errors.Is(err, ErrStreamEnded) {
		return false // a cut would keep the close frame from the peer
	}
	if err != nil {
		s.ended.CompareAndSwap(nil, &ending{code: 1006, reason: "write failed", cause: metrics.CloseWriteError})
		s.sink.Cut()
		return false
	}
	s.delivered(c)
	return true
}

// delivered counts what was written.
func (s pump) delivered(c chunk) {
	s.events.Add(c.events)
	s.bytes.Add(uint64(len(c.bytes)))
	s.tail.streams.Metrics.Delivered(s.Transport(), c.events, len(c.bytes), c.at)
}

// recover ends this stream only, after a panic in its pump. busy stays set, so no second
// pump starts.
func (s pump) recover() {
	p := recover()
	if p == nil {
		return
	}
	s.tail.streams.Log.Error("panic in a stream", "session", s.tail.session, "panic", p, "stack", string(debug.Stack()))
	s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseInternal, reason: "internal", cause: metrics.CloseInternal})
	s.sink.End(protocol.CloseInternal, "internal")
}

// chunk is what a subscriber has to write next.
type chunk struct {
	bytes  []byte
	events uint64  // in the bytes
	at     int64   // when the first of them arrived here; 0: it was read from the store
	end    *ending // with ends
	then   verdict
}

// verdict says what a chunk is.
type verdict uint8

const (
	rests  verdict = iota // there is nothing to write: the pump is over
	writes                // the bytes
	ends                  // the stream, after all that was written
	lags                  // the next bytes are in the store, and the caller wanted no read
	awaits                // the store did not answer a subscriber of a channel: it tries again later
)

// next gives what to write next. If nothing is left, next has cleared busy. With read, it
// may read the store. Without, it does not block.
func (s pump) next(read bool) chunk {
	t := s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if s.left || s.ended.Load() != nil {
			s.busy = false
			return chunk{}
		}
		if len(s.control) > 0 {
			p := s.control
			s.control = nil
			return chunk{bytes: p, then: writes}
		}
		if s.ending != nil {
			return chunk{end: s.ending, then: ends}
		}
		// Before the events: a log that never rests must not delay caught_up.
		if !s.caughtUp && s.cursor >= s.target {
			s.caughtUp = true
			s.controlLocked(protocol.ControlCaughtUp, protocol.CaughtUp{Seq: s.cursor})
			continue
		}
		if s.away {
			s.away = false
			return chunk{then: awaits}
		}
		if t.moved {
			if !read {
				return chunk{then: lags}
			}
			if end := s.followLocked(); end != nil {
				return chunk{end: end, then: ends}
			}
			continue
		}
		if s.cursor < t.last {
			p, last, at, ok := t.after(s.enc, s.cursor, s.most())
			if ok {
				n := last - s.cursor
				s.cursor, s.begun = last, true
				return chunk{bytes: p, events: n, at: at, then: writes}
			}
			if !read {
				return chunk{then: lags}
			}
			if p, n := s.readLocked(); p != nil {
				return chunk{bytes: p, events: n, then: writes}
			}
			continue
		}
		if t.closed != 0 && s.cursor >= t.closed {
			s.ending = &ending{
				code: protocol.CloseEnded, reason: "the session has ended", cause: metrics.CloseSessionEnded, since: t.streams.tails.now(),
			}
			continue
		}
		s.busy = false
		return chunk{}
	}
}

// gone reports whether Stop was called.
func (s pump) gone() bool {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	return s.left
}

// most bounds the bytes of one write, unless a single event is larger.
func (s pump) most() int {
	if s.channel != nil {
		return maxTurn
	}
	return maxWrite
}

// readLocked reads a page of the store after the cursor, and releases the lock meanwhile.
// The page is for this subscriber alone. Only the pump moves the cursor.
func (s pump) readLocked() (p []byte, n uint64) {
	t := s.tail
	cursor, epoch := s.cursor, t.epoch
	page, p, err := s.pageUnlocked(cursor, epoch)
	switch {
	case err == nil && page.Epoch != epoch, errors.Is(err, session.ErrNotFound): // or a server that is behind has answered
		t.moveLocked()
		return nil, 0
	case t.moved || t.epoch != epoch: // meanwhile: the page may be of another epoch
		return nil, 0
	case errors.Is(err, errTrimmed):
		gap := protocol.Gap{Epoch: t.epoch, FromSeq: cursor + 1, ToSeq: page.Entries[0].First() - 1, Reason: protocol.GapTrimmed}
		s.controlLocked(protocol.ControlGap, gap)
		s.tail.streams.Metrics.Gap(gap.Reason)
		s.cursor = gap.ToSeq
		return nil, 0
	case err != nil:
		s.awaitStoreLocked(err)
		return nil, 0
	case len(page.Entries) == 0:
		// The announced events are missing: the log is shorter than a notice said.
		t.last = min(t.last, cursor)
		return nil, 0
	}
	if page.Entries[0].First() <= cursor && s.begun {
		s.restartLocked()
		return nil, 0
	}
	tip := page.Entries[len(page.Entries)-1]
	if tip.Type == protocol.EventClosed {
		t.closed = tip.Seq // a notice without entries did not say so
	}
	s.cursor, s.begun = tip.Seq, true
	return p, uint64(len(page.Entries))
}

// restartLocked sends the reader another connected frame. It is for a slow reader whose
// cursor lies within a run that was compacted meanwhile. Only after connected may an
// event begin before the reader's cursor.
func (s pump) restartLocked() {
	snap, err := s.tail.askLocked(s.tail.streams.store.Load)
	switch {
	case err == nil && snap.Epoch() == s.tail.epoch && !s.tail.moved:
		s.connectedLocked(snap)
	case err == nil || errors.Is(err, session.ErrNotFound):
		s.tail.moveLocked()
	default:
		s.awaitStoreLocked(err)
	}
}

// pageUnlocked reads a page of the store after the cursor. It releases the tail's lock
// meanwhile.
func (s pump) pageUnlocked(cursor uint64, epoch string) (page store.Page, p []byte, err error) {
	t := s.tail
	t.mu.Unlock()
	defer t.mu.Lock()
	ctx, cancel := t.streams.StoreCall()
	defer cancel()
	page, err = t.streams.store.Read(ctx, t.session, cursor, MaxHistoryEvents, s.most())
	if err == nil && len(page.Entries) > 0 {
		if first := page.Entries[0].First(); first > cursor+1 {
			err = errTrimmed
		} else {
			p = s.enc.Encode(t.session, epoch, page.Entries)
		}
	}
	return page, p, err
}

// followLocked reads the present epoch of a log that moved, and releases the lock
// meanwhile. It returns an end if the session is gone.
func (s pump) followLocked() *ending {
	t := s.tail
	snap, err := t.askLocked(t.streams.store.Load)
	if t.moved && (errors.Is(err, session.ErrNotFound) || err == nil && t.behindLocked(snap)) {
		snap, err = t.askLocked(t.streams.store.Confirm)
	}
	switch {
	case errors.Is(err, session.ErrNotFound):
		return &ending{code: protocol.CloseNotFound, reason: "the session is gone", cause: metrics.CloseSessionEnded}
	case err != nil:
		s.awaitStoreLocked(err)
	case !t.moved: // another subscriber was faster
	case snap.Epoch() == t.epoch && !t.behindLocked(snap):
		// The notice of another epoch, or this snapshot, came from a server that is behind.
		t.moved, t.last = false, max(t.last, snap.Last)
		s.awaitStoreLocked(store.ErrBehind)
	default:
		t.adoptLocked(snap)
	}
	return nil
}

// awaitStoreLocked pauses after a failed call of the store. The readers stay: they get
// the rest when the store is back. On a channel the pause must hold nobody else.
func (s pump) awaitStoreLocked(err error) {
	t := s.tail
	t.streams.Log.Debug("read event log", "session", t.session, "error", err)
	if s.channel != nil {
		s.away = true
		return
	}
	t.mu.Unlock()
	time.Sleep(engine.StoreRetry)
	t.mu.Lock()
}
