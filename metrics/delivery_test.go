package metrics

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestDeliveriesLieInTheirBuckets(t *testing.T) {
	s := New(prometheus.NewRegistry(), Build{}, nil)
	for _, seconds := range []float64{0, .00005, .000051, .0025, 10, 10.1} {
		s.deliveries.observe(seconds)
	}
	want := map[time.Duration]uint64{50 * time.Microsecond: 2, 100 * time.Microsecond: 1, 2500 * time.Microsecond: 1, 10 * time.Second: 1, 0: 1}
	buckets := s.Deliveries()
	if len(buckets) != len(fastBuckets)+1 {
		t.Errorf("there are %d buckets for %d bounds", len(buckets), len(fastBuckets))
	}
	for i, b := range buckets {
		if b.Count != want[b.UpTo] {
			t.Errorf("%d of up to %v, want %d", b.Count, b.UpTo, want[b.UpTo])
		}
		if i > 0 && i < len(buckets)-1 && b.UpTo <= buckets[i-1].UpTo {
			t.Errorf("%v comes after %v", b.UpTo, buckets[i-1].UpTo)
		}
	}
}

func TestReplayIsNoDelivery(t *testing.T) {
	s := New(prometheus.NewRegistry(), Build{}, nil)
	s.Delivered(TransportSSE, 3, 100, 0)
	s.Delivered(TransportSSE, 1, 100, time.Now().UnixNano())
	var total uint64
	for _, b := range s.Deliveries() {
		total += b.Count
	}
	if total != 1 {
		t.Errorf("%d deliveries were counted, want 1", total)
	}
}
