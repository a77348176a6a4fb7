package memstore

import (
	"context"
	"sync"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// slots is a hub.Slots of the one node there is.
type slots struct {
	mu       sync.Mutex
	sessions map[string]protocol.Connections
	users    map[string]int
}

// TakeSlot implements hub.Slots.
func (s *Store) TakeSlot(_ context.Context, p hub.Slot, perSession, perUser int) error {
	t := &s.slots
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.sessions[p.Session]
	if perSession > 0 && c.WebSocket+c.SSE >= perSession {
		return hub.ErrSessionFull
	}
	if perUser > 0 && t.users[p.User] >= perUser {
		return hub.ErrUserFull
	}
	t.add(p, 1)
	return nil
}

// GiveSlot implements hub.Slots.
func (s *Store) GiveSlot(p hub.Slot) {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	s.slots.add(p, -1)
}

// add counts a stream; what falls to nothing is forgotten. Called with mu held.
func (t *slots) add(p hub.Slot, n int) {
	if t.sessions == nil {
		t.sessions, t.users = make(map[string]protocol.Connections), make(map[string]int)
	}
	c := t.sessions[p.Session]
	if p.Encoding == hub.SSE {
		c.SSE += n
	} else {
		c.WebSocket += n
	}
	if t.sessions[p.Session] = c; c == (protocol.Connections{}) {
		delete(t.sessions, p.Session)
	}
	if t.users[p.User] += n; t.users[p.User] == 0 {
		delete(t.users, p.User)
	}
}

// Connections implements hub.Slots.
func (s *Store) Connections(_ context.Context, sessions []string) ([]protocol.Connections, error) {
	t := &s.slots
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]protocol.Connections, len(sessions))
	for i, id := range sessions {
		out[i] = t.sessions[id]
	}
	return out, nil
}
