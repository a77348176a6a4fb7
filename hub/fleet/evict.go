package fleet

import (
	"context"
	"errors"
	"slices"
	"time"

	"sessionhub/hub/session"
)

// evict frees capacity where only idle agents hold it. It asks the worker of the session
// that has been idle for longest to close it. It does so for one session of each worker
// at a time. When the worker releases that session, the dispatcher reads the lane again.
func (d dispatcher) evict(ctx context.Context, w need) error {
	for _, x := range d.evictable(w) {
		_, _, err := d.engine.Change(ctx, x.s.id, session.FromWorker{Assignment: x.s.assignment, Input: session.InEvict{}}, nil)
		switch {
		case err == nil:
			x.l.mu.Lock()
			x.s.evicted = true
			x.l.mu.Unlock()
			return nil
		case errors.Is(err, session.ErrNoAssignment), errors.Is(err, session.ErrFenced), errors.Is(err, session.ErrNotFound):
		default:
			return err
		}
	}
	return nil
}

// idler is a session of a link, with the time of its last event or message.
type idler struct {
	l     *link
	s     *heldSession
	event time.Time
}

// evictable lists the sessions of the workers that could serve w, the longest
// idle first. A worker that is about to give one back is left out.
func (d dispatcher) evictable(w need) []idler {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []idler
	for l := range d.links {
		if l.runs(w) {
			all = append(all, l.idlers()...)
		}
	}
	slices.SortFunc(all, func(a, b idler) int { return a.event.Compare(b.event) })
	return all
}

func (l *link) idlers() []idler {
	l.mu.Lock()
	defer l.mu.Unlock()
	var own []idler
	for _, s := range l.sessions {
		if s.evicted {
			return nil
		}
		own = append(own, idler{l, s, s.event})
	}
	return own
}
