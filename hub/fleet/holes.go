package fleet

import "sync"

// holes remembers the sessions whose events have had a hole, by assignment. A hole ends
// the link, and the worker's next link must know of it. A second hole of the same
// assignment means that the store has lost events. The zero value is ready.
type holes struct {
	mu sync.Mutex
	by map[string]uint64 // assignment by session
}

// maxHoles bounds the sessions that holes remembers. A session that never comes back is
// never forgotten otherwise.
const maxHoles = 1 << 16

// remember notes that the events of a session have had a hole.
func (h *holes) remember(s *heldSession) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by == nil || len(h.by) >= maxHoles { // a hole that is forgotten costs one more link
		h.by = make(map[string]uint64)
	}
	h.by[s.id] = s.assignment
}

func (h *holes) forget(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.by, id)
}

// has reports whether the events of a session have had a hole on another link.
func (h *holes) has(s *heldSession) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.by[s.id] == s.assignment
}
