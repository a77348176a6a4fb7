package soak

import (
	"fmt"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// restarted feeds a record of a store that was restarted: "connected e1", "gap 2 3
// e2" from 2 to 3, "3 text" for an event of that seq, "3 text e1-3" for one with an
// id, "caught_up 3".
func restarted(lines ...string) *Record {
	r := NewRecord("r")
	r.restarts = true
	for _, line := range lines {
		words := strings.Split(line, " ")
		e := protocol.Event{}
		var data any
		var id string
		switch words[0] {
		case "connected":
			e.Type, data = protocol.EventType(protocol.ControlConnected), protocol.Connected{Epoch: words[1]}
		case "gap":
			g := protocol.Gap{Epoch: words[3], Reason: protocol.GapEpochChanged}
			_, _ = fmt.Sscan(words[1]+" "+words[2], &g.FromSeq, &g.ToSeq)
			e.Type, data = protocol.EventType(protocol.ControlGap), g
		case "caught_up":
			c := protocol.CaughtUp{}
			_, _ = fmt.Sscan(words[1], &c.Seq)
			e.Type, data = protocol.EventType(protocol.ControlCaughtUp), c
		default:
			_, _ = fmt.Sscan(words[0], &e.Seq)
			e.Type, data = protocol.EventStatus, protocol.StatusData{Status: protocol.Status(words[1])}
			if len(words) > 2 {
				id = words[2]
			}
		}
		e.Data = protocol.Marshal(data)
		r.FrameWithID(protocol.Marshal(e), id)
	}
	return r
}

func TestGapOfARestart(t *testing.T) {
	for name, c := range map[string]struct {
		lines  string
		cursor string
		gaps   int
		found  bool
	}{
		"the same again":        {"connected a|1 x|2 y|3 z|connected b|gap 2 3 b|2 y|3 z|caught_up 3|4 w", "b-4", 1, false},
		"as far as it came":     {"connected a|1 x|2 y|3 z|connected b|gap 2 3 b|2 y", "b-2", 1, false},
		"broken before the gap": {"connected a|1 x|2 y|connected b", "a-2", 0, false},
		"live, by the ids":      {"connected a|1 x a-1|2 y b-2", "b-2", 0, false},
		"other bytes":           {"connected a|1 x|2 y|connected b|gap 2 2 b|2 z", "b-2", 1, true},
		"a hole behind the gap": {"connected a|1 x|2 y|3 z|connected b|gap 2 3 b|3 z", "b-1", 1, true},
		"a gap that is not it":  {"connected a|1 x|2 y|connected b|gap 2 3 b", "a-2", 0, true},
		"an id of another seq":  {"connected a|1 x a-2", "a-1", 0, true},
	} {
		r := restarted(strings.Split(c.lines, "|")...)
		if r.Cursor() != c.cursor || r.Gaps() != c.gaps || (len(r.Findings()) > 0) != c.found {
			t.Errorf("%s: cursor %s, %d gaps, findings %v", name, r.Cursor(), r.Gaps(), r.Findings())
		}
	}
}
