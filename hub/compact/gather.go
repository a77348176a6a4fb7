package compact

import (
	"bytes"
	"time"

	"sessionhub/protocol"
)

// gather takes the events of a log in order. It gives the events that replace them: one
// for each run that is over and old enough, and every other event as it is.
type gather struct {
	before time.Time // later events are too young

	run     run
	open    bool // run can still grow
	entries []protocol.Entry
	bytes   int // of entries, by JSONLen
	taken   int // events that entries stand for
}

// add takes the next event. It reports whether the event was old enough. If not, no later
// event may be added.
//
// A run is over with the next event that does not belong to it, or that finds no room. So
// the age of that event counts.
func (g *gather) add(e protocol.Entry) bool {
	if at, ok := timeOf(e); !ok || at.After(g.before) {
		return false
	}
	if g.open && g.run.add(e) {
		return true
	}
	g.close()
	if g.run, g.open = begin(e); !g.open {
		g.keep(e, 1)
	}
	return true
}

// close ends the run.
func (g *gather) close() {
	if g.open {
		g.open = false
		g.keep(g.run.entry(), g.run.count)
	}
}

func (g *gather) keep(e protocol.Entry, events int) {
	g.entries = append(g.entries, e)
	g.bytes += e.JSONLen()
	g.taken += events
}

// take gives the entries gathered so far, and the number of events that they replace.
func (g *gather) take() (entries []protocol.Entry, events int) {
	entries, events = g.entries, g.taken
	g.entries, g.bytes, g.taken = nil, 0, 0
	return entries, events
}

// timeOf reads when an event was stored.
func timeOf(e protocol.Entry) (time.Time, bool) {
	_, rest, ok := bytes.Cut(e.Tail, []byte(`","time":"`))
	end := bytes.IndexByte(rest, '"')
	if !ok || end < 0 {
		return time.Time{}, false
	}
	at, err := time.Parse(time.RFC3339, string(rest[:end]))
	return at, err == nil
}
