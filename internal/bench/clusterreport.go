package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// ClusterReport is what a run of ModeCluster measured.
type ClusterReport struct {
	Options Options `json:"options"`
	Host    Host    `json:"host"`

	CreateSeconds  float64 `json:"createSeconds"`  // all sessions
	ConnectSeconds float64 `json:"connectSeconds"` // all streams
	HoldSeconds    float64 `json:"holdSeconds"`    // with the counting

	Nodes []NodeUse `json:"nodes"`
	// The growth of the nodes' resident memory since before the sessions, for
	// each connection.
	RSSEach float64 `json:"rssEach"`

	Valkey ValkeyUse    `json:"valkey"`
	Slow   SlowCommands `json:"slowCommands"`
	Stalls []Stall      `json:"stalls"`

	Delivered uint64   `json:"delivered"`
	PerSecond float64  `json:"deliveredPerSecond"`
	Latency   *Latency `json:"latency"`

	Heartbeats Heartbeats `json:"heartbeats"`
	Vanished   uint64     `json:"vanished"` // WebSockets that a node ended for want of a pong
	Slowed     uint64     `json:"slowed"`   // streams that a node ended for taking nothing
	Refused    uint64     `json:"refused"`  // requests with 503, each of which was made again
	Loss       Loss       `json:"loss"`
}

// NodeUse is one node's, in bytes and seconds.
type NodeUse struct {
	Start      int64    `json:"rssStart"`
	Connected  int64    `json:"rssConnected"`
	End        int64    `json:"rssEnd"`
	HoldCPU    float64  `json:"holdCPUSeconds"`
	Goroutines *float64 `json:"goroutines"` // connected
}

// ValkeyUse is the server's, in bytes and seconds.
type ValkeyUse struct {
	Start        int64   `json:"rssStart"`
	Connected    int64   `json:"rssConnected"`
	End          int64   `json:"rssEnd"`
	KeysEach     float64 `json:"keysPerSession"`  // with nobody connected
	BytesEach    float64 `json:"bytesPerSession"` // likewise
	HoldCPU      float64 `json:"holdCPUSeconds"`
	CPUOfOneCore float64 `json:"holdCPUOfOneCore"`
}

func (r *ClusterReport) resources(before, created, connected, after clusterUsage) {
	var grown int64
	for i := range before.nodes {
		n := NodeUse{
			Start: before.nodes[i].rss, Connected: connected.nodes[i].rss, End: after.nodes[i].rss,
			HoldCPU: (after.nodes[i].cpu() - connected.nodes[i].cpu()).Seconds(),
		}
		if v, ok := connected.nodes[i].metrics[gaugeGoroutines]; ok {
			n.Goroutines = &v
		}
		grown += n.Connected - n.Start
		r.Nodes = append(r.Nodes, n)
	}
	r.RSSEach = float64(grown) / float64(r.Options.Subscribers)
	sessions := float64(r.Options.Sessions)
	r.Valkey = ValkeyUse{
		Start: before.valkey.rss, Connected: connected.valkey.rss, End: after.valkey.rss,
		KeysEach:  float64(created.valkey.keys-before.valkey.keys) / sessions,
		BytesEach: float64(created.valkey.used-before.valkey.used) / sessions,
		HoldCPU:   (after.valkey.cpu - connected.valkey.cpu).Seconds(),
	}
	r.Valkey.CPUOfOneCore = r.Valkey.HoldCPU / r.HoldSeconds
}

// describe names stalls of Valkey, with the worst time of each kind.
func describe(stalls []Stall) string {
	var out []string
	for _, s := range stalls {
		out = append(out, fmt.Sprintf("%s %d ms", s.Event, s.WorstMillis))
	}
	return strings.Join(out, ", ")
}

const mb = 1 << 20

// Print writes the report for people.
func (r ClusterReport) Print(w io.Writer) {
	o := r.Options
	fmt.Fprintf(w, "%s: %d %s connections to %d nodes, %d sessions, %g %% of them active for %s at %d events/s, %d CPUs\n",
		o.Mode, o.Subscribers, o.Transport, o.Nodes, o.Sessions, 100*o.Active, o.Hold.Round(time.Second), o.Rate, r.Host.CPUs)
	fmt.Fprintf(w, "  setup      sessions in %.0f s, connections in %.0f s\n\n", r.CreateSeconds, r.ConnectSeconds)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tconnections\tRSS at the start\tconnected\tat the end\tCPU while active\tgoroutines\t")
	for i, n := range r.Nodes {
		fmt.Fprintf(t, "node %d\t%d\t%.0f MB\t%.0f MB\t%.0f MB\t%.1f s\t%s\t\n", i+1, part(o.Subscribers, len(r.Nodes), i),
			float64(n.Start)/mb, float64(n.Connected)/mb, float64(n.End)/mb, n.HoldCPU, optional("%.0f", n.Goroutines))
	}
	v := r.Valkey
	fmt.Fprintf(t, "Valkey\t\t%.0f MB\t%.0f MB\t%.0f MB\t%.1f s\t\t\n\n", float64(v.Start)/mb, float64(v.Connected)/mb, float64(v.End)/mb, v.HoldCPU)
	_ = t.Flush() // to w, like the rest
	fmt.Fprintf(w, "  memory     %.1f KB RSS for each connection, of the nodes\n", r.RSSEach/kb)
	fmt.Fprintf(w, "  valkey     %.1f keys and %.0f bytes for each session at rest; %.0f %% of a core while active\n", v.KeysEach, v.BytesEach, 100*v.CPUOfOneCore)
	fmt.Fprintf(w, "  over 5 ms  %d commands", r.Slow.Count)
	if r.Slow.Count > 0 {
		fmt.Fprintf(w, ", the worst %.1f ms: %s", r.Slow.WorstMillis, r.Slow.Worst)
	}
	if len(r.Stalls) > 0 {
		fmt.Fprintf(w, "\n  stalls     %s", describe(r.Stalls))
	}
	fmt.Fprintf(w, "\n  delivered  %d events, %.0f/s\n", r.Delivered, r.PerSecond)
	if l := r.Latency; l != nil {
		fmt.Fprintf(w, "  latency    p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms (%d samples)\n", l.P50, l.P90, l.P99, l.Max, l.Samples)
	}
	h := r.Heartbeats
	fmt.Fprintf(w, "  heartbeats %d heard, %d late (longest silence %.1f s), %d pongs missed, %d streams ended as slow\n",
		h.Heard, h.Late, h.LongestSeconds, r.Vanished, r.Slowed)
	fmt.Fprintf(w, "  refused    %d requests with 503, made again\n", r.Refused)
	r.Loss.print(w)
}
