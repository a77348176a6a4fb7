package fleet

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// kick has the dispatcher read all lanes, including those that were empty and have had no
// notice since.
func (f *Fleet) kick() {
	f.mu.Lock()
	f.all = true
	clear(f.empty)
	f.mu.Unlock()
	signal(f.wake)
}

// kickFor has the dispatcher read the lanes of a link's worker, which may have free
// capacity.
func (f *Fleet) kickFor(l *link) {
	f.mu.Lock()
	for _, p := range l.offer.now().providers {
		f.due[lane{p, l.hello.Workspace}] = struct{}{}
		f.due[lane{p, ""}] = struct{}{}
	}
	f.mu.Unlock()
	signal(f.wake)
}

// noticeQueued is called for every session that is queued on any node. The dispatcher
// reads its lane if a worker of this node may have the session; otherwise it reads
// nothing. The zero Waiting stands for any lane.
func (f *Fleet) noticeQueued(w store.Waiting) {
	if w == (store.Waiting{}) {
		f.kick()
		return
	}
	f.mu.Lock()
	delete(f.empty, lane{w.Provider, w.Workspace})
	ours := false
	for l := range f.links {
		if ours = l.serves(w); ours {
			f.due[lane{w.Provider, w.Workspace}] = struct{}{}
			break
		}
	}
	f.mu.Unlock()
	if ours {
		signal(f.wake)
	}
}

const (
	// queuePage is how many sessions of a lane are read at first. If none of them can
	// run here, twice as many are read, to the end of the lane. A session can wait
	// behind any number of others whose workers are away.
	queuePage = 256
	// deepPause is the pause after a round that read more than a page of a lane.
	deepPause = 250 * time.Millisecond
)

// dispatcher gives waiting sessions to the workers of this node. It belongs to the
// goroutine of Run.
type dispatcher struct{ *Fleet }

// assignAll offers the sessions in the due lanes to the workers of this node. Lanes take
// turns: the one after the lane that was served last comes first. deep says that more
// than a page of one lane was read.
func (d dispatcher) assignAll(ctx context.Context) (deep bool, err error) {
	if err := d.settleDoubts(ctx); err != nil {
		return false, err
	}
	if d.Ready() != nil { // the lanes stay due, and Run comes back
		return false, nil
	}
	defer d.endRound()
	wanted := d.takeDueLanes()
	lanes := slices.SortedFunc(maps.Keys(wanted), lane.compare)
	next, found := slices.BinarySearchFunc(lanes, d.served, lane.compare)
	if found {
		next++
	}
	passed := make(map[*link]bool)
	for _, q := range slices.Concat(lanes[next:], lanes[:next]) {
		more, err := d.offer(ctx, q, wanted[q], passed)
		if err != nil {
			return false, err
		}
		deep = deep || more
	}
	return deep, nil
}

// offer gives the sessions of one lane away, in order, until no worker in open has free
// capacity. A session that must wait holds up only sessions for the same workers. passed
// are the workers that had no capacity for an earlier session. If one of them gets free
// capacity meanwhile, it is not for the later sessions.
func (d dispatcher) offer(ctx context.Context, q lane, open capacityByUser, passed map[*link]bool) (deep bool, err error) {
	seen := make(map[string]bool)
	left := true // a session may still wait in the lane
	d.beginRead(q)
	defer func() { d.endRead(q, left || err != nil) }()
	for n := queuePage; ; n *= 2 {
		queued, err := d.store.Queued(ctx, q.provider, q.workspace, n)
		if err != nil {
			return deep, err
		}
		left = len(queued) == n
		for _, w := range queued {
			whose := open.entryFor(w.User)
			if seen[w.ID] || open[whose] != hasCapacity {
				left = left || !seen[w.ID] || n > queuePage
				continue
			}
			seen[w.ID] = true
			// The check of its due entry queues it again. One in doubt may have a worker already.
			if d.store.Available(w.ID) != nil || d.inDoubt(w.ID) {
				left = true
				continue
			}
			var then outcome
			err := d.Guard("the assignment of a session", func() (err error) { then, err = d.assign(ctx, w, passed); return err }, "session", w.ID)
			if errors.Is(err, engine.ErrPanic) { // it stays in the lane, and later sessions do not wait
				d.alarms.After(engine.LoopPause, d.kick)
				left = true
				continue
			}
			if err != nil {
				return deep, err
			}
			left = left || then != gone
			if then == noCapacity {
				open[whose] = isFull
			}
		}
		if len(queued) < n || !open.any() {
			return deep, nil
		}
		deep = true
	}
}

// outcome is the result of an offer of one waiting session.
type outcome int

const (
	stays      outcome = iota // no worker here can have it now
	noCapacity                // nor any other session that needs the same workers: all are full
	gone                      // it is not in the lane any more
)

