package hub

import (
	"context"
	"errors"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// roomKeeper keeps a store within its bounds (store.Bounded). It deletes closed sessions
// first, then those that have slept longest. A sleeping session expires before it is
// deleted, so its readers see the end.
type roomKeeper struct {
	rooms
	store.Bounded

	told time.Time // when the log said last that the store is full
}

const (
	// roomEvery is how often the bounds are checked. A store within its bounds answers
	// at once.
	roomEvery = 2 * time.Second
	// roomTold is how often the log says that no session can be deleted.
	roomTold = 10 * time.Minute
)

func (e *roomKeeper) run(ctx context.Context) {
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ids, full := e.Excess()
		if now := time.Now(); full && now.Sub(e.told) > roomTold {
			e.told = now
			e.env.Log.Warn("the store is over its bounds, and all sessions in it are at work: raise --data-max-bytes or --data-max-sessions, or delete sessions")
		}
		for _, id := range ids {
			if ctx.Err() != nil {
				return
			}
			err := e.env.Guard("the room of a session", func() error { return e.free(ctx, id) }, "session", id)
			if err != nil && ctx.Err() == nil && !errors.Is(err, session.ErrNotFound) {
				e.env.Log.Error("make room in the store", "session", id, "error", err)
			}
		}
	}
}

// free expires an open session that sleeps, or deletes a closed one. A closed session
// stays while somebody reads it, for at most DeletedLinger.
func (e *roomKeeper) free(ctx context.Context, id string) error {
	snap, err := e.rooms.store.Load(ctx, id)
	if err != nil {
		return err
	}
	s := snap.State
	switch {
	case s.Asleep():
		_, _, err = e.engine.Change(ctx, id, session.InExpire{}, nil)
		return err
	case s.Closed == "" || s.Closed == protocol.ClosedDeleted:
		return nil // it woke up, or goes by itself
	}
	if time.Since(s.ClosedAt) < e.cfg.Policy.DeletedLinger {
		open, err := e.rooms.store.Connections(ctx, []string{id})
		if err != nil || open[0].WebSocket+open[0].SSE > 0 {
			return err
		}
	}
	return e.rooms.store.Delete(ctx, id)
}
