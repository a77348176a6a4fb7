package fleet

import (
	"context"
	"fmt"
	"time"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// beat pings the worker, and ends the link when the worker is silent. It makes no call of
// the store.
func (w writer) beat(ctx context.Context) error {
	beat := time.NewTicker(w.fleet.Timers.LinkHeartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-beat.C:
			w.mu.Lock()
			silent := w.silentLocked(now)
			w.checkSilence = true
			w.mu.Unlock()
			if silent >= w.fleet.Timers.MostSilence() {
				return protocol.LinkError{Code: protocol.LinkSilent, Detail: fmt.Sprintf("nothing heard for %s", silent.Round(time.Second))}
			}
			w.kick()
			if err := w.send(ctx, protocol.FramePing, protocol.Empty{}); err != nil {
				return err
			}
		}
	}
}

// silentLocked is how long the reader has waited for the worker in vain. It is 0 while
// frames are worked on (a large one, or the store is away). Then this node is slow, and
// the worker must not lose its sessions.
func (l *link) silentLocked(now time.Time) time.Duration {
	if l.busy {
		return 0
	}
	return now.Sub(l.heard)
}

// tellSilent puts into the status of each silent turn that it shows no activity. The next
// event then counts as a sign of life again.
func (w writer) tellSilent(ctx context.Context, now time.Time) {
	quiet := w.fleet.Timers.NoActivity
	w.mu.Lock()
	var silent []*heldSession
	for _, s := range w.sessions {
		// While frames are worked on, a sign of life may be among them.
		if !w.busy && s.message != 0 && quiet > 0 && !s.silent && now.Sub(s.event) >= quiet {
			s.alive, s.silent = 0, true
			silent = append(silent, s)
		}
	}
	w.mu.Unlock()
	for _, s := range silent {
		_, _, err := w.fleet.engine.Change(ctx, s.id, session.FromWorker{Assignment: s.assignment, Input: session.InSilent{For: quiet}}, nil)
		if err != nil && ctx.Err() == nil {
			w.fleet.Log.Error("say that a turn is silent", "session", s.id, "error", err)
		}
	}
}
