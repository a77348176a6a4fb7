package mem

import (
	"context"
	"slices"
	"sync"

	"sessionhub/hub/store"
)

// workQueue is a store.WorkQueue by start-time fair queueing. A session that comes gets a
// tag: 1 more than its user's last tag or the last served tag, whichever is greater. The
// smallest tag goes first.
type workQueue struct {
	mu       sync.Mutex
	lanes    map[laneKey]*lane
	watchers []*queueWatcher
}

type laneKey struct{ provider, workspace string }

// lane is the queue of one provider in one workspace.
type lane struct {
	served uint64            // tag of the session that was last taken from the front
	last   map[string]uint64 // by user: tag of the user's last session that came
	came   uint64            // how many sessions came
	queue  ordered[store.Waiting]
	at     map[string]key // by session: its key in the queue, by tag and arrival
}

type queueWatcher struct{ notify func(store.Waiting) }

// Enqueue implements store.WorkQueue.
func (q *workQueue) Enqueue(_ context.Context, w store.Waiting) error {
	q.mu.Lock()
	name := laneKey{w.Provider, w.Workspace}
	l := q.lanes[name]
	if l == nil {
		if q.lanes == nil {
			q.lanes = make(map[laneKey]*lane)
		}
		l = &lane{last: make(map[string]uint64), at: make(map[string]key)}
		q.lanes[name] = l
	}
	if _, ok := l.at[w.ID]; !ok {
		tag := max(l.served, l.last[w.User]) + 1
		l.last[w.User] = tag
		l.came++
		l.at[w.ID] = key{tag, l.came}
		l.queue.insert(l.at[w.ID], w)
	}
	watchers := q.watchers
	q.mu.Unlock()
	for _, x := range watchers {
		x.notify(w)
	}
	return nil
}

// Dequeue implements store.WorkQueue.
func (q *workQueue) Dequeue(_ context.Context, w store.Waiting) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	name := laneKey{w.Provider, w.Workspace}
	l := q.lanes[name]
	if l == nil {
		return nil
	}
	at, ok := l.at[w.ID]
	if !ok {
		return nil
	}
	l.served = max(l.served, at.major)
	l.queue.remove(at)
	if delete(l.at, w.ID); len(l.at) == 0 {
		delete(q.lanes, name) // the next session is first in any case
	}
	return nil
}

// Queued implements store.WorkQueue.
func (q *workQueue) Queued(_ context.Context, provider, workspace string, n int) ([]store.Waiting, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.lanes[laneKey{provider, workspace}]
	if l == nil {
		return nil, nil
	}
	out := make([]store.Waiting, 0, max(0, min(n, len(l.at))))
	for w := range l.queue.from(key{}) {
		if len(out) >= n {
			break
		}
		out = append(out, w)
	}
	return out, nil
}

// WatchQueue implements store.WorkQueue.
func (q *workQueue) WatchQueue(notify func(store.Waiting)) func() {
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
	for name, l := range q.lanes {
		out[name.provider] += len(l.at)
	}
	return out
}
