package client

import (
	"time"

	"sessionhub/internal/backoff"
)

// Backoff bounds the waits between attempts. Each wait is drawn from the whole range
// between zero and a bound ("full jitter"). The bound begins with Base, doubles with each
// failure and ends at Max. So clients that lost their hub together come back apart.
type Backoff struct {
	Base time.Duration // 500 ms unless given
	Max  time.Duration // 15 s unless given
}

// begin starts to count failures from zero.
func (b Backoff) begin() backoff.Backoff {
	if b.Base <= 0 {
		b.Base = 500 * time.Millisecond
	}
	if b.Max <= 0 {
		b.Max = 15 * time.Second
	}
	return backoff.Backoff{Base: b.Base, Max: b.Max}
}
