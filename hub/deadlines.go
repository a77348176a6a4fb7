package hub

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"sessionhub/protocol"
)

// deadlines is the due-index: when each session wants to be looked at next. An
// entry is a hint. It is put right when it is looked at, never for each event.
type deadlines struct {
	hub  *Hub
	wake chan struct{}

	mu    sync.Mutex
	queue dueQueue
	at    map[string]time.Time // the earliest entry of each session
}

func newDeadlines(h *Hub) *deadlines {
	return &deadlines{hub: h, wake: make(chan struct{}, 1), at: make(map[string]time.Time)}
}

// arm has the session looked at by then. An earlier entry stays: whoever looks
// then arms again.
func (d *deadlines) arm(id string, due time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at, ok := d.at[id]; ok && !due.Before(at) {
		return
	}
	d.at[id] = due
	heap.Push(&d.queue, dueEntry{at: due, id: id})
	if d.queue[0].id == id {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// pop takes the next session that is due, or says how long to wait.
func (d *deadlines) pop(now time.Time) (id string, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.queue) > 0 {
		e := d.queue[0]
		if wait := e.at.Sub(now); wait > 0 {
			return "", wait
		}
		heap.Pop(&d.queue)
		if d.at[e.id].Equal(e.at) { // else an earlier entry took its place
			delete(d.at, e.id)
			return e.id, 0
		}
	}
	return "", time.Hour
}

func (d *deadlines) run(ctx context.Context) {
	for {
		id, wait := d.pop(time.Now())
		if id != "" {
			d.hub.look(ctx, id)
			continue
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

// lookAgain is how soon a session is looked at again when nothing could be done
// about it: it is busy, or the store is away.
const lookAgain = time.Minute

// look does what is due in a session.
func (h *Hub) look(ctx context.Context, id string) {
	snap, err := h.store.Load(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return
	}
	now := time.Now()
	if err == nil {
		due := snap.State.nextDue(snap.LastActivity, h.cfg.Timers)
		switch {
		case now.Before(due):
			h.due.arm(id, due)
			return
		case snap.State.Closed == protocol.ClosedDeleted && snap.State.Info.RequestHash != "" && !snap.State.Forgotten:
			_, _, err = h.change(ctx, id, InForget{}, nil)
		case snap.State.Closed != "":
			if err = h.store.Delete(ctx, id); err == nil {
				return
			}
		case len(snap.State.Approvals) > 0:
			_, _, err = h.change(ctx, id, InExpireApprovals{}, nil)
		case !snap.State.Busy():
			_, _, err = h.change(ctx, id, InExpire{}, nil)
		}
	}
	if err != nil {
		h.cfg.Log.Error("look at a session that is due", "session", id, "error", err)
	}
	h.due.arm(id, now.Add(lookAgain))
}

// dueQueue is a heap of what is due, the earliest first.
type dueQueue []dueEntry

type dueEntry struct {
	at time.Time
	id string
}

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q dueQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *dueQueue) Push(x any)        { *q = append(*q, x.(dueEntry)) }
func (q *dueQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
