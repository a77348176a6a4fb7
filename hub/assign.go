package hub

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sessionhub/protocol"
)

// dispatcher gives sessions that have a message to run to workers that have a
// free place, oldest first. What it holds are hints about this node: the truth,
// who has which session, is in each session's state.
//
// mu guards all fields and those of the links that say so. It is held for no
// call that blocks.
type dispatcher struct {
	hub  *Hub
	wake chan struct{}

	mu      sync.Mutex
	waiting []waiting // oldest first
	links   map[*link]struct{}
	owner   map[string]*link     // by session: those that a link of this node has
	lost    map[string]lostLease // by worker: links that broke, until the lease ends
}

type waiting struct{ id, provider string }

// lostLease is what a worker had when its link broke.
type lostLease struct {
	sessions map[string]uint64 // assignments
	timer    *time.Timer
}

func newDispatcher(h *Hub) *dispatcher {
	return &dispatcher{
		hub: h, wake: make(chan struct{}, 1), links: make(map[*link]struct{}),
		owner: make(map[string]*link), lost: make(map[string]lostLease),
	}
}

// want has a session given to a worker as soon as there is a place.
func (d *dispatcher) want(id, provider string) {
	d.mu.Lock()
	if !slices.ContainsFunc(d.waiting, func(w waiting) bool { return w.id == id }) {
		d.waiting = append(d.waiting, waiting{id: id, provider: provider})
	}
	d.mu.Unlock()
	d.kick()
}

func (d *dispatcher) kick() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// commands tells the link that has the session to read its command log.
// One that was given back has none: the worker that released it needs no revoke.
func (d *dispatcher) commands(id string, s *State) {
	if s.Worker == "" {
		return
	}
	d.mu.Lock()
	l := d.owner[id]
	if l != nil {
		l.dirty[id] = struct{}{}
	}
	d.mu.Unlock()
	if l != nil {
		l.kick()
	}
}

func (d *dispatcher) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			d.stop()
			return
		case <-d.wake:
			d.assignAll(ctx)
		}
	}
}

func (d *dispatcher) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.lost {
		l.timer.Stop()
	}
}

// assignAll offers each waiting session to the workers, in order.
func (d *dispatcher) assignAll(ctx context.Context) {
	if d.hub.Ready() != nil {
		return
	}
	d.mu.Lock()
	queue := slices.Clone(d.waiting)
	d.mu.Unlock()
	for _, w := range queue {
		if d.assign(ctx, w) {
			d.mu.Lock()
			d.waiting = slices.DeleteFunc(d.waiting, func(o waiting) bool { return o.id == w.id })
			d.mu.Unlock()
			// It may have wanted a worker again since it was looked at.
			if snap, err := d.hub.store.Load(ctx, w.id); err == nil && snap.State.NeedsWorker() {
				d.want(w.id, w.provider)
			}
		}
	}
}

