package valkey

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/valkeytest"
)

// serverMicros is how many calls of a command there were since CONFIG RESETSTAT, and
// how long the server took for one.
func serverMicros(tb testing.TB, s *valkeytest.Server, command string) (calls int, each float64) {
	tb.Helper()
	info, err := s.Do("INFO", "commandstats")
	if err != nil {
		tb.Fatal(err)
	}
	for field := range strings.SplitSeq(parseInfo(info)["cmdstat_"+command], ",") {
		switch name, value, _ := strings.Cut(field, "="); name {
		case "calls":
			calls, _ = strconv.Atoi(value)
		case "usec_per_call":
			each, _ = strconv.ParseFloat(value, 64)
		}
	}
	return calls, each
}

// fill appends so many events of so many bytes of text.
func fill(tb testing.TB, s *Store, id string, n, size int) {
	tb.Helper()
	for n > 0 {
		b := store.Batch{Events: make([]session.NewEvent, min(n, 500))}
		for i := range b.Events {
			b.Events[i] = output(size)
		}
		if _, err := s.Append(tb.Context(), id, b); err != nil {
			tb.Fatal(err)
		}
		n -= len(b.Events)
	}
}

// BenchmarkCompact tells how long a step holds the server up: the longest of its two
// scripts, of which the one that weighs comes once for each 512 events.
func BenchmarkCompact(b *testing.B) {
	server := valkeytest.Start(b, valkeytest.Valkey(b), "appendonly no")
	for _, shape := range []struct{ events, size, each int }{{1000, 24, 25}, {4096, 24, 500}, {1000, 200, 250}} {
		b.Run(fmt.Sprintf("events=%d/size=%d/each=%d", shape.events, shape.size, shape.each), func(b *testing.B) {
			s := open(b, server.URL(), space(), func(o *Options) { o.Log = nil })
			benchSession(b, s, "s1")
			var weigh, step, pieces float64
			for b.Loop() {
				b.StopTimer()
				fill(b, s, "s1", shape.events, shape.size)
				c, err := nextStep(b.Context(), s, "s1", never, shape.each)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := server.Do("CONFIG", "RESETSTAT"); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
				if err := s.Compact(b.Context(), "s1", c); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				n, each := serverMicros(b, server, "evalsha_ro")
				weigh, pieces = weigh+each, pieces+float64(n)
				_, each = serverMicros(b, server, "evalsha")
				step += each
				b.StartTimer()
			}
			b.ReportMetric(weigh/float64(b.N), "weigh-us")
			b.ReportMetric(pieces/float64(b.N), "weighings")
			b.ReportMetric(step/float64(b.N), "step-us")
		})
	}
}

// BenchmarkReadCompacted reads a log of 11 MB as readers do, raw and compacted to
// events of 64 KiB.
func BenchmarkReadCompacted(b *testing.B) {
	server := valkeytest.Start(b, valkeytest.Valkey(b), "appendonly no")
	for _, compacted := range []bool{false, true} {
		b.Run(fmt.Sprintf("compacted=%v", compacted), func(b *testing.B) {
			s := open(b, server.URL(), space(), func(o *Options) { o.Log = nil })
			benchSession(b, s, "s1")
			size, each := 200, 1
			if compacted {
				size, each = 600, 100
			}
			const total = 11 << 20
			for bytes := 0; bytes < total; {
				fill(b, s, "s1", 400, size)
				c, err := nextStep(b.Context(), s, "s1", never, each)
				if err != nil {
					b.Fatal(err)
				}
				for _, e := range c.Entries {
					if bytes += e.JSONLen(); !compacted {
						bytes = total // counted below
					}
				}
				if compacted {
					if err := s.Compact(b.Context(), "s1", c); err != nil {
						b.Fatal(err)
					}
				}
			}
			for n := 0; !compacted && n < total/(size+120); n += 400 {
				fill(b, s, "s1", 400, size)
			}
			if _, err := server.Do("CONFIG", "RESETSTAT"); err != nil {
				b.Fatal(err)
			}
			read := 0
			for b.Loop() {
				for after := uint64(0); ; {
					p, err := s.Read(b.Context(), "s1", after, 1000, readBytes)
					if err != nil {
						b.Fatal(err)
					}
					if len(p.Entries) == 0 {
						break
					}
					after, read = p.Entries[len(p.Entries)-1].Seq, read+jsonLen(p.Entries)
				}
			}
			calls, micros := serverMicros(b, server, "evalsha_ro")
			b.ReportMetric(micros, "us/piece")
			b.ReportMetric(float64(calls)/float64(b.N), "pieces")
			b.ReportMetric(float64(calls)*micros/(float64(read)/(1<<20)), "server-us/MiB")
		})
	}
}
