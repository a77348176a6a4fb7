package bench

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestLedger(t *testing.T) {
	for name, tc := range map[string]struct {
		seqs                      []uint64
		end                       uint64
		lost, repeated, reordered uint64
	}{
		"whole":                  {seqs: []uint64{5, 6, 7}, end: 7},
		"the end is missing":     {seqs: []uint64{5, 6}, end: 9, lost: 3},
		"a hole":                 {seqs: []uint64{5, 8}, end: 8, lost: 2},
		"a hole at the start":    {seqs: []uint64{7}, end: 7, lost: 2},
		"a repeat":               {seqs: []uint64{5, 6, 5, 6, 7}, end: 7, repeated: 2},
		"from before the start":  {seqs: []uint64{4, 5}, end: 5, repeated: 1},
		"swapped":                {seqs: []uint64{6, 5, 7}, end: 7, reordered: 1},
		"late, in pieces":        {seqs: []uint64{9, 7, 5, 6, 8}, end: 9, reordered: 4},
		"late, then once more":   {seqs: []uint64{6, 5, 5}, end: 6, reordered: 1, repeated: 1},
		"a hole filled in part":  {seqs: []uint64{9, 7}, end: 9, lost: 3, reordered: 1},
		"nothing came":           {end: 6, lost: 2},
		"nothing came or was to": {end: 4},
	} {
		t.Run(name, func(t *testing.T) {
			var l ledger
			l.begin(4)
			for _, seq := range tc.seqs {
				l.receive(seq, seq)
			}
			if l.lost(tc.end) != tc.lost || l.repeated != tc.repeated || l.reordered != tc.reordered {
				t.Errorf("lost %d, repeated %d, reordered %d; want %d, %d, %d",
					l.lost(tc.end), l.repeated, l.reordered, tc.lost, tc.repeated, tc.reordered)
			}
			if l.events.Load() != uint64(len(tc.seqs)) {
				t.Errorf("%d events, want %d", l.events.Load(), len(tc.seqs))
			}
		})
	}
}

func TestLedgerTakesARun(t *testing.T) {
	var l ledger
	l.begin(4)
	l.receive(5, 9)
	l.receive(10, 10)
	if l.lost(10) != 0 || l.last.Load() != 10 {
		t.Errorf("lost %d of a compacted run", l.lost(10))
	}
}

func TestPercentilesAreRightToAnEighth(t *testing.T) {
	var h histogram
	all := make([]time.Duration, 10_000)
	for i := range all {
		all[i] = time.Duration(rand.ExpFloat64() * float64(5*time.Millisecond))
		h.add(all[i])
	}
	slices.Sort(all)
	for _, q := range []float64{.5, .9, .99, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		got := h.percentile(q)
		if got < want-time.Microsecond || float64(got) > 1.13*float64(want)+float64(time.Microsecond) {
			t.Errorf("percentile %.2f is %s, want %s to 1.125 of it", q, got, want)
		}
	}
	if new(histogram).percentile(.5) != 0 {
		t.Error("an empty one has a percentile")
	}
}
