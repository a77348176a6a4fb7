package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A run of ModeCluster has more connections than one process may have open. So
// each node has a process of subscribers, which does its share of the run and
// goes from step to step when it is told to. They speak lines of JSON: down come
// one shareStart, then a line for each step that may begin; up come shareLines.

// shareStart tells a process its share.
type shareStart struct {
	Options Options `json:"options"`
	APIKey  string  `json:"apiKey"`
	Net     byte    `json:"net"` // the subscribers' addresses: 127.0.net.0/24
}

// shareLine is what such a process says: one of these.
type shareLine struct {
	Progress string       `json:"progress,omitempty"`
	At       stage        `json:"at,omitempty"` // it waits here
	Report   *shareReport `json:"report,omitempty"`
	Error    string       `json:"error,omitempty"`
}

// shareReport is what a share measured.
type shareReport struct {
	Report
	Latencies []uint64 `json:"latencies"` // histogram.counts
}

// RunShare does one node's share of a run of ModeCluster. It ends with ctx, or
// when in does.
func RunShare(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lines := bufio.NewReader(in)
	var start shareStart
	text, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, &start)
	}
	if err != nil {
		return fmt.Errorf("read the share: %w", err)
	}
	next := make(chan struct{})
	// It ends with in, which ends with the process that started this one.
	go func() {
		for {
			if _, err := lines.ReadBytes('\n'); err != nil {
				cancel(errors.New("the benchmark has ended"))
				return
			}
			select {
			case next <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	var mu sync.Mutex
	enc := json.NewEncoder(out)
	say := func(l shareLine) error {
		mu.Lock()
		defer mu.Unlock()
		return enc.Encode(l)
	}
	o := start.Options
	ctx, stop := context.WithTimeout(ctx, o.Timeout)
	defer stop()
	r := &run{
		o: o, net: start.Net, report: newReport(o), progress: func(text string) { _ = say(shareLine{Progress: text}) },
		reached: func(ctx context.Context, at stage) error {
			if err := say(shareLine{At: at}); err != nil {
				return err
			}
			select {
			case <-next:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
	o.APIKey = start.APIKey
	r.target = newTarget(o)
	defer func() { _ = r.target.close() }()
	err = r.measure(ctx)
	if r.swarm != nil {
		r.swarm.close()
	}
	if err != nil && !errors.Is(err, ErrLoss) {
		return errors.Join(err, say(shareLine{Error: err.Error()}))
	}
	return say(shareLine{Report: &shareReport{Report: r.report, Latencies: r.swarm.latency.counts()}})
}
