package store

import (
	"context"
	"time"
)

// Limiter bounds how often something is done on all nodes together.
type Limiter interface {
	// TakeToken takes a token from the bucket named key, or returns how long to wait for
	// one. Every caller of a name must pass the same rate.
	TakeToken(ctx context.Context, key string, r Rate) (wait time.Duration, err error)

	// GiveToken puts back a token that was taken for nothing, unless the bucket is full.
	GiveToken(ctx context.Context, key string, r Rate) error
}

// Rate is a token bucket: it holds at most Burst tokens and gains PerSecond of
// them each second. The zero Rate lets everything through.
type Rate struct {
	PerSecond float64
	Burst     int
}

// Bucket is the state of one token bucket, for stores.
type Bucket struct {
	Tokens float64
	At     time.Time
}

// Take returns the bucket after a token was taken from it at now, or how long to wait for a
// token. A bucket that was never used is full.
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

// Give returns the bucket after a token was put back into it at now.
func (b Bucket) Give(now time.Time, r Rate) Bucket {
	if b.At.IsZero() {
		return b // full
	}
	tokens := b.Tokens + max(0, now.Sub(b.At).Seconds())*r.PerSecond
	return Bucket{Tokens: min(float64(r.Burst), tokens+1), At: now}
}

// FullAt is when the bucket is full again and can be forgotten: a new bucket would be the
// same.
func (b Bucket) FullAt(r Rate) time.Time {
	const longest = 100 * 365 * 24 * time.Hour
	wait := max(0, float64(r.Burst)-b.Tokens) / r.PerSecond * float64(time.Second)
	return b.At.Add(time.Duration(min(wait, float64(longest))) + 1) // rounded up
}
