package stream

import (
	"context"
	"runtime"
	"time"

	"sessionhub/hub/session"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// endGrace is how long a stream that must end may be busy with a write. One round of the
// sweeper finds that a token has ended, and the next round cuts: within 2 s. endGrace is
// shorter than the second between two rounds, so that a round that comes a little early
// still cuts.
const endGrace = 900 * time.Millisecond

// beats starts the heartbeats of a sweep. Streams that came in one wave have their
// heartbeats in one. So a few pumps write before the next ones start, unless they have to
// wait. If all ran at once, the process would keep memory for all their stacks.
type beats int

const beatsAtOnce = 16

func (b *beats) start(all []*Subscriber) {
	for _, s := range all {
		s.tail.streams.pumps.start(s)
		if *b++; *b%beatsAtOnce == 0 {
			runtime.Gosched()
		}
	}
}

// sweep inspects every subscriber once a second. It cuts those that take nothing, sends
// heartbeats to idle ones, and ends those whose token has ended. It makes no call of the
// store; tokenChecks does.
func (ss *Streams) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			var changed []*tail
			var started beats
			ss.tails.each(func(t *tail) {
				defer t.recoverSweep()
				if t.sweep(now, &started) {
					changed = append(changed, t)
				}
			})
			ss.tokens.add(changed)
		}
	}
}

// recoverSweep ends the streams of a tail whose sweep has panicked. The sweeper goes on
// with the next tail.
func (t *tail) recoverSweep() {
	if p := recover(); p != nil {
		t.streams.LogPanic("the sweep of a session's streams", p, "session", t.session)
		t.fail()
	}
}

// sweep does one round for the tail. It reports whether the session's state changed since
// the last round, so that the tokens must be checked.
func (t *tail) sweep(now time.Time, started *beats) (changed bool) {
	cut, beat, changed := t.inspect(now)
	started.start(beat)
	for _, s := range cut {
		s.sink.Cut()
	}
	return changed
}

// inspect finds the subscribers that must be cut, and those with a heartbeat to write,
// whose pumps the caller must start.
func (t *tail) inspect(now time.Time) (cut, beat []*Subscriber, changed bool) {
	timers := t.streams.Timers
	since := now.Sub(t.streams.tails.began)
	t.mu.Lock()
	defer t.mu.Unlock()
	if since-t.touched > timers.TailIdle {
		t.bufs = nil // a subscriber that lags reads the store
	}
	for _, s := range t.subs {
		if s.rides() {
			continue // its channel is inspected
		}
		if s.sink.Stalled(timers.WriteTimeout) {
			if s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseSlow, reason: "took nothing for too long", cause: metrics.CloseSlow}) {
				t.streams.Metrics.SlowClosed.Inc()
			}
			cut = append(cut, s)
			continue
		}
		// This stream should have ended by now. Its peer takes the present write too
		// slowly to hear of the end, and is cut.
		if s.lateLocked(since) {
			cut = append(cut, s)
			continue
		}
		if s.silentLocked(now) {
			s.ended.CompareAndSwap(nil, &ending{code: 1006, reason: "no answer to pings", cause: metrics.CloseVanished})
			cut = append(cut, s)
			continue
		}
		if s.sweepLocked(now, since) && s.claimLocked() {
			beat = append(beat, s)
		}
	}
	changed, t.changed = t.changed, false
	return cut, beat, changed
}

// sweepLocked reports whether the subscriber has control frames to write.
func (s *Subscriber) sweepLocked(now time.Time, since time.Duration) bool {
	timers := s.tail.streams.Timers
	if expires := s.grant.Expires; !expires.IsZero() {
		if !now.Before(expires) {
			s.endForLocked(session.ErrGrantExpired)
			return false
		}
		if !s.warned && expires.Sub(now) <= timers.ExpiringAhead {
			s.warned = true
			s.controlLocked(protocol.ControlExpiring, protocol.Expiring{ExpiresAt: expires.UTC()})
		}
	}
	if s.retires != 0 && since >= s.retires && s.ending == nil {
		s.retireLocked()
		return false
	}
	if since-s.beat >= timers.Heartbeat {
		s.beat = since
		switch {
		case !s.enc.EventStream():
			answered := s.asked == 0 || s.sink.LastHeard() > s.asked
			if s.busy && !answered {
				return false // one on its way is enough: control frames go ahead of events
			}
			s.control = append(s.control, protocol.PingFrame...)
			if answered {
				s.asked = now.UnixNano()
			}
		case s.busy:
			return false // the present write is as good as a heartbeat
		default:
			s.control = append(s.control, protocol.SSEComment...)
		}
	}
	return len(s.control) > 0
}

// retireLocked ends an event stream that has reached its greatest age. It ends after a
// whole event, so its client resumes without a loss. An event stream has no pings. Behind
// a proxy that hides a lost client, it would keep its slot for ever. The client is told
// to come back at once, to any node; a retry line tells an EventSource. A WebSocket has
// pings and stays.
func (s *Subscriber) retireLocked() {
	s.controlLocked(protocol.ControlDraining, protocol.Draining{ReconnectAfterMs: sseReturn.Milliseconds(), Reason: protocol.DrainMaxAge})
	s.control = protocol.AppendSSERetry(s.control, sseReturn)
	s.endLocked(protocol.CloseGoingAway, "the stream has reached its greatest age", metrics.CloseMaxAge)
}

// sseReturn is how soon a client comes back after its stream ended of age.
const sseReturn = 100 * time.Millisecond

// silentLocked reports whether the peer has left a ping without an answer for too long.
// It is false while a pump runs: a slow reader finds the ping after the bytes that it has
// still to read. A lost peer stalls the write, and Stalled finds that sooner.
func (s *Subscriber) silentLocked(now time.Time) bool {
	heard := s.sink.LastHeard()
	if heard == 0 || s.asked == 0 || s.busy || heard >= s.asked {
		return false
	}
	return time.Duration(now.UnixNano()-s.asked) > s.tail.streams.Timers.PongTimeout
}

// fail cuts all streams of a tail after a panic in work for all of them, which may be
// half done. Their clients resume.
func (t *tail) fail() {
	t.mu.Lock()
	all := append([]*Subscriber(nil), t.subs...)
	t.mu.Unlock()
	for _, s := range all {
		s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseInternal, reason: "internal", cause: metrics.CloseInternal})
		_ = t.streams.Guard("a stream", func() error { s.sink.Cut(); return nil }, "session", t.session)
	}
}