// maxEmpty bounds the empty lanes that a node remembers, including those of workspaces
// that are gone.
const maxEmpty = 1 << 16

// beginRead notes that a lane is being read. The lane counts as empty unless the read
// finds a session, or one is queued meanwhile.
func (f *Fleet) beginRead(q lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.empty) >= maxEmpty {
		clear(f.empty)
	}
	f.empty[q] = struct{}{}
}

// endRead notes whether a session is left in a lane.
func (f *Fleet) endRead(q lane, left bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if left {
		delete(f.empty, q)
	}
}

// lane names the sessions that wait for one provider in one workspace. The empty
// workspace is that of sessions that have not run anywhere yet.
type lane struct{ provider, workspace string }

func (q lane) compare(o lane) int {
	return cmp.Or(strings.Compare(q.provider, o.provider), strings.Compare(q.workspace, o.workspace))
}

// capacityByUser says for each user whether there are workers for that user's sessions,
// and whether one may have free capacity. The entry "" is of the workers for everybody.
type capacityByUser map[string]capacity

type capacity int

const (
	noWorker capacity = iota
	hasCapacity
	isFull
)

// entryFor finds the entry of the workers that may have a user's sessions. These are the
// user's own workers and everybody's, or only everybody's.
func (k capacityByUser) entryFor(user string) string {
	if k[user] != noWorker {
		return user
	}
	return ""
}

func (k capacityByUser) any() bool {
	for _, p := range k {
		if p == hasCapacity {
			return true
		}
	}
	return false
}

// takeDueLanes takes the due lanes. It gives those from which a worker of this node could
// take a session.
func (d dispatcher) takeDueLanes() map[lane]capacityByUser {
	d.mu.Lock()
	defer d.mu.Unlock()
	due, all := d.due, d.all
	d.due, d.all = make(map[lane]struct{}), false
	if all {
		for l := range d.links {
			for _, p := range l.offer.now().providers {
				due[lane{p, l.hello.Workspace}] = struct{}{}
				due[lane{p, ""}] = struct{}{}
			}
		}
	}
	// A lane that is known to be empty is not read. So a worker that joins, drains or
	// gets free capacity costs no read of each lane that it serves.
	maps.DeleteFunc(due, func(q lane, _ struct{}) bool { _, empty := d.empty[q]; return empty })
	out := make(map[lane]capacityByUser)
	for l := range d.links {
		if !l.assignable() {
			continue
		}
		user := l.key.only()
		note := func(q lane) {
			if _, ok := due[q]; !ok {
				return
			}
			if out[q] == nil {
				out[q] = make(capacityByUser)
			}
			out[q][user] = hasCapacity
		}
		for _, p := range l.offer.now().providers {
			note(lane{p, l.hello.Workspace})
			note(lane{p, ""})
		}
	}
	return out
}

// assign tries to give one session to a worker. Some of what a session needs is known only
// when a worker is found that does not have it: see unfit.
func (d dispatcher) assign(ctx context.Context, waits store.Waiting, passed map[*link]bool) (outcome, error) {
	w, judged, err := d.needs(ctx, waits)
	if err != nil || !judged {
		return stays, err
	}
	for {
		then, err := d.place(ctx, w, passed)
		var lacks *unfit
		switch {
		case !errors.As(err, &lacks):
			return then, err
		case w.knows(lacks):
			return stays, nil
		}
		w.add(lacks)
		if there, err := d.someoneFits(ctx, w); err != nil || !there {
			return stays, err
		}
	}
}

