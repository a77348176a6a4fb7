package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Sink is a connection as a Subscriber writes to it.
type Sink interface {
	// Write writes whole frames and blocks until the kernel has them. The
	// bytes are shared with other subscribers: they must not be changed.
	// ErrStreamEnded says that the connection is being closed in order already.
	Write(p []byte) error
	// Stalled reports whether a Write waits and the peer has taken nothing for
	// limit. It is asked once a second and must be cheap and not block.
	Stalled(limit time.Duration) bool
	// LastHeard is the unix time in nanoseconds of the last sign of life of
	// the peer; 0 when the transport has none.
	LastHeard() int64
	// End ends the stream in order, after all that was written. It may block
	// for a bounded time.
	End(code int, reason string)
	// Cut ends it at once, from any goroutine, and fails a Write that waits.
	Cut()
}

// maxWrite bounds the bytes of one write, unless a single event is larger.
const maxWrite = 64 << 10

// Subscriber is a cursor and a connection. Idle it costs nothing but its memory:
// an append starts its pump, a goroutine that writes everything behind the
// cursor and ends when there is no more. A peer that takes nothing holds one
// write, and is cut by the sweeper; it can resume from its cursor.
type Subscriber struct {
	hub    *Hub
	tail   *tail
	sink   Sink
	enc    Encoding
	opened time.Time

	// guarded by tail.mu
	slot     int
	cursor   uint64 // last seq that was handed to the sink
	control  []byte // encoded control frames that come next
	caughtUp bool
	target   uint64 // replay ends here
	started  bool   // connected is in front: before it nothing is written
	busy     bool   // a pump runs
	ending   *ending
	beat     time.Time // last heartbeat
	asked    time.Time // oldest ping without an answer; a WebSocket's
	warned   bool      // the expiring frame went out
	user     string    // whose place it has
	grant    Grant     // what the stream was opened with
	delay    time.Duration
	left     bool

	ended  atomic.Pointer[ending] // why the stream ended, once it has
	events atomic.Uint64          // delivered
	bytes  atomic.Uint64
}

// ending is how a stream ends: code is a WebSocket close code.
type ending struct {
	code   int
	reason string
	cause  metrics.CloseReason
}

// Stream is a stream that was let in but has no connection yet: its place is
// taken, its cursor is valid. Exactly one of Start and Release must be called.
type Stream struct {
	hub  *Hub
	id   string
	user string
	from start
	enc  Encoding
	// Ended says that the reader has seen the session's last event already.
	Ended bool
}

// Open decides whether a stream may start, before its first byte. With
// Latest, it starts behind the last event at this moment.
func (h *Hub) Open(ctx context.Context, id string, c protocol.Cursor, enc Encoding) (*Stream, error) {
	if err := h.Ready(); err != nil {
		return nil, err
	}
	snap, err := h.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	from, err := resolve(c, snap)
	if err != nil {
		return nil, err
	}
	user := snap.State.Info.UserID
	if err := h.takeSlot(ctx, Slot{Session: id, User: user, Encoding: enc}); err != nil {
		return nil, err
	}
	return &Stream{hub: h, id: id, user: user, from: from, enc: enc, Ended: snap.State.Closed != "" && from.after >= snap.Last && len(from.gaps) == 0}, nil
}

// Release gives the place of a stream back that did not start.
func (s *Stream) Release() { s.hub.giveSlot(Slot{Session: s.id, User: s.user, Encoding: s.enc}) }

