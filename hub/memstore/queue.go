package memstore

import (
	"context"
	"slices"
	"sync"

	"sessionhub/hub"
)

// workQueue is a hub.WorkQueue by start-time fair queueing: each session gets a
// tag when it comes, its user's last tag plus 1 but never less than the tag of
// the one that was served last, and the smallest tag goes first.
type workQueue struct {
	mu       sync.Mutex
	lanes    map[laneKey]*lane
	watchers []*queueWatcher
}

type laneKey struct{ provider, workspace string }

// lane is the queue of one provider in one workspace.
type lane struct {
	served uint64            // tag of the last one that was taken from the front
	last   map[string]uint64 // by user: tag of the last one that came
	queue  []tagged          // by tag, those of one tag in the order that they came
}

type tagged struct {
	tag uint64
	w   hub.Waiting
}

type queueWatcher struct{ notify func() }

// Enqueue implements hub.WorkQueue.
func (s *Store) Enqueue(_ context.Context, w hub.Waiting) error {
	q := &s.queue
	q.mu.Lock()
	key := laneKey{w.Provider, w.Workspace}
	l := q.lanes[key]
	if l == nil {
		if q.lanes == nil {
			q.lanes = make(map[laneKey]*lane)
		}
		l = &lane{last: make(map[string]uint64)}
		q.lanes[key] = l
	}
	if !slices.ContainsFunc(l.queue, func(t tagged) bool { return t.w.ID == w.ID }) {
		tag := max(l.served, l.last[w.User]) + 1
		l.last[w.User] = tag
		i, _ := slices.BinarySearchFunc(l.queue, tag, func(t tagged, tag uint64) int {
			if t.tag <= tag {
				return -1
			}
			return 1
		})
		l.queue = slices.Insert(l.queue, i, tagged{tag: tag, w: w})
	}
	watchers := q.watchers
	q.mu.Unlock()
	for _, x := range watchers {
		x.notify()
	}
	return nil
}

// Dequeue implements hub.WorkQueue.
func (s *Store) Dequeue(_ context.Context, w hub.Waiting) error {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	key := laneKey{w.Provider, w.Workspace}
	l := q.lanes[key]
	if l == nil {
		return nil
	}
	i := slices.IndexFunc(l.queue, func(t tagged) bool { return t.w.ID == w.ID })
	if i < 0 {
		return nil
	}
	l.served = max(l.served, l.queue[i].tag)
	if l.queue = slices.Delete(l.queue, i, i+1); len(l.queue) == 0 {
		delete(q.lanes, key) // nobody is ahead of anybody any more
	}
	return nil
}

// Queued implements hub.WorkQueue.
func (s *Store) Queued(_ context.Context, provider, workspace string, n int) ([]hub.Waiting, error) {
	q := &s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[laneKey{provider, workspace}]
	if l == nil {
		return nil, nil
	}
	out := make([]hub.Waiting, 0, min(n, len(l.queue)))
	for _, t := range l.queue[:min(n, len(l.queue))] {
		out = append(out, t.w)
	}
	return out, nil
}

// WatchQueue implements hub.WorkQueue.
func (s *Store) WatchQueue(notify func()) func() {
	q := &s.queue
	w := &queueWatcher{notify: notify}
	q.mu.Lock()
	q.watchers = append(slices.Clone(q.watchers), w)
	q.mu.Unlock()
	return func() {
		q.mu.Lock()
		q.watchers = slices.DeleteFunc(slices.Clone(q.watchers), func(o *queueWatcher) bool { return o == w })
		q.mu.Unlock()
	}
}

// depths counts what waits, by provider.
func (q *workQueue) depths() map[string]int {
	q.mu.Lock()
	defer q.mu.Unlock()
	out := make(map[string]int)
	for key, l := range q.lanes {
		out[key.provider] += len(l.queue)
	}
	return out
}
