package valkeystore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"sessionhub/hub"
)

// workerKeys are when leases end, the workers, and the nodes that renewed them.
func (s *Store) workerKeys() []string {
	base := s.opt.Prefix + "{workers}:"
	return []string{base + "ends", base + "workers", base + "nodes"}
}

func (s *Store) heldKey(worker string) string { return s.opt.Prefix + "held:" + worker }

// RenewWorker implements hub.WorkerRegistry.
func (s *Store) RenewWorker(ctx context.Context, w hub.WorkerInfo, left time.Duration) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	what := "renew the lease of worker " + w.Name
	info, err := json.Marshal(w)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	err = renewScript.Exec(call, s.client, s.workerKeys(),
		[]string{w.Name, w.Node, string(info), strconv.FormatInt(left.Microseconds(), 10)}).Error()
	if err != nil {
		return s.unavailable(ctx, "renew_worker", what, err)
	}
	return nil
}

// ForgetWorker implements hub.WorkerRegistry.
func (s *Store) ForgetWorker(ctx context.Context, w hub.WorkerInfo) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	if err := leaseScript.Exec(call, s.client, s.workerKeys(), []string{w.Name, w.Node}).Error(); err != nil {
		return s.unavailable(ctx, "forget_worker", "forget worker "+w.Name, err)
	}
	return nil
}

// WorkerLease implements hub.WorkerRegistry.
func (s *Store) WorkerLease(ctx context.Context, name string) (time.Duration, bool, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	v, err := leaseScript.Exec(call, s.client, s.workerKeys(), []string{name}).AsIntSlice()
	if err == nil && len(v) != 2 {
		err = fmt.Errorf("the script gave %d values", len(v))
	}
	if err != nil {
		return 0, false, s.unavailable(ctx, "worker_lease", "ask for the lease of worker "+name, err)
	}
	return time.Duration(v[0]) * time.Microsecond, v[1] == 1, nil
}

// Workers implements hub.WorkerRegistry.
func (s *Store) Workers(ctx context.Context) ([]hub.WorkerInfo, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	v, err := workersScript.Exec(call, s.client, s.workerKeys()[:2], nil).AsStrSlice()
	if err != nil {
		return nil, s.unavailable(ctx, "workers", "list workers", err)
	}
	out := make([]hub.WorkerInfo, len(v))
	for i, text := range v {
		if err := json.Unmarshal([]byte(text), &out[i]); err != nil {
			return nil, s.unavailable(ctx, "workers", "list workers", err)
		}
	}
	return out, nil
}

// Hold implements hub.WorkerRegistry.
func (s *Store) Hold(ctx context.Context, worker, session string) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.client.Do(call, s.client.B().Sadd().Key(s.heldKey(worker)).Member(session).Build()).Error(); err != nil {
		return s.unavailable(ctx, "hold", "note that worker "+worker+" gets session "+session, err)
	}
	return nil
}

// Unhold implements hub.WorkerRegistry.
func (s *Store) Unhold(ctx context.Context, worker, session string) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.client.Do(call, s.client.B().Srem().Key(s.heldKey(worker)).Member(session).Build()).Error(); err != nil {
		return s.unavailable(ctx, "unhold", "note that worker "+worker+" has session "+session+" no more", err)
	}
	return nil
}

// heldPage is about how many of a worker's sessions are read at a time.
const heldPage = 256

// Held implements hub.WorkerRegistry. It reads in pages: what is held from before
// the first one to behind the last one is in one of them.
func (s *Store) Held(ctx context.Context, worker string) ([]string, error) {
	var ids []string
	for cursor := uint64(0); ; {
		call, cancel := s.deadline(ctx)
		page, err := s.client.Do(call, s.client.B().Sscan().Key(s.heldKey(worker)).Cursor(cursor).Count(heldPage).Build()).AsScanEntry()
		cancel()
		if err != nil {
			return nil, s.unavailable(ctx, "held", "list the sessions of worker "+worker, err)
		}
		ids = append(ids, page.Elements...)
		if cursor = page.Cursor; cursor == 0 {
			break
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil // a page can repeat what one before it had
}
