package bench

import "sync/atomic"

// ledger is the account of one subscriber: which events it got. receive is
// called by its reader only; the atomics may be read by anyone, the rest after
// the reader has ended.
type ledger struct {
	last   atomic.Uint64 // highest seq
	events atomic.Uint64
	bytes  atomic.Uint64 // read from the connection
	reads  atomic.Uint64

	begun     bool
	holes     []span // not filled so far
	repeated  uint64
	reordered uint64
	gaps      uint64 // gap frames
}

// span is a range of seqs, both ends inclusive.
type span struct{ from, to uint64 }

// begin sets the place behind which events must come.
func (l *ledger) begin(seq uint64) {
	if !l.begun {
		l.begun = true
		l.last.Store(seq)
	}
}

// receive accounts for an event that stands for the seqs from first to seq.
func (l *ledger) receive(first, seq uint64) {
	l.events.Add(1)
	if !l.begun {
		l.begin(first - 1)
	}
	last := l.last.Load()
	switch {
	case first == last+1:
	case first > last+1:
		l.holes = append(l.holes, span{last + 1, first - 1})
	case l.fill(seq):
		l.reordered++
		return
	default:
		l.repeated++
		return
	}
	l.last.Store(seq)
}

// fill takes a late seq out of the hole that it left.
func (l *ledger) fill(seq uint64) bool {
	for i, h := range l.holes {
		if seq < h.from || seq > h.to {
			continue
		}
		l.holes = append(l.holes[:i:i], l.holes[i+1:]...)
		if seq > h.from {
			l.holes = append(l.holes, span{h.from, seq - 1})
		}
		if seq < h.to {
			l.holes = append(l.holes, span{seq + 1, h.to})
		}
		return true
	}
	return false
}

// lost counts what is missing of a log that ends at end.
func (l *ledger) lost(end uint64) uint64 {
	var n uint64
	for _, h := range l.holes {
		n += h.to - h.from + 1
	}
	if last := l.last.Load(); last < end {
		n += end - last
	}
	return n
}