// place gives one session to a worker that can do what the session needs.
func (d dispatcher) place(ctx context.Context, w need, passed map[*link]bool) (outcome, error) {
	l, fits := d.reserve(w, passed)
	for l != nil && !l.awake(ctx) {
		d.unreserve(l)
		if ctx.Err() != nil {
			return stays, ctx.Err()
		}
		l, fits = d.reserve(w, passed) // reserve leaves out sleeping workers
	}
	if l == nil {
		switch {
		case fits && (w.judge || w.load || w.trees || len(w.brings) > 0): // other workers may have capacity for other sessions
			return stays, d.evict(ctx, w)
		case fits:
			return noCapacity, d.evict(ctx, w)
		}
		return stays, nil
	}
	defer d.unreserve(l)
	in := session.InAssign{
		Worker: l.hello.Worker, Workspace: l.hello.Workspace, Options: l.hello.Takes(protocol.WorkerSetOption),
		Loads: loads(l, w.User, true), // hold has asked whether this session may
		MCP:   sessionMCP(l.offer.now().details, w.Provider), Worktrees: makesWorktrees(l),
	}
	var held store.Holding
	hold := func(ctx context.Context, snap store.Snapshot, _ store.Noted) error {
		next := store.Holding{Session: w.ID, Assignment: snap.State.Assignment + 1}
		if !snap.State.NeedsWorker() || held == next {
			return nil // a session that needs no worker is refused by the rules
		}
		if lacks := lacks(l, snap.State, in); lacks != nil {
			return lacks
		}
		if err := d.unhold(ctx, l, held); err != nil { // another node was faster, and that assignment is over
			return err
		}
		if err := d.store.Hold(ctx, l.hello.Worker, next); err != nil {
			return err
		}
		held = next
		d.doubts[w.ID] = doubt{l, next} // until there is an answer; a panic is none
		return nil
	}
	done, err := d.engine.Decide(ctx, w.ID, in, engine.Terms{Judge: hold})
	switch {
	case errors.As(err, new(*unfit)):
		if gone := d.unhold(ctx, l, held); gone != nil {
			return stays, gone
		}
		delete(d.doubts, w.ID)
		return stays, err
	case errors.Is(err, session.ErrNeedsJudge), errors.Is(err, session.ErrNeedsMCP), errors.Is(err, session.ErrNeedsWorktrees): // a mode was chosen just now
		if err := d.unhold(ctx, l, held); err != nil {
			return stays, err
		}
		delete(d.doubts, w.ID)
		d.alarms.After(engine.LoopPause, d.kick)
		return stays, nil
	case errors.Is(err, session.ErrNoAssignment), errors.Is(err, session.ErrNotFound): // another node was faster, or it has ended
		if err := d.unhold(ctx, l, held); err != nil {
			return stays, err
		}
		delete(d.doubts, w.ID)
		return gone, d.dequeue(ctx, w.Waiting)
	case err != nil:
		return stays, err
	}
	d.give(ctx, l, done.Snapshot.State)
	delete(d.doubts, w.ID)
	d.served = lane{w.Provider, w.Workspace}
	return gone, d.dequeue(ctx, w.Waiting)
}

// give adds a session to the link of the worker that it was assigned to. The link writes
// the assignment, and the message that was handed in the same step.
func (d dispatcher) give(ctx context.Context, l *link, s *session.State) {
	x := &heldSession{id: s.Info.SessionID, provider: s.Info.Provider, assignment: s.Assignment, handed: handOf(s)}
	if !l.add(x) {
		leaseKeeper{l}.takeBack(ctx, []*heldSession{x})
	}
}

// dequeue takes a session out of its lane, unless it needs a worker again.
func (d dispatcher) dequeue(ctx context.Context, w store.Waiting) error {
	if err := d.store.Dequeue(ctx, w); err != nil {
		return err
	}
	snap, err := d.store.Load(ctx, w.ID)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return nil
	case err != nil:
		return err
	case snap.State.NeedsWorker():
		d.engine.Want(ctx, snap.State)
	}
	return nil
}

// unhold takes a session off the worker's list in the store, unless the link has the
// session by that holding. It does nothing for the zero Holding.
func (d dispatcher) unhold(ctx context.Context, l *link, h store.Holding) error {
	if h.Session == "" || l.has(h) {
		return nil
	}
	return d.store.Unhold(ctx, l.hello.Worker, h)
}

// assignable reports whether the link's worker may be given new sessions.
func (l *link) assignable() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joined && !l.draining && l.broken == nil
}

// serves reports whether the link's worker could run a waiting session if it had free
// capacity.
func (l *link) serves(w store.Waiting) bool {
	return slices.Contains(l.offer.now().providers, w.Provider) && (w.Workspace == "" || w.Workspace == l.hello.Workspace) && l.key.serves(w.User) && l.assignable()
}

// has reports whether the link has a session by an assignment.
func (l *link) has(h store.Holding) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.sessions[h.Session]
	return s != nil && (s.assignment == h.Assignment || h.Assignment == 0)
}

// free is how many more sessions the link's worker can take; none while it sleeps.
func (l *link) free(now time.Time) (n int, sleeps bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hello.Capacity - len(l.sessions) - l.reserved, l.life.sleeps(now)
}

// reserve finds the worker with the most free capacity and reserves one session's share
// of it. If there is none, fits says that workers for such a session exist but are full.
// These are added to passed.
func (d dispatcher) reserve(w need, passed map[*link]bool) (best *link, fits bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var serving []*link
	most, now := 0, time.Now()
	for l := range d.links {
		if !l.runs(w) {
			continue
		}
		free, sleeps := l.free(now)
		if sleeps {
			continue
		}
		serving = append(serving, l)
		if free > most && !passed[l] {
			best, most = l, free
		}
	}
	if best != nil {
		best.mu.Lock()
		defer best.mu.Unlock()
		best.reserved++
		return best, true
	}
	for _, l := range serving {
		passed[l] = true
	}
	return nil, len(serving) > 0
}

func (d dispatcher) unreserve(l *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reserved--
}
