package hub

import (
	"context"
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

// strange reports whether a snapshot lacks something that this node has seen, or
// that the reader has, whose stream was let in in the given epoch: then it comes
// from a server that is behind, or something was lost.
func (s *Subscriber) strange(snap Snapshot, epoch string) bool {
	t := s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	// In one epoch nobody is placed anew, so not every subscriber has to be looked at.
	return t.epoch != snap.Epoch() && t.behindLocked(snap) || lacks(snap, protocol.Cursor{Epoch: epoch, Seq: s.cursor})
}

// behindLocked reports whether a snapshot does not know the tail's epoch, or has
// less of it than a subscriber was given.
func (t *tail) behindLocked(snap Snapshot) bool {
	if !slices.ContainsFunc(snap.Epochs, func(e EpochStart) bool { return e.Epoch == t.epoch }) {
		return true
	}
	return slices.ContainsFunc(t.subs, func(s *Subscriber) bool {
		return s.started && lacks(snap, protocol.Cursor{Epoch: t.epoch, Seq: s.cursor})
	})
}

// errBehind is the answer of a primary whose place another one has taken.
var errBehind = errors.New("a server that is behind has answered")

// followLocked reads where a log that moved stands, with the lock let go
// meanwhile. It returns an end if there is nothing to follow.
func (s *Subscriber) followLocked() *ending {
	t := s.tail
	snap, err := t.askLocked(t.hub.store.Load)
	if t.moved && (errors.Is(err, ErrNotFound) || err == nil && t.behindLocked(snap)) {
		snap, err = t.askLocked(t.hub.store.Confirm)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return &ending{code: protocol.CloseNotFound, reason: "the session is gone", cause: metrics.CloseSessionEnded}
	case err != nil:
		s.awaitStoreLocked(err)
	case !t.moved: // another subscriber was faster
	case snap.Epoch() == t.epoch && !t.behindLocked(snap):
		// What spoke of another epoch, or this, came from a server that is behind.
		t.moved, t.last = false, max(t.last, snap.Last)
		s.awaitStoreLocked(errBehind)
	default:
		t.adoptLocked(snap)
	}
	return nil
}

// askLocked asks the store about the tail's session, with the lock let go meanwhile.
func (t *tail) askLocked(ask func(context.Context, string) (Snapshot, error)) (Snapshot, error) {
	t.mu.Unlock()
	defer t.mu.Lock()
	ctx, cancel := t.hub.storeCall()
	defer cancel()
	return ask(ctx, t.session)
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
