package hub

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sessionhub/protocol"
)

// dispatcher gives sessions that have a message to run to the workers that this
// node has links of. What waits is in the store's queue, where every node with a
// fitting worker looks; the truth, who has which session, is in each session's
// state, so two nodes that want the same one cannot both have it.
//
// mu guards all fields and those of the links that say so. It is held for no
// call that blocks. Lock order: a session's lock in the store, then mu (a link
// watches its sessions).
type dispatcher struct {
	hub  *Hub
	wake chan struct{}

	// Assignments that the store did not answer: they may have been made. Owned
	// by run.
	doubts map[string]*link

	mu    sync.Mutex
	links map[*link]struct{}
	owner map[string]*link  // by session: those that a link of this node has
	holes map[string]uint64 // by session: the assignment whose events have had a hole
}

func newDispatcher(h *Hub) *dispatcher {
	return &dispatcher{
		hub: h, wake: make(chan struct{}, 1), doubts: make(map[string]*link),
		links: make(map[*link]struct{}), owner: make(map[string]*link), holes: make(map[string]uint64),
	}
}

// want has a session given to a worker as soon as there is a place. When it
// cannot be queued, whoever looks at it next queues it: commit has seen to that.
func (d *dispatcher) want(ctx context.Context, s *State) {
	w := Waiting{ID: s.Info.SessionID, User: s.Info.UserID, Provider: s.Info.Provider, Workspace: s.Workspace}
	if err := d.hub.store.Enqueue(ctx, w); err != nil {
		d.hub.cfg.Log.Error("queue a session for a worker", "session", w.ID, "error", err)
	}
}

func (d *dispatcher) kick() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *dispatcher) run(ctx context.Context) {
	defer d.hub.store.WatchQueue(d.kick)()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		err := d.assignAll(ctx)
		if err != nil && ctx.Err() == nil {
			if !failing { // once, not four times a second for as long as it lasts
				d.hub.cfg.Log.Error("give sessions to workers", "error", err)
			}
			time.AfterFunc(storeRetry, d.kick)
		}
		failing = err != nil
	}
}

// queuePage is how many waiting sessions of a kind are looked at in one go. A
// worker that may serve one user alone can find its user's behind them.
const queuePage = 256

// assignAll offers the waiting sessions to the workers of this node, in order.
func (d *dispatcher) assignAll(ctx context.Context) error {
	if err := d.settleDoubts(ctx); err != nil {
		return err
	}
	if d.hub.Ready() != nil {
		return nil
	}
	for _, q := range d.wanted() {
		queued, err := d.hub.store.Queued(ctx, q.provider, q.workspace, queuePage)
		if err != nil {
			return err
		}
		for _, w := range queued {
			full, err := d.assign(ctx, w)
			if err != nil {
				return err
			}
			if full {
				break
			}
		}
	}
	return nil
}

// settleDoubts finds out which of the assignments without an answer were made.
func (d *dispatcher) settleDoubts(ctx context.Context) error {
	for id, l := range d.doubts {
		snap, err := d.hub.store.Load(ctx, id)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		delete(d.doubts, id)
		if err != nil || snap.State.Worker != l.hello.Worker {
			continue
		}
		d.mu.Lock()
		has := l.sessions[id] != nil
		d.mu.Unlock()
		if !has {
			l.add(&linkSession{id: id, provider: snap.State.Info.Provider, assignment: snap.State.Assignment})
		}
	}
	return nil
}

// queue names the sessions that some workers could serve.
type queue struct{ provider, workspace string }

// wanted lists the queues that this node's workers could take from. Sessions
// that can run here alone come first.
func (d *dispatcher) wanted() []queue {
	d.mu.Lock()
	defer d.mu.Unlock()
	bound, free := make(map[queue]bool), make(map[queue]bool)
	for l := range d.links {
		if l.draining {
			continue
		}
		for _, p := range l.hello.Providers {
			bound[queue{p, l.hello.Workspace}] = true
			free[queue{p, ""}] = true
		}
	}
	order := func(a, b queue) int {
		return strings.Compare(a.provider+"\x00"+a.workspace, b.provider+"\x00"+b.workspace)
	}
	return append(slices.SortedFunc(maps.Keys(bound), order), slices.SortedFunc(maps.Keys(free), order)...)
}