// Start begins to write to the sink: connected and the gaps before it returns,
// then all that is after the cursor, caught_up, and what comes. Stop must be called when the
// connection has ended. The stream lives no longer than the grant.
func (s *Stream) Start(ctx context.Context, sink Sink, grant Grant) (*Subscriber, error) {
	h := s.hub
	snap, err := h.store.Load(ctx, s.id)
	if err != nil {
		s.Release()
		return nil, err
	}
	now := time.Now()
	sub := &Subscriber{
		hub: h, sink: sink, enc: s.enc, opened: now, cursor: s.from.after, beat: now, user: s.user, grant: grant,
	}
	h.tails.join(h, sub, snap)
	// The watch is on: what was appended before it is seen by reading again.
	if again, err := h.store.Load(ctx, s.id); err == nil {
		snap = again
	}
	t := sub.tail
	t.mu.Lock()
	t.last = max(t.last, snap.Last)
	if snap.State.Closed != "" {
		t.closed = snap.Last
		sub.caughtUp = sub.cursor >= t.closed // nothing is left to catch up with
	}
	sub.target = max(snap.Last, sub.cursor)
	early := sub.control // what the sweeper or a drain had to say since join
	sub.control = nil
	sub.controlLocked(protocol.ControlConnected, protocol.Connected{
		SessionID: s.id, Epoch: snap.Epoch(), FirstSeq: snap.First, LastSeq: snap.Last, Status: snap.State.Status.Status,
		Node: h.cfg.Node, HeartbeatSeconds: int(h.cfg.Timers.Heartbeat / time.Second),
	})
	for _, g := range s.from.gaps {
		sub.controlLocked(protocol.ControlGap, g)
		h.cfg.Metrics.Gap(g.Reason)
	}
	sub.control = append(sub.control, early...)
	sub.started = true
	if !snap.State.TokenValid(grant) { // revoked since the stream was let in
		sub.endLocked(protocol.CloseToken, "the token was revoked", metrics.CloseToken)
	}
	select {
	case <-h.draining: // Drain took its list before this stream was on it
		sub.endLocked(protocol.CloseGoingAway, "the node is draining", metrics.CloseDraining)
	default:
	}
	sub.busy = true
	t.mu.Unlock()
	h.cfg.Metrics.StreamOpened(sub.transport(), s.from.after > 0, len(s.from.gaps) > 0)
	// connected is written before anything of the client is read: what it did
	// wrong at once must not close the connection ahead of it.
	if sub.write() {
		go sub.pump()
	}
	return sub, nil
}

func (s *Subscriber) transport() metrics.Transport {
	if s.enc == SSE {
		return metrics.TransportSSE
	}
	return metrics.TransportWebSocket
}

// Stop takes the subscriber off after its connection has ended, for the reason
// that ended it first. It may be called twice.
func (s *Subscriber) Stop(code int, reason string, cause metrics.CloseReason) {
	s.ended.CompareAndSwap(nil, &ending{code: code, reason: reason, cause: cause})
	s.tail.mu.Lock()
	left := s.left
	s.left = true
	s.tail.mu.Unlock()
	if left {
		return
	}
	s.hub.tails.leave(s)
	s.hub.giveSlot(Slot{Session: s.tail.session, User: s.user, Encoding: s.enc})
	s.hub.cfg.Metrics.StreamClosed(s.transport(), s.ended.Load().cause, time.Since(s.opened))
}

// Ended says how the stream ended; after Stop it is never empty.
func (s *Subscriber) Ended() (code int, cause metrics.CloseReason) {
	if e := s.ended.Load(); e != nil {
		return e.code, e.cause
	}
	return 0, ""
}

// Delivered counts what was written.
func (s *Subscriber) Delivered() (events, bytes uint64) { return s.events.Load(), s.bytes.Load() }

// SetGrant replaces what the stream lives by.
func (s *Subscriber) SetGrant(g Grant) {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	s.grant, s.warned = g, false
}

// End ends the stream after what was written so far.
func (s *Subscriber) End(code int, reason string, cause metrics.CloseReason) {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	s.endLocked(code, reason, cause)
}

func (s *Subscriber) endLocked(code int, reason string, cause metrics.CloseReason) {
	if s.ending == nil {
		s.ending = &ending{code: code, reason: reason, cause: cause}
		s.wakeLocked()
	}
}

// controlLocked puts a control frame in front of what comes next.
func (s *Subscriber) controlLocked(t protocol.ControlType, data any) {
	frame := protocol.AppendControl(nil, t, time.Now(), data)
	if s.enc == SSE {
		s.control = protocol.AppendControlSSE(s.control, t, frame)
		return
	}
	s.control = protocol.AppendFrame(s.control, frame)
}

func (s *Subscriber) wakeLocked() {
	if !s.started || s.busy || s.left || s.ended.Load() != nil {
		return
	}
	s.busy = true
	go s.pump()
}

// errTrimmed says that the log lost what the reader wanted next.
var errTrimmed = errors.New("trimmed")

// pump writes until there is nothing more to write. It is the only writer of
// the log to this sink.
func (s *Subscriber) pump() {
	for s.write() {
	}
}

