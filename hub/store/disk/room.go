package disk

import (
	"cmp"
	"fmt"
	"slices"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Bounds say how much a store may hold. 0: no bound.
type Bounds struct {
	MaxBytes    int64 // of all sessions: their logs, by protocol.Entry.JSONLen, their attachments, and 1 KiB for each session
	MaxSessions int   // that are not deleted
}

// sessionBytes is about what a session takes beside its log.
const sessionBytes = 1 << 10

// size is what a session counts for MaxBytes. The files take less since they are
// compressed, not counting deleted text that is still in them.
func (h *head) size() int64 {
	n := int64(h.bytes) + sessionBytes
	if h.state != nil && !h.state.Forgotten {
		n += h.state.Attachments.Bytes()
	}
	return n
}

// show lets readers see a head that is on the disk. Called with x.mu held.
func (x *record) show(h *head) {
	more := h.size()
	if old := x.head.Load(); old != nil {
		more -= old.size()
	}
	x.store.bytes.Add(more)
	x.head.Store(h)
}

// counts reports whether a session counts for its user's limit.
func counts(s *session.State) bool { return s != nil && s.Closed == "" && !s.Asleep() }

// roomFor returns an error if the user may have no more sessions. Called with mu held.
func (s *sessions) roomFor(user string, most int) error {
	if most > 0 && s.awake[user] >= most {
		return fmt.Errorf("%w: the user has %d at work, which is the most", store.ErrSessionLimit, most)
	}
	return nil
}

// wake counts a change of a session's state. It refuses the change if the session would
// begin to count and its user already has the most.
func (s *sessions) wake(old, now *session.State, most int) error {
	if !counts(now) || counts(old) {
		s.recount(old, now)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	user := now.Info.UserID
	if err := s.roomFor(user, most); err != nil {
		return err
	}
	s.awake[user]++
	return nil
}

// recount counts a change of a session's state; now is nil at its end.
func (s *sessions) recount(old, now *session.State) {
	change := 0
	var user string
	if counts(old) {
		change, user = change-1, old.Info.UserID
	}
	if counts(now) {
		change, user = change+1, now.Info.UserID
	}
	if change == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.awake[user] += change; s.awake[user] <= 0 {
		delete(s.awake, user)
	}
}

// Excess implements store.Bounded.
func (s *sessions) Excess() (ids []string, full bool) {
	s.mu.RLock()
	number := len(s.byID)
	s.mu.RUnlock()
	b := s.bounds
	if (b.MaxSessions <= 0 || number <= b.MaxSessions) && (b.MaxBytes <= 0 || s.bytes.Load() <= b.MaxBytes) {
		return nil, false
	}
	type candidate struct {
		id       string
		closed   bool
		activity int64
		size     int64
	}
	var all []candidate
	var bytes int64
	number = 0
	for x := range s.ages.All() {
		h := x.head.Load()
		if h == nil || h.state.Closed == protocol.ClosedDeleted {
			continue // it goes without help
		}
		number++
		bytes += h.size()
		if closed := h.state.Closed != ""; closed || h.state.Asleep() {
			all = append(all, candidate{x.id, closed, h.activity, h.size()})
		}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		switch {
		case a.closed == b.closed:
			return cmp.Compare(a.activity, b.activity)
		case a.closed:
			return -1
		}
		return 1
	})
	over := func() bool {
		return b.MaxSessions > 0 && number > b.MaxSessions || b.MaxBytes > 0 && bytes > b.MaxBytes
	}
	for _, c := range all {
		if !over() {
			break
		}
		ids = append(ids, c.id)
		number--
		bytes -= c.size
	}
	return ids, over()
}
