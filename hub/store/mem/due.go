package mem

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"sessionhub/hub/store"
)

// dueIndex is a store.DueIndex: a heap of entries. An entry that the map does not confirm
// is stale and is skipped.
type dueIndex struct {
	mu    sync.Mutex
	queue dueQueue
	at    map[string]dueEntry
	token int64
}

// dueEntry is when a session is due, in Unix nanoseconds. behind is a later time that was
// armed as well, or 0. token names the taker that hides the entry, or 0.
type dueEntry struct{ at, behind, token int64 }

// Arm implements store.DueIndex.
func (d *dueIndex) Arm(_ context.Context, id string, when time.Time) error {
	due := when.UnixNano()
	d.mu.Lock()
	defer d.mu.Unlock()
	e, ok := d.at[id]
	switch {
	case !ok:
		e.at = due
	case due < e.at && e.token == 0:
		e.at, e.behind = due, e.at
	case e.behind == 0 || due < e.behind:
		e.behind = due
	}
	d.put(id, e)
	return nil
}

// put sets a session's entry. Called with mu held.
func (d *dueIndex) put(id string, e dueEntry) {
	if d.at == nil {
		d.at = make(map[string]dueEntry)
	}
	if d.at[id].at != e.at {
		heap.Push(&d.queue, dueMark{at: e.at, id: id})
	}
	d.at[id] = e
}

// TakeDue implements store.DueIndex.
func (d *dueIndex) TakeDue(_ context.Context, n int, hide time.Duration) ([]store.Due, time.Duration, error) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	var due []store.Due
	for len(d.queue) > 0 {
		m := d.queue[0]
		e := d.at[m.id]
		if e.at != m.at {
			heap.Pop(&d.queue) // stale
			continue
		}
		if wait := time.Duration(m.at - now.UnixNano()); wait > 0 || len(due) == n {
			return due, min(max(wait, 0), time.Hour), nil
		}
		heap.Pop(&d.queue)
		d.token++
		e.at, e.token = now.Add(hide).UnixNano(), d.token
		delete(d.at, m.id)
		d.put(m.id, e)
		due = append(due, store.Due{ID: m.id, Token: e.token})
	}
	return due, time.Hour, nil
}

// Settle implements store.DueIndex.
func (d *dueIndex) Settle(_ context.Context, taken store.Due, next time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	e := d.at[taken.ID]
	if e.token != taken.Token {
		return nil
	}
	delete(d.at, taken.ID)
	at := e.behind
	if !next.IsZero() && (at == 0 || next.UnixNano() < at) {
		at = next.UnixNano()
	}
	if at != 0 {
		d.put(taken.ID, dueEntry{at: at})
	}
	return nil
}

// dueQueue is a heap of due times, the earliest first.
type dueQueue []dueMark

type dueMark struct {
	at int64
	id string
}

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q dueQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *dueQueue) Push(x any)        { *q = append(*q, x.(dueMark)) }
func (q *dueQueue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}