// write writes once, as the pump. It reports whether there may be more.
func (s *Subscriber) write() bool {
	p, n, at, end := s.next()
	switch {
	case end != nil:
		s.ended.CompareAndSwap(nil, end)
		s.sink.End(end.code, end.reason)
		return false
	case p == nil:
		return false
	}
	err := s.sink.Write(p)
	if errors.Is(err, ErrStreamEnded) {
		return false // to cut it would take the goodbye from the peer
	}
	if err != nil {
		s.ended.CompareAndSwap(nil, &ending{code: 1006, reason: "write failed", cause: metrics.CloseWriteError})
		s.sink.Cut()
		return false
	}
	s.events.Add(n)
	s.bytes.Add(uint64(len(p)))
	s.hub.cfg.Metrics.Delivered(s.transport(), n, len(p), at)
	return true
}

// next gives the next bytes to write, n events among them of which the first
// arrived here at the given time (0: it was read from the store). Without
// bytes and without an end the pump is over: it has let go of busy.
func (s *Subscriber) next() (p []byte, n uint64, at int64, end *ending) {
	t := s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	for {
		if s.left || s.ended.Load() != nil {
			s.busy = false
			return nil, 0, 0, nil
		}
		if len(s.control) > 0 {
			p, s.control = s.control, nil
			return p, 0, 0, nil
		}
		if s.ending != nil {
			return nil, 0, 0, s.ending
		}
		// Before the events: a log that never rests must not put it off.
		if !s.caughtUp && s.cursor >= s.target {
			s.caughtUp = true
			s.controlLocked(protocol.ControlCaughtUp, protocol.CaughtUp{Seq: s.cursor})
			continue
		}
		if s.cursor < t.last {
			p, last, at, ok := t.bufs[s.enc].after(s.cursor, maxWrite)
			if ok {
				n, s.cursor = last-s.cursor, last
				return p, n, at, nil
			}
			p, n, end := s.readLocked()
			if p != nil || end != nil {
				return p, n, 0, end
			}
			continue
		}
		if t.closed != 0 && s.cursor >= t.closed {
			s.ending = &ending{code: protocol.CloseEnded, reason: "the session has ended", cause: metrics.CloseSessionEnded}
			continue
		}
		s.busy = false
		return nil, 0, 0, nil
	}
}

// readLocked reads a page of the store behind the cursor, with the lock let go
// meanwhile. The page is this subscriber's own; the pump is the only one who
// moves the cursor.
func (s *Subscriber) readLocked() (p []byte, n uint64, end *ending) {
	t := s.tail
	cursor := s.cursor
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.hub.cfg.Timers.WriteTimeout)
	page, err := s.hub.store.Read(ctx, t.session, cursor, MaxHistoryEvents, maxWrite)
	cancel()
	if err == nil && len(page.Entries) > 0 {
		if first := page.Entries[0].First(); first > cursor+1 {
			err = errTrimmed
		} else {
			p = s.enc.encode(t.epoch, page.Entries)
		}
	}
	t.mu.Lock()
	switch {
	case errors.Is(err, errTrimmed):
		gap := protocol.Gap{Epoch: t.epoch, FromSeq: cursor + 1, ToSeq: page.Entries[0].First() - 1, Reason: protocol.GapTrimmed}
		s.controlLocked(protocol.ControlGap, gap)
		s.hub.cfg.Metrics.Gap(gap.Reason)
		s.cursor = gap.ToSeq
		return nil, 0, nil
	case errors.Is(err, ErrNotFound):
		return nil, 0, &ending{code: protocol.CloseNotFound, reason: "the session is gone", cause: metrics.CloseSessionEnded}
	case err != nil:
		s.hub.cfg.Log.Error("read event log", "session", t.session, "error", err)
		return nil, 0, &ending{code: protocol.CloseUnavailable, reason: "the store is unreachable", cause: metrics.CloseUnavailable}
	case len(page.Entries) == 0:
		// Announced but not there: the log is shorter than was said.
		t.last = min(t.last, cursor)
		return nil, 0, nil
	}
	tip := page.Entries[len(page.Entries)-1]
	if tip.Type == protocol.EventClosed {
		t.closed = tip.Seq // a notice without entries did not say so
	}
	s.cursor = tip.Seq
	return p, uint64(len(page.Entries)), nil
}

// sweep looks at every subscriber once a second: it cuts those that take
// nothing, beats the heart of idle ones, and ends those whose token has.
func (h *Hub) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			h.tails.each(func(t *tail) {
				if t.sweep(now) {
					h.enforceTokens(ctx, t)
				}
			})
		}
	}
}

