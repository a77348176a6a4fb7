package soak

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// span is for how long a client had something: not longer than the hub gave it.
type span struct{ from, to time.Time }

// mostAtOnce is how many of the spans there were at one moment, at most. What ends
// at the moment at which another begins is not there with it.
func mostAtOnce(spans []span) (most int) {
	type edge struct {
		at time.Time
		by int
	}
	var edges []edge
	for _, s := range spans {
		if s.from.Before(s.to) {
			edges = append(edges, edge{s.from, 1}, edge{s.to, -1})
		}
	}
	slices.SortFunc(edges, func(a, b edge) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	now := 0
	for _, e := range edges {
		now += e.by
		most = max(most, now)
	}
	return most
}

// overRate is by how many the moments exceed a token bucket of so many in a second
// and so many at once, at most: 0 if they do not. Each of the resets may have
// filled the bucket anew.
func overRate(moments []time.Time, perSecond float64, burst int, resets []time.Time) int {
	moments, resets = slices.Clone(moments), slices.Clone(resets)
	slices.SortFunc(moments, time.Time.Compare)
	slices.SortFunc(resets, time.Time.Compare)
	// From the i-th to the j-th moment there are j-i+1, and burst + perSecond * t are
	// allowed. So what each moment has used up is counted against the least before.
	worst, least, filled := 0.0, 0.0, 0
	for j, at := range moments {
		for filled < len(resets) && !resets[filled].After(at) {
			filled++
		}
		used := float64(j) - perSecond*at.Sub(moments[0]).Seconds() - float64(filled*burst)
		if j == 0 || used < least {
			least = used
		}
		worst = max(worst, used-least+1-float64(burst))
	}
	return int(math.Ceil(worst - 1e-6)) // less than that is rounding
}
