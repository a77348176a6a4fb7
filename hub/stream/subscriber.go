package stream

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Sink is a connection as its Subscriber writes to it.
type Sink interface {
	// Write writes whole frames and blocks until the kernel has them. The bytes are
	// shared with other subscribers and must not be changed. ErrStreamEnded says that the
	// connection is being closed in order already.
	Write(p []byte) error
	// Stalled reports whether a Write waits and the peer has taken nothing for
	// limit. It is asked once a second and must be cheap and not block.
	Stalled(limit time.Duration) bool
	// LastHeard is the unix time in nanoseconds of the last sign of life of
	// the peer; 0 when the transport has none.
	LastHeard() int64
	// End ends the stream in order, after everything that was written. It may block for a
	// bounded time.
	End(code int, reason string)
	// Cut ends the stream at once, from any goroutine. A waiting Write fails.
	Cut()
}

// maxWrite bounds the bytes of one write, unless a single event is larger.
const maxWrite = 64 << 10

// Subscriber is a cursor and a connection. An idle one costs only its memory. An append
// starts its pump: a goroutine that writes everything after the cursor and ends. A peer
// that takes nothing holds one write, until the sweeper cuts it. The client can resume
// from its cursor.
//
// Each open stream has one, and thousands of them are idle, so it is kept small.
type Subscriber struct {
	// Immutable once Start has returned.
	tail    *tail
	sink    Sink
	channel *Channel // that it writes to; nil: it has a connection of its own
	enc     protocol.Encoding

	// guarded by tail.mu
	started  bool // connected is in control: before that nothing is written
	busy     bool // a pump runs
	caughtUp bool
	warned   bool // the expiring frame went out
	left     bool
	away     bool          // the store did not answer: see awaits
	begun    bool          // events were written after the last connected
	index    int32         // among the tail's subscribers
	cursor   uint64        // last seq that was handed to the sink
	target   uint64        // replay ends here
	control  []byte        // encoded control frames, to be written next
	opened   time.Duration // since tails.began, as the other moments here
	retires  time.Duration // when the stream ends of age; 0: never
	beat     time.Duration // last heartbeat
	asked    int64         // unix nanoseconds of the oldest ping without an answer, or 0; a WebSocket's
	grant    session.Grant // the stream ends with it
	ending   *ending       // how the pump must end the stream; nil: it goes on

	ended  atomic.Pointer[ending] // why the stream ended, once it has
	events atomic.Uint64          // delivered
	bytes  atomic.Uint64
}

// ending says how a stream ends. code is a WebSocket close code.
type ending struct {
	code   int
	reason string
	cause  metrics.CloseReason
	since  time.Duration // when it was decided, if a pump must still carry it out
}

// Stream is a stream that was let in but has no connection yet. Its slot is taken and its
// cursor is valid. Exactly one of Start and Release must be called.
type Stream struct {
	streams *Streams
	channel *Channel // nil: it gets a connection of its own
	id      string
	user    string // the user of its slot; empty on a channel
	from    store.Place
	enc     protocol.Encoding
	// Ended says that the reader has seen the session's last event already.
	Ended bool
}

// Open decides whether a stream may start, before its first byte. With Latest, the stream
// starts after the last event at this moment.
func (ss *Streams) Open(ctx context.Context, id string, c protocol.Cursor, enc protocol.Encoding) (*Stream, error) {
	return ss.letIn(ctx, id, c, enc, nil)
}

// letIn is Open, also for a subscription of a channel.
func (ss *Streams) letIn(ctx context.Context, id string, c protocol.Cursor, enc protocol.Encoding, channel *Channel) (*Stream, error) {
	if err := ss.ReadyFor(id); err != nil {
		return nil, err
	}
	snap, from, err := ss.findPlace(ctx, id, c)
	if err != nil {
		return nil, err
	}
	user := snap.State.Info.UserID
	if channel != nil {
		user = "" // the channel counts for the user
	}
	if err := ss.takeSlot(ctx, store.Slot{Session: id, User: user, Encoding: enc}); err != nil {
		return nil, err
	}
	return &Stream{streams: ss, channel: channel, id: id, user: user, from: from, enc: enc, Ended: snap.State.Closed != "" && from.After >= snap.Last && len(from.Gaps) == 0}, nil
}

// Release gives the slot of a stream back that did not start.
func (s *Stream) Release() {
	s.streams.giveSlot(store.Slot{Session: s.id, User: s.user, Encoding: s.enc})
}

// Session is the id of the session.
func (s *Stream) Session() string { return s.id }

