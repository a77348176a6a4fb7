package bench

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// scrapeEvery is how often each node's metrics are read, as Prometheus would: what
// a scrape costs a cluster of many sessions is part of the run.
const scrapeEvery = 15 * time.Second

// cluster is a run of ModeCluster. Its fields belong to the goroutine of
// RunCluster.
type cluster struct {
	o        Options
	progress func(string)
	valkey   *valkeyServer
	nodes    []*target
	shares   []*share
	report   ClusterReport
}

// RunCluster starts a Valkey, nodes on it, and for each node a process that
// connects its share of the subscribers to it (share makes the command that calls
// RunShare). Most sessions are at rest; a share of them has events, which come
// from a worker in any of the nodes. progress may be called by several goroutines.
// With ErrLoss the report is whole.
func RunCluster(ctx context.Context, o Options, node, share Starter, progress func(string)) (_ ClusterReport, err error) {
	if err := o.Check(); err != nil {
		return ClusterReport{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c := &cluster{o: o, progress: progress, report: ClusterReport{Options: o, Host: thisHost()}}
	// Streams end before nodes, and these before Valkey.
	defer func() {
		for _, s := range c.shares {
			err = errors.Join(err, s.close())
		}
		for _, n := range c.nodes {
			err = errors.Join(err, n.close())
		}
		if c.valkey != nil {
			err = errors.Join(err, c.valkey.close())
		}
	}()
	progress("starting")
	if c.valkey, err = startValkey(ctx, o.Server); err != nil {
		return ClusterReport{}, err
	}
	still := context.WithoutCancel(ctx) // close ends the nodes, in good order
	key := rand.Text()
	settings := append(limits(key), "SESSIONHUB_VALKEY_URL=redis://"+c.valkey.addr, "SESSIONHUB_TOKEN_SECRET="+rand.Text()+rand.Text())
	for i := range o.Nodes {
		n := newTarget(Options{APIKey: key})
		c.nodes = append(c.nodes, n)
		if err := n.start(still, node, settings); err != nil {
			return ClusterReport{}, fmt.Errorf("start node %d: %w", i+1, err)
		}
	}
	if err = c.measure(ctx, share, key); err != nil && !errors.Is(err, ErrLoss) {
		// It may have been Valkey's disk.
		if stalls, asked := c.valkey.stalls(still); asked == nil && len(stalls) > 0 {
			err = fmt.Errorf("%w (Valkey stalled: %s)", err, describe(stalls))
		}
	}
	return c.report, err
}

func (c *cluster) measure(ctx context.Context, start Starter, key string) error {
	began := time.Now()
	before, err := c.usage(ctx, true)
	if err != nil {
		return err
	}
	for i, n := range c.nodes {
		o := c.o
		o.Hub, o.Subscribers, o.Sessions = n.client.BaseURL, part(c.o.Subscribers, len(c.nodes), i), part(c.o.Sessions, len(c.nodes), i)
		o.Events = int(c.o.Hold.Seconds() * float64(c.o.Rate))
		s, err := startShare(ctx, start, shareStart{Options: o, APIKey: key, Net: byte(i)}, func(text string) {
			c.progress(fmt.Sprintf("node %d: %s", i+1, text))
		})
		if err != nil {
			return err
		}
		c.shares = append(c.shares, s)
	}
	if err := c.await(ctx, stageCreated); err != nil {
		return err
	}
	c.report.CreateSeconds = time.Since(began).Seconds()
	created, err := c.usage(ctx, true)
	if err != nil {
		return err
	}
	began = time.Now()
	if err := c.step(ctx, stageConnected); err != nil {
		return err
	}
	c.report.ConnectSeconds = (time.Since(began) - c.o.Settle).Seconds()
	connected, err := c.usage(ctx, true)
	if err != nil {
		return err
	}
	began = time.Now()
	if err := c.hold(ctx); err != nil {
		return err
	}
	after, err := c.usage(ctx, false)
	if err != nil {
		return err
	}
	c.report.HoldSeconds = time.Since(began).Seconds()
	c.report.resources(before, created, connected, after)
	if c.report.Slow, err = c.valkey.slow(ctx); err != nil {
		return err
	}
	if c.report.Stalls, err = c.valkey.stalls(ctx); err != nil {
		return err
	}
	return c.collect(ctx)
}

// part is the i-th of n parts of a whole.
func part(whole, n, i int) int { return whole*(i+1)/n - whole*i/n }

// hold runs the events, until each share has accounted for them.
func (c *cluster) hold(ctx context.Context) error {
	scraping, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	for _, n := range c.nodes {
		wg.Go(func() {
			for pause(scraping, scrapeEvery) == nil {
				if _, err := n.admin.metrics(scraping); err != nil && scraping.Err() == nil {
					c.progress(err.Error())
				}
			}
		})
	}
	return c.step(ctx, stageCounted)
}

// collect takes the shares' reports.
func (c *cluster) collect(ctx context.Context) error {
	var latency histogram
	r := &c.report
	for i, s := range c.shares {
		if err := s.proceed(); err != nil {
			return err
		}
		got, err := s.result(ctx)
		if err != nil {
			return fmt.Errorf("the subscribers of node %d: %w", i+1, err)
		}
		latency.merge(got.Latencies)
		r.Heartbeats.add(got.Heartbeats)
		r.Loss.add(got.Loss)
		r.Refused += got.Refused
		if t := got.Traffic; t != nil {
			r.Delivered += t.Delivered
			r.PerSecond += t.PerSecond
		}
	}
	r.Latency = latency.summary()
	for _, n := range c.nodes {
		names := []string{
			`sessionhub_connections_closed_total{reason="vanished",transport="websocket"}`,
			`sessionhub_connections_closed_total{reason="slow",transport="websocket"}`,
			`sessionhub_connections_closed_total{reason="slow",transport="sse"}`,
		}
		got, err := n.admin.metrics(ctx)
		if err != nil {
			return err
		}
		for _, name := range names {
			if _, there := got[name]; !there {
				return fmt.Errorf("a node's metrics lack %s", name)
			}
		}
		r.Vanished += uint64(got[names[0]])
		r.Slowed += uint64(got[names[1]] + got[names[2]])
	}
	if r.Loss.any() || r.Heartbeats.Late+r.Vanished+r.Slowed != 0 {
		return ErrLoss
	}
	return nil
}

// step lets all shares go on, and waits until they have reached the next stage.
func (c *cluster) step(ctx context.Context, next stage) error {
	for _, s := range c.shares {
		if err := s.proceed(); err != nil {
			return err
		}
	}
	return c.await(ctx, next)
}

func (c *cluster) await(ctx context.Context, at stage) error {
	for i, s := range c.shares {
		if err := s.await(ctx, at); err != nil {
			return fmt.Errorf("the subscribers of node %d: %w", i+1, err)
		}
	}
	return nil
}

// clusterUsage is what all processes of the hub use at a moment.
type clusterUsage struct {
	nodes  []usage
	valkey valkeyUsage
}

func (c *cluster) usage(ctx context.Context, collect bool) (u clusterUsage, err error) {
	for _, n := range c.nodes {
		one, err := (&run{target: n}).usage(ctx, collect)
		if err != nil {
			return u, err
		}
		u.nodes = append(u.nodes, one)
	}
	u.valkey, err = c.valkey.usage(ctx)
	return u, err
}

// share is a process of subscribers. Its methods are for one goroutine.
type share struct {
	process *exec.Cmd
	stdin   io.WriteCloser
	lines   chan shareLine // closed at the end of its output
}

func startShare(ctx context.Context, start Starter, what shareStart, progress func(string)) (*share, error) {
	s := &share{process: start(ctx), lines: make(chan shareLine, 8)}
	s.process.Stderr = os.Stderr
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := s.process.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := s.process.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("start subscribers: %w", err)
	}
	s.stdin = stdin
	// It ends with the process, whose lines but the progress are few: those of its
	// stages and its last one.
	go func() {
		defer close(s.lines)
		dec := json.NewDecoder(bufio.NewReader(stdout))
		for {
			var l shareLine
			if dec.Decode(&l) != nil {
				return
			}
			if l.Progress != "" {
				progress(l.Progress)
				continue
			}
			s.lines <- l
		}
	}()
	if err := json.NewEncoder(stdin).Encode(what); err != nil {
		return nil, errors.Join(fmt.Errorf("start subscribers: %w", err), s.close())
	}
	return s, nil
}

// proceed lets it begin the next step.
func (s *share) proceed() error {
	if _, err := io.WriteString(s.stdin, "\n"); err != nil {
		return fmt.Errorf("let subscribers go on: %w", err)
	}
	return nil
}

func (s *share) next(ctx context.Context) (shareLine, error) {
	select {
	case l, ok := <-s.lines:
		switch {
		case !ok:
			return l, errors.New("their process has ended")
		case l.Error != "":
			return l, errors.New(l.Error)
		}
		return l, nil
	case <-ctx.Done():
		return shareLine{}, ctx.Err()
	}
}

func (s *share) await(ctx context.Context, at stage) error {
	l, err := s.next(ctx)
	if err == nil && l.At != at {
		err = fmt.Errorf("they are at %q and not at %q", l.At, at)
	}
	return err
}

func (s *share) result(ctx context.Context) (*shareReport, error) {
	l, err := s.next(ctx)
	if err == nil && l.Report == nil {
		err = errors.New("they gave no report")
	}
	return l.Report, err
}

// close ends the process, if it has not ended yet.
func (s *share) close() error {
	_ = s.stdin.Close()
	kill := time.AfterFunc(stopTimeout, func() { _ = s.process.Process.Kill() })
	defer kill.Stop()
	for range s.lines { // all has been read
	}
	_ = s.process.Wait() // what went wrong it has said
	return nil
}
