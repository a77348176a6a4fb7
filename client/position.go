package client

import (
	"sessionhub/protocol"
)

// verdict says what to do with an event.
type verdict int

const (
	deliver verdict = iota
	repeat          // it was seen
	hole            // something before it is missing: it must not be handed on
)

// position is a reader's place in a session's log and the rule that keeps the
// reader's promise: every event once, in order, no hole in silence.
type position struct {
	cursor    protocol.Cursor // Latest until something has told the place
	announced string          // epoch of the present connection, not adopted yet
	closed    bool            // the log's last event was seen
}

// announce takes the epoch that a connection names first. It is adopted with
// the next frame only: if the connection broke between this one and the gap that
// follows a change of epoch, a cursor with the new epoch would make the hub
// believe that the gap was seen.
func (p *position) announce(c protocol.Connected) { p.announced = c.Epoch }

func (p *position) adopt(seq uint64) {
	epoch := p.cursor.Epoch
	if p.announced != "" {
		epoch = p.announced
	}
	p.cursor = protocol.Cursor{Epoch: epoch, Seq: seq}
}

// event judges an event and moves behind it if it is the next one.
func (p *position) event(e protocol.Event) verdict {
	if !p.cursor.Latest {
		if e.Seq <= p.cursor.Seq {
			return repeat
		}
		// One that begins at or before the cursor stands for a compacted run
		// in which the cursor lay.
		if e.First() > p.cursor.Seq+1 {
			return hole
		}
	}
	p.adopt(e.Seq)
	p.closed = e.Type == protocol.EventClosed
	return deliver
}

// caughtUp takes the end of the replay. false: events before it are missing.
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

// gap moves over what the log no longer has, or back to where it goes on.
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