// Start begins to write to the sink. It writes connected and the gaps before it returns.
// Then come all events after the cursor, caught_up, and new events. Call Stop when the
// connection has ended. The stream lives no longer than the grant. With an error, the
// slot is given back.
func (s *Stream) Start(ctx context.Context, sink Sink, grant session.Grant) (*Subscriber, error) {
	ss := s.streams
	snap, err := ss.store.Load(ctx, s.id)
	if err != nil {
		s.Release()
		return nil, err
	}
	sub := ss.newSubscriber(sink, s.enc, grant)
	sub.cursor, sub.channel = s.from.After, s.channel
	ss.tails.join(ss, sub, snap)
	opened := false
	defer func() {
		if !opened { // an error or a panic, which ends this stream only
			ss.tails.leave(sub)
			ss.Release(sub, grant)
			s.Release()
		}
	}()
	// The watch is on. A second read finds the events that were appended before it.
	if again, err := ss.store.Load(ctx, s.id); err == nil {
		snap = again
	}
	// The tail may be ahead of this snapshot by now, or both may be wrong.
	for tries := 0; tries < 2 && sub.strange(snap, s.from.Epoch); tries++ {
		if snap, err = ss.store.Confirm(ctx, s.id); err != nil {
			return nil, err
		}
	}
	sub.begin(snap, s.from)
	ss.Hold(ctx, sub) // begin has made this goroutine the pump: nothing is written yet
	opened = true
	ss.Metrics.Resumed(s.from.After > 0, len(s.from.Gaps) > 0)
	if sub.rides() {
		ss.Metrics.Subscribed(sub.Transport())
		ss.pumps.start(sub)
		return sub, nil
	}
	ss.Metrics.StreamOpened(sub.Transport())
	// connected is written before any frame of the client is read. So a client that breaks
	// the protocol at once still gets it before the close.
	if (pump{sub}).first() {
		ss.pumps.start(sub)
	}
	if ss.pumps.closed() { // Run made its list of streams to cut before this one
		sub.cut()
	}
	return sub, nil
}

// newSubscriber makes a subscriber that has not joined a tail.
func (ss *Streams) newSubscriber(sink Sink, enc protocol.Encoding, grant session.Grant) *Subscriber {
	now := ss.tails.now()
	sub := &Subscriber{sink: sink, enc: enc, opened: now, beat: now, grant: grant}
	if most := ss.Timers.SSEMaxAge; enc.EventStream() && most > 0 {
		// Spread over a fifth: streams that came in one wave do not come back in one.
		sub.retires = now + most - rand.N(most/5+1)
	}
	return sub
}

// rides reports whether it is a session's subscriber on a channel. The channel's own
// subscriber, which has no session, has the heartbeats, the grant and the end.
func (s *Subscriber) rides() bool { return s.channel != nil && s.channel.own != s }

// begin puts connected and the gaps first, and makes the caller the pump. snap was read
// after the watch had begun, and is not strange.
func (s *Subscriber) begin(snap store.Snapshot, from store.Place) {
	ss, t := s.tail.streams, s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.epoch != snap.Epoch() {
		// The tail's epoch is newer, or it was lost. Either way connected would name one
		// epoch, and the events would be of the other.
		t.adoptLocked(snap)
	}
	t.last = max(t.last, snap.Last)
	if snap.State.Closed != "" {
		t.closed = snap.Last
		s.caughtUp = s.cursor >= t.closed // nothing is left to catch up with
	}
	s.target = max(snap.Last, s.cursor)
	early := s.control // control frames of the sweeper or a drain since join
	s.control = nil
	s.connectedLocked(snap)
	for _, g := range from.Gaps {
		// The gap names the present epoch of the log: from here on its reader counts in
		// that. It may be newer than when the stream was let in.
		g.Epoch = snap.Epoch()
		s.controlLocked(protocol.ControlGap, g)
		ss.Metrics.Gap(g.Reason)
	}
	if from.Epoch != snap.Epoch() { // it has moved since the stream was let in
		s.placeLocked(from.Epoch, snap)
	}
	s.control = append(s.control, early...)
	// The caller is the pump, before anything here could start another one.
	s.started, s.busy = true, true
	if err := ss.CheckGrant(snap.State, s.grant); err != nil { // since the stream was let in
		s.endForLocked(err)
	}
	select {
	case <-ss.DrainBegun(): // Drain made its list of streams before this one
		s.endLocked(protocol.CloseGoingAway, "the node is draining", metrics.CloseDraining)
	default:
	}
}

// connectedLocked sends connected with the present ends of the log.
func (s *Subscriber) connectedLocked(snap store.Snapshot) {
	ss := s.tail.streams
	s.begun = false
	s.controlLocked(protocol.ControlConnected, protocol.Connected{
		SessionID: s.tail.session, Epoch: snap.Epoch(), FirstSeq: snap.First, LastSeq: snap.Last, Status: snap.State.Status.Status,
		Node: ss.Node, HeartbeatSeconds: int(ss.Timers.Heartbeat / time.Second),
	})
}

