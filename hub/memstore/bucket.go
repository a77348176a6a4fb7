package memstore

import (
	"context"
	"sync"
	"time"

	"sessionhub/hub"
)

// buckets are the token buckets. Full ones are forgotten from time to time, so
// that users who are gone cost nothing.
type buckets struct {
	mu   sync.Mutex
	by   map[string]bucket
	next int // how many there may be before the full ones go
}

type bucket struct {
	hub.Bucket
	rate hub.Rate
}

const minBuckets = 1024

// TakeToken implements hub.Store.
func (s *Store) TakeToken(_ context.Context, key string, r hub.Rate) (time.Duration, error) {
	b := &s.buckets
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.by == nil {
		b.by, b.next = make(map[string]bucket), minBuckets
	}
	if len(b.by) >= b.next {
		for k, x := range b.by {
			if x.Full(now, x.rate) {
				delete(b.by, k)
			}
		}
		b.next = max(minBuckets, 2*len(b.by))
	}
	after, wait := b.by[key].Take(now, r)
	b.by[key] = bucket{Bucket: after, rate: r}
	return wait, nil
}
