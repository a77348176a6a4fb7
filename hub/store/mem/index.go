package mem

import (
	"fmt"
	"iter"
	"strconv"
	"sync"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Index holds sessions by age: all of them, and those of each user. It is for a store that
// keeps in memory what a listing shows. The zero value is empty. Any goroutine may call its
// methods. For n sessions, its lock is held for O(log n) at most: a loop over all sessions
// takes one page at a time.
type Index[S Aged] struct {
	mu     sync.RWMutex
	all    ordered[S]             // newest first: see age
	byUser map[string]*ordered[S] // the sessions of each user, in the same order
}

// Aged is a session of a store. Order says when it was created: a newer session has a
// greater order, and no two have the same.
type Aged interface{ Order() uint64 }

// age is the key of a session in an Index: the newest session has the smallest key.
func age(order uint64) key { return key{major: ^order} }

// pageSize is how many sessions are taken under the lock at a time, at most.
const pageSize = 256

// Add adds a user's session.
func (x *Index[S]) Add(user string, s S) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all.insert(age(s.Order()), s)
	of := x.byUser[user]
	if of == nil {
		if x.byUser == nil {
			x.byUser = make(map[string]*ordered[S])
		}
		of = new(ordered[S])
		x.byUser[user] = of
	}
	of.insert(age(s.Order()), s)
}

// Remove takes a session out. A session that is not there is no error.
func (x *Index[S]) Remove(user string, s S) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.all.remove(age(s.Order()))
	if of := x.byUser[user]; of != nil {
		if of.remove(age(s.Order())); of.empty() {
			delete(x.byUser, user)
		}
	}
}

// page gives the next n sessions that were created before a given one, newest first. An
// empty user means the sessions of all users.
func (x *Index[S]) page(user string, before uint64, n int) []S {
	x.mu.RLock()
	defer x.mu.RUnlock()
	from := &x.all
	if user != "" {
		if from = x.byUser[user]; from == nil {
			return nil
		}
	}
	out := make([]S, 0, n)
	for s := range from.from(key{major: age(before).major, minor: 1}) {
		if out = append(out, s); len(out) == n {
			break
		}
	}
	return out
}

// All gives all sessions, newest first. It may or may not give a session that is added or
// removed meanwhile.
func (x *Index[S]) All() iter.Seq[S] {
	return func(yield func(S) bool) {
		before := ^uint64(0)
		for page := x.page("", before, pageSize); len(page) > 0; page = x.page("", before, pageSize) {
			for _, s := range page {
				before = s.Order()
				if !yield(s) {
					return
				}
			}
		}
	}
}

// List is a store's List. look gives a session's present snapshot; ok is false if the
// listing must not show it. If the query names a user, List looks at no other user's
// sessions.
func (x *Index[S]) List(q store.ListQuery, look func(S) (snap store.Snapshot, ok bool)) (sessions []store.Snapshot, next string, err error) {
	before := ^uint64(0)
	if q.After != "" {
		n, err := strconv.ParseUint(q.After, 36, 64)
		if err != nil {
			return nil, "", fmt.Errorf("%w: cursor %q is not one of a listing", session.ErrInvalid, q.After)
		}
		before = n
	}
	last := before // of the last session that is shown
	looked := 0
	for {
		n := pageSize
		if !q.Filters() { // most of them will be shown; one more tells whether the list goes on
			n = max(1, min(n, q.Limit-len(sessions)+1))
		}
		page := x.page(q.User, before, n)
		if len(page) == 0 {
			return sessions, "", nil
		}
		for _, s := range page {
			before = s.Order()
			looked++
			snap, ok := look(s)
			if !ok || !q.Takes(snap.State) {
				continue
			}
			if len(sessions) == q.Limit {
				return sessions, strconv.FormatUint(last, 36), nil
			}
			sessions, last = append(sessions, snap), s.Order()
		}
		if q.Scan > 0 && looked >= q.Scan {
			return sessions, strconv.FormatUint(before, 36), nil
		}
	}
}

// Count counts the sessions for a census. It may or may not count changes that happen
// meanwhile.
func (x *Index[S]) Count(c *store.Census, look func(S) (*session.State, bool)) {
	if c.Sessions == nil {
		c.Sessions = make(map[protocol.Status]int)
	}
	for s := range x.All() {
		if state, ok := look(s); ok && state.Closed != protocol.ClosedDeleted {
			c.Sessions[state.Status.Status]++
			c.ApprovalsPending += state.Questions()
		}
	}
}