// Transport is the kind of the stream's connection.
func (s *Subscriber) Transport() metrics.Transport {
	if s.enc.EventStream() {
		return metrics.TransportSSE
	}
	return metrics.TransportWebSocket
}

// Stop removes the subscriber after its connection has ended. Of several reasons for the
// end, the first counts. It may be called twice.
func (s *Subscriber) Stop(code int, reason string, cause metrics.CloseReason) {
	s.ended.CompareAndSwap(nil, &ending{code: code, reason: reason, cause: cause})
	s.tail.mu.Lock()
	left := s.left
	s.left = true
	s.tail.mu.Unlock()
	if left {
		return
	}
	ss := s.tail.streams
	ss.tails.leave(s)
	ss.Release(s, s.Grant())
	ss.giveSlot(slotOf(s))
	if s.rides() {
		ss.Metrics.Unsubscribed(s.Transport())
		return
	}
	ss.Metrics.StreamClosed(s.Transport(), s.ended.Load().cause, s.Age())
}

// slotOf is what a subscriber counts for. A channel counts for its user, and each of its
// subscriptions for the session.
func slotOf(s *Subscriber) store.Slot {
	slot := store.Slot{Session: s.tail.session, User: s.tail.user, Encoding: s.enc}
	switch {
	case s.rides():
		slot.User = ""
	case s.channel != nil:
		slot.Session = ""
	}
	return slot
}

// Ended says how the stream ended. After Stop it is never empty.
func (s *Subscriber) Ended() (code int, cause metrics.CloseReason) {
	if e := s.ended.Load(); e != nil {
		return e.code, e.cause
	}
	return 0, ""
}

// over reports whether a stream has ended: nothing is written for it any more.
func over(s *Subscriber) bool { return s.ended.Load() != nil }

// Delivered counts the events and bytes that were written.
func (s *Subscriber) Delivered() (events, bytes uint64) { return s.events.Load(), s.bytes.Load() }

// SetGrant replaces the grant of the stream. If the new grant has ended already, the
// stream ends. It must not be called at the same time as Stop.
func (s *Subscriber) SetGrant(ctx context.Context, g session.Grant) {
	t := s.tail
	t.mu.Lock()
	old := s.grant
	s.grant, s.warned = g, false
	if err := t.streams.checkGrant(t.user, g, time.Now()); err != nil { // a check of the keys may just have passed by
		s.endForLocked(err)
	}
	t.mu.Unlock()
	t.streams.Hold(ctx, s)
	if old.User != g.User || !g.OfAccount() {
		t.streams.Release(s, old)
	}
}

// End ends the stream after everything that was written so far.
func (s *Subscriber) End(code int, reason string, cause metrics.CloseReason) {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	s.endLocked(code, reason, cause)
}

func (s *Subscriber) endLocked(code int, reason string, cause metrics.CloseReason) {
	if s.ending == nil || s.ending.cause == metrics.CloseMaxAge { // a more urgent cause replaces age
		s.ending = &ending{code: code, reason: reason, cause: cause, since: s.tail.streams.tails.now()}
		s.wakeLocked()
	}
}

// controlLocked adds a control frame, to be written before the next events.
func (s *Subscriber) controlLocked(t protocol.ControlType, data any) {
	session := ""
	if s.rides() {
		session = s.tail.session
	}
	s.control = s.enc.Control(s.control, t, session, protocol.AppendControl(nil, t, time.Now(), data))
}

func (s *Subscriber) wakeLocked() {
	if s.claimLocked() {
		s.tail.streams.pumps.start(s)
	}
}

// cut ends the stream at once, because the node ends.
func (s *Subscriber) cut() {
	s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseGoingAway, reason: "the node has ended", cause: metrics.CloseDraining})
	s.sink.Cut()
}

// claimLocked reports whether a pump must start. If so, it has set busy, and the caller
// must start the pump.
func (s *Subscriber) claimLocked() bool {
	if !s.started || s.busy || s.left || s.ended.Load() != nil {
		return false
	}
	s.busy = true
	return true
}

// Age is how long the stream has been open.
func (s *Subscriber) Age() time.Duration { return s.tail.streams.tails.now() - s.opened }

// Session is the id of the session.
func (s *Subscriber) Session() string { return s.tail.session }

// Grant is the present grant of the stream.
func (s *Subscriber) Grant() session.Grant {
	s.tail.mu.Lock()
	defer s.tail.mu.Unlock()
	return s.grant
}
