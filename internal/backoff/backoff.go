// Package backoff gives the waits between attempts of what may fail again.
//
// Each wait is drawn from the whole range between zero and a bound. The bound
// doubles with each failure in a row ("full jitter"), so that those who lost one
// server together do not come back together:
// https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff counts failures in a row. Its users take turns: it has no lock.
type Backoff struct {
	Base time.Duration // the first bound; more than zero
	Max  time.Duration // no bound is larger; Base at least

	failures int
}

// Next counts a failure and gives the wait before the next attempt: Max at most,
// and it may be zero.
func (b *Backoff) Next() time.Duration { return rand.N(b.Bound() + 1) }

// Bound is Next without the draw: for what is waited for by one alone.
func (b *Backoff) Bound() time.Duration {
	b.failures++
	// The shift is bounded so that it cannot overflow.
	if shift := b.failures - 1; shift < 62 && b.Base <= b.Max>>shift {
		return b.Base << shift
	}
	return b.Max
}

// Failures is how many there were since the last Reset.
func (b *Backoff) Failures() int { return b.failures }

// Reset notes a success: the next wait is bounded by Base again.
func (b *Backoff) Reset() { b.failures = 0 }
