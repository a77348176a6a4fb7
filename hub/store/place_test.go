package store

import (
	"errors"
	"slices"
	"testing"

	"sessionhub/protocol"
)

func TestResolve(t *testing.T) {
	// e1 had 1 to 10, of which the failover to e2 kept all; e3 began at 21.
	epochs := []EpochStart{{"e1", 1}, {"e2", 11}, {"e3", 21}}
	whole := Snapshot{Epochs: epochs, First: 1, Last: 30}
	trimmed := Snapshot{Epochs: epochs, First: 15, Last: 30}
	empty := Snapshot{Epochs: epochs[:1], First: 1, Last: 0}
	allTrimmed := Snapshot{Epochs: epochs[:1], First: 31, Last: 30}
	void := func(from, to uint64) protocol.Gap {
		return protocol.Gap{Epoch: "e3", FromSeq: from, ToSeq: to, Reason: protocol.GapEpochChanged}
	}
	lost := func(from, to uint64) protocol.Gap {
		return protocol.Gap{Epoch: "e3", FromSeq: from, ToSeq: to, Reason: protocol.GapTrimmed}
	}
	for _, c := range []struct {
		name   string
		cursor string
		log    Snapshot
		after  uint64
		gaps   []protocol.Gap
		bad    bool
	}{
		{"the beginning", "", whole, 0, nil, false},
		{"a bare zero", "0", whole, 0, nil, false},
		{"a bare seq", "12", whole, 12, nil, false},
		{"a bare seq at the end", "30", whole, 30, nil, false},
		{"a bare seq beyond the end", "31", whole, 0, nil, true},
		{"latest", "latest", whole, 30, nil, false},
		{"latest of a trimmed log", "latest", allTrimmed, 30, nil, false},
		{"latest of an empty log", "latest", empty, 0, nil, false},
		{"zero of an empty log", "0", empty, 0, nil, false},
		{"one of an empty log", "1", empty, 0, nil, true},
		{"the present epoch", "e3-25", whole, 25, nil, false},
		{"the present epoch at the end", "e3-30", whole, 30, nil, false},
		{"the present epoch beyond the end", "e3-33", whole, 30, []protocol.Gap{void(31, 33)}, false},
		{"the present epoch before its beginning", "e3-5", whole, 5, nil, false},
		{"an old epoch in its range", "e1-7", whole, 7, nil, false},
		{"an old epoch at its end", "e1-10", whole, 10, nil, false},
		{"an old epoch one beyond", "e1-11", whole, 10, []protocol.Gap{void(11, 11)}, false},
		{"an old epoch far beyond the log", "e1-99", whole, 10, []protocol.Gap{void(11, 99)}, false},
		{"the middle epoch beyond", "e2-25", whole, 20, []protocol.Gap{void(21, 25)}, false},
		{"an unknown epoch", "e9-12", whole, 0, []protocol.Gap{void(1, 12)}, false},
		{"an unknown epoch at zero: nothing is void", "e9-0", whole, 0, nil, false},
		{"trimmed from the beginning", "0", trimmed, 14, []protocol.Gap{lost(1, 14)}, false},
		{"trimmed behind the cursor", "e1-7", trimmed, 14, []protocol.Gap{lost(8, 14)}, false},
		{"trimmed up to the cursor", "14", trimmed, 14, nil, false},
		{"one before", "13", trimmed, 14, []protocol.Gap{lost(14, 14)}, false},
		{"void and trimmed", "e1-12", trimmed, 14, []protocol.Gap{void(11, 12), lost(11, 14)}, false},
		{"an unknown epoch and trimmed", "e9-3", trimmed, 14, []protocol.Gap{void(1, 3), lost(1, 14)}, false},
	} {
		cursor, err := protocol.ParseCursor(c.cursor)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Resolve(cursor, c.log)
		if c.bad {
			if !errors.Is(err, ErrUnsupportedCursor) {
				t.Errorf("%s: %+v, %v; want ErrUnsupportedCursor", c.name, got, err)
			}
			continue
		}
		if err != nil || got.After != c.after || !slices.Equal(got.Gaps, c.gaps) {
			t.Errorf("%s: after %d, gaps %+v, %v; want after %d, gaps %+v", c.name, got.After, got.Gaps, err, c.after, c.gaps)
		}
	}
}

// A link remembers up to where the log told it what to send. A log that has gone on
// without a part of that has lost commands too, whose numbers come again.
func TestLogThatLacksWhatWasSeen(t *testing.T) {
	snap := Snapshot{Epochs: []EpochStart{{"a", 1}, {"b", 11}}, First: 5, Last: 20}
	for cursor, want := range map[string]bool{
		"":     false, // nothing was seen
		"a-2":  false, // trimmed since, which loses no command
		"a-10": false,
		"a-11": true, // another event has this number now
		"b-20": false,
		"b-21": true, // the end is gone, and no new epoch has begun
		"c-4":  true,
	} {
		seen, err := protocol.ParseCursor(cursor)
		if err != nil {
			t.Fatal(err)
		}
		if got := Lacks(snap, seen); got != want {
			t.Errorf("%q: %v, want %v", cursor, got, want)
		}
	}
}
