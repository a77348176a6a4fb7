package hub

import (
	"context"
	"errors"
	"time"

	"sessionhub/protocol"
)

// deadlines looks at the sessions that are due, on this node's turn. Every open
// session always has an entry in the store's due-index, so whatever a node that
// died has left undone (a session that nobody queued, a worker that nobody
// watches) is done here by another one.
type deadlines struct {
	hub  *Hub
	wake chan struct{}

	// Owned by run.
	away bool      // the store could not be asked
	back time.Time // when it could again
}

func newDeadlines(h *Hub) *deadlines { return &deadlines{hub: h, wake: make(chan struct{}, 1)} }

const (
	// dueBatch is how many sessions a node takes at a time, dueHide how long it
	// may take for them before another node has its turn.
	dueBatch = 32
	dueHide  = 20 * time.Second
	// duePoll bounds how late a node learns of what another one armed.
	duePoll = time.Second
	// lookAgain is how soon a session is looked at again when nothing could be
	// done about it: it is busy, or the store is away.
	lookAgain = time.Minute
	// lookQueued is how soon a session that waits for a worker is looked at
	// again: it could have been left out of the queue.
	lookQueued = 10 * time.Second
	// readersLinger is how long a log that is due to go waits for those who
	// still read it.
	readersLinger = 10 * time.Minute
)

// arm has a session looked at by then.
func (d *deadlines) arm(ctx context.Context, id string, due time.Time) error {
	if err := d.hub.store.Arm(ctx, id, due); err != nil {
		return err
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
	return nil
}

func (d *deadlines) run(ctx context.Context) {
	for {
		taken, wait, err := d.hub.store.TakeDue(ctx, dueBatch, dueHide)
		if err != nil {
			if ctx.Err() == nil && !d.away {
				d.hub.cfg.Log.Error("ask which sessions are due", "error", err)
			}
			wait, d.away = duePoll, true
		} else if d.away {
			d.away, d.back = false, time.Now()
		}
		for _, due := range taken {
			next := d.lookAt(ctx, due.ID)
			if err := d.hub.store.Settle(ctx, due, next); err != nil && ctx.Err() == nil {
				d.hub.cfg.Log.Error("settle a session that was due", "session", due.ID, "error", err)
			}
		}
		if len(taken) > 0 && ctx.Err() == nil {
			continue
		}
		if d.hub.store.Shared() {
			wait = min(wait, duePoll)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// lookAt is look. A panic of it is of this session alone, and it gets its time to be
// looked at again as any other: it does not keep this node, or the next one, from
// the rest.
func (d *deadlines) lookAt(ctx context.Context, id string) (next time.Time) {
	err := d.hub.guard("what is due in a session", func() error { next = d.hub.look(ctx, id); return nil }, "session", id)
	if err != nil {
		return time.Now().Add(lookAgain)
	}
	return next
}

// due is when a session wants to be looked at next. lease is how much of its
// worker's is left, if it has one.
func (s *State) due(lastActivity time.Time, t Timers, now time.Time, lease time.Duration) time.Time {
	due := s.nextDue(lastActivity, t)
	if s.NeedsWorker() {
		due = earlier(due, now.Add(lookQueued))
	}
	if s.Worker != "" {
		due = earlier(due, now.Add(lease))
	}
	return due
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// grace is how much time workers have left because nobody could renew a lease
// while the store was away: for a whole lease after that none has ended.
func (d *deadlines) grace(now time.Time) time.Duration {
	if d.back.IsZero() {
		return 0
	}
	return max(0, d.hub.cfg.Timers.WorkerLease-now.Sub(d.back))
}

// look does what is due in a session, and says when to look at it next; zero:
// never.
func (h *Hub) look(ctx context.Context, id string) time.Time {
	now := time.Now()
	snap, err := h.store.Load(ctx, id)
	lease := h.cfg.Timers.WorkerLease
	if grace := h.due.grace(now); grace > 0 {
		lease = grace
	} else if err == nil && snap.State.Worker != "" {
		lease, err = h.workers.lookAtWorker(ctx, snap.State)
	}
	if err == nil {
		var did bool
		if did, err = h.doDue(ctx, snap, now); did || lease == 0 {
			snap, err = h.store.Load(ctx, id)
		}
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return time.Time{}
	case err != nil:
		if ctx.Err() == nil {
			h.cfg.Log.Error("do what is due in a session", "session", id, "error", err)
		}
		return now.Add(duePoll)
	}
	next := snap.State.due(snap.LastActivity, h.cfg.Timers, now, max(lease, duePoll))
	if !next.After(now) {
		return now.Add(min(lookAgain, h.cfg.Timers.SessionIdleTTL)) // it is busy
	}
	return next
}

// doDue does what a session's state says is due, if anything is.
func (h *Hub) doDue(ctx context.Context, snap Snapshot, now time.Time) (did bool, err error) {
	s, id := snap.State, snap.State.Info.SessionID
	if s.NeedsWorker() {
		h.workers.want(ctx, s)
	}
	if now.Before(s.nextDue(snap.LastActivity, h.cfg.Timers)) {
		return false, nil
	}
	if s.Closed != "" && now.Before(s.nextDue(snap.LastActivity, h.cfg.Timers).Add(readersLinger)) {
		// Slow readers of the log's end read it to the end.
		open, err := h.store.Connections(ctx, []string{id})
		if err != nil || open[0].WebSocket+open[0].SSE > 0 {
			return false, err
		}
	}
	switch {
	case s.Closed == protocol.ClosedDeleted && s.Info.RequestHash != "" && !s.Forgotten:
		_, _, err = h.change(ctx, id, InForget{}, nil)
	case s.Closed != "":
		err = h.store.Delete(ctx, id)
	case len(s.Approvals) > 0:
		_, _, err = h.change(ctx, id, InExpireApprovals{}, nil)
	case !s.Busy():
		_, _, err = h.change(ctx, id, InExpire{}, nil)
	default:
		return false, nil
	}
	return err == nil, err
}
