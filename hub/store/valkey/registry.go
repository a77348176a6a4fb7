package valkey

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sessionhub/hub/store"
)

// registry is a store.WorkerRegistry.
type registry struct{ *calls }

// workerKeys are the keys for the ends of the leases, for the workers, and for the nodes
// that renewed them.
func (s *registry) workerKeys() []string {
	base := s.opt.Prefix + "{workers}:"
	return []string{base + "ends", base + "workers", base + "nodes"}
}

func (s *registry) heldKey(worker string) string { return s.opt.Prefix + "held:" + worker }

// holding writes a holding as a member of the worker's set. A node of an earlier version
// writes and reads the session alone.
func holding(h store.Holding) string {
	if h.Assignment == 0 {
		return h.Session
	}
	return h.Session + " " + strconv.FormatUint(h.Assignment, 10)
}

func parseHolding(member string) store.Holding {
	session, number, _ := strings.Cut(member, " ")
	assignment, _ := strconv.ParseUint(number, 10, 64)
	return store.Holding{Session: strings.Clone(session), Assignment: assignment}
}

// RenewWorker implements store.WorkerRegistry.
func (s *registry) RenewWorker(ctx context.Context, w store.WorkerInfo, left time.Duration) error {
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

// ForgetWorker implements store.WorkerRegistry.
func (s *registry) ForgetWorker(ctx context.Context, w store.WorkerInfo) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	if err := leaseScript.Exec(call, s.client, s.workerKeys(), []string{w.Name, w.Node}).Error(); err != nil {
		return s.unavailable(ctx, "forget_worker", "forget worker "+w.Name, err)
	}
	return nil
}

// WorkerLease implements store.WorkerRegistry.
func (s *registry) WorkerLease(ctx context.Context, name string) (time.Duration, bool, error) {
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

// Workers implements store.WorkerRegistry.
func (s *registry) Workers(ctx context.Context) ([]store.WorkerInfo, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	v, err := workersScript.Exec(call, s.client, s.workerKeys()[:2], nil).AsStrSlice()
	if err != nil {
		return nil, s.unavailable(ctx, "workers", "list workers", err)
	}
	out := make([]store.WorkerInfo, len(v))
	for i, text := range v {
		if err := json.Unmarshal([]byte(text), &out[i]); err != nil {
			return nil, s.unavailable(ctx, "workers", "list workers", err)
		}
	}
	return out, nil
}

// Hold implements store.WorkerRegistry.
func (s *registry) Hold(ctx context.Context, worker string, h store.Holding) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.client.Do(call, s.client.B().Sadd().Key(s.heldKey(worker)).Member(holding(h)).Build()).Error(); err != nil {
		return s.unavailable(ctx, "hold", "note that worker "+worker+" gets session "+h.Session, err)
	}
	return nil
}

// Unhold implements store.WorkerRegistry.
func (s *registry) Unhold(ctx context.Context, worker string, h store.Holding) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.client.Do(call, s.client.B().Srem().Key(s.heldKey(worker)).Member(holding(h)).Build()).Error(); err != nil {
		return s.unavailable(ctx, "unhold", "note that worker "+worker+" has session "+h.Session+" no more", err)
	}
	return nil
}

// heldPage is about how many of a worker's sessions are read at a time.
const heldPage = 256

// Held implements store.WorkerRegistry. It reads in pages. A session that is held during
// the whole reading is in one of them.
func (s *registry) Held(ctx context.Context, worker string) ([]store.Holding, error) {
	var members []string
	for cursor := uint64(0); ; {
		call, cancel := s.deadline(ctx)
		page, err := s.client.Do(call, s.client.B().Sscan().Key(s.heldKey(worker)).Cursor(cursor).Count(heldPage).Build()).AsScanEntry()
		cancel()
		if err != nil {
			return nil, s.unavailable(ctx, "held", "list the sessions of worker "+worker, err)
		}
		members = append(members, page.Elements...)
		if cursor = page.Cursor; cursor == 0 {
			break
		}
	}
	slices.Sort(members)
	members = slices.Compact(members) // a page can repeat members of an earlier one
	held := make([]store.Holding, len(members))
	for i, m := range members {
		held[i] = parseHolding(m)
	}
	return held, nil
}