// assign tries to give one session away. It returns false if it has to wait.
func (d *dispatcher) assign(ctx context.Context, w waiting) bool {
	snap, err := d.hub.store.Load(ctx, w.id)
	if errors.Is(err, ErrNotFound) || err == nil && !snap.State.NeedsWorker() {
		return true
	}
	if err != nil {
		return false
	}
	l := d.reserve(w, snap.State.Workspace)
	if l == nil {
		d.evict(ctx, w, snap.State.Workspace)
		return false
	}
	after, _, err := d.hub.change(ctx, w.id, InAssign{Worker: l.hello.Worker, Workspace: l.hello.Workspace}, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	l.reserved--
	if err != nil {
		return errors.Is(err, errNoAssignment) || errors.Is(err, ErrNotFound)
	}
	session := &linkSession{id: w.id, provider: w.provider, assignment: after.State.Assignment}
	if l.closed {
		// It broke in between: its lease runs, with this session in it.
		d.addLostLocked(l, map[string]uint64{w.id: session.assignment})
		return true
	}
	l.sessions[w.id] = session
	d.owner[w.id] = l
	l.dirty[w.id] = struct{}{}
	l.kick()
	return true
}

// reserve finds the worker with the most free places and takes one.
func (d *dispatcher) reserve(w waiting, workspace string) *link {
	d.mu.Lock()
	defer d.mu.Unlock()
	var best *link
	for l := range d.links {
		if !slices.Contains(l.hello.Providers, w.provider) || l.draining || l.freeLocked() <= 0 {
			continue
		}
		if workspace != "" && workspace != l.hello.Workspace {
			continue
		}
		if best == nil || l.freeLocked() > best.freeLocked() {
			best = l
		}
	}
	if best != nil {
		best.reserved++
	}
	return best
}

// evict makes a place free where only idle agents hold the places: the one that
// has been idle for longest goes, with its history where its agent keeps one. One
// at a time for each worker; its release has the waiting session looked at again.
func (d *dispatcher) evict(ctx context.Context, w waiting, workspace string) {
	for _, s := range d.evictable(w, workspace) {
		_, _, err := d.hub.change(ctx, s.id, fromWorker{Assignment: s.assignment, Input: InEvict{}}, nil)
		if err == nil {
			d.mu.Lock()
			s.evicted = true
			d.mu.Unlock()
			return
		}
	}
}

// evictable lists the sessions of the workers that could serve w, the longest
// idle first.
func (d *dispatcher) evictable(w waiting, workspace string) []*linkSession {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*linkSession
	for l := range d.links {
		if l.draining || !slices.Contains(l.hello.Providers, w.provider) || (workspace != "" && workspace != l.hello.Workspace) {
			continue
		}
		var own []*linkSession
		for _, s := range l.sessions {
			if s.evicted {
				own = nil
				break
			}
			own = append(own, s)
		}
		all = append(all, own...)
	}
	slices.SortFunc(all, func(a, b *linkSession) int { return a.event.Compare(b.event) })
	return all
}

// leave takes a broken link off. What it had stays with its worker for the
// lease; then it is lost.
func (d *dispatcher) leave(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.closed = true
	delete(d.links, l)
	sessions := make(map[string]uint64, len(l.sessions))
	for id, s := range l.sessions {
		// One that the worker runs on over a newer link is not lost with this.
		if d.owner[id] == l {
			sessions[id] = s.assignment
			delete(d.owner, id)
		}
	}
	d.addLostLocked(l, sessions)
}

// keepLocked takes a session out of its worker's lease: the worker is back.
func (d *dispatcher) keepLocked(worker, id string) {
	if old, ok := d.lost[worker]; ok {
		delete(old.sessions, id)
	}
}

func (d *dispatcher) addLostLocked(l *link, sessions map[string]uint64) {
	if len(sessions) == 0 {
		return
	}
	name := l.hello.Worker
	if old, ok := d.lost[name]; ok {
		old.timer.Stop()
		maps.Copy(sessions, old.sessions)
	}
	// The lease counts from the break; of a worker that fell silent before,
	// from the last that was heard of it.
	lease := d.hub.cfg.Timers.WorkerLease
	if silent := l.silentLocked(time.Now()); silent >= l.mostSilence() {
		lease = max(0, lease-silent)
	}
	d.lost[name] = lostLease{sessions: sessions, timer: time.AfterFunc(lease, func() { d.expire(name) })}
}

// expire ends the lease of a worker that did not come back.
func (d *dispatcher) expire(worker string) {
	d.mu.Lock()
	l, ok := d.lost[worker]
	delete(d.lost, worker)
	d.mu.Unlock()
	if !ok {
		return
	}
	d.hub.cfg.Metrics.WorkerLost.Inc()
	d.hub.cfg.Log.Warn("worker lost", "worker", worker, "sessions", len(l.sessions))
	for id, assignment := range l.sessions {
		d.lose(id, assignment)
	}
}

// lose takes a session away from a worker that is gone.
func (d *dispatcher) lose(id string, assignment uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), d.hub.cfg.Timers.WorkerLease)
	defer cancel()
	_, _, err := d.hub.change(ctx, id, fromWorker{Assignment: assignment, Input: InLost{}}, nil)
	if err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrFenced) {
		d.hub.cfg.Log.Error("take a session from a lost worker", "session", id, "error", err)
	}
}

// known reports whether sessions may name the provider.
func (d *dispatcher) known(provider string) bool {
	return slices.ContainsFunc(d.providers(), func(p protocol.Provider) bool { return p.Name == provider })
}

func (d *dispatcher) names() string {
	var names []string
	for _, p := range d.providers() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// providers lists those that are configured here or offered by a live worker.
func (d *dispatcher) providers() []protocol.Provider {
	workers := make(map[string]int)
	for _, name := range d.hub.cfg.Providers {
		workers[name] = 0
	}
	d.mu.Lock()
	for l := range d.links {
		for _, name := range l.hello.Providers {
			workers[name]++
		}
	}
	d.mu.Unlock()
	out := make([]protocol.Provider, 0, len(workers))
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		out = append(out, protocol.Provider{Name: name, Available: workers[name] > 0, Workers: workers[name]})
	}
	return out
}
