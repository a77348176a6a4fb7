package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in buckets whose width is an eighth of a power of
// two of microseconds: a percentile is right to 12.5 %. Any goroutine may add.
type histogram struct {
	buckets [buckets]atomic.Uint64
}

const (
	perDoubling = 8
	buckets     = 40 * perDoubling // up to 2^40 us
)

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < perDoubling {
		return int(us)
	}
	shift := bits.Len64(us) - 4 // leaves 8 to 15
	return min(int(us>>shift)+shift*perDoubling, buckets-1)
}

// upper is the largest duration of a bucket.
func upper(bucket int) time.Duration {
	if bucket < perDoubling {
		return time.Duration(bucket) * time.Microsecond
	}
	shift := bucket/perDoubling - 1
	us := uint64(bucket%perDoubling+perDoubling+1)<<shift - 1
	return time.Duration(us) * time.Microsecond
}

func (h *histogram) add(d time.Duration) { h.buckets[bucketOf(d)].Add(1) }

// counts gives the buckets, for another process's histogram.
func (h *histogram) counts() []uint64 {
	out := make([]uint64, len(h.buckets))
	for i := range h.buckets {
		out[i] = h.buckets[i].Load()
	}
	return out
}

// merge adds what counts gave.
func (h *histogram) merge(counts []uint64) {
	for i := range min(len(counts), len(h.buckets)) {
		h.buckets[i].Add(counts[i])
	}
}

// summary is nil if there is nothing in it.
func (h *histogram) summary() *Latency {
	if h.count() == 0 {
		return nil
	}
	return &Latency{
		Samples: h.count(), P50: ms(h.percentile(.5)), P90: ms(h.percentile(.9)), P99: ms(h.percentile(.99)), Max: ms(h.percentile(1)),
	}
}

// count is how many there are.
func (h *histogram) count() (n uint64) {
	for i := range h.buckets {
		n += h.buckets[i].Load()
	}
	return n
}

// percentile is the duration that the share q of all do not exceed.
func (h *histogram) percentile(q float64) time.Duration {
	want := uint64(q * float64(h.count()))
	var n uint64
	for i := range h.buckets {
		if n += h.buckets[i].Load(); n > want || n > 0 && n == h.count() {
			return upper(i)
		}
	}
	return 0
}
