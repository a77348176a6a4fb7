package hub_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// counter is a sink that costs nothing.
type counter struct {
	bytes *atomic.Int64 // of all sinks
}

func (c counter) Write(p []byte) error       { c.bytes.Add(int64(len(p))); return nil }
func (c counter) Stalled(time.Duration) bool { return false }
func (c counter) LastHeard() int64           { return 0 }
func (c counter) End(int, string)            {}
func (c counter) Cut()                       {}

// benchRetention is the contract's.
var benchRetention = store.Retention{MaxEvents: 10_000, MaxBytes: 16 << 20}

// What the hub itself costs for one event to one of 1,000 subscribers, from the
// append until the last sink has it: no encoding, no copy, no system call.
func BenchmarkFanOut(b *testing.B) {
	const sinks = 1000
	w := newWorld(b, benchRetention)
	id := w.create()
	var got atomic.Int64
	for i := range sinks {
		stream, err := w.hub.Open(w.ctx, id, protocol.Cursor{Latest: true}, protocol.Encoding(i%2))
		if err != nil {
			b.Fatal(err)
		}
		sub, err := stream.Start(w.ctx, counter{&got}, session.Grant{})
		if err != nil {
			b.Fatal(err)
		}
		defer sub.Stop(1000, "", "client_closed")
	}
	batch := store.Batch{Events: []session.NewEvent{{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{Text: strings.Repeat("x", 150)})}}}
	// All encodings of one event, in every sink: known from the log.
	size := func() int64 {
		snap := w.load(id)
		page, err := w.store.Read(w.ctx, id, snap.Last-1, 1, 1)
		if err != nil {
			b.Fatal(err)
		}
		e := page.Entries[0]
		return sinks / 2 * int64(len(protocol.AppendEventFrame(nil, e))+len(protocol.AppendEventSSE(nil, snap.Epoch(), e)))
	}
	settle := func() {
		for last := int64(-1); last != got.Load(); time.Sleep(20 * time.Millisecond) {
			last = got.Load()
		}
	}
	settle()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n := 0
	for b.Loop() {
		b.StopTimer()
		got.Store(0)
		b.StartTimer()
		if _, err := w.store.Append(w.ctx, id, batch); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		want := size()
		b.StartTimer()
		for got.Load() < want {
			runtime.Gosched()
		}
		n++
	}
	runtime.ReadMemStats(&after)
	deliveries := float64(n) * sinks
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/deliveries, "ns/delivery")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/deliveries, "allocs/delivery")
}

// What one event of a worker costs in the log, with nobody listening and with
// one subscriber.
func BenchmarkAppend(b *testing.B) {
	for name, listeners := range map[string]int{"alone": 0, "watched": 1} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, benchRetention)
			id := w.create()
			var got atomic.Int64
			for range listeners {
				stream, err := w.hub.Open(w.ctx, id, protocol.Cursor{Latest: true}, protocol.WebSocket)
				if err != nil {
					b.Fatal(err)
				}
				sub, err := stream.Start(w.ctx, counter{&got}, session.Grant{})
				if err != nil {
					b.Fatal(err)
				}
				defer sub.Stop(1000, "", "client_closed")
			}
			batch := store.Batch{Events: []session.NewEvent{{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{Text: strings.Repeat("x", 150)})}}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.store.Append(w.ctx, id, batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
