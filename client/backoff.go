package client

import (
	"math/rand/v2"
	"time"
)

// Backoff bounds the waits between attempts. Each is drawn from the whole range
// between zero and a bound that begins with Base, doubles with each failure and
// ends at Max ("full jitter"), so that clients which lost their hub together do
// not come back together.
type Backoff struct {
	Base time.Duration // 500 ms unless given
	Max  time.Duration // 15 s unless given
}

func (b Backoff) withDefaults() Backoff {
	if b.Base <= 0 {
		b.Base = 500 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = 15 * time.Second
	}
	return b
}

// wait is the one before the next attempt, after so many failures in a row.
func (b Backoff) wait(failures int) time.Duration {
	bound := b.Max
	// The shift is bounded so that it cannot overflow.
	if shift := max(failures-1, 0); shift < 30 && b.Base<<shift < b.Max {
		bound = b.Base << shift
	}
	return rand.N(bound + 1)
}
