package stream

import (
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// maxTurn bounds the bytes of one turn, unless a single event is larger. A session that
// replays a long log holds the others up by so much.
const maxTurn = 32 << 10

// maxReads bounds the reads of the store for one channel at a time, and so the pages that it
// holds while its peer takes nothing.
const maxReads = 8

// turns is how a channel writes. A subscriber with something to write waits in a line, as a
// pointer. A goroutine exists only while somebody waits. It takes the first of the line,
// gathers the bytes of several, writes them with one call, and puts those with more to write
// at the end of the line. So a session that has much to say does not hold the others up, and
// a slow peer holds one write.
//
// A read of the store would hold everybody up. It has a goroutine of its own, and its bytes
// come back into the line.
//
// mu is taken under a tail's mutex, since an append wakes subscribers. No other lock is taken
// under it.
type turns struct {
	channel *Channel

	mu        sync.Mutex
	running   bool // a goroutine writes; for good once the connection has ended
	ownDue    bool // the channel's own subscriber waits: it comes before the line
	source    Source
	sourceDue bool // the source waits: it comes first in every write
	line      []turn
	head      int           // of the line
	crowded   int           // how long the line is when ended subscriptions leave it
	reads     int           // that run, or whose bytes are in the line
	lagging   []*Subscriber // that wait for a read
	away      []*Subscriber // whose read failed: they try again with retry
	retry     *time.Timer
	closed    bool
}

// turn is a subscriber in the line. made says that the chunk is there already; read, that it
// came from the store.
type turn struct {
	sub        *Subscriber
	chunk      chunk
	made, read bool
}

// gathered is what the next write has.
type gathered struct {
	bytes []byte
	turns []turn // those that wrote
	over  []turn // subscriptions that end with this write
	reads int    // of the store, whose bytes are in it
}

// buffers are for the gathering: an idle channel has none.
var buffers = sync.Pool{New: func() any { return &gathered{bytes: make([]byte, 0, maxWrite+maxTurn)} }}

// enqueue gives a subscriber a turn. The caller has claimed it.
func (c *Channel) enqueue(s *Subscriber) {
	if s == c.own {
		c.turns.mu.Lock()
		c.turns.ownDue = true
		c.turns.startLocked()
		c.turns.mu.Unlock()
		return
	}
	c.turns.add(turn{sub: s})
}

func (t *turns) add(x turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.pushLocked(x)
	t.startLocked()
}

func (t *turns) pushLocked(x turn) {
	if len(t.line)-t.head >= max(t.crowded, maxLine) {
		thinLocked(t)
	}
	if t.head >= maxLine/2 && 2*t.head >= len(t.line) { // a line that is never empty
		n := copy(t.line, t.line[t.head:])
		clear(t.line[n:])
		t.line, t.head = t.line[:n], 0
	}
	t.line = append(t.line, x)
}

// thinLocked takes ended subscriptions out of the line. Its client can replace subscriptions
// by requests while it takes nothing. A line of those would grow without a bound.
func thinLocked(t *turns) {
	n := copy(t.line, slices.DeleteFunc(t.line[t.head:], func(x turn) bool { return !x.made && over(x.sub) }))
	clear(t.line[n:])
	t.line, t.head, t.crowded = t.line[:n], 0, 2*n
}

func (t *turns) startLocked() {
	if !t.running && !t.closed {
		t.running = true
		t.channel.streams.pumps.run(t.run)
	}
}

// first writes what the channel's own subscriber has, before anything else.
func (t *turns) first() {
	t.mu.Lock()
	t.ownDue, t.running = true, true
	t.mu.Unlock()
	t.run()
}

// setSource gives the source that is no longer carried: the one before, or src if the
// connection has ended.
func (t *turns) setSource(src Source) (old Source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return src
	}
	old = t.source
	t.source, t.sourceDue = src, src != nil
	if src != nil {
		t.startLocked()
	}
	return old
}

func (t *turns) wakeSource() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.source != nil {
		t.sourceDue = true
		t.startLocked()
	}
}

