package hub

import (
	"context"
	"errors"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// deadlines serves due entries of the store's due-index, for sessions and workers. Every
// open session always has an entry, and so has every worker with a lease. So another node
// finishes what a dead node has left undone, such as a session that was never queued.
type deadlines struct {
	rooms

	// Owned by run.
	away bool      // the registry of workers did not answer last time
	back time.Time // when it answered again after that
}

const (
	// dueBatch is how many due entries a node takes at a time. dueHide is how long
	// it may take for them before other nodes see them again.
	dueBatch = 32
	dueHide  = 20 * time.Second
	// duePoll bounds how late a node learns of an entry that another node armed.
	duePoll = time.Second
	// recheckLater is how soon a session is checked again when nothing could be
	// done about it: it is busy, or the store is away.
	recheckLater = time.Minute
	// recheckAway is how soon a session is checked again whose server is away while
	// others are there.
	recheckAway = 2 * time.Second
	// readersLinger is how long a log that is due for deletion waits for streams that
	// still read it.
	readersLinger = 10 * time.Minute
)

func (d *deadlines) run(ctx context.Context) {
	for {
		taken, wait, err := d.store.TakeDue(ctx, dueBatch, dueHide)
		if err != nil {
			if ctx.Err() == nil && !d.away {
				d.env.Log.Error("ask which sessions are due", "error", err)
			}
			wait = duePoll
			d.noteRegistry(err) // the registry can lie on the same server
		} else if d.away {
			d.probe(ctx) // once a round, since each session would wait for the call
		}
		for _, due := range taken {
			next := d.handle(ctx, due.ID)
			if err := d.store.Settle(ctx, due, next); err != nil && ctx.Err() == nil {
				d.env.Log.Error("settle a session that was due", "session", due.ID, "error", err)
			}
		}
		if len(taken) > 0 && ctx.Err() == nil {
			continue
		}
		if d.store.Shared() {
			wait = min(wait, duePoll)
		}
		timer := time.NewTimer(max(wait, time.Millisecond))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.engine.Armed():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// handle serves one due entry, and says when it is due next; zero: never. After a panic
// the entry is due again in recheckLater, so it blocks neither this node nor the next
// one.
func (d *deadlines) handle(ctx context.Context, id string) (next time.Time) {
	serve := d.checkSession
	if worker, ok := fleet.DueWorker(id); ok {
		id, serve = worker, d.checkWorker
	}
	err := d.env.Guard("what is due in a session", func() error { next = serve(ctx, id); return nil }, "of", id)
	if err != nil {
		return time.Now().Add(recheckLater)
	}
	return next
}

// probe asks the registry of workers whether it answers. It is also called between two
// sessions of one batch: the store can go away and come back there. A failed read of a
// session says nothing about the registry, which can lie on another server.
func (d *deadlines) probe(ctx context.Context) {
	_, _, err := d.store.WorkerLease(ctx, "")
	d.noteRegistry(err)
}

// noteRegistry keeps whether the registry of workers answered. An answer of the due-index
// says nothing about that: it can lie on another server.
func (d *deadlines) noteRegistry(err error) {
	switch {
	case err != nil && !store.Answered(err):
		d.away = true
	case d.away:
		d.away, d.back = false, time.Now()
	}
}

// grace is how much longer every worker keeps its lease after the store was away. No node
// could renew a lease meanwhile. So no lease ends until a whole lease after the return.
func (d *deadlines) grace(now time.Time) time.Duration {
	switch {
	case d.away:
		return d.env.Timers.WorkerLease
	case d.back.IsZero():
		return 0
	}
	return max(0, d.env.Timers.WorkerLease-now.Sub(d.back))
}

// checkWorker takes a worker's sessions away when its lease is over. It says when to
// check the worker next; zero: not before it joins again.
func (d *deadlines) checkWorker(ctx context.Context, worker string) time.Time {
	now := time.Now()
	if grace := d.grace(now); grace > 0 {
		return now.Add(grace)
	}
	left, err := d.fleet.EnforceWorkerLease(ctx, worker)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			d.cfg.Log.Error("look at a worker's lease", "worker", worker, "error", err)
		}
		d.probe(ctx) // it may be a session's server that is away
		return now.Add(recheckAway)
	case left == 0:
		return time.Time{}
	}
	return now.Add(max(left, duePoll))
}

// checkSession does everything that is due in a session. It says when to check the
// session next; zero: never.
func (d *deadlines) checkSession(ctx context.Context, id string) time.Time {
	if store.Away(d.store, id) {
		return time.Now().Add(recheckAway) // later entries do not wait for its server
	}
	snap, err := d.store.Load(ctx, id)
	if err != nil && !store.Answered(err) && !d.away {
		d.probe(ctx)
	}
	now := time.Now()
	lease := d.cfg.Timers.WorkerLease
	if grace := d.grace(now); grace > 0 {
		lease = grace
	} else if err == nil && snap.State.Worker != "" {
		if snap.State.Busy() {
			lease, err = d.fleet.EnforceSessionLease(ctx, snap.State)
			if err != nil {
				d.probe(ctx)
			}
		} else { // it rests from now on: a node of an earlier version arms no entry of its worker
			err = d.fleet.ArmWorkerLease(ctx, snap.State.Worker, lease)
		}
	}
	if err == nil {
		var did bool
		if did, err = d.doDue(ctx, snap, now); did || lease == 0 {
			snap, err = d.store.Load(ctx, id)
		}
	}
	switch {
	case errors.Is(err, session.ErrNotFound):
		return time.Time{}
	case err != nil:
		if ctx.Err() == nil {
			d.cfg.Log.Error("do what is due in a session", "session", id, "error", err)
		}
		return now.Add(duePoll)
	}
	next := snap.State.Due(snap.LastActivity, d.cfg.Policy, now, max(lease, duePoll))
	if !next.After(now) {
		next = now.Add(min(recheckLater, d.cfg.Policy.SessionIdleTTL)) // it is busy
	}
	if snap.State.Closed == protocol.ClosedDeleted {
		return next
	}
	if compact := d.compact.Schedule(id, snap, now); !compact.IsZero() && compact.Before(next) {
		next = compact
	}
	return next
}

// doDue does the step that is due by a session's state. did: it has changed the session.
func (d *deadlines) doDue(ctx context.Context, snap store.Snapshot, now time.Time) (did bool, err error) {
	s, id := snap.State, snap.State.Info.SessionID
	if s.NeedsWorker() {
		d.engine.Want(ctx, s)
	}
	if now.Before(s.NextDue(snap.LastActivity, d.cfg.Policy)) {
		return false, nil
	}
	if s.Closed != "" && now.Before(s.NextDue(snap.LastActivity, d.cfg.Policy).Add(readersLinger)) {
		// Slow readers of the log's end read it to the end.
		open, err := d.store.Connections(ctx, []string{id})
		if err != nil || open[0].WebSocket+open[0].SSE > 0 {
			return false, err
		}
	}
	switch {
	case s.Closed == protocol.ClosedDeleted && s.Info.RequestHash != "" && !s.Forgotten:
		if _, _, err = d.engine.Change(ctx, id, session.InForget{}, nil); err == nil {
			d.treeEnded(s)
		}
	case s.Closed != "":
		if err = d.store.Delete(ctx, id); err == nil {
			d.treeEnded(s) // also if its worker was not there at the session's end
		}
	case len(s.Options.Untold) > 0:
		in := &session.InTellOptions{}
		_, err = d.engine.Decide(ctx, id, in, engine.Terms{Judge: func(ctx context.Context, snap store.Snapshot, _ store.Noted) (err error) {
			if in.List, err = listOf(ctx, d.store, snap); errors.Is(err, store.ErrPartMissing) {
				err = nil // the next agent tells of all options
			}
			return err
		}})
	case s.Questions() > 0:
		_, _, err = d.engine.Change(ctx, id, session.InExpireApprovals{}, nil)
	case !s.Busy():
		_, _, err = d.engine.Change(ctx, id, session.InExpire{}, nil)
	default:
		return false, nil
	}
	return err == nil, err
}
