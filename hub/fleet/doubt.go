package fleet

import (
	"context"
	"errors"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// doubt is an assignment that the store did not answer, with the worker's holding that
// was stored for it.
type doubt struct {
	link *link
	held store.Holding
}

func (d dispatcher) inDoubt(session string) bool {
	_, ok := d.doubts[session]
	return ok
}

// settleDoubts finds out which of the unanswered assignments were made.
func (d dispatcher) settleDoubts(ctx context.Context) error {
	for id, in := range d.doubts {
		l := in.link
		if d.store.Available(id) != nil {
			d.alarms.After(engine.LoopPause, d.kick)
			continue
		}
		var snap store.Snapshot
		err := d.Guard("a look at an assignment", func() (err error) { snap, err = d.store.Load(ctx, id); return err }, "session", id)
		if errors.Is(err, engine.ErrPanic) {
			d.alarms.After(engine.LoopPause, d.kick)
			continue
		}
		if err != nil && !errors.Is(err, session.ErrNotFound) {
			return err
		}
		ours := err == nil && snap.State.Worker == l.hello.Worker
		if !ours || snap.State.Assignment != in.held.Assignment { // it was not made, or it is over
			if err := d.unhold(ctx, l, in.held); err != nil {
				return err
			}
		}
		delete(d.doubts, id)
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			// The worker may have joined another node, which assigned the session with the same
			// number: its message must not run twice. A session that no link has is found as a stray.
			continue
		}
		if ours && !l.has(store.Holding{Session: id, Assignment: snap.State.Assignment}) {
			d.give(ctx, l, snap.State)
		}
	}
	return nil
}
