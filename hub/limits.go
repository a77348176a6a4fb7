package hub

import (
	"context"
	"fmt"
	"time"

	"sessionhub/metrics"
)

// Rate is a token bucket: it holds at most Burst tokens and gains PerSecond of
// them each second. The zero Rate lets everything through.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Limits are what one user may have and do, in all sessions together.
type Limits struct {
	SessionsPerUser    int // open ones; 0: no limit
	ConnectionsPerUser int // open streams; 0: no limit
	Messages           Rate
	Sessions           Rate // made
}

// RateError says when a refused call may come again.
type RateError struct{ Wait time.Duration }

func (e *RateError) Error() string {
	return fmt.Sprintf("too many in a short time: try again in %s", e.Wait.Round(time.Millisecond))
}

// allow takes a token from a user's bucket, or refuses with a RateError.
func (h *Hub) allow(ctx context.Context, what metrics.Limit, user string, r Rate) error {
	if r.PerSecond <= 0 {
		return nil
	}
	wait, err := h.store.TakeToken(ctx, string(what)+":"+user, r)
	if err != nil {
		return err
	}
	if wait > 0 {
		h.cfg.Metrics.LimitRejected(what)
		return &RateError{Wait: wait}
	}
	return nil
}

// Bucket is the state of one token bucket, for stores.
type Bucket struct {
	Tokens float64
	At     time.Time
}

// Take gives the bucket after a token was taken from it at now, or how long to
// wait for one. A bucket that was never used is full.
func (b Bucket) Take(now time.Time, r Rate) (Bucket, time.Duration) {
	tokens := float64(r.Burst)
	if !b.At.IsZero() {
		// A clock that was set back gives nothing, and takes nothing.
		tokens = min(tokens, b.Tokens+max(0, now.Sub(b.At).Seconds())*r.PerSecond)
	}
	if tokens < 1 {
		wait := time.Duration((1 - tokens) / r.PerSecond * float64(time.Second))
		return Bucket{Tokens: tokens, At: now}, max(wait, time.Millisecond)
	}
	return Bucket{Tokens: tokens - 1, At: now}, 0
}

// Full reports whether the bucket can be forgotten: a new one would be the same.
func (b Bucket) Full(now time.Time, r Rate) bool {
	return b.Tokens+now.Sub(b.At).Seconds()*r.PerSecond >= float64(r.Burst)
}
