package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// RunCompare runs a mode several times, in turn on a hub that keeps its sessions in memory
// and on one that keeps them on disk. On a machine that has other things to do, what two
// runs beside each other say of each other is sturdier than either of them. With ErrLoss
// the report is whole up to there.
func RunCompare(ctx context.Context, o Options, start Starter, progress func(string)) (Comparison, error) {
	out := Comparison{Options: o, Host: thisHost()}
	if err := o.Check(); err != nil {
		return out, err
	}
	for round := range o.Compare {
		for turn := range 2 {
			one := o
			one.Compare = 0
			name, to := "disk", &out.Disk
			if round%2 == turn {
				one.DataDir, name, to = "", "memory", &out.Memory
			}
			r, err := Run(ctx, one, start, func(text string) { progress(fmt.Sprintf("round %d of %d, %s: %s", round+1, o.Compare, name, text)) })
			if err == nil || errors.Is(err, ErrLoss) {
				*to = append(*to, r)
			}
			if err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// Comparison is a mode in memory and on disk, in rounds.
type Comparison struct {
	Options Options  `json:"options"`
	Host    Host     `json:"host"`
	Memory  []Report `json:"memory"`
	Disk    []Report `json:"disk"`
}

// figures are what is compared, as medians.
func (c Comparison) figures() []figure {
	all := []figure{
		{name: "CPU for each delivery, us", of: func(t *Traffic) float64 { return *t.CPUMicros }},
		{name: "of it user, us", of: func(t *Traffic) float64 { return *t.UserMicros }},
		{name: "delivered/s", of: func(t *Traffic) float64 { return t.PerSecond }},
		{name: "latency p50, ms", of: func(t *Traffic) float64 { return t.Latency.P50 }},
		{name: "latency p90, ms", of: func(t *Traffic) float64 { return t.Latency.P90 }},
		{name: "latency p99, ms", of: func(t *Traffic) float64 { return t.Latency.P99 }},
	}
	for i := range all {
		f := &all[i]
		for _, r := range c.Memory {
			f.memory = append(f.memory, f.of(r.Traffic))
		}
		for round, r := range c.Disk {
			f.disk = append(f.disk, f.of(r.Traffic))
			if round < len(f.memory) {
				f.ratios = append(f.ratios, f.disk[round]/f.memory[round])
			}
		}
	}
	return all
}

type figure struct {
	name                 string
	of                   func(*Traffic) float64
	memory, disk, ratios []float64 // of each round
}

// Print writes the report for people.
func (c Comparison) Print(w io.Writer) {
	o := c.Options
	fmt.Fprintf(w, "%s: %d %s subscribers, %d sessions, %d CPUs, medians of %d rounds\n", o.Mode, o.Subscribers, o.Transport, o.Sessions, c.Host.CPUs, len(c.Disk))
	fmt.Fprintf(w, "  %-26s %10s %10s   ratio (of each round)\n", "", "memory", "disk")
	if len(c.Memory) > 0 && len(c.Disk) > 0 {
		for _, f := range c.figures() {
			fmt.Fprintf(w, "  %-26s %10.2f %10.2f   %.2f (%.2f)\n", f.name, median(f.memory), median(f.disk), median(f.ratios), f.ratios)
		}
	}
	var loss Loss
	for _, r := range append(c.Memory[:len(c.Memory):len(c.Memory)], c.Disk...) {
		loss.add(r.Loss)
	}
	loss.print(w)
}
