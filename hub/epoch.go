package hub

import (
	"errors"
	"slices"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// A log goes on to another epoch when its store may have lost the log's end (a
// failover, a restart). Then the cursors of those who read live are in the same
// place as the cursors of those who resume: what they have seen of the lost end is
// named by a gap, and they read on where the new epoch begins.
//
// Only an SSE id names the epoch of its event, so they are told by another
// connected: a reader who went on to count in the old epoch would be told of a loss
// that was none when it resumes.

// moveLocked has the tail's subscribers find their places in a new epoch before
// they read on.
func (t *tail) moveLocked() {
	t.moved, t.bufs = true, nil
	for _, s := range t.subs {
		s.wakeLocked()
	}
}

// adoptLocked goes on to the epoch of a snapshot, with all subscribers that have
// started; the others are placed when they do.
func (t *tail) adoptLocked(snap Snapshot) {
	for _, s := range t.subs {
		if s.started {
			s.connectedLocked(snap)
			s.placeLocked(t.epoch, snap)
		}
	}
	t.epoch, t.last, t.moved, t.bufs = snap.Epoch(), snap.Last, false, nil
	if t.closed = 0; snap.State.Closed != "" {
		t.closed = snap.Last
	}
	for _, s := range t.subs {
		s.wakeLocked()
	}
}

// placeLocked finds the place of a cursor of an epoch in the log of a snapshot.
func (s *Subscriber) placeLocked(epoch string, snap Snapshot) {
	from, err := resolve(protocol.Cursor{Epoch: epoch, Seq: s.cursor}, snap)
	if err != nil { // only a bare seq can be wrong
		from = start{after: min(s.cursor, snap.Last)}
	}
	for _, g := range from.gaps {
		s.controlLocked(protocol.ControlGap, g)
		s.tail.hub.cfg.Metrics.Gap(g.Reason)
	}
	s.cursor, s.target = from.after, min(s.target, snap.Last)
}

// elsewhere reports whether the tail is in an epoch that a snapshot does not know:
// the snapshot is too old, or that epoch was lost.
func (t *tail) elsewhere(snap Snapshot) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !slices.ContainsFunc(snap.Epochs, func(e EpochStart) bool { return e.Epoch == t.epoch })
}

// followLocked reads where a log that moved stands, with the lock let go
// meanwhile. It returns an end if there is nothing to follow.
func (s *Subscriber) followLocked() *ending {
	t := s.tail
	t.mu.Unlock()
	ctx, cancel := t.hub.storeCall()
	snap, err := t.hub.store.Load(ctx, t.session)
	cancel()
	t.mu.Lock()
	switch {
	case errors.Is(err, ErrNotFound):
		return &ending{code: protocol.CloseNotFound, reason: "the session is gone", cause: metrics.CloseSessionEnded}
	case err != nil:
		s.awaitStoreLocked(err)
	case t.moved: // else another subscriber was faster
		t.adoptLocked(snap)
	}
	return nil
}

// awaitStoreLocked lets a moment pass after the store could not be asked. Its
// readers stay: they get the rest when it is back.
func (s *Subscriber) awaitStoreLocked(err error) {
	t := s.tail
	t.hub.cfg.Log.Debug("read event log", "session", t.session, "error", err)
	t.mu.Unlock()
	time.Sleep(storeRetry)
	t.mu.Lock()
}