// assign tries to give one session away. full says that no worker here has a
// place for any session of this kind.
func (d *dispatcher) assign(ctx context.Context, w Waiting) (full bool, err error) {
	l, fits := d.reserve(w)
	if l == nil {
		if fits {
			return true, d.evict(ctx, w)
		}
		return false, nil
	}
	defer d.unreserve(l)
	snap, err := d.hub.store.Load(ctx, w.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return false, d.hub.store.Dequeue(ctx, w)
	case err != nil:
		return false, err
	case !snap.State.NeedsWorker():
		return false, d.dequeue(ctx, w)
	}
	if err := d.hub.store.Hold(ctx, l.hello.Worker, w.ID); err != nil {
		return false, err
	}
	after, _, err := d.hub.change(ctx, w.ID, InAssign{Worker: l.hello.Worker, Workspace: l.hello.Workspace}, nil)
	switch {
	case errors.Is(err, errNoAssignment), errors.Is(err, ErrNotFound): // another node was faster, or it has ended
		if err := d.unhold(ctx, l, w.ID); err != nil {
			return false, err
		}
		return false, d.dequeue(ctx, w)
	case err != nil:
		d.doubts[w.ID] = l
		return false, err
	}
	l.add(&linkSession{id: w.ID, provider: w.Provider, assignment: after.State.Assignment})
	return false, d.dequeue(ctx, w)
}

// dequeue takes a session out of the queue, unless it wants a worker again.
func (d *dispatcher) dequeue(ctx context.Context, w Waiting) error {
	if err := d.hub.store.Dequeue(ctx, w); err != nil {
		return err
	}
	snap, err := d.hub.store.Load(ctx, w.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case snap.State.NeedsWorker():
		d.want(ctx, snap.State)
	}
	return nil
}

// unhold takes back that a worker is about to have a session, unless it has it.
func (d *dispatcher) unhold(ctx context.Context, l *link, id string) error {
	d.mu.Lock()
	has := l.sessions[id] != nil
	d.mu.Unlock()
	if has {
		return nil
	}
	return d.hub.store.Unhold(ctx, l.hello.Worker, id)
}

// serves reports whether the link's worker could run a waiting session, if it
// had a place. Called with d.mu held.
func (l *link) serves(w Waiting) bool {
	return !l.draining && slices.Contains(l.hello.Providers, w.Provider) &&
		(w.Workspace == "" || w.Workspace == l.hello.Workspace) && l.key.serves(w.User)
}

// reserve finds the worker with the most free places and takes one. fits says
// that there is a worker for such a session, if it had a place.
func (d *dispatcher) reserve(w Waiting) (best *link, fits bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.links {
		if !l.serves(w) {
			continue
		}
		fits = true
		if free := l.freeLocked(); free > 0 && (best == nil || free > best.freeLocked()) {
			best = l
		}
	}
	if best != nil {
		best.reserved++
	}
	return best, fits
}

func (d *dispatcher) unreserve(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l.reserved--
}

// evict makes a place free where only idle agents hold the places: the one that
// has been idle for longest goes, with its history where its agent keeps one. One
// at a time for each worker; its release has the waiting session looked at again.
func (d *dispatcher) evict(ctx context.Context, w Waiting) error {
	for _, s := range d.evictable(w) {
		_, _, err := d.hub.change(ctx, s.id, fromWorker{Assignment: s.assignment, Input: InEvict{}}, nil)
		switch {
		case err == nil:
			d.mu.Lock()
			s.evicted = true
			d.mu.Unlock()
			return nil
		case errors.Is(err, errNoAssignment), errors.Is(err, ErrFenced), errors.Is(err, ErrNotFound):
		default:
			return err
		}
	}
	return nil
}

// evictable lists the sessions of the workers that could serve w, the longest
// idle first.
func (d *dispatcher) evictable(w Waiting) []*linkSession {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []*linkSession
	for l := range d.links {
		if !l.serves(w) {
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

// known tells whether sessions may name the provider.
func (d *dispatcher) known(ctx context.Context, provider string) error {
	if slices.Contains(d.hub.cfg.Providers, provider) {
		return nil
	}
	all, err := d.providers(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range all {
		if p.Name == provider {
			return nil
		}
		names = append(names, p.Name)
	}
	return fmt.Errorf("%w %q: there are %s", ErrUnknownProvider, clip(provider), strings.Join(names, ", "))
}

// providers lists those that are configured here or offered by a live worker of
// any node.
func (d *dispatcher) providers(ctx context.Context) ([]protocol.Provider, error) {
	live, err := d.hub.store.Workers(ctx)
	if err != nil {
		return nil, err
	}
	workers := make(map[string]int)
	for _, name := range d.hub.cfg.Providers {
		workers[name] = 0
	}
	for _, w := range live {
		for _, name := range w.Providers {
			workers[name]++
		}
	}
	out := make([]protocol.Provider, 0, len(workers))
	for _, name := range slices.Sorted(maps.Keys(workers)) {
		out = append(out, protocol.Provider{Name: name, Available: workers[name] > 0, Workers: workers[name]})
	}
	return out, nil
}
