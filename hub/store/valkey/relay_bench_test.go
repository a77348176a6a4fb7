package valkey

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
)

// BenchmarkRelay appends 1,000 events a second over one node, each alone and in its
// turn to 100 sessions, and tells when another node, which watches all of them,
// heard of each: after the append began, and after it was acknowledged, which is
// what the relay adds (it can be below zero: the announcement goes out first).
func BenchmarkRelay(b *testing.B) {
	for _, aof := range []string{"no", "yes"} {
		b.Run("aof="+aof, func(b *testing.B) { benchRelay(b, valkeytest.Start(b, valkeytest.Valkey(b), "appendonly "+aof)) })
	}
}

func benchRelay(b *testing.B, server *valkeytest.Server) {
	const sessions, perSecond = 100, 1000
	prefix := space()
	quiet := func(o *Options) { o.Log, o.Retention = nil, store.Retention{MaxEvents: 10_000, MaxBytes: 16 << 20} }
	one, two := open(b, server.URL(), prefix, quiet), open(b, server.URL(), prefix, quiet)
	// times of one session; the slices are as long as it will have events
	type times struct {
		mu                  sync.Mutex
		base                uint64 // seq in front of the first one
		began, acked, heard []time.Time
	}
	each := make([]*times, sessions)
	assignment := make([]uint64, sessions)
	all := &sync.WaitGroup{}
	all.Add(b.N)
	for i := range sessions {
		id := fmt.Sprintf("s%d", i)
		assignment[i] = benchSession(b, one, id)
		snap, err := one.Load(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		n := b.N/sessions + 1
		x := &times{base: snap.Last, began: make([]time.Time, n), acked: make([]time.Time, n), heard: make([]time.Time, n)}
		each[i] = x
		b.Cleanup(two.Watch(id, func(n store.Notice) {
			now := time.Now()
			x.mu.Lock()
			defer x.mu.Unlock()
			for _, e := range n.Entries {
				if e.Seq > x.base && x.heard[e.Seq-x.base-1].IsZero() {
					x.heard[e.Seq-x.base-1] = now
					all.Done()
				}
			}
		}))
	}
	// A watch that has begun hears of the next append; before that, of the end.
	judge.Within(b, 10*time.Second, "subscriptions", func() bool {
		reply, err := server.Do("PUBSUB", "NUMSUB", two.channel("s0"), two.channel(fmt.Sprintf("s%d", sessions-1)))
		return err == nil && reply == fmt.Sprintf("%s\n1\n%s\n1", two.channel("s0"), two.channel(fmt.Sprintf("s%d", sessions-1)))
	})
	events := []session.NewEvent{output(200)}
	b.ResetTimer()
	cpu, start := server.CPU(), time.Now()
	var callers sync.WaitGroup
	for k := range b.N {
		time.Sleep(time.Until(start.Add(time.Duration(k) * time.Second / perSecond)))
		i, n := k%sessions, k/sessions
		callers.Go(func() {
			x := each[i]
			x.began[n] = time.Now()
			_, err := one.Append(b.Context(), fmt.Sprintf("s%d", i), store.Batch{Events: events, Fence: &store.Fence{Assignment: assignment[i], N: uint64(n + 1)}})
			x.acked[n] = time.Now()
			if err != nil {
				b.Errorf("append: %v", err)
				all.Done()
			}
		})
	}
	callers.Wait()
	all.Wait()
	took := time.Since(start)
	b.StopTimer()
	var way, added []time.Duration
	for _, x := range each {
		for n := range x.heard {
			if !x.heard[n].IsZero() && !x.acked[n].IsZero() {
				way, added = append(way, x.heard[n].Sub(x.began[n])), append(added, x.heard[n].Sub(x.acked[n]))
			}
		}
	}
	slices.Sort(way)
	slices.Sort(added)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(ms(way[len(way)/2]), "way-p50-ms")
	b.ReportMetric(ms(way[len(way)*99/100]), "way-p99-ms")
	b.ReportMetric(ms(added[len(added)/2]), "added-p50-ms")
	b.ReportMetric(ms(added[len(added)*99/100]), "added-p99-ms")
	b.ReportMetric(float64(b.N)/took.Seconds(), "events/s")
	b.ReportMetric(float64((server.CPU()-cpu).Microseconds())/float64(b.N), "server-us/event")
}
