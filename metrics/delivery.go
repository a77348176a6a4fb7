package metrics

import (
	"slices"
	"sync/atomic"
	"time"
)

// DeliveryBucket counts deliveries that took longer than the bucket before
// allows and at most UpTo. UpTo is 0 in the last one, which has no bound.
type DeliveryBucket struct {
	UpTo  time.Duration
	Count uint64
}

// deliveryCounts counts beside delivery_seconds, in the same buckets: what a
// Prometheus histogram counted cannot be read back cheaply. The last one is of
// what is slower than all buckets. To be used concurrently.
type deliveryCounts [len(fastBuckets) + 1]atomic.Uint64

func (d *deliveryCounts) observe(seconds float64) {
	// A bucket holds its bound, as with Prometheus (le).
	i, _ := slices.BinarySearch(fastBuckets[:], seconds)
	d[i].Add(1)
}

// Deliveries tells how long deliveries to live subscribers of this node took,
// all since Started. The counts only grow.
func (s *Set) Deliveries() []DeliveryBucket {
	buckets := make([]DeliveryBucket, len(s.deliveries))
	for i := range s.deliveries {
		buckets[i].Count = s.deliveries[i].Load()
		if i < len(fastBuckets) {
			buckets[i].UpTo = time.Duration(fastBuckets[i]*1e6) * time.Microsecond
		}
	}
	return buckets
}

// Started tells since when is counted.
func (s *Set) Started() time.Time { return s.started }
