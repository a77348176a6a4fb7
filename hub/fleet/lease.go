package fleet

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
)

// The lease of a worker: the node that has its link renews it in the store's registry
// while it hears from the worker. A node that finds the lease over takes all of the
// worker's sessions away.
//
// Two checks find it. Each worker has one entry in the due-index, so its sessions cost
// nothing while they rest. The check of a session with something open checks the lease
// too, so a turn ends even if the worker's entry is lost. The entry exists before the
// first session does. While the worker has a link, it is armed again once a lease. A
// failover can lose the entry. A node of an earlier version drops it, since it takes the
// worker's id for that of a deleted session.

// duePrefix begins the id of a worker's entry. A session's begins with s_.
const duePrefix = "worker:"

// DueWorker gives the worker of an entry of the due-index; ok is false for a session's
// entry.
func DueWorker(id string) (worker string, ok bool) { return strings.CutPrefix(id, duePrefix) }

// ArmWorkerLease has a worker's lease checked in left, by whichever node takes the due
// entry. It covers the sessions that are at rest.
func (f *Fleet) ArmWorkerLease(ctx context.Context, worker string, left time.Duration) error {
	return f.engine.Arm(ctx, duePrefix+worker, time.Now().Add(left))
}

// leaseKeeper renews the lease of a link's worker, and takes the link off when it ends.
type leaseKeeper struct{ *link }

// keepLease renews the lease until the link ends. The writer cannot do that: a write can
// hang.
func (k leaseKeeper) keepLease(ctx context.Context) {
	tick := time.NewTicker(k.fleet.Timers.RenewEvery())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.offerChanged: // the other nodes read it with the lease
		}
		if err := k.renew(ctx); err != nil && ctx.Err() == nil {
			k.fleet.Log.Error("renew a worker's lease", "worker", k.hello.Worker, "error", err)
		}
	}
}

// renew extends the worker's lease. It counts from the last sign of life of the worker.
func (k leaseKeeper) renew(ctx context.Context) error {
	f, t := k.fleet, k.fleet.Timers
	k.mu.Lock()
	now := time.Now()
	left := t.WorkerLease + t.RenewEvery() - k.silentLocked(now)
	arm := k.leaseArmed.IsZero() || now.Sub(k.leaseArmed) >= t.WorkerLease
	k.mu.Unlock()
	if left <= 0 {
		return nil
	}
	if arm {
		if err := f.ArmWorkerLease(ctx, k.hello.Worker, left); err != nil {
			return err
		}
		k.mu.Lock()
		k.leaseArmed = now
		k.mu.Unlock()
	}
	return f.store.RenewWorker(ctx, k.info(), left)
}

func (k leaseKeeper) info() store.WorkerInfo {
	offered := k.offer.now()
	return store.WorkerInfo{
		Name: k.hello.Worker, Node: k.fleet.Node, User: k.key.only(), Workspace: k.hello.Workspace,
		Providers: offered.providers, Capacity: k.hello.Capacity, Requests: k.hello.Requests, Details: offered.details,
	}
}

// quit takes the link off when nothing works for it any more. Then the next link of its
// worker may join.
func (k leaseKeeper) quit() {
	defer close(k.left)
	_ = k.guard(func() error { k.leave(); return nil })
}

// leave takes a broken link off. Its sessions stay with the worker for the lease. The
// lease counts from the break; if the worker fell silent before, it counts from its last
// frame.
func (k leaseKeeper) leave() {
	f := k.fleet
	f.mu.Lock()
	delete(f.links, k.link)
	f.mu.Unlock()
	k.mu.Lock()
	k.closed = true
	var stops []func()
	for _, s := range k.sessions {
		if s.stop != nil {
			stops = append(stops, s.stop)
			s.stop = nil
		}
	}
	had := len(k.sessions)
	silent := k.silentLocked(time.Now()) >= k.fleet.Timers.MostSilence()
	unsent := k.unsentLocked()
	k.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	var err error
	switch {
	case had > 0 && !silent:
		lease := f.Timers.WorkerLease
		err = errors.Join(f.ArmWorkerLease(ctx, k.hello.Worker, lease), f.store.RenewWorker(ctx, k.info(), lease))
	case had == 0:
		err = f.store.ForgetWorker(ctx, k.info())
	}
	if err != nil {
		f.Log.Error("tell that a worker has left", "worker", k.hello.Worker, "error", err)
	}
	k.takeBack(ctx, unsent)
}

