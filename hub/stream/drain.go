package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// restTime is how long a stream may go on after its moment of a drain, to get the events
// that the log had then. The log may end with this node.
const restTime = time.Second

// Drain tells every stream when to come back, each at its own moment within spread. At
// that moment it ends the stream, after all events that the log has by then. A stream
// that has not got them restTime later ends where it is. Drain returns when all streams
// have ended. When ctx ends first, it cuts the streams that are left. Call BeginDrain
// before it.
func (ss *Streams) Drain(ctx context.Context, spread time.Duration) error {
	var subs []*Subscriber
	ss.tails.each(func(t *tail) {
		t.mu.Lock()
		for _, s := range t.subs {
			if !s.rides() {
				subs = append(subs, s)
			}
		}
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
	goals := make([]uint64, len(subs)) // the log's end at each stream's moment; 0: before it
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		open := 0
		for i, s := range subs {
			s.tail.mu.Lock()
			if !s.left {
				open++
				late := time.Since(started) - waits[i]
				if late >= 0 && goals[i] == 0 {
					goals[i] = s.tail.last
				}
				if late >= restTime || late >= 0 && s.restedLocked(goals[i]) {
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

// restedLocked reports whether the stream has got the log up to goal, or has not begun. Of a
// channel, that everything is written that the hub has.
func (s *Subscriber) restedLocked(goal uint64) bool {
	if s.channel != nil {
		return s.channel.turns.idle()
	}
	return !s.started || s.cursor >= goal
}
