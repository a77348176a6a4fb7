package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// fate is the verdict on a session of a link, from a snapshot.
type fate uint8

const (
	goesOn   fate = iota
	notOurs       // it is gone, or has another assignment
	wasLost       // the store has lost a message or an event that the worker or the link knows
	doneLost      // the store has lost a done, and nothing else
)

// known is a link's knowledge of a session from before it reads the store.
type known struct {
	stored, finished uint64
	// Commands have no epochs, but each message is an event too. If the event was lost, so
	// was the command, and the next command has its number.
	seen protocol.Cursor
}

// fateOf compares a snapshot of a session with the link's earlier knowledge.
func fateOf(worker string, s *heldSession, k known, snap store.Snapshot, err error) fate {
	switch {
	case errors.Is(err, session.ErrNotFound):
		return notOurs
	case err != nil:
		return goesOn // the snapshot is missing: no verdict
	case snap.State.Worker != worker || snap.State.Assignment != s.assignment:
		return notOurs
	case snap.State.Closed == "" && (snap.N < k.stored || store.Lacks(snap, k.seen)): // after closed, events are acknowledged without being stored
		return wasLost
	case snap.State.Running == 0 || snap.State.Running != k.finished:
		return goesOn
	}
	if _, open := snap.State.Turn(); open {
		return wasLost // another message has its number now
	}
	return doneLost
}

// lossFinder finds out what the store has lost of a link's sessions. Each goroutine of the
// link may use it.
type lossFinder struct{ *link }

// readFate reads a session and judges it. It believes that the session is over or lost
// only if the store confirms it.
func (l lossFinder) readFate(ctx context.Context, s *heldSession, k known) (store.Snapshot, fate, error) {
	snap, err := l.fleet.store.Load(ctx, s.id)
	is := fateOf(l.hello.Worker, s, k, snap, err)
	if is != goesOn {
		snap, err = l.fleet.store.Confirm(ctx, s.id)
		is = fateOf(l.hello.Worker, s, k, snap, err)
	}
	return snap, is, err
}

// decide takes an event of a turn through the rules. ErrLost: the store has lost that
// turn, and confirms it.
func (p publisher) decide(ctx context.Context, s *heldSession, in session.Input, sent session.OpenMessage, fence *store.Fence) (session.Result, error) {
	in = session.FromWorker{Assignment: s.assignment, Input: in, Sent: sent}
	done, err := p.fleet.engine.Decide(ctx, s.id, in, engine.Terms{Fence: fence})
	if errors.Is(err, session.ErrLost) {
		err = lossFinder(p).confirmLost(ctx, s, func(snap store.Snapshot) bool { return !snap.State.Knows(sent) })
	}
	return done.Result, err
}

// confirmLost returns ErrLost if the store confirms a loss. An error that is no answer
// means that the caller must ask again.
func (l lossFinder) confirmLost(ctx context.Context, s *heldSession, lost func(store.Snapshot) bool) error {
	snap, err := l.fleet.store.Confirm(ctx, s.id)
	switch {
	case err != nil:
		return err
	case !lost(snap):
		return fmt.Errorf("session %s: %w: %w", s.id, store.ErrUnavailable, store.ErrBehind)
	}
	return fmt.Errorf("session %s: %w", s.id, session.ErrLost)
}

// inputAfterEvents is input for a done or a release, which have no numbers of their own.
// They follow from the worker's events before them. So the session must still have all
// events that the link has stored. Without a complete that the store has lost, a done
// would complete the message with an error of its own, and a release could let it run
// again. The session is then lost.
func (l lossFinder) inputAfterEvents(ctx context.Context, s *heldSession, in session.Input) error {
	if l.forgotten(s) {
		return nil
	}
	l.mu.Lock()
	k := known{stored: s.stored}
	l.mu.Unlock()
	lost := func(snap store.Snapshot) bool { return fateOf(l.hello.Worker, s, k, snap, nil) == wasLost }
	terms := engine.Terms{Judge: func(_ context.Context, snap store.Snapshot, _ store.Noted) error {
		if lost(snap) {
			return session.ErrLost
		}
		return nil
	}}
	err := l.persistFor(ctx, s.id, func() error {
		_, err := l.fleet.engine.Decide(ctx, s.id, session.FromWorker{Assignment: s.assignment, Input: in}, terms)
		if errors.Is(err, session.ErrLost) {
			err = l.confirmLost(ctx, s, lost)
		}
		return err
	})
	switch {
	case errors.Is(err, session.ErrLost):
		return l.lostByStore(ctx, s)
	case errors.Is(err, session.ErrFenced) || errors.Is(err, session.ErrNotFound):
		l.drop(ctx, s, true)
		return nil
	}
	return err
}

// lostByStore gives up a session whose store has lost acknowledged events of the worker,
// or a message that the worker runs (a failover). The worker's numbers of events and
// commands then differ from the hub's. With an error it keeps the session: the store
// still says that the worker has it, and no other part would take it away.
func (l *link) lostByStore(ctx context.Context, s *heldSession) error {
	if err := l.input(ctx, s, session.InLost{Doubt: true}); err != nil {
		return err
	}
	l.fleet.Log.Warn("the store has lost what a worker said", "session", s.id, "worker", l.hello.Worker)
	l.drop(ctx, s, true)
	return nil
}

// inDoubt reports whether the store can have lost the hand of the waiting message of a
// session. That is so if the log went on in another epoch after the message. Then the
// message counts as received. Of a message that was held, the last release counts: nobody
// hands a held message to a worker, and a person has released it with the log in view.
func (f *Fleet) inDoubt(ctx context.Context, s *session.State) (bool, error) {
	m, waits := s.Waiting()
	if !waits {
		return false, nil
	}
	snap, err := f.store.Confirm(ctx, s.Info.SessionID)
	if err != nil {
		return false, err
	}
	_, seq, ok, err := f.store.Note(ctx, s.Info.SessionID, session.ReleaseNote(m.ID))
	if err == nil && !ok {
		_, seq, ok, err = f.store.Note(ctx, s.Info.SessionID, session.MessageNote(m.ID))
	}
	return ok && len(snap.Epochs) > 1 && seq < snap.Epochs[len(snap.Epochs)-1].First, err
}

// lastSent is the last message that was sent to the worker over this link; zero if there
// was none.
func (p publisher) lastSent(s *heldSession) session.OpenMessage {
	p.mu.Lock()
	defer p.mu.Unlock()
	return session.OpenMessage{ID: s.turn, Command: s.message}
}

// messageOf is the id of the message that a command names; empty if it names none.
func messageOf(c session.Command) string {
	var about struct {
		MessageID string `json:"messageId"`
	}
	if err := json.Unmarshal(c.Data, &about); err != nil {
		return ""
	}
	return about.MessageID
}