// close ends the line, and gives the source. A write that is under way ends by itself.
func (t *turns) close() (src Source) {
	t.mu.Lock()
	defer t.mu.Unlock()
	src = t.source
	t.closed, t.line, t.head, t.lagging, t.away, t.source, t.sourceDue = true, nil, 0, nil, nil, nil, false
	if t.retry != nil {
		t.retry.Stop()
	}
	return src
}

// idle reports whether everything is written that the hub has.
func (t *turns) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.running && t.reads == 0 && len(t.lagging) == 0
}

// run writes until nobody waits. No other goroutine writes the logs to this connection
// meanwhile.
func (t *turns) run() {
	g := buffers.Get().(*gathered)
	defer t.recover(g)
	for t.round(g) {
		t.clear(g)
	}
}

// clear empties what was gathered, for the next write.
func (t *turns) clear(g *gathered) {
	clear(g.turns)
	clear(g.over)
	g.bytes, g.turns, g.over, g.reads = g.bytes[:0], g.turns[:0], g.over[:0], 0
}

// recover ends this connection only, after a panic. running stays set.
func (t *turns) recover(g *gathered) {
	if p := recover(); p != nil {
		c := t.channel
		c.streams.Log.Error("panic in a channel", "user", c.user, "panic", p, "stack", string(debug.Stack()))
		c.own.ended.CompareAndSwap(nil, &ending{code: protocol.CloseInternal, reason: "internal", cause: metrics.CloseInternal})
		c.sink.End(protocol.CloseInternal, "internal")
		return
	}
	if t.clear(g); cap(g.bytes) <= 2*maxWrite {
		buffers.Put(g)
	}
}

// round gathers and writes once. It reports whether there may be more to write.
func (t *turns) round(g *gathered) bool {
	c := t.channel
	end := t.gather(g)
	if len(g.bytes) > 0 {
		err := c.sink.Write(g.bytes)
		if errors.Is(err, ErrStreamEnded) {
			return false
		}
		if err != nil {
			c.own.ended.CompareAndSwap(nil, &ending{code: 1006, reason: "write failed", cause: metrics.CloseWriteError})
			c.sink.Cut()
			return false
		}
		t.written(g)
	}
	if end != nil {
		c.own.ended.CompareAndSwap(nil, end)
		c.sink.End(end.code, end.reason)
		return false
	}
	return len(g.bytes) > 0 || !t.rest()
}

// rest reports whether nobody waits. Then the goroutine is over.
func (t *turns) rest() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ownDue || t.sourceDue || t.head < len(t.line) {
		return false
	}
	t.running = false
	return true
}

// gather takes turns until there is enough for a write, or nobody waits. It returns the end
// of the connection, which comes after what was gathered.
func (t *turns) gather(g *gathered) (end *ending) {
	if src := t.takeSource(); src != nil {
		before := len(g.bytes)
		if g.bytes = src.Next(g.bytes, t.channel.enc, maxTurn); len(g.bytes) > before {
			t.wakeSource() // there may be more, for the next write
		}
	}
	for len(g.bytes) < maxWrite {
		x, ok := t.take()
		switch {
		case !ok:
			return nil
		case x.sub != t.channel.own:
			t.takeTurn(g, x)
		default:
			if end := t.takeOwn(g); end != nil {
				return end
			}
		}
	}
	return nil
}

// takeSource gives the source if it waits.
func (t *turns) takeSource() Source {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sourceDue {
		return nil
	}
	t.sourceDue = false
	return t.source
}

// take gives whoever is next: the channel's own subscriber, or the first of the line.
func (t *turns) take() (next turn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ownDue {
		t.ownDue = false
		return turn{sub: t.channel.own}, true
	}
	if t.head == len(t.line) {
		return turn{}, false
	}
	next = t.line[t.head]
	t.line[t.head] = turn{}
	if t.head++; t.head == len(t.line) {
		t.line, t.head = t.line[:0], 0
		if cap(t.line) > maxLine {
			t.line = nil // after a burst
		}
	}
	return next, true
}

// maxLine is how long a line is kept for the next turns, when it is empty.
const maxLine = 1024

