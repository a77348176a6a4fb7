package hub

import (
	"context"
	"runtime"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// endGrace is how long a stream that is to end may be busy with what it writes.
// The end of a token, found by one look of the sweeper, takes effect by the next:
// within 2 s. It is less than the second between two looks, so that a look that
// comes a little early is not one in vain.
const endGrace = 900 * time.Millisecond

// beats starts the heartbeats of a sweep. Streams that came in one wave beat in
// one: a few pumps have written before the next ones are started, unless they have
// to wait, for as many goroutines at once as there are streams would leave their
// stacks with the process.
type beats int

const beatsAtOnce = 16

func (b *beats) start(all []*Subscriber) {
	for _, s := range all {
		go s.pump()
		if *b++; *b%beatsAtOnce == 0 {
			runtime.Gosched()
		}
	}
}

// sweep looks at every subscriber once a second: it cuts those that take
// nothing, beats the heart of idle ones, and ends those whose token has. It never
// waits for the store: what has to be asked there is left to tokenChecks.
func (h *Hub) sweep(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			var changed []*tail
			var started beats
			h.tails.each(func(t *tail) {
				defer t.recoverSweep()
				if t.sweep(now, &started) {
					changed = append(changed, t)
				}
			})
			h.tokens.add(changed)
		}
	}
}

// recoverSweep ends the streams of a tail in whose sweep there was a panic, and
// lets the sweeper go on with the next one.
func (t *tail) recoverSweep() {
	if p := recover(); p != nil {
		t.hub.logPanic("the sweep of a session's streams", p, "session", t.session)
		t.fail()
	}
}

// sweep reports whether the session's state changed since the last look, so that
// the tokens must be looked at.
func (t *tail) sweep(now time.Time, started *beats) (changed bool) {
	cut, beat, changed := t.judge(now)
	started.start(beat)
	for _, s := range cut {
		s.sink.Cut()
	}
	return changed
}

// judge finds the subscribers that are to be cut, and those that have a heartbeat
// to write and whose pump the caller is to start.
func (t *tail) judge(now time.Time) (cut, beat []*Subscriber, changed bool) {
	timers := t.hub.cfg.Timers
	since := now.Sub(t.hub.tails.began)
	t.mu.Lock()
	defer t.mu.Unlock()
	if since-t.touched > timers.TailIdle {
		t.bufs = nil // who still lags reads the store
	}
	for _, s := range t.subs {
		if s.sink.Stalled(timers.WriteTimeout) {
			if s.ended.CompareAndSwap(nil, &ending{code: protocol.CloseSlow, reason: "took nothing for too long", cause: metrics.CloseSlow}) {
				t.hub.cfg.Metrics.SlowClosed.Inc()
			}
			cut = append(cut, s)
			continue
		}
		// What is to end by then has to: a peer that takes what is being written
		// too slowly to hear of it is cut. A drain has a time of its own.
		if e := s.ending; e != nil && e.cause != metrics.CloseDraining && s.busy && since-e.since >= endGrace && s.ended.CompareAndSwap(nil, e) {
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

// sweepLocked reports whether there is something to write.
func (s *Subscriber) sweepLocked(now time.Time, since time.Duration) bool {
	timers := s.tail.hub.cfg.Timers
	if expires := s.grant.Expires; !expires.IsZero() {
		if !now.Before(expires) {
			s.endLocked(protocol.CloseToken, "the token has expired", metrics.CloseToken)
			return false
		}
		if !s.warned && expires.Sub(now) <= timers.ExpiringAhead {
			s.warned = true
			s.controlLocked(protocol.ControlExpiring, protocol.Expiring{ExpiresAt: expires.UTC()})
		}
	}
	if since-s.beat >= timers.Heartbeat {
		s.beat = since
		switch {
		case s.enc == WebSocket:
			answered := s.asked == 0 || s.sink.LastHeard() > s.asked
			if s.busy && !answered {
				return false // one on its way is enough: control frames go ahead of events
			}
			s.control = append(s.control, protocol.PingFrame...)
			if answered {
				s.asked = now.UnixNano()
			}
		case s.busy:
			return false // it is being written to: that is a heartbeat
		default:
			s.control = append(s.control, protocol.SSEComment...)
		}
	}
	return len(s.control) > 0
}

// silentLocked reports whether the peer has answered no ping for too long. While
// a pump runs it is not asked: a slow reader finds the ping behind what it has
// still to read, and one that is gone stalls the write, which is seen sooner.
func (s *Subscriber) silentLocked(now time.Time) bool {
	heard := s.sink.LastHeard()
	if heard == 0 || s.asked == 0 || s.busy || heard >= s.asked {
		return false
	}
	return time.Duration(now.UnixNano()-s.asked) > s.tail.hub.cfg.Timers.PongTimeout
}
