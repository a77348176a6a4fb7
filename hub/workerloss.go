package hub

import (
	"context"
	"encoding/json"
	"slices"

	"sessionhub/protocol"
)

// lacks reports whether a log has lost something before the cursor. Commands have no
// epochs of their own, but each message is an event too: when that was lost, its
// command was, and the next one has its number.
func lacks(snap Snapshot, seen protocol.Cursor) bool {
	if seen.Epoch == "" {
		return false
	}
	from, err := resolve(seen, snap)
	return err == nil && slices.ContainsFunc(from.gaps, func(g protocol.Gap) bool { return g.Reason == protocol.GapEpochChanged })
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
