package soak

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// restarted feeds a record of a store that was restarted: "connected e1", "gap 2 3
// e2" from 2 to 3, "3 text" for an event of that seq, "3 text e1-3" for one with an
// id, "2-3 text" for a compacted one, "3 +text" for output, "caught_up 3".
func restarted(lines ...string) *Record {
	r := NewRecord("r")
	r.restarts = true
	r.feed(lines...)
	return r
}

func (r *Record) feed(lines ...string) {
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
			from, to, run := strings.Cut(words[0], "-")
			if run {
				_, _ = fmt.Sscan(from, &e.From)
				from = to
			}
			_, _ = fmt.Sscan(from, &e.Seq)
			e.Type, data = protocol.EventStatus, protocol.StatusData{Status: protocol.Status(words[1])}
			switch text, output := strings.CutPrefix(words[1], "+"); {
			case output:
				e.Type, data = protocol.EventOutput, protocol.OutputData{MessageID: "m", Text: text, Kind: protocol.OutputText}
			case words[1] == "message":
				e.Type, data = protocol.EventMessage, protocol.MessageData{MessageID: "m", Content: []byte(`"x"`)}
			}
			if len(words) > 2 {
				id = words[2]
			}
		}
		e.Data = protocol.Marshal(data)
		r.FrameWithID(protocol.Marshal(e), id)
	}
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

		"given again as a run":       {"connected a|1 message|2 +a|3 +b|connected b|gap 2 3 b|2-4 +abc", "b-4", 1, false},
		"given again as pieces":      {"connected a|1 message|2-3 +ab|connected b|gap 2 3 b|2 +a|3 +b", "b-3", 1, false},
		"given again as another run": {"connected a|1 message|2 +a|3 +b|connected b|gap 2 3 b|2-4 +axc", "b-4", 1, true},
		"a run of which a part is":   {"connected a|1 message|2-4 +abc|connected b|gap 4 4 b|connected b|2 +a|3 +b|4 +c", "b-4", 1, false},
		"behind which is gone on":    {"connected a|1 message|2-4 +abc|connected b|gap 4 4 b|4 +c", "b-1", 1, true},
	} {
		r := restarted(strings.Split(c.lines, "|")...)
		if r.Cursor() != c.cursor || r.Gaps() != c.gaps || (len(r.Findings()) > 0) != c.found {
			t.Errorf("%s: cursor %s, %d gaps, findings %v", name, r.Cursor(), r.Gaps(), r.Findings())
		}
	}
}

// What a gap from the beginning says is that the cursor's epoch is not known.
func TestGapFromTheBeginning(t *testing.T) {
	r := NewRecord("r")
	r.restarts = true
	r.feed("connected a", "1 x", "2 y", "connected b", "gap 2 2 b", "2 y", "connected c", "gap 1 2 c", "1 x", "connected d", "gap 1 1 d")
	if got := r.Unknown(); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("unknown: %v, findings %v", got, r.Findings())
	}
}

// A store that loses its end: a gap takes back what was seen of it.
func TestGapOfALoss(t *testing.T) {
	for name, c := range map[string]struct {
		lines, others string // what the record and another client of the session see
		cursor        string
		status        protocol.Status
		found         bool
	}{
		"others in their place":   {"connected a|1 x|2 y|3 z|connected b|gap 2 3 b|2 v|3 w|caught_up 3", "", "b-3", "w", false},
		"nothing in their place":  {"connected a|1 x|2 y|connected a|gap 2 2 a", "", "a-1", "x", false},
		"kept all the same":       {"connected a|1 x|2 y|connected b|gap 2 2 b|2 y", "", "b-2", "y", true},
		"from the beginning":      {"connected a|1 x|2 y|connected b|gap 1 2 b|1 x", "", "b-1", "x", false},
		"twice under one number":  {"connected a|1 x|2 y", "connected a|1 x|2 z", "a-2", "y", true},
		"another one, and epoch":  {"connected a|1 x|2 y", "connected b|1 x|2 z", "a-2", "y", false},
		"lost twice, in one gap":  {"connected a|1 x|2 y|connected b|gap 2 2 b|2 z|3 w|connected c|gap 2 3 c|2 v", "", "c-2", "v", false},
		"a number twice, by gaps": {"connected a|1 x|2 y|connected a|gap 2 2 a|2 z", "", "a-2", "z", true},

		"a part of a run":            {"connected a|1 message|2-4 +abc|connected b|gap 4 4 b|connected b|2 +a|3 +b|4 y", "", "b-4", "y", false},
		"a run that is kept":         {"connected a|1 message|2-4 +abc|connected b|gap 4 4 b|connected b|2-4 +abc", "", "b-4", "", true},
		"one log in two forms":       {"connected a|1 message|2 +a|3 +b", "connected a|1 message|2-3 +ab", "a-3", "", false},
		"a run of other bytes twice": {"connected a|1 message|2-3 +ab", "connected a|1 message|2-3 +ax", "a-3", "", true},
	} {
		seen := &ledger{}
		other := NewRecord("other")
		other.ledger = seen
		r := NewRecord("r")
		r.restarts, r.ledger = true, seen
		if c.others != "" {
			other.feed(strings.Split(c.others, "|")...)
		}
		r.feed(strings.Split(c.lines, "|")...)
		if r.Cursor() != c.cursor || r.Status() != c.status || (len(r.Findings()) > 0) != c.found {
			t.Errorf("%s: cursor %s, status %s, findings %v", name, r.Cursor(), r.Status(), r.Findings())
		}
	}
}
