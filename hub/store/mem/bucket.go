package mem

import (
	"context"
	"sync"
	"time"

	"sessionhub/hub/store"
)

// buckets is a store.Limiter: the token buckets. Each call forgets a few full buckets, so
// that users who are gone cost nothing.
type buckets struct {
	mu     sync.Mutex
	by     map[string]bucket
	byFull ordered[string] // names by when their buckets are full
	count  uint64          // of calls: it tells apart buckets that are full at the same time
}

type bucket struct {
	store.Bucket
	full key // in byFull
}

// forgets is how many full buckets a call forgets at most. It is more than a call can add.
const forgets = 2

// TakeToken implements store.Limiter.
func (b *buckets) TakeToken(_ context.Context, name string, r store.Rate) (time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.by == nil {
		b.by = make(map[string]bucket)
	}
	b.forget(now)
	old, known := b.by[name]
	if known {
		b.byFull.remove(old.full)
	}
	after, wait := old.Take(now, r)
	b.put(name, after, r)
	return wait, nil
}

// GiveToken implements store.Limiter.
func (b *buckets) GiveToken(_ context.Context, name string, r store.Rate) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if old, known := b.by[name]; known {
		b.byFull.remove(old.full)
		b.put(name, old.Give(time.Now(), r), r)
	}
	return nil
}

// put keeps a bucket that is not in byFull yet. Called with mu held.
func (b *buckets) put(name string, x store.Bucket, r store.Rate) {
	b.count++
	full := key{uint64(x.FullAt(r).UnixNano()), b.count}
	b.by[name] = bucket{Bucket: x, full: full}
	b.byFull.insert(full, name)
}

// forget forgets some of the buckets that are full. Called with mu held.
func (b *buckets) forget(now time.Time) {
	for range forgets {
		for name := range b.byFull.from(key{}) {
			full := b.by[name].full
			if full.major > uint64(now.UnixNano()) {
				return
			}
			b.byFull.remove(full)
			delete(b.by, name)
			break
		}
	}
}
