package soak

import (
	"testing"
	"time"
)

func TestMostAtOnce(t *testing.T) {
	base := time.Unix(1000, 0)
	at := func(from, to int) span {
		return span{base.Add(time.Duration(from) * time.Second), base.Add(time.Duration(to) * time.Second)}
	}
	for name, c := range map[string]struct {
		spans []span
		want  int
	}{
		"none":                   {nil, 0},
		"one after the other":    {[]span{at(0, 1), at(1, 2), at(2, 3)}, 1},
		"one within another":     {[]span{at(0, 9), at(1, 2), at(3, 4)}, 2},
		"three at one moment":    {[]span{at(0, 5), at(4, 9), at(3, 6), at(7, 8)}, 3},
		"none that has no width": {[]span{at(0, 5), at(2, 2), at(3, 1)}, 1},
	} {
		if got := mostAtOnce(c.spans); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestOverRate(t *testing.T) {
	base := time.Unix(1000, 0)
	seconds := func(list ...float64) (all []time.Time) {
		for _, s := range list {
			all = append(all, base.Add(time.Duration(s*float64(time.Second))))
		}
		return all
	}
	for name, c := range map[string]struct {
		moments, resets []time.Time
		want            int
	}{
		"none":                        {nil, nil, 0},
		"the burst":                   {seconds(0, 0, 0), nil, 0},
		"one more":                    {seconds(0, 0, 0, 0), nil, 1},
		"one more, in disorder":       {seconds(0.2, 0, 0.1, 0), nil, 1},
		"the burst, then the rate":    {seconds(0, 0, 0, 0.5, 1, 1.5), nil, 0},
		"the burst, then too fast":    {seconds(0, 0, 0, 0.5, 0.6, 0.7, 1), nil, 2},
		"too many after a quiet time": {seconds(0, 100, 100, 100, 100, 100), nil, 2},
		"twice, with a reset between": {seconds(0, 0, 0, 1, 1, 1), seconds(0.5), 0},
		"a reset before all":          {seconds(1, 1, 1, 1), seconds(0.5), 1},
	} {
		if got := overRate(c.moments, 2, 3, c.resets); got != c.want {
			t.Errorf("%s: %d too many, want %d", name, got, c.want)
		}
	}
}