func (t *turns) takeOwn(g *gathered) *ending {
	own := t.channel.own
	switch c := (pump{own}).next(false); c.then {
	case writes:
		g.bytes = append(g.bytes, c.bytes...)
		g.turns = append(g.turns, turn{sub: own, chunk: c})
		t.mu.Lock()
		t.ownDue = true // it is still claimed
		t.mu.Unlock()
	case ends:
		return c.end
	}
	return nil
}

// takeTurn gathers what one subscriber has to write.
func (t *turns) takeTurn(g *gathered, x turn) {
	switch {
	case !x.made:
		x.chunk = pump{x.sub}.next(false)
	case pump{x.sub}.gone():
		x.chunk = chunk{} // the session may have begun anew meanwhile
	}
	if x.read {
		g.reads++
	}
	switch x.chunk.then {
	case writes:
		g.bytes = append(g.bytes, x.chunk.bytes...)
		g.turns = append(g.turns, x)
	case ends:
		e := x.chunk.end
		frame := protocol.AppendControl(nil, protocol.ControlUnsubscribed, time.Now(), protocol.Unsubscribed{Code: e.code, Reason: e.reason})
		g.bytes = t.channel.enc.Control(g.bytes, protocol.ControlUnsubscribed, x.sub.Session(), frame)
		g.over = append(g.over, x)
	case lags:
		t.lag(x.sub)
	case awaits:
		t.await(x.sub)
	}
	if x.read && x.chunk.then != writes && x.chunk.then != ends {
		g.reads--
		t.readDone(1)
	}
}

// written notes what has been written: those that wrote are next again, at the end of the
// line.
func (t *turns) written(g *gathered) {
	own := t.channel.own
	for _, x := range g.turns {
		(pump{x.sub}).delivered(x.chunk)
		if x.sub != own {
			own.events.Add(x.chunk.events)
			own.bytes.Add(uint64(len(x.chunk.bytes)))
		}
	}
	t.readDone(g.reads)
	t.mu.Lock()
	if !t.closed {
		for _, x := range g.turns {
			if x.sub != own {
				t.pushLocked(turn{sub: x.sub})
			}
		}
	}
	t.mu.Unlock()
	for _, x := range g.over {
		t.channel.finish(x.sub, x.chunk.end)
	}
}

// lag has the store read for a subscriber, as soon as fewer than maxReads run.
func (t *turns) lag(s *Subscriber) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if len(t.lagging) == cap(t.lagging) && len(t.lagging) >= maxLine { // see thinLocked
		t.lagging = slices.DeleteFunc(t.lagging, over)
	}
	t.lagging = append(t.lagging, s)
	t.readLocked()
}

// readDone ends reads whose bytes were written.
func (t *turns) readDone(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads -= n
	t.readLocked()
}

func (t *turns) readLocked() {
	for t.reads < maxReads && len(t.lagging) > 0 && !t.closed {
		s := t.lagging[0]
		t.lagging[0] = nil
		if t.lagging = t.lagging[1:]; len(t.lagging) == 0 {
			t.lagging = nil
		}
		t.reads++
		t.channel.streams.pumps.run(func() { t.read(s) })
	}
}

// read is one read of the store. Whatever it finds comes back into the line.
func (t *turns) read(s *Subscriber) {
	x := turn{sub: s, made: true, read: true}
	err := t.channel.streams.Guard("a read for a channel", func() error { x.chunk = pump{s}.next(true); return nil }, "session", s.Session())
	if err != nil {
		x.chunk = chunk{end: &ending{code: protocol.CloseInternal, reason: "internal", cause: metrics.CloseInternal}, then: ends}
	}
	t.add(x)
}

// await has a subscriber try again after a pause, since the store did not answer.
func (t *turns) await(s *Subscriber) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if t.away = append(t.away, s); len(t.away) == 1 {
		t.retry = time.AfterFunc(engine.StoreRetry, t.again)
	}
}

func (t *turns) again() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	for _, s := range t.away {
		t.pushLocked(turn{sub: s})
	}
	t.away = nil
	t.startLocked()
}
