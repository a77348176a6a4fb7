package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

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
	waits := make([]time.Duration, len(subs))
	for i, s := range subs {
		wait := time.Duration(rand.Int64N(int64(max(spread, time.Millisecond))))
		s.tail.mu.Lock()
		s.controlLocked(protocol.ControlDraining, protocol.Draining{ReconnectAfterMs: wait.Milliseconds()})
		waits[i] = wait
		s.wakeLocked()
		s.tail.mu.Unlock()
	}
	started := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		open := 0
		for i, s := range subs {
			s.tail.mu.Lock()
			if !s.left {
				open++
				if time.Since(started) >= waits[i] {
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
