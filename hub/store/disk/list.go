package disk

import (
	"context"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// List implements store.Lister. It waits for no writer of a session, and for no disk.
func (s *sessions) List(_ context.Context, q store.ListQuery) ([]store.Snapshot, string, error) {
	if err := s.down(); err != nil {
		return nil, "", err
	}
	return s.ages.List(q, func(x *record) (store.Snapshot, bool) {
		h := x.head.Load()
		if h == nil { // it is being created
			return store.Snapshot{}, false
		}
		return h.snapshot(), true
	})
}

// Census implements store.Counter.
func (s *Store) Census(ctx context.Context) (store.Census, bool, error) {
	if err := s.down(); err != nil {
		return store.Census{}, false, err
	}
	c, ours, err := s.mem.Census(ctx) // the queue
	if err != nil {
		return store.Census{}, false, err
	}
	s.ages.Count(&c, func(x *record) (*session.State, bool) {
		h := x.head.Load()
		if h == nil {
			return nil, false
		}
		return h.state, true
	})
	return c, ours, nil
}