// leaveTimeout bounds how long the end of a link may wait for the store.
const leaveTimeout = 5 * time.Second

// EnforceSessionLease gives the rest of the lease of a session's worker. If the lease is
// over, it takes the session from the worker; if this call found the lease over first,
// all the worker's other sessions too. Otherwise it puts the session back on the worker's
// list, which could have lost it.
func (f *Fleet) EnforceSessionLease(ctx context.Context, s *session.State) (left time.Duration, err error) {
	left, lapsed, err := f.store.WorkerLease(ctx, s.Worker)
	this := store.Holding{Session: s.Info.SessionID, Assignment: s.Assignment}
	if err == nil && left > 0 {
		err = f.store.Hold(ctx, s.Worker, this)
	}
	if err != nil || left > 0 {
		return left, err
	}
	all := []store.Holding{this}
	if lapsed {
		held, err := f.store.Held(ctx, s.Worker)
		if err != nil {
			return 0, err
		}
		all = append(all, slices.DeleteFunc(held, func(h store.Holding) bool { return h == this })...)
		f.Metrics.WorkerLost.Inc()
		f.Log.Warn("worker lost", "worker", s.Worker, "sessions", len(all))
	}
	return 0, f.loseAll(ctx, s.Worker, all)
}

// EnforceWorkerLease gives the rest of a worker's lease. If the lease is over, it takes
// all sessions of the worker away. That includes sessions left by a node that died in the
// middle of this. With left 0 and no error, no session is left.
func (f *Fleet) EnforceWorkerLease(ctx context.Context, worker string) (left time.Duration, err error) {
	left, lapsed, err := f.store.WorkerLease(ctx, worker)
	if err != nil || left > 0 {
		return left, err
	}
	held, err := f.store.Held(ctx, worker)
	if lapsed {
		f.Metrics.WorkerLost.Inc()
		f.Log.Warn("worker lost", "worker", worker, "sessions", len(held))
	}
	if err != nil {
		return 0, err
	}
	return 0, f.loseAll(ctx, worker, held)
}

func (f *Fleet) loseAll(ctx context.Context, worker string, held []store.Holding) (err error) {
	for _, h := range held { // a session that cannot be reached does not hold up the others
		err = errors.Join(err, f.lose(ctx, worker, h))
	}
	return err
}

// lose takes a session away from a worker that has lost it, unless the session has
// another assignment by now.
func (f *Fleet) lose(ctx context.Context, worker string, h store.Holding) error {
	snap, err := f.store.Load(ctx, h.Session)
	if err == nil && snap.State.Worker == worker && (h.Assignment == snap.State.Assignment || h.Assignment == 0) {
		var doubt bool
		if doubt, err = f.inDoubt(ctx, snap.State); err == nil {
			_, _, err = f.engine.Change(ctx, h.Session, session.FromWorker{Assignment: snap.State.Assignment, Input: session.InLost{Doubt: doubt}}, nil)
		}
	}
	if err != nil && !errors.Is(err, session.ErrNotFound) && !errors.Is(err, session.ErrFenced) {
		return err
	}
	return f.store.Unhold(ctx, worker, h)
}

// Gauges adds the workers of this node.
func (f *Fleet) Gauges(g metrics.Gauges) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for l := range f.links {
		for _, p := range l.offer.now().providers {
			w := g.Workers[p]
			w.Workers++
			w.Capacity += l.hello.Capacity
			g.Workers[p] = w
		}
		l.mu.Lock()
		for _, s := range l.sessions {
			w := g.Workers[s.provider]
			w.Sessions++
			g.Workers[s.provider] = w
		}
		l.mu.Unlock()
	}
}