// sweep reports whether the session's state changed since the last look, so that
// the tokens must be looked at.
func (t *tail) sweep(now time.Time) (changed bool) {
	var cut []*Subscriber
	timers := t.hub.cfg.Timers
	t.mu.Lock()
	if now.Sub(t.touched) > timers.TailIdle {
		t.bufs = [encodings]buffer{} // who still lags reads the store
	}
	for _, s := range t.subs {
		if s.sink.Stalled(timers.WriteTimeout) {
			if s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseSlow, reason: "took nothing for too long", cause: metrics.CloseSlow}) {
				t.hub.cfg.Metrics.SlowClosed.Inc()
			}
			cut = append(cut, s)
			continue
		}
		if s.silentLocked(now) {
			s.ended.CompareAndSwap(nil, &ending{code: 1006, reason: "no answer to pings", cause: metrics.CloseVanished})
			cut = append(cut, s)
			continue
		}
		s.sweepLocked(now)
	}
	changed, t.changed = t.changed, false
	t.mu.Unlock()
	for _, s := range cut {
		s.sink.Cut()
	}
	return changed
}

func (s *Subscriber) sweepLocked(now time.Time) {
	timers := s.hub.cfg.Timers
	if expires := s.grant.Expires; !expires.IsZero() {
		if !now.Before(expires) {
			s.endLocked(protocol.CloseToken, "the token has expired", metrics.CloseToken)
			return
		}
		if !s.warned && expires.Sub(now) <= timers.ExpiringAhead {
			s.warned = true
			s.controlLocked(protocol.ControlExpiring, protocol.Expiring{ExpiresAt: expires.UTC()})
			s.wakeLocked()
		}
	}
	if now.Sub(s.beat) >= timers.Heartbeat {
		s.beat = now
		switch {
		case s.enc == WebSocket:
			answered := s.asked.IsZero() || s.sink.LastHeard() > s.asked.UnixNano()
			if s.busy && !answered {
				return // one on its way is enough: control frames go ahead of events
			}
			s.control = append(s.control, protocol.PingFrame...)
			if answered {
				s.asked = now
			}
		case s.busy:
			return // it is being written to: that is a heartbeat
		default:
			s.control = append(s.control, protocol.SSEComment...)
		}
		s.wakeLocked()
	}
}

// silentLocked reports whether the peer has answered no ping for too long. While
// a pump runs it is not asked: a slow reader finds the ping behind what it has
// still to read, and one that is gone stalls the write, which is seen sooner.
func (s *Subscriber) silentLocked(now time.Time) bool {
	heard := s.sink.LastHeard()
	if heard == 0 || s.asked.IsZero() || s.busy || heard >= s.asked.UnixNano() {
		return false
	}
	return now.Sub(s.asked) > s.hub.cfg.Timers.PongTimeout
}

// BeginDrain makes the node take nothing new: it is not ready, starts no stream,
// accepts no message and gives no session to a worker. What runs goes on.
func (h *Hub) BeginDrain() {
	h.drain.Do(func() {
		close(h.draining)
		h.cfg.Metrics.Draining.Set(1)
	})
}

// DrainStreams tells every stream when to come back, each at its own moment
// within spread, and ends it there. It returns when all have ended, or cuts
// those that are left when ctx ends. BeginDrain comes before it.
func (h *Hub) DrainStreams(ctx context.Context, spread time.Duration) error {
	var subs []*Subscriber
	h.tails.each(func(t *tail) {
		t.mu.Lock()
		subs = append(subs, t.subs...)
		t.mu.Unlock()
	})
	for _, s := range subs {
		wait := time.Duration(rand.Int64N(int64(max(spread, time.Millisecond))))
		s.tail.mu.Lock()
		s.controlLocked(protocol.ControlDraining, protocol.Draining{ReconnectAfterMs: wait.Milliseconds()})
		s.delay = wait
		s.wakeLocked()
		s.tail.mu.Unlock()
	}
	started := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		open := 0
		for _, s := range subs {
			s.tail.mu.Lock()
			if !s.left {
				open++
				if time.Since(started) >= s.delay {
					s.endLocked(protocol.CloseGoingAway, "the node is draining", metrics.CloseDraining)
				}
			}
			s.tail.mu.Unlock()
		}
		if open == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			for _, s := range subs {
				s.sink.Cut()
			}
			return fmt.Errorf("drain: %d streams were cut: %w", open, ctx.Err())
		case <-tick.C:
		}
	}
}

// Transport is what the stream's connection is.
func (s *Subscriber) Transport() metrics.Transport { return s.transport() }

// Age is how long the stream has been open.
func (s *Subscriber) Age() time.Duration { return time.Since(s.opened) }
