package client

import (
	"sessionhub/protocol"
)

// verdict is what the stream does with an event.
type verdict int

const (
	deliver verdict = iota
	repeat          // it was seen
	hole            // an event before it is missing: it must not be given to the caller
)

// position is a reader's place in a session's log. It keeps the stream's promise: every
// event once, in order, and no hole without a gap frame.
type position struct {
	cursor    protocol.Cursor // Latest until a frame has told the place
	announced string          // epoch of the present connection, not adopted yet
	closed    bool            // the log's last event was seen
}

// announce takes the epoch that a connection names first. The position adopts it with the
// next frame only. If the epoch has changed, a gap frame follows, and the connection could
// break before that. A cursor with the new epoch would then make the hub believe that the
// reader has seen the gap.
func (p *position) announce(c protocol.Connected) { p.announced = c.Epoch }

func (p *position) adopt(seq uint64) {
	epoch := p.cursor.Epoch
	if p.announced != "" {
		epoch = p.announced
	}
	p.cursor = protocol.Cursor{Epoch: epoch, Seq: seq}
}

// event judges an event, and moves past it if it is the next one.
func (p *position) event(e protocol.Event) verdict {
	if !p.cursor.Latest {
		if e.Seq <= p.cursor.Seq {
			return repeat
		}
		// An event that begins at or before the cursor stands for a compacted run that
		// holds the cursor's event.
		if e.First() > p.cursor.Seq+1 {
			return hole
		}
	}
	p.adopt(e.Seq)
	p.closed = e.Type == protocol.EventClosed
	return deliver
}

// caughtUp takes the end of the replay. It returns false if events before that end are
// missing.
func (p *position) caughtUp(seq uint64) bool {
	if !p.cursor.Latest && seq > p.cursor.Seq {
		return false
	}
	if p.cursor.Latest {
		p.adopt(seq)
	} else {
		p.adopt(p.cursor.Seq)
	}
	return true
}

// gap moves past events that the log no longer has, or back to where the log goes on.
func (p *position) gap(g protocol.Gap) {
	if g.Reason == protocol.GapEpochChanged {
		p.announced = g.Epoch
		p.adopt(max(g.FromSeq, 1) - 1)
		return
	}
	if p.cursor.Latest {
		p.adopt(g.ToSeq)
		return
	}
	p.adopt(max(g.ToSeq, p.cursor.Seq))
}
