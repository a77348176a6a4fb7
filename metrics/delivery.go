package metrics

import (
	"slices"
	"sync/atomic"
	"time"
)

// DeliveryBucket counts deliveries that took longer than the bucket before allows, and at
// most UpTo. UpTo is 0 in the last bucket, which has no bound.
type DeliveryBucket struct {
	UpTo  time.Duration
	Count uint64
}

// deliveryCounts counts deliveries in the buckets of delivery_seconds: the counts of a
// Prometheus histogram cannot be read back cheaply. The last count is for deliveries that
// are slower than all buckets. Any goroutine may use it.
type deliveryCounts [len(fastBuckets) + 1]atomic.Uint64

func (d *deliveryCounts) observe(seconds float64) {
	// A bucket includes its bound, as in Prometheus (le).
	i, _ := slices.BinarySearch(fastBuckets[:], seconds)
	d[i].Add(1)
}

// Deliveries tells how long deliveries to live subscribers of this node took, since
// Started. The counts only grow.
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

// Started is when the counting began.
func (s *Set) Started() time.Time { return s.started }
