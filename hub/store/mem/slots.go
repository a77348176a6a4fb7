package mem

import (
	"context"
	"sync"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// slots is a store.Slots of a single node.
type slots struct {
	mu       sync.Mutex
	sessions map[string]protocol.Connections
	users    map[string]int
}

// TakeSlot implements store.Slots.
func (t *slots) TakeSlot(_ context.Context, p store.Slot, perSession, perUser int) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.sessions[p.Session]
	if p.Session != "" && perSession > 0 && c.WebSocket+c.SSE >= perSession {
		return store.ErrSessionFull
	}
	if p.User != "" && perUser > 0 && t.users[p.User] >= perUser {
		return store.ErrUserFull
	}
	t.add(p, 1)
	return nil
}

// GiveSlot implements store.Slots.
func (t *slots) GiveSlot(p store.Slot) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(p, -1)
}

// add counts a stream and forgets a count that falls to 0. Called with mu held.
func (t *slots) add(p store.Slot, n int) {
	if t.sessions == nil {
		t.sessions, t.users = make(map[string]protocol.Connections), make(map[string]int)
	}
	if p.Session != "" {
		c := t.sessions[p.Session]
		if p.Encoding.EventStream() {
			c.SSE += n
		} else {
			c.WebSocket += n
		}
		if t.sessions[p.Session] = c; c == (protocol.Connections{}) {
			delete(t.sessions, p.Session)
		}
	}
	if p.User != "" {
		if t.users[p.User] += n; t.users[p.User] == 0 {
			delete(t.users, p.User)
		}
	}
}

// Connections implements store.Slots.
func (t *slots) Connections(_ context.Context, sessions []string) ([]protocol.Connections, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]protocol.Connections, len(sessions))
	for i, id := range sessions {
		out[i] = t.sessions[id]
	}
	return out, nil
}
