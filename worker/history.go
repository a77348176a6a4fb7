package worker

import "sync"

// maxHistories is how many sessions' agent ids a worker remembers; the oldest
// is forgotten first, and that agent then begins afresh.
const maxHistories = 4096

// histories remembers the agents' own session ids, so that an agent that is
// started again can load its history. It lives as long as the worker. Safe for
// concurrent use.
type histories struct {
	mu    sync.Mutex
	ids   map[string]string
	order []string // oldest first
}

func (h *histories) get(session string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ids[session]
}

func (h *histories) put(session, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ids == nil {
		h.ids = make(map[string]string)
	}
	if _, known := h.ids[session]; !known {
		h.order = append(h.order, session)
	}
	h.ids[session] = id
	for len(h.ids) > maxHistories {
		delete(h.ids, h.order[0])
		h.order = h.order[1:]
	}
}

// drop forgets a session that is over.
func (h *histories) drop(session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, known := h.ids[session]; !known {
		return
	}
	delete(h.ids, session)
	for i, id := range h.order {
		if id == session {
			h.order = append(h.order[:i], h.order[i+1:]...)
			return
		}
	}
}
