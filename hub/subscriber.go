package hub

import (
	"context"
	"errors"
	"runtime/debug"
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
//
// There is one for each open stream, thousands of which idle: it is kept small.
type Subscriber struct {
	// Immutable once Start has returned.
	tail *tail
	sink Sink
	enc  Encoding

	// guarded by tail.mu
	started  bool // connected is in front: before it nothing is written
	busy     bool // a pump runs
	caughtUp bool
	warned   bool // the expiring frame went out
	left     bool
	slot     int32         // among the tail's subscribers
	cursor   uint64        // last seq that was handed to the sink
	target   uint64        // replay ends here
	control  []byte        // encoded control frames that come next
	opened   time.Duration // since tails.began, as the other moments here
	beat     time.Duration // last heartbeat
	asked    int64         // unix nanoseconds of the oldest ping without an answer, or 0; a WebSocket's
	grant    Grant         // what the stream lives by
	ending   *ending       // it is to end

	ended  atomic.Pointer[ending] // why the stream ended, once it has
	events atomic.Uint64          // delivered
	bytes  atomic.Uint64
}

// ending is how a stream ends: code is a WebSocket close code.
type ending struct {
	code   int
	reason string
	cause  metrics.CloseReason
	since  time.Duration // of one that a pump has still to carry out
}

// Stream is a stream that was let in but has no connection yet: its place is
// taken, its cursor is valid. Exactly one of Start and Release must be called.
type Stream struct {
	hub  *Hub
	id   string
	user string // whose place it has
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
	snap, from, err := h.place(ctx, id, c)
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

// Session is the id of the session.
func (s *Stream) Session() string { return s.id }

// Start begins to write to the sink: connected and the gaps before it returns,
// then all that is after the cursor, caught_up, and what comes. Stop must be
// called when the connection has ended. The stream lives no longer than the grant.
func (s *Stream) Start(ctx context.Context, sink Sink, grant Grant) (*Subscriber, error) {
	h := s.hub
	snap, err := h.store.Load(ctx, s.id)
	if err != nil {
		s.Release()
		return nil, err
	}
	now := h.tails.now()
	sub := &Subscriber{sink: sink, enc: s.enc, opened: now, cursor: s.from.after, beat: now, grant: grant}
	h.tails.join(h, sub, snap)
	opened := false
	defer func() {
		if !opened { // a panic, which costs no more than this stream
			h.tails.leave(sub)
			s.Release()
		}
	}()
	// The watch is on: what was appended before it is seen by reading again.
	if again, err := h.store.Load(ctx, s.id); err == nil {
		snap = again
	}
	// The tail may meanwhile be further than what was read, or both may be wrong.
	for tries := 0; tries < 2 && sub.strange(snap, s.from.epoch); tries++ {
		if snap, err = h.store.Confirm(ctx, s.id); err != nil {
			return nil, err
		}
	}
	sub.begin(snap, s.from)
	opened = true
	h.cfg.Metrics.StreamOpened(sub.transport(), s.from.after > 0, len(s.from.gaps) > 0)
	// connected is written before anything of the client is read: what it did
	// wrong at once must not close the connection ahead of it.
	if sub.first() {
		go sub.pump()
	}
	return sub, nil
}

// begin puts connected and the gaps in front, and makes the caller the pump. snap
// was read after the watch had begun, and is not strange.
func (s *Subscriber) begin(snap Snapshot, from start) {
	h, t := s.tail.hub, s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoch != snap.Epoch() {
		// Whatever the tail's epoch is, a newer one or one that was lost: this stream
		// would be told of the one and read the events of the other.
		t.adoptLocked(snap)
	}
	t.last = max(t.last, snap.Last)
	if snap.State.Closed != "" {
		t.closed = snap.Last
		s.caughtUp = s.cursor >= t.closed // nothing is left to catch up with
	}
	s.target = max(snap.Last, s.cursor)
	early := s.control // what the sweeper or a drain had to say since join
	s.control = nil
	s.connectedLocked(snap)
	for _, g := range from.gaps {
		// It names the epoch in which the log goes on, which may be a newer one than
		// when the stream was let in: its reader counts in that from here on.
		g.Epoch = snap.Epoch()
		s.controlLocked(protocol.ControlGap, g)
		h.cfg.Metrics.Gap(g.Reason)
	}
	if from.epoch != snap.Epoch() { // it has moved since the stream was let in
		s.placeLocked(from.epoch, snap)
	}
	s.control = append(s.control, early...)
	// The caller is the pump, before anything here could start another one.
	s.started, s.busy = true, true
	if !snap.State.TokenValid(s.grant) { // revoked since the stream was let in
		s.endLocked(protocol.CloseToken, "the token was revoked", metrics.CloseToken)
	}
	select {
	case <-h.draining: // Drain took its list before this stream was on it
		s.endLocked(protocol.CloseGoingAway, "the node is draining", metrics.CloseDraining)
	default:
	}
}

// connectedLocked tells where the log stands.
func (s *Subscriber) connectedLocked(snap Snapshot) {
	cfg := &s.tail.hub.cfg
	s.controlLocked(protocol.ControlConnected, protocol.Connected{
		SessionID: s.tail.session, Epoch: snap.Epoch(), FirstSeq: snap.First, LastSeq: snap.Last, Status: snap.State.Status.Status,
		Node: cfg.Node, HeartbeatSeconds: int(cfg.Timers.Heartbeat / time.Second),
	})
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
	s.tail.hub.tails.leave(s)
	s.tail.hub.giveSlot(Slot{Session: s.tail.session, User: s.tail.user, Encoding: s.enc})
	s.tail.hub.cfg.Metrics.StreamClosed(s.transport(), s.ended.Load().cause, s.Age())
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
		s.ending = &ending{code: code, reason: reason, cause: cause, since: s.tail.hub.tails.now()}
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
	if s.claimLocked() {
		go s.pump()
	}
}

// claimLocked reports whether there is to be a pump, and the caller is to start
// it.
func (s *Subscriber) claimLocked() bool {
	if !s.started || s.busy || s.left || s.ended.Load() != nil {
		return false
	}
	s.busy = true
	return true
}

// errTrimmed says that the log lost what the reader wanted next.
var errTrimmed = errors.New("trimmed")

// pump writes until there is nothing more to write. It is the only writer of
// the log to this sink.
func (s *Subscriber) pump() {
	defer s.recoverPump()
	for s.write() {
	}
}

// first writes as the pump does, once. It reports whether there may be more.
func (s *Subscriber) first() (more bool) {
	defer s.recoverPump()
	return s.write()
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
	s.tail.hub.cfg.Metrics.Delivered(s.transport(), n, len(p), at)
	return true
}

// recoverPump ends this stream after a panic in its pump, and no other one. busy
// stays: there is no second pump.
func (s *Subscriber) recoverPump() {
	p := recover()
	if p == nil {
		return
	}
	s.tail.hub.cfg.Log.Error("panic in a stream", "session", s.tail.session, "panic", p, "stack", string(debug.Stack()))
	s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseInternal, reason: "internal", cause: metrics.CloseInternal})
	s.sink.End(protocol.CloseInternal, "internal")
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
		if t.moved {
			if end := s.followLocked(); end != nil {
				return nil, 0, 0, end
			}
			continue
		}
		if s.cursor < t.last {
			p, last, at, ok := t.after(s.enc, s.cursor, maxWrite)
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
			s.ending = &ending{
				code: protocol.CloseEnded, reason: "the session has ended", cause: metrics.CloseSessionEnded, since: t.hub.tails.now(),
			}
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
	cursor, epoch := s.cursor, t.epoch
	page, p, err := s.pageUnlocked(cursor, epoch)
	switch {
	case err == nil && page.Epoch != epoch, errors.Is(err, ErrNotFound): // or a server that is behind says so
		t.moveLocked()
		return nil, 0, nil
	case t.moved || t.epoch != epoch: // meanwhile; the page is not of this epoch, or it may be
		return nil, 0, nil
	case errors.Is(err, errTrimmed):
		gap := protocol.Gap{Epoch: t.epoch, FromSeq: cursor + 1, ToSeq: page.Entries[0].First() - 1, Reason: protocol.GapTrimmed}
		s.controlLocked(protocol.ControlGap, gap)
		s.tail.hub.cfg.Metrics.Gap(gap.Reason)
		s.cursor = gap.ToSeq
		return nil, 0, nil
	case err != nil:
		s.awaitStoreLocked(err)
		return nil, 0, nil
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

// pageUnlocked lets go of the tail's lock for the time of a read.
func (s *Subscriber) pageUnlocked(cursor uint64, epoch string) (page Page, p []byte, err error) {
	t := s.tail
	t.mu.Unlock()
	defer t.mu.Lock()
	ctx, cancel := t.hub.storeCall()
	defer cancel()
	page, err = t.hub.store.Read(ctx, t.session, cursor, MaxHistoryEvents, maxWrite)
	if err == nil && len(page.Entries) > 0 {
		if first := page.Entries[0].First(); first > cursor+1 {
			err = errTrimmed
		} else {
			p = s.enc.encode(epoch, page.Entries)
		}
	}
	return page, p, err
}

// Transport is what the stream's connection is.
func (s *Subscriber) Transport() metrics.Transport { return s.transport() }

// Age is how long the stream has been open.
func (s *Subscriber) Age() time.Duration { return s.tail.hub.tails.now() - s.opened }

// Session is the id of the session.
func (s *Subscriber) Session() string { return s.tail.session }

// Grant is what the stream lives by now.
func (s *Subscriber) Grant() Grant {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	return s.grant
}
