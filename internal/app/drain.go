package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// perStream is how much time a drain takes for each stream that must come back
// somewhere: fewer clients at once than 100 in a second.
const perStream = 10 * time.Millisecond

// leaveTime is how long a stream may take to end after it was told to.
const leaveTime = 2 * time.Second

// endTime is how long requests and connections may take to end at last. A
// connection that was made and has sent nothing counts for fasthttp as one that is
// about to, for 5 s.
const endTime = 8 * time.Second

// turnCheck is how often a drain looks whether turns still run.
const turnCheck = 100 * time.Millisecond

// announceDrain has the node say that it is not ready, and serve as before until
// --drain-delay is over: a load balancer must have seen the one before the listener
// closes, or it sends requests into nothing. A signal ends the delay, and so does a part
// that fails, whose error it returns.
func (n *Node) announceDrain(again <-chan os.Signal) error {
	n.leaving.Store(true)
	wait := n.cfg.DrainWait()
	if wait <= 0 {
		return nil
	}
	n.log.Info("not ready any more: the drain begins after a delay", "delay", wait.String())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-again:
	case err := <-n.Failed():
		n.log.Error("a part failed", "error", err)
		return err
	}
	return nil
}

// stopUntil is Stop until a signal comes, or until the store has stopped for good: then
// there is nothing to drain into. Its error has all that failed by itself meanwhile.
func (n *Node) stopUntil(again <-chan os.Signal) error {
	force, cancel := context.WithCancel(context.Background())
	defer cancel()
	var errs []error
	note := func(err error) {
		n.log.Error("a part failed", "error", err)
		errs = append(errs, err)
	}
	stopped := make(chan error, 1)
	if n.storeEnded() {
		cancel()
	}
	go func() { stopped <- n.Stop(force) }()
	for {
		select {
		case <-again:
			cancel()
		case err := <-n.Failed():
			note(err)
			if n.storeEnded() {
				cancel()
			}
		case err := <-stopped:
			for { // what failed last
				select {
				case err := <-n.Failed():
					note(err)
				default:
					return errors.Join(append(errs, err)...)
				}
			}
		}
	}
}

// storeEnded reports whether the store in this process has stopped for good.
func (n *Node) storeEnded() bool { return !n.store.Shared() && n.store.Available("") != nil }

// ready is what /readyz says on both listeners.
func (n *Node) ready() error {
	if n.leaving.Load() {
		return fmt.Errorf("%w: the node is about to drain", hub.ErrUnavailable)
	}
	return n.hub.Ready()
}

// Stop drains the node for at most --drain-timeout and ends it. Nothing is left
// running when it returns.
//
// With a store that other nodes share, the streams and the workers' links leave
// at once, spread over time, while the turns of the embedded worker end or are
// handed over. With the store in this process nobody else can serve the streams,
// so they stay until the turns have ended; then they are told to come back.
func (n *Node) Stop(ctx context.Context) error {
	started := time.Now()
	n.hub.BeginDrain()
	drain, cancel := context.WithTimeout(ctx, n.cfg.DrainTimeout)
	defer cancel()
	var streams sync.WaitGroup
	leave := func() {
		if err := n.drainStreams(ctx); err != nil {
			n.log.Warn("some streams did not leave in time", "error", err)
		}
	}
	if n.store.Shared() {
		n.server.EndWorkerLinks()
		streams.Go(leave)
	}
	var errs []error
	if n.worker != nil {
		if err := n.worker.Drain(drain); err != nil {
			errs = append(errs, err)
		}
		stored, cancel := context.WithTimeout(ctx, endTime)
		n.endLink(stored)
		cancel()
	}
	if !n.store.Shared() {
		n.waitTurns(drain)
		leave()
	}
	streams.Wait()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	errs = append(errs, n.server.Shutdown(end), n.admin.Shutdown(end))
	n.abort()
	n.wg.Wait()
	err := errors.Join(errs...)
	n.log.Info("stopped", "seconds", time.Since(started).Seconds(), "error", err)
	return err
}

// drainStreams tells the streams to come back, each at its own moment. They have
// a time of their own: turns that took all of --drain-timeout must not have every
// client's connection reset at once.
func (n *Node) drainStreams(ctx context.Context) error {
	spread := min(n.cfg.DrainTimeout, time.Duration(n.hub.Streams())*perStream)
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), spread+leaveTime)
	defer cancel()
	return n.hub.DrainStreams(leave, spread)
}

// waitTurns lets the turns on workers elsewhere finish: with the store in this
// process nobody else could take their end. What still runs when ctx ends goes
// with the process.
func (n *Node) waitTurns(ctx context.Context) {
	tick := time.NewTicker(turnCheck)
	defer tick.Stop()
	for {
		now := n.hub.Gauges().Sessions
		if now[protocol.StatusRunning]+now[protocol.StatusStarting]+now[protocol.StatusRequiresAction] == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
