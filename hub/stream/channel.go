package stream

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// ErrTooManySubscriptions says that a channel has the most subscriptions.
var ErrTooManySubscriptions = errors.New("the connection has too many subscriptions")

// Channel is one connection for many sessions of a user. Each subscription is a Subscriber:
// a cursor on its session's log. Instead of a pump of its own it has turns here: see turns.
//
// The channel's own subscriber has no session. It has what belongs to the connection: the
// heartbeats, the grant and the end. All methods may be called concurrently.
type Channel struct {
	streams *Streams
	id      string
	user    string
	enc     protocol.Encoding

	// Immutable once Attach has returned.
	own  *Subscriber
	sink Sink

	turns turns

	mu     sync.Mutex // never taken together with a tail's
	subs   map[string]*subscription
	closed bool
}

// subscription is a session of a channel. sub is nil while the session is being opened, and
// when that failed. opened is closed when that is over.
type subscription struct {
	sub    *Subscriber
	opened chan struct{}
}

// Source is something else that a channel carries, beside its sessions: whole frames that
// name no session. Next appends frames of about most bytes, and nothing if there is none. It
// must not block. Close is called once, when the channel carries it no longer; a Next may still
// run then.
type Source interface {
	Next(b []byte, enc protocol.Encoding, most int) []byte
	Close()
}

// OpenChannel decides whether a user may have another connection, before its first byte. enc
// is a shared encoding. Exactly one of Attach and Release must be called.
func (ss *Streams) OpenChannel(ctx context.Context, user string, enc protocol.Encoding) (*Channel, error) {
	if err := ss.Ready(); err != nil {
		return nil, err
	}
	if err := ss.takeSlot(ctx, store.Slot{User: user, Encoding: enc}); err != nil {
		return nil, err
	}
	c := &Channel{
		streams: ss, user: user, enc: enc, subs: make(map[string]*subscription),
		id: base64.RawURLEncoding.EncodeToString([]byte(ss.Node)) + "." + strings.ToLower(rand.Text()),
	}
	c.turns.channel = c
	return c, nil
}

// NodeOf is the node of a channel, as its id tells. ok is false for an id that is none.
func NodeOf(channel string) (node string, ok bool) {
	name, _, ok := strings.Cut(channel, ".")
	raw, err := base64.RawURLEncoding.DecodeString(name)
	return string(raw), ok && err == nil
}

// ID names the channel among those of all nodes.
func (c *Channel) ID() string { return c.id }

// User is the user whose sessions the channel can carry.
func (c *Channel) User() string { return c.user }

// Own is the subscriber that has the connection's heartbeats, grant and end.
func (c *Channel) Own() *Subscriber { return c.own }

// Release gives the slot of a channel back that was not attached.
func (c *Channel) Release() { c.streams.giveSlot(store.Slot{User: c.user, Encoding: c.enc}) }

// Attach gives the channel its connection. Begin comes next, and Stop when the connection has
// ended. The channel lives no longer than the grant.
func (c *Channel) Attach(sink Sink, grant session.Grant) {
	ss := c.streams
	own := ss.newSubscriber(sink, c.enc, grant)
	own.channel, own.started, own.busy, own.caughtUp = c, true, true, true
	c.own, c.sink = own, sink
	ss.tails.enterChannel(ss, own)
	ss.Metrics.StreamOpened(own.Transport())
	own.tail.mu.Lock()
	own.controlLocked(protocol.ControlReady, protocol.Ready{
		Connection: c.id, UserID: c.user, Node: ss.Node, HeartbeatSeconds: int(ss.Timers.Heartbeat / time.Second),
	})
	if err := ss.checkGrant(c.user, grant, time.Now()); err != nil { // since the channel was let in
		own.endForLocked(err)
	}
	select {
	case <-ss.DrainBegun(): // Drain made its list of streams before this one
		own.endLocked(protocol.CloseGoingAway, "the node is draining", metrics.CloseDraining)
	default:
	}
	own.tail.mu.Unlock()
}

// Begin begins to write. It writes ready before it returns.
func (c *Channel) Begin() {
	c.turns.first()
	if c.streams.pumps.closed() { // Run made its list of streams to cut before this one
		c.own.cut()
	}
}

// Tell writes a control frame, before the next events. With a session, it is about that one.
func (c *Channel) Tell(t protocol.ControlType, session string, data any) {
	frame := protocol.AppendControl(nil, t, time.Now(), data)
	c.own.tail.mu.Lock()
	defer c.own.tail.mu.Unlock()
	c.own.control = c.enc.Control(c.own.control, t, session, frame)
	c.own.wakeLocked()
}

// SetSource makes the channel carry a source too, in place of the one before; nil: none.
func (c *Channel) SetSource(src Source) {
	if old := c.turns.setSource(src); old != nil {
		old.Close()
	}
}

