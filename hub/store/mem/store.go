// Package mem keeps sessions in the memory of this process. It is the store of a hub that
// runs alone. The sessions are gone when the process ends.
package mem

import (
	"context"
	"crypto/rand"
	"strings"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// Store is a store.Store in memory. All methods may be called concurrently. Each part has a
// lock of its own, and no part calls another.
type Store struct {
	sessions
	buckets
	dueIndex
	workQueue
	registry
	slots
	mail
	accounts
}

var _ store.Store = (*Store)(nil)

// New returns an empty store.
func New(r store.Retention) *Store {
	// 60 random bits: a client that meets two stores sees two epochs.
	epoch := strings.ToLower(rand.Text()[:12])
	s := &Store{sessions: sessions{
		retention: r, epochs: []store.EpochStart{{Epoch: epoch, First: 1}},
		byID: make(map[string]*record), open: make(map[string]int),
	}}
	s.accounts.users = &s.sessions.UserWatchers
	return s
}

// Available implements store.Availability: the store is always available.
func (s *Store) Available(string) error { return nil }

// Shared implements store.Store: no other process has this store.
func (s *Store) Shared() bool { return false }

// Census implements store.Counter.
func (s *Store) Census(context.Context) (store.Census, bool, error) {
	c := store.Census{Queue: s.depths()}
	s.ages.Count(&c, func(x *record) (*session.State, bool) {
		snap, ok := s.snapshot(x)
		return snap.State, ok
	})
	return c, true, nil
}
