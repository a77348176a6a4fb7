package valkey

import (
	"context"
	"strconv"
	"sync"
	"time"

	"sessionhub/hub/store"
)

// limiter is a store.Limiter.
type limiter struct {
	*calls
	relay *relay
	own   ownBuckets
}

// TakeToken implements store.Limiter.
func (s *limiter) TakeToken(ctx context.Context, key string, r store.Rate) (time.Duration, error) {
	name := s.opt.Prefix + "bucket:" + key
	if s.relay.readyFor(hashSlotOf(name)) != nil && s.relay.someReady() == nil {
		return s.own.take(key, r), nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	wait, err := tokenScript.Exec(call, s.client, []string{name},
		[]string{strconv.FormatFloat(r.PerSecond, 'g', -1, 64), strconv.Itoa(r.Burst), "take"}).AsInt64()
	if err != nil {
		return 0, s.unavailable(ctx, "take_token", "take a token", err)
	}
	return time.Duration(wait) * time.Microsecond, nil
}

// GiveToken implements store.Limiter. It gives the token to the bucket where a token would
// be taken now. If the primary went away or came back since, one token is in the wrong
// bucket.
func (s *limiter) GiveToken(ctx context.Context, key string, r store.Rate) error {
	name := s.opt.Prefix + "bucket:" + key
	if s.relay.readyFor(hashSlotOf(name)) != nil && s.relay.someReady() == nil {
		s.own.give(key, r)
		return nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	err := tokenScript.Exec(call, s.client, []string{name},
		[]string{strconv.FormatFloat(r.PerSecond, 'g', -1, 64), strconv.Itoa(r.Burst), "give"}).Error()
	if err != nil {
		return s.unavailable(ctx, "take_token", "give a token back", err)
	}
	return nil
}

// maxOwnBuckets bounds the buckets of a node.
const maxOwnBuckets = 10_000

// ownBuckets are token buckets of this node alone. They replace those of a primary that is
// away while others answer: the rate then holds on each node.
type ownBuckets struct {
	mu      sync.Mutex
	buckets map[string]store.Bucket
}

func (b *ownBuckets) take(key string, r store.Rate) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, known := b.buckets[key]; b.buckets == nil || !known && len(b.buckets) >= maxOwnBuckets {
		b.buckets = make(map[string]store.Bucket) // a full bucket for everybody is cheaper than a hole
	}
	b.buckets[key], wait = b.buckets[key].Take(time.Now(), r)
	return wait
}

func (b *ownBuckets) give(key string, r store.Rate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if x, ok := b.buckets[key]; ok {
		b.buckets[key] = x.Give(time.Now(), r)
	}
}
