package memstore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"sessionhub/hub"
)

// registry is a hub.WorkerRegistry.
type registry struct {
	mu     sync.Mutex
	leases map[string]lease
	held   map[string]map[string]bool // sessions, by worker
}

type lease struct {
	info hub.WorkerInfo
	ends time.Time
}

// RenewWorker implements hub.WorkerRegistry.
func (s *Store) RenewWorker(_ context.Context, w hub.WorkerInfo, left time.Duration) error {
	r := &s.workers
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leases == nil {
		r.leases = make(map[string]lease)
	}
	ends := time.Now().Add(left)
	if old := r.leases[w.Name]; old.info.Node == w.Node || ends.After(old.ends) {
		r.leases[w.Name] = lease{info: w, ends: ends}
	}
	return nil
}

// ForgetWorker implements hub.WorkerRegistry.
func (s *Store) ForgetWorker(_ context.Context, w hub.WorkerInfo) error {
	r := &s.workers
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leases[w.Name].info.Node == w.Node {
		delete(r.leases, w.Name)
	}
	return nil
}

// WorkerLease implements hub.WorkerRegistry.
func (s *Store) WorkerLease(_ context.Context, name string) (time.Duration, bool, error) {
	r := &s.workers
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.leases[name]
	if !ok {
		return 0, false, nil
	}
	if left := time.Until(l.ends); left > 0 {
		return left, false, nil
	}
	delete(r.leases, name)
	return 0, true, nil
}

// Workers implements hub.WorkerRegistry.
func (s *Store) Workers(context.Context) ([]hub.WorkerInfo, error) {
	r := &s.workers
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []hub.WorkerInfo
	for _, l := range r.leases {
		if l.ends.After(now) {
			out = append(out, l.info)
		}
	}
	return out, nil
}

// Hold implements hub.WorkerRegistry.
func (s *Store) Hold(_ context.Context, worker, session string) error {
	r := &s.workers
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = make(map[string]map[string]bool)
	}
	if r.held[worker] == nil {
		r.held[worker] = make(map[string]bool)
	}
	r.held[worker][session] = true
	return nil
}

// Unhold implements hub.WorkerRegistry.
func (s *Store) Unhold(_ context.Context, worker, session string) error {
	r := &s.workers
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.held[worker], session); len(r.held[worker]) == 0 {
		delete(r.held, worker)
	}
	return nil
}

// Held implements hub.WorkerRegistry.
func (s *Store) Held(_ context.Context, worker string) ([]string, error) {
	r := &s.workers
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.held[worker])), nil
}
