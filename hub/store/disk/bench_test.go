package disk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/hub/store"
)

// benchRounds is in how many rounds a benchmark runs the store and bare Pebble in turn: on
// a machine that has other things to do, only runs beside each other can be compared.
const benchRounds = 10

// BenchmarkAppend appends events of 300 bytes, each by one call that is answered when
// it is on the disk, from several callers with a session each. Beside it, as many callers
// set one key of 300 bytes each in a Pebble of its own, with the same settings: the floor.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64, 1000} {
		b.Run(fmt.Sprint("callers=", callers), func(b *testing.B) {
			s, err := Open(Options{Dir: b.TempDir(), Retention: wide})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			bare, err := Open(Options{Dir: b.TempDir(), Retention: wide}) // its database alone is used
			if err != nil {
				b.Fatal(err)
			}
			defer bare.Close()
			ids := make([]string, callers)
			for i := range ids {
				ids[i] = fmt.Sprint("s", i)
				create(b, s, ids[i])
			}
			batches, values := make([]store.Batch, 4096), make([][]byte, 4096)
			for i := range batches {
				text := incompressible(uint64(i), 300)
				batches[i], values[i] = output(text[:200]), []byte(text)
			}
			before := s.db.Metrics()
			var ours, floor, used time.Duration
			var ratios []float64
			b.ResetTimer()
			for round := range benchRounds {
				n := b.N*(round+1)/benchRounds - b.N*round/benchRounds
				cpuBefore := cpu()
				took := together(callers, n, func(caller, i int) error {
					_, err := s.Append(b.Context(), ids[caller], batches[i%len(batches)])
					return err
				}, b.Error)
				used += cpu() - cpuBefore
				bareTook := together(callers, n, func(caller, i int) error {
					return bare.db.Set(numbered(uint64(caller), dataEvent, uint64(i)), values[i%len(values)], pebble.Sync)
				}, b.Error)
				ours, floor = ours+took, floor+bareTook
				ratios = append(ratios, float64(bareTook)/float64(max(took, 1)))
			}
			b.StopTimer()
			if err := s.flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			after := s.db.Metrics()
			slices.Sort(ratios)
			each := func(n uint64) float64 { return float64(n) / float64(b.N) }
			b.ReportMetric(0, "ns/op") // it has both in it
			b.ReportMetric(float64(b.N)/ours.Seconds(), "events/s")
			b.ReportMetric(float64(b.N)/floor.Seconds(), "pebble-events/s")
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(float64(used.Microseconds())/float64(b.N), "cpu-us/event")
			b.ReportMetric(each(after.WAL.BytesWritten-before.WAL.BytesWritten), "log-B/event")
			b.ReportMetric(each(tableBytes(after)-tableBytes(before)), "tables-B/event")
		})
	}
}

// tableBytes is what was written to tables, first and again.
func tableBytes(m *pebble.Metrics) (n uint64) {
	for _, l := range m.Levels {
		n += l.TableBytesFlushed + l.TableBytesCompacted
	}
	return n
}

// incompressible gives letters that no compression makes much smaller.
func incompressible(seed uint64, n int) string {
	r := rand.New(rand.NewPCG(1, seed))
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[r.IntN(64)]
	}
	return string(b)
}

// together has callers make n calls in all, and says how long that takes.
func together(callers, n int, call func(caller, i int) error, failed func(...any)) time.Duration {
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for caller := range callers {
		wg.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := call(caller, i); err != nil {
					failed(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(os.NewSyscallError("getrusage", err))
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
