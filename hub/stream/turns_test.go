package stream

import (
	"slices"
	"testing"
)

// A client that takes nothing can replace its subscriptions over and over, by requests. Those
// that have ended do not stay in the line, and those that go on keep their turns.
func TestLineForgetsEndedSubscriptions(t *testing.T) {
	c := &Channel{own: new(Subscriber)}
	c.turns.channel, c.turns.running = c, true // a write that never ends
	c.turns.reads = maxReads
	const live, replaced = 2500, 100_000
	var want []turn
	for i := range replaced {
		if i%(replaced/live) == 0 {
			s := new(Subscriber)
			want = append(want, turn{sub: s})
			c.turns.add(turn{sub: s})
			c.turns.lag(s)
		}
		s := new(Subscriber)
		c.turns.add(turn{sub: s})
		c.turns.lag(s)
		s.ended.Store(new(ending))
	}
	last := turn{sub: new(Subscriber), chunk: chunk{then: ends}, made: true} // it says that its subscription has ended
	last.sub.ended.Store(new(ending))
	want = append(want, last)
	c.turns.add(last)
	thinLocked(&c.turns)
	if n := cap(c.turns.line); n > 8*live {
		t.Errorf("the line has grown to %d", n)
	}
	if n := cap(c.turns.lagging); n > 8*live {
		t.Errorf("%d wait for a read", n)
	}
	if got := c.turns.line[c.turns.head:]; !slices.EqualFunc(got, want, func(a, b turn) bool { return a.sub == b.sub && a.made == b.made }) {
		t.Errorf("%d are in the line, want the %d that go on", len(got), len(want))
	}
}