// Wake says that the source has something. It does not block, and may be called at any time.
func (c *Channel) Wake() { c.turns.wakeSource() }

// Subscribe adds a session, from a cursor on. A session that is there already begins anew.
// Its first frame is connected. The caller has checked that the session is the user's.
func (c *Channel) Subscribe(ctx context.Context, id string, from protocol.Cursor) error {
	mine := &subscription{opened: make(chan struct{})}
	old, err := c.reserve(id, mine)
	if err != nil {
		return err
	}
	defer close(mine.opened)
	old.stop() // before the next begins: its frames must not come behind connected
	sub, err := c.subscribe(ctx, id, from)
	if err != nil {
		c.forget(id, mine)
		return err
	}
	c.mu.Lock()
	current := c.subs[id] == mine
	if mine.sub = sub; current && sub.ended.Load() != nil { // it is over already
		delete(c.subs, id)
	}
	c.mu.Unlock()
	if !current { // given up or replaced meanwhile, or the connection has ended
		sub.Stop(0, "", metrics.CloseClient)
	}
	return nil
}

// reserve takes the place of a session's subscription, and gives the one that was there.
func (c *Channel) reserve(id string, mine *subscription) (old *subscription, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old = c.subs[id]
	switch most := c.streams.limits.PerChannel; {
	case c.closed:
		return nil, ErrStreamEnded
	case old == nil && most > 0 && len(c.subs) >= most:
		c.streams.Metrics.LimitRejected(metrics.LimitSubscriptions)
		return nil, fmt.Errorf("%w: it has %d, which is the most", ErrTooManySubscriptions, most)
	}
	c.subs[id] = mine
	return old, nil
}

func (c *Channel) forget(id string, mine *subscription) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs[id] == mine {
		delete(c.subs, id)
	}
}

func (c *Channel) subscribe(ctx context.Context, id string, from protocol.Cursor) (*Subscriber, error) {
	stream, err := c.streams.letIn(ctx, id, from, c.enc, c)
	if err != nil {
		return nil, err
	}
	// The channel's own subscriber has the grant.
	return stream.Start(ctx, &rider{c, id}, session.Grant{})
}

// stop ends a subscription that has lost its place in the channel. One that is being opened
// ends first: it finds that it has no place.
func (s *subscription) stop() {
	if s == nil {
		return
	}
	if <-s.opened; s.sub != nil {
		s.sub.Stop(0, "", metrics.CloseClient)
	}
}

// Unsubscribe gives a session up, and reports whether it was there. Frames of it that are on
// their way still come.
func (c *Channel) Unsubscribe(id string) bool {
	c.mu.Lock()
	s := c.subs[id]
	delete(c.subs, id)
	c.mu.Unlock()
	s.stop()
	return s != nil
}

// Count is how many sessions the channel carries.
func (c *Channel) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.subs)
}

// finish removes a subscription that the hub has ended. Its last frame is being written.
func (c *Channel) finish(s *Subscriber, e *ending) {
	s.ended.CompareAndSwap(nil, e)
	c.mu.Lock()
	if on := c.subs[s.Session()]; on != nil && on.sub == s {
		delete(c.subs, s.Session())
	}
	c.mu.Unlock()
	s.Stop(e.code, e.reason, e.cause)
}

// Stop removes the channel with all its subscriptions, after its connection has ended.
func (c *Channel) Stop(code int, reason string, cause metrics.CloseReason) {
	c.mu.Lock()
	c.closed = true
	all := c.subs
	c.subs = make(map[string]*subscription)
	c.mu.Unlock()
	if src := c.turns.close(); src != nil {
		src.Close()
	}
	for _, s := range all {
		s.stop()
	}
	if c.own == nil { // it was not attached
		c.Release()
		return
	}
	c.own.Stop(code, reason, cause)
}

// rider is the sink of a subscription. The channel writes for it, and sweeps for it.
type rider struct {
	channel *Channel
	session string
}

func (r *rider) Write([]byte) error         { return nil }
func (r *rider) Stalled(time.Duration) bool { return false }
func (r *rider) LastHeard() int64           { return 0 }
func (r *rider) End(int, string)            {}

// Cut ends the subscription, after a panic in work for its session. The end is noted in it.
func (r *rider) Cut() {
	r.channel.mu.Lock()
	var s *Subscriber
	if on := r.channel.subs[r.session]; on != nil {
		s = on.sub
	}
	r.channel.mu.Unlock()
	if s == nil {
		return
	}
	if e := s.ended.Load(); e != nil {
		r.channel.turns.add(turn{sub: s, chunk: chunk{end: e, then: ends}, made: true})
	}
}
