package valkeystore

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"sessionhub/hub"
)

// queueTopic stands for the queue among the sessions that are watched. No session
// can have it as its id.
const queueTopic = "\x00queue"

// laneKeys are the keys of the queue of one provider in one workspace. All lanes
// lie in one slot, with the depths.
func (s *Store) laneKeys(provider, workspace string) []string {
	base := s.opt.Prefix + "{queue}:"
	lane := fmt.Sprintf("%s%d:%s:%s:", base, len(provider), provider, workspace)
	return []string{lane + "order", lane + "members", lane + "users", lane + "last", lane + "numbers", base + "depths"}
}

// Enqueue implements hub.WorkQueue.
func (s *Store) Enqueue(ctx context.Context, w hub.Waiting) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	err := enqueueScript.Exec(call, s.client, s.laneKeys(w.Provider, w.Workspace),
		[]string{w.ID, w.User, w.Provider, s.publish, s.channel(queueTopic)}).Error()
	if err != nil {
		return s.unavailable(ctx, "enqueue", "enqueue session "+w.ID, err)
	}
	return nil
}

// Dequeue implements hub.WorkQueue.
func (s *Store) Dequeue(ctx context.Context, w hub.Waiting) error {
	call, cancel := s.deadline(ctx)
	defer cancel()
	err := dequeueScript.Exec(call, s.client, s.laneKeys(w.Provider, w.Workspace), []string{w.ID, w.Provider}).Error()
	if err != nil {
		return s.unavailable(ctx, "dequeue", "dequeue session "+w.ID, err)
	}
	return nil
}

// Queued implements hub.WorkQueue.
func (s *Store) Queued(ctx context.Context, provider, workspace string, n int) ([]hub.Waiting, error) {
	if n <= 0 {
		return nil, nil
	}
	call, cancel := s.deadline(ctx)
	defer cancel()
	keys := s.laneKeys(provider, workspace)
	v, err := queuedScript.Exec(call, s.client, []string{keys[0], keys[2]}, []string{strconv.Itoa(n)}).AsStrSlice()
	if err == nil && len(v)%2 != 0 {
		err = fmt.Errorf("the script gave %d values", len(v))
	}
	if err != nil {
		return nil, s.unavailable(ctx, "queued", "list what is queued", err)
	}
	out := make([]hub.Waiting, 0, len(v)/2)
	for i := 0; i < len(v); i += 2 {
		out = append(out, hub.Waiting{ID: v[i], User: v[i+1], Provider: provider, Workspace: workspace})
	}
	return out, nil
}

// WatchQueue implements hub.WorkQueue. After a break of the connection it is
// called too, since a call may have been missed.
func (s *Store) WatchQueue(notify func()) func() {
	return s.watch(queueTopic, func(hub.Notice) { notify() })
}

// depths counts what waits, by provider.
func (s *Store) depths(ctx context.Context) (map[string]int, error) {
	call, cancel := s.deadline(ctx)
	defer cancel()
	m, err := s.client.Do(call, s.client.B().Hgetall().Key(s.opt.Prefix+"{queue}:depths").Build()).AsIntMap()
	if err != nil {
		return nil, err
	}
	out := make(map[string]int, len(m))
	for provider, n := range m {
		out[strings.Clone(provider)] = int(n)
	}
	return out, nil
}
