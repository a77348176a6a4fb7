package hub

import (
	"cmp"
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

	// Owned by run.
	doubts map[string]*link // assignments that the store did not answer: they may have been made
	served queue            // the one that got the last place

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
	d.kick() // for what came before the watch, or was left by a panic
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		deep, err := d.assignAll(ctx)
		if err != nil && ctx.Err() == nil {
			if !failing { // once, not four times a second for as long as it lasts
				d.hub.cfg.Log.Error("give sessions to workers", "error", err)
			}
			time.AfterFunc(storeRetry, d.kick)
		}
		failing = err != nil
		if deep {
			select {
			case <-ctx.Done():
			case <-time.After(deepPause):
			}
		}
	}
}

const (
	// queuePage is how many sessions of a queue are read at first. When none of
	// them can run here, twice as many are, to the end of the queue: a session
	// can wait behind any number of others whose workers are away.
	queuePage = 256
	// deepPause bounds how often that is done.
	deepPause = 250 * time.Millisecond
)

// assignAll offers the waiting sessions to the workers of this node. Queues take
// turns: the one behind that which got the last place comes first. deep says that
// more than a page of one was read.
func (d *dispatcher) assignAll(ctx context.Context) (deep bool, err error) {
	if err := d.settleDoubts(ctx); err != nil {
		return false, err
	}
	if d.hub.Ready() != nil {
		return false, nil
	}
	wanted := d.wanted()
	queues := slices.SortedFunc(maps.Keys(wanted), queue.compare)
	next, found := slices.BinarySearchFunc(queues, d.served, queue.compare)
	if found {
		next++
	}
	passed := make(map[*link]bool)
	for _, q := range slices.Concat(queues[next:], queues[:next]) {
		more, err := d.offer(ctx, q, wanted[q], passed)
		if err != nil {
			return false, err
		}
		deep = deep || more
	}
	return deep, nil
}

// offer gives the sessions of one queue away, in order, until no worker in open
// has a place. A session that has to wait holds up only those that the same
// workers could run. passed are the workers that had no place for one: a place of
// theirs that becomes free meanwhile is not for those behind it.
func (d *dispatcher) offer(ctx context.Context, q queue, open keys, passed map[*link]bool) (deep bool, err error) {
	seen := make(map[string]bool)
	for n := queuePage; ; n *= 2 {
		queued, err := d.hub.store.Queued(ctx, q.provider, q.workspace, n)
		if err != nil {
			return deep, err
		}
		for _, w := range queued {
			whose := open.of(w.User)
			if seen[w.ID] || open[whose] != hasPlaces {
				continue
			}
			seen[w.ID] = true
			var full bool
			err := d.hub.guard("the assignment of a session", func() (err error) { full, err = d.assign(ctx, w, passed); return err }, "session", w.ID)
			if errors.Is(err, errPanic) { // it stays in the queue, and those behind it do not wait
				time.AfterFunc(loopPause, d.kick)
				continue
			}
			if err != nil {
				return deep, err
			}
			if full {
				open[whose] = isFull
			}
		}
		if len(queued) < n || !open.any() {
			return deep, nil
		}
		deep = true
	}
}

// settleDoubts finds out which of the assignments without an answer were made.
func (d *dispatcher) settleDoubts(ctx context.Context) error {
	for id, l := range d.doubts {
		var snap Snapshot
		err := d.hub.guard("a look at an assignment", func() (err error) { snap, err = d.hub.store.Load(ctx, id); return err }, "session", id)
		if errors.Is(err, errPanic) {
			time.AfterFunc(loopPause, d.kick)
			continue
		}
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

func (q queue) compare(o queue) int {
	return cmp.Or(strings.Compare(q.provider, o.provider), strings.Compare(q.workspace, o.workspace))
}

// keys tells of which users there are workers, "" being everybody, and whether
// those that may have a user's sessions can have a place.
type keys map[string]places

type places int

const (
	noWorker places = iota
	hasPlaces
	isFull
)

// of finds the entry of those who may have a user's sessions: the user's own
// workers and everybody's, or only the latter.
func (k keys) of(user string) string {
	if k[user] != noWorker {
		return user
	}
	return ""
}

func (k keys) any() bool {
	for _, p := range k {
		if p == hasPlaces {
			return true
		}
	}
	return false
}

// wanted lists the queues that this node's workers could take from.
func (d *dispatcher) wanted() map[queue]keys {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[queue]keys)
	for l := range d.links {
		if l.draining {
			continue
		}
		user := l.key.User
		if l.key.all() {
			user = ""
		}
		for _, p := range l.hello.Providers {
			for _, q := range []queue{{p, l.hello.Workspace}, {p, ""}} {
				if out[q] == nil {
					out[q] = make(keys)
				}
				out[q][user] = hasPlaces
			}
		}
	}
	return out
}

// assign tries to give one session away. full says that the workers here that may
// have it have no place.
func (d *dispatcher) assign(ctx context.Context, w Waiting, passed map[*link]bool) (full bool, err error) {
	l, fits := d.reserve(w, passed)
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
	d.doubts[w.ID] = l // until there is an answer, which a panic is not either
	after, _, err := d.hub.change(ctx, w.ID, InAssign{Worker: l.hello.Worker, Workspace: l.hello.Workspace}, nil)
	switch {
	case errors.Is(err, errNoAssignment), errors.Is(err, ErrNotFound): // another node was faster, or it has ended
		delete(d.doubts, w.ID)
		if err := d.unhold(ctx, l, w.ID); err != nil {
			return false, err
		}
		return false, d.dequeue(ctx, w)
	case err != nil:
		return false, err
	}
	l.add(&linkSession{id: w.ID, provider: w.Provider, assignment: after.State.Assignment})
	delete(d.doubts, w.ID)
	d.served = queue{w.Provider, w.Workspace}
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

// reserve finds the worker with the most free places and takes one. Without one,
// fits says that there are workers for such a session, if they had a place; they
// are passed.
func (d *dispatcher) reserve(w Waiting, passed map[*link]bool) (best *link, fits bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var serving []*link
	for l := range d.links {
		if !l.serves(w) {
			continue
		}
		serving = append(serving, l)
		if free := l.freeLocked(); free > 0 && !passed[l] && (best == nil || free > best.freeLocked()) {
			best = l
		}
	}
	if best != nil {
		best.reserved++
		return best, true
	}
	for _, l := range serving {
		passed[l] = true
	}
	return nil, len(serving) > 0
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
