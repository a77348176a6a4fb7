package bench

import (
	"fmt"
	"io"
	"runtime"
	"time"
)

func newReport(o Options) Report { return Report{Options: o, Host: thisHost()} }

func thisHost() Host { return Host{CPUs: runtime.NumCPU(), Go: runtime.Version()} }

// Report is what a run measured. Parts that could not be measured (no process
// or admin listener of the hub was given) are null.
type Report struct {
	Options Options  `json:"options"`
	Host    Host     `json:"host"`
	Connect Connect  `json:"connect"`
	Memory  *Memory  `json:"memory"`
	Traffic *Traffic `json:"traffic"` // null with no events
	Loss    Loss     `json:"loss"`

	Heartbeats Heartbeats `json:"heartbeats"`
	Refused    uint64     `json:"refused"`         // requests with 503, each of which was made again
	Relay      *Relay     `json:"relay,omitempty"` // only with ModeRelay
}

// Host says where it ran.
type Host struct {
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
}

// Connect is what it cost to open the streams.
type Connect struct {
	Seconds   float64  `json:"seconds"`
	CPUMicros *float64 `json:"cpuMicrosEach"` // of the hub
}

// Memory is the hub's, in bytes. Each figure "each" is the growth since before
// the sessions, divided by the connections: what a connection costs together
// with its share of a session.
type Memory struct {
	Start     int64   `json:"rssStart"`     // before anything
	Sessions  int64   `json:"rssSessions"`  // with the sessions, nobody connected
	Connected int64   `json:"rssConnected"` // all connected, settled
	Each      float64 `json:"rssEach"`
	// After a garbage collection, which idle hubs make every two minutes.
	Collected     *int64   `json:"rssCollected"`
	CollectedEach *float64 `json:"rssCollectedEach"`

	Goroutines *float64 `json:"goroutinesEach"`
	Heap       *float64 `json:"heapEach"`  // bytes of live objects
	Stack      *float64 `json:"stackEach"` // bytes
}

// Traffic is what the events cost.
type Traffic struct {
	Seconds       float64  `json:"seconds"`
	Delivered     uint64   `json:"delivered"` // events, summed over subscribers
	PerSecond     float64  `json:"deliveredPerSecond"`
	EventsPerRead float64  `json:"eventsPerRead"` // how many arrived together
	CPUMicros     *float64 `json:"cpuMicrosPerDelivery"`
	UserMicros    *float64 `json:"userMicrosPerDelivery"`
	OwnCPUMicros  float64  `json:"benchCPUMicrosPerDelivery"` // of the load generator

	// From an event's append to its arrival here; the hub's clock gives
	// milliseconds, so each is up to 1 ms too long.
	Latency *Latency `json:"latency"`
}

// Latency has milliseconds.
type Latency struct {
	Samples uint64  `json:"samples"`
	P50     float64 `json:"p50"`
	P90     float64 `json:"p90"`
	P99     float64 `json:"p99"`
	Max     float64 `json:"max"`
}

// Loss is 0 everywhere, or the hub has a bug.
type Loss struct {
	Lost      uint64 `json:"lost"`
	Repeated  uint64 `json:"repeated"`
	Reordered uint64 `json:"reordered"`
	Gaps      uint64 `json:"gaps"`    // named losses
	Dropped   int64  `json:"dropped"` // subscribers whose connection ended
	Reason    string `json:"reason,omitempty"`
}

func (l Loss) any() bool {
	return l.Lost+l.Repeated+l.Reordered+l.Gaps+uint64(l.Dropped) != 0
}

func (l *Loss) add(o Loss) {
	l.Lost += o.Lost
	l.Repeated += o.Repeated
	l.Reordered += o.Reordered
	l.Gaps += o.Gaps
	l.Dropped += o.Dropped
	if l.Reason == "" {
		l.Reason = o.Reason
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func micros(d time.Duration, n uint64) float64 {
	return float64(d) / float64(time.Microsecond) / float64(max(n, 1))
}

const kb = 1 << 10

// Print writes the report for people.
func (r Report) Print(w io.Writer) {
	o := r.Options
	fmt.Fprintf(w, "%s: %d %s subscribers, %d sessions, %d CPUs\n", o.Mode, o.Subscribers, o.Transport, o.Sessions, r.Host.CPUs)
	fmt.Fprintf(w, "  connect    %.1f s%s\n", r.Connect.Seconds, optional(", %.0f us of the hub's CPU each", r.Connect.CPUMicros))
	if m := r.Memory; m != nil {
		fmt.Fprintf(w, "  memory     %.1f KB RSS each (%.1f MB at the start, %.1f MB with the sessions, %.1f MB connected)\n",
			m.Each/kb, float64(m.Start)/kb/kb, float64(m.Sessions)/kb/kb, float64(m.Connected)/kb/kb)
		if m.CollectedEach != nil {
			fmt.Fprintf(w, "  collected  %.1f KB RSS each; %.1f KB heap, %.1f KB stack, %.2f goroutines\n",
				*m.CollectedEach/kb, *m.Heap/kb, *m.Stack/kb, *m.Goroutines)
		}
	}
	if t := r.Traffic; t != nil {
		fmt.Fprintf(w, "  delivered  %d events in %.1f s: %.0f/s, %.1f in a read\n", t.Delivered, t.Seconds, t.PerSecond, t.EventsPerRead)
		fmt.Fprintf(w, "  cost       %sbench itself %.2f us for each delivery\n",
			optional("hub %.2f us of CPU", t.CPUMicros)+optional(" (%.2f user), ", t.UserMicros), t.OwnCPUMicros)
		if l := t.Latency; l != nil {
			fmt.Fprintf(w, "  latency    p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms (%d samples)\n", l.P50, l.P90, l.P99, l.Max, l.Samples)
		}
	}
	if r.Relay != nil {
		r.Relay.print(w)
	}
	r.Loss.print(w)
}

func (l Loss) print(w io.Writer) {
	fmt.Fprintf(w, "  loss       lost %d, repeated %d, reordered %d, gaps %d, dropped %d\n", l.Lost, l.Repeated, l.Reordered, l.Gaps, l.Dropped)
	if l.Reason != "" {
		fmt.Fprintf(w, "             %s\n", l.Reason)
	}
}

func optional(format string, v *float64) string {
	if v == nil {
		return ""
	}
	return fmt.Sprintf(format, *v)
}
