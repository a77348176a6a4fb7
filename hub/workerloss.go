package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"sessionhub/protocol"
)

// fate is what a snapshot says about a session of a link.
type fate uint8

const (
	goesOn   fate = iota
	notOurs       // it is gone, or has another assignment
	wasLost       // the store has lost something that the worker or the link knows
	doneLost      // the store has lost a done, and nothing else
)

// known is what a link knows of a session before it looks at it.
type known struct {
	stored, finished uint64
	// Commands have no epochs of their own, but each message is an event too: when
	// that was lost, its command was, and the next one has its number.
	seen protocol.Cursor
}

// fateOf judges what the store says of a session by what was known before.
func (l *link) fateOf(s *linkSession, k known, snap Snapshot, err error) fate {
	switch {
	case errors.Is(err, ErrNotFound):
		return notOurs
	case err != nil:
		return goesOn // nobody knows
	case snap.State.Worker != l.hello.Worker || snap.State.Assignment != s.assignment:
		return notOurs
	case snap.State.Closed == "" && (snap.N < k.stored || lacks(snap, k.seen)): // behind closed, what is acknowledged is not stored
		return wasLost
	case snap.State.Running == 0 || snap.State.Running != k.finished:
		return goesOn
	}
	if _, open := snap.State.Turn(); open {
		return wasLost // another message has its number now
	}
	return doneLost
}

// stand reads where a session stands. That it is over is believed of a store that
// confirms it only.
func (l *link) stand(ctx context.Context, s *linkSession, k known) (Snapshot, fate, error) {
	snap, err := l.hub.store.Load(ctx, s.id)
	is := l.fateOf(s, k, snap, err)
	if is != goesOn {
		snap, err = l.hub.store.Confirm(ctx, s.id)
		is = l.fateOf(s, k, snap, err)
	}
	return snap, is, err
}

// tell takes what a worker says of its turn through the rules. errLost if the store
// has lost that turn, and confirms it.
func (l *link) tell(ctx context.Context, s *linkSession, in Input, sent OpenMessage, fence *Fence) error {
	_, _, err := l.hub.change(ctx, s.id, fromWorker{Assignment: s.assignment, Input: in, Sent: sent}, fence)
	if !errors.Is(err, errLost) {
		return err
	}
	snap, cause := l.hub.store.Confirm(ctx, s.id)
	switch {
	case cause != nil:
		return cause
	case snap.State.knows(sent):
		return fmt.Errorf("session %s: %w: %w", s.id, ErrUnavailable, errBehind)
	}
	return err
}

// lostByStore gives a session up whose store has lost events that it had
// acknowledged to the worker, or what commands came from (a failover): what the
// worker knows of the session, the numbers of events and commands among it, is not
// what the hub knows any more.
func (l *link) lostByStore(ctx context.Context, s *linkSession) error {
	l.hub.cfg.Log.Warn("the store has lost what a worker said", "session", s.id, "worker", l.hello.Worker)
	err := l.input(ctx, s.id, s.assignment, InLost{})
	l.drop(ctx, s, true)
	return err
}

// lastSent is the last message that went to the worker over this link; at first
// none.
func (l *link) lastSent(s *linkSession) OpenMessage {
	d := l.hub.workers
	d.mu.Lock()
	defer d.mu.Unlock()
	return OpenMessage{ID: s.turn, Command: s.message}
}

// messageOf is the id of the message of a command; empty if it has none.
func messageOf(c Command) string {
	var about struct {
		MessageID string `json:"messageId"`
	}
	if err := json.Unmarshal(c.Data, &about); err != nil {
		return ""
	}
	return about.MessageID
}
