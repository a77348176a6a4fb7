package bench

import (
	"fmt"
	"io"
	"slices"
)

// HistoryReport is what a run of ModeHistory measured.
type HistoryReport struct {
	Options  Options `json:"options"`
	Host     Host    `json:"host"`
	Store    string  `json:"store"` // memory, disk or valkey
	RSSStart int64   `json:"rssStart"`

	Seconds   float64 `json:"seconds"`        // that the session took
	CPUMicros float64 `json:"cpuMicrosEvent"` // of the hub, for each event, with one reader

	Before     Form       `json:"before"`
	Compaction Compaction `json:"compaction"`
	After      Form       `json:"after"`

	Said string `json:"said"` // hash of what the agent said; each reader must have it
	Loss Loss   `json:"loss"`
}

// Form is the log at a moment, and how it is read.
type Form struct {
	Events    uint64 `json:"events"`
	LogBytes  int64  `json:"logBytes"` // of the events' JSON
	Compacted uint64 `json:"compacted"`
	RSS       int64  `json:"rss"`    // of the hub, after a garbage collection
	Heap      int64  `json:"heap"`   // likewise
	Stored    *int64 `json:"stored"` // of the files, or Valkey's memory; null: in the hub's memory

	Readers []Reader `json:"readers"`
}

// Reader is those who joined late in one way, one after the other.
type Reader struct {
	Transport string `json:"transport"` // websocket, sse, or history: by pages

	// From the arrival of connected to that of caught_up; with pages, the whole time.
	Millis []float64 `json:"millis"`
	Median float64   `json:"median"`
	Worst  float64   `json:"worst"`

	CPUMillis *float64 `json:"cpuMillis,omitempty"` // of the hub, the median, to 10 ms
	Hash      string   `json:"hash"`                // of what they read; "several" if that differs

	cpu []float64
}

// take notes the hash of what one of them read.
func (r *Reader) take(hash string) {
	switch r.Hash {
	case "", hash:
		r.Hash = hash
	default:
		r.Hash = "several"
	}
}

func (r *Reader) summarize() {
	r.Median, r.Worst = median(r.Millis), slices.Max(r.Millis)
	if len(r.cpu) > 0 {
		cpu := median(r.cpu)
		r.CPUMillis = &cpu
	}
}

// Compaction is how the log became small. What was compacted while the session was told
// or looked at is not in it.
type Compaction struct {
	Events       uint64  `json:"events"`       // that went into others
	Seconds      float64 `json:"seconds"`      // from the first step that was seen to the last one
	AfterSeconds float64 `json:"afterSeconds"` // from the end of the first look to the last step
	CPUSeconds   float64 `json:"cpuSeconds"`   // of the hub, in all that time
}

// Print writes the report for people.
func (r HistoryReport) Print(w io.Writer) {
	o := r.Options
	fmt.Fprintf(w, "%s (%s): %d pieces of %d bytes, %d tool calls of %d bytes, %d CPUs\n", o.Mode, r.Store, o.Pieces, o.Bytes, o.Tools, o.ToolBytes, r.Host.CPUs)
	fmt.Fprintf(w, "  told       in %.1f s, %.1f us of the hub's CPU for each event; %.1f MB RSS at the start\n", r.Seconds, r.CPUMicros, megabytes(r.RSSStart))
	r.Before.print(w, "before")
	c := r.Compaction
	fmt.Fprintf(w, "  compaction %d events went into others, in %.1f s (the last %.1f s after the look before), %.1f s of CPU\n", c.Events, c.Seconds, c.AfterSeconds, c.CPUSeconds)
	r.After.print(w, "after")
	fmt.Fprintf(w, "  said       %s\n", r.Said)
	r.Loss.print(w)
}

func (f Form) print(w io.Writer, name string) {
	fmt.Fprintf(w, "  %-10s %d events of %.1f MB (%d compacted); %.1f MB RSS, %.1f MB heap", name, f.Events, megabytes(f.LogBytes), f.Compacted, megabytes(f.RSS), megabytes(f.Heap))
	if f.Stored != nil {
		fmt.Fprintf(w, ", %.1f MB stored", megabytes(*f.Stored))
	}
	fmt.Fprintln(w)
	for _, reader := range f.Readers {
		fmt.Fprintf(w, "    %-10s %.0f ms (%.0f at most, of %d)%s; %s\n", reader.Transport, reader.Median, reader.Worst, len(reader.Millis),
			optional(", %.0f ms of the hub's CPU", reader.CPUMillis), reader.Hash)
	}
}

func megabytes(n int64) float64 { return float64(n) / kb / kb }
