package mem

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"sessionhub/hub/store"
)

// registry is a store.WorkerRegistry.
type registry struct {
	mu     sync.Mutex
	leases map[string]lease
	held   map[string]map[store.Holding]bool // by worker
}

type lease struct {
	info store.WorkerInfo
	ends time.Time
}

// RenewWorker implements store.WorkerRegistry.
func (r *registry) RenewWorker(_ context.Context, w store.WorkerInfo, left time.Duration) error {
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

// ForgetWorker implements store.WorkerRegistry.
func (r *registry) ForgetWorker(_ context.Context, w store.WorkerInfo) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leases[w.Name].info.Node == w.Node {
		delete(r.leases, w.Name)
	}
	return nil
}

// WorkerLease implements store.WorkerRegistry.
func (r *registry) WorkerLease(_ context.Context, name string) (time.Duration, bool, error) {
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

// Workers implements store.WorkerRegistry.
func (r *registry) Workers(context.Context) ([]store.WorkerInfo, error) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []store.WorkerInfo
	for _, l := range r.leases {
		if l.ends.After(now) {
			out = append(out, l.info)
		}
	}
	return out, nil
}

// Hold implements store.WorkerRegistry.
func (r *registry) Hold(_ context.Context, worker string, h store.Holding) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = make(map[string]map[store.Holding]bool)
	}
	if r.held[worker] == nil {
		r.held[worker] = make(map[store.Holding]bool)
	}
	r.held[worker][h] = true
	return nil
}

// Unhold implements store.WorkerRegistry.
func (r *registry) Unhold(_ context.Context, worker string, h store.Holding) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.held[worker], h); len(r.held[worker]) == 0 {
		delete(r.held, worker)
	}
	return nil
}

// Held implements store.WorkerRegistry.
func (r *registry) Held(_ context.Context, worker string) ([]store.Holding, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.held[worker])), nil
}
