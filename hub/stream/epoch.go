package stream

import (
	"context"
	"slices"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// A log goes on in another epoch when its store may have lost the log's end (a failover, a
// restart). Live readers are then placed like readers that resume. A gap names the lost
// events that they have seen, and they read on from the beginning of the new epoch.
//
// Only an SSE id names the epoch of its event, so every reader gets another connected. A
// reader that counted on in the old epoch would get a gap without a loss when it resumes.

// moveLocked makes the tail's subscribers find their places in the new epoch before they
// read on.
func (t *tail) moveLocked() {
	t.moved, t.bufs = true, nil
	for _, s := range t.subs {
		s.wakeLocked()
	}
}

// adoptLocked moves the tail to the epoch of a snapshot, with all subscribers that have
// started. The others are placed when they start.
func (t *tail) adoptLocked(snap store.Snapshot) {
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

// placeLocked finds the subscriber's place in the log of a snapshot. Its cursor counts in
// epoch.
func (s *Subscriber) placeLocked(epoch string, snap store.Snapshot) {
	from, err := store.Resolve(protocol.Cursor{Epoch: epoch, Seq: s.cursor}, snap)
	if err != nil { // only a bare seq can be wrong
		from = store.Place{After: min(s.cursor, snap.Last)}
	}
	for _, g := range from.Gaps {
		s.controlLocked(protocol.ControlGap, g)
		s.tail.streams.Metrics.Gap(g.Reason)
	}
	s.cursor, s.target = from.After, min(s.target, snap.Last)
}

// strange reports whether a snapshot lacks an event that this node has seen, or that the
// reader has seen in epoch. That is the epoch in which its stream was let in. Such a
// snapshot comes from a server that is behind, or the store has lost events.
func (s *Subscriber) strange(snap store.Snapshot, epoch string) bool {
	t := s.tail
	t.mu.Lock()
	defer t.mu.Unlock()
	// Within one epoch no subscriber is placed anew, so they need no check.
	return t.epoch != snap.Epoch() && t.behindLocked(snap) || store.Lacks(snap, protocol.Cursor{Epoch: epoch, Seq: s.cursor})
}

// behindLocked reports whether a snapshot lacks the tail's epoch, or an event that a
// subscriber was given.
func (t *tail) behindLocked(snap store.Snapshot) bool {
	if !slices.ContainsFunc(snap.Epochs, func(e store.EpochStart) bool { return e.Epoch == t.epoch }) {
		return true
	}
	return slices.ContainsFunc(t.subs, func(s *Subscriber) bool {
		return s.started && store.Lacks(snap, protocol.Cursor{Epoch: t.epoch, Seq: s.cursor})
	})
}

// askLocked calls ask for the tail's session. It releases the lock during the call.
func (t *tail) askLocked(ask func(context.Context, string) (store.Snapshot, error)) (store.Snapshot, error) {
	t.mu.Unlock()
	defer t.mu.Lock()
	ctx, cancel := t.streams.StoreCall()
	defer cancel()
	return ask(ctx, t.session)
}
