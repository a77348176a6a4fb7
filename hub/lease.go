package hub

import (
	"context"
	"errors"
	"slices"
	"time"
)

// The lease of a worker: the node that has its link renews it in the store's
// registry with every heartbeat that was answered. Whoever looks at one of the
// worker's sessions when the lease is over takes all of them away.

// renewEvery is how often a lease is renewed. A node that dies has told of what
// it heard up to so long ago, so the lease is longer by as much.
func (t Timers) renewEvery() time.Duration { return min(2*time.Second, t.WorkerLease/4) }

// keepLease renews the lease until the link ends. It is not the writer's work,
// which can hang in a write.
func (l *link) keepLease(ctx context.Context) {
	tick := time.NewTicker(l.hub.cfg.Timers.renewEvery())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := l.renew(ctx); err != nil && ctx.Err() == nil {
				l.hub.cfg.Log.Error("renew a worker's lease", "worker", l.hello.Worker, "error", err)
			}
		}
	}
}

// renew has the worker's lease run from the last that was heard of it.
func (l *link) renew(ctx context.Context) error {
	d := l.hub.workers
	d.mu.Lock()
	t := l.hub.cfg.Timers
	left := t.WorkerLease + t.renewEvery() - l.silentLocked(time.Now())
	d.mu.Unlock()
	if left <= 0 {
		return nil
	}
	return l.hub.store.RenewWorker(ctx, l.info(), left)
}

func (l *link) info() WorkerInfo {
	return WorkerInfo{
		Name: l.hello.Worker, Node: l.hub.cfg.Node, Workspace: l.hello.Workspace,
		Providers: l.hello.Providers, Capacity: l.hello.Capacity,
	}
}

// quit takes the link off when nothing works for it any more, and lets the next one
// of its worker in.
func (l *link) quit() {
	defer close(l.left)
	_ = l.guard(func() error { l.leave(); return nil })
}

// leave takes a broken link off. What it had stays with its worker for the lease,
// which counts from the break; of a worker that fell silent before, from the last
// that was heard of it.
func (l *link) leave() {
	d := l.hub.workers
	d.mu.Lock()
	l.closed = true
	delete(d.links, l)
	var stops []func()
	had := 0
	for id, s := range l.sessions {
		if s.stop != nil {
			stops = append(stops, s.stop)
			s.stop = nil
		}
		// One that the worker runs on over a newer link is not left with this.
		if d.owner[id] == l {
			delete(d.owner, id)
			had++
		}
	}
	silent := l.silentLocked(time.Now()) >= l.mostSilence()
	d.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	var err error
	switch {
	case had > 0 && !silent:
		err = l.hub.store.RenewWorker(ctx, l.info(), l.hub.cfg.Timers.WorkerLease)
	case had == 0:
		err = l.hub.store.ForgetWorker(ctx, l.info())
	}
	if err != nil {
		l.hub.cfg.Log.Error("tell that a worker has left", "worker", l.hello.Worker, "error", err)
	}
}

// leaveTimeout bounds what the end of a link may wait for the store.
const leaveTimeout = 5 * time.Second

// lookAtWorker tells how much of the lease of a session's worker is left. When
// it is over, the session is taken away, and with the first one all others that
// the worker had.
func (d *dispatcher) lookAtWorker(ctx context.Context, s *State) (left time.Duration, err error) {
	left, lapsed, err := d.hub.store.WorkerLease(ctx, s.Worker)
	if err != nil || left > 0 {
		return left, err
	}
	ids := []string{s.Info.SessionID}
	if lapsed {
		held, err := d.hub.store.Held(ctx, s.Worker)
		if err != nil {
			return 0, err
		}
		ids = append(ids, slices.DeleteFunc(held, func(id string) bool { return id == ids[0] })...)
		d.hub.cfg.Metrics.WorkerLost.Inc()
		d.hub.cfg.Log.Warn("worker lost", "worker", s.Worker, "sessions", len(ids))
	}
	for _, id := range ids {
		if err := d.lose(ctx, s.Worker, id); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// lose takes a session away from a worker that is gone.
func (d *dispatcher) lose(ctx context.Context, worker, id string) error {
	snap, err := d.hub.store.Load(ctx, id)
	if err == nil && snap.State.Worker == worker {
		_, _, err = d.hub.change(ctx, id, fromWorker{Assignment: snap.State.Assignment, Input: InLost{}}, nil)
	}
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrFenced) {
		return err
	}
	return d.hub.store.Unhold(ctx, worker, id)
}
