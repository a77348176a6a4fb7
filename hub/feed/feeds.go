// Package feed tells readers how a user's list of sessions changes: first a snapshot, then
// each change, so that a reader's picture equals a listing.
//
// A node has one list for each user who has readers there. All of them read the same
// entries, each from a cursor of its own. An entry has only its newest form. So a slow
// reader skips to it, and no reader has a queue. A list without a change costs no call of
// the store.
package feed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Store is the part of the store that the feeds need.
type Store interface {
	Load(ctx context.Context, id string) (store.Snapshot, error)
	List(ctx context.Context, q store.ListQuery) ([]store.Snapshot, string, error)
	store.UserWatcher
}

// Views makes of sessions what their users see, in the same order.
type Views func(ctx context.Context, snaps []store.Snapshot) ([]protocol.Session, error)

// Bounds of the work for feeds. A user's list is refreshed by one goroutine.
const (
	maxLoads   = 32                     // calls of the store at a time, on this node
	listPage   = 100                    // sessions of one call of a listing
	loadPage   = 64                     // sessions that are refreshed together
	restTime   = 200 * time.Millisecond // between two refreshes of one session
	relistTime = 500 * time.Millisecond // between the beginnings of two listings, since losses come together
	maxDirty   = 10_000                 // named sessions that wait; beyond that, all are read again
)

// ErrNoUser says that nobody's list was asked for.
var ErrNoUser = fmt.Errorf("%w: the list of sessions needs a user", session.ErrInvalid)

// ErrEnded says that the node stops.
var ErrEnded = errors.New("the feeds have ended")

// Feeds are the lists of a node. All methods may be called concurrently.
type Feeds struct {
	*engine.Env
	store Store
	views Views
	loads chan struct{} // holds a token for each call that runs

	mu    sync.Mutex // taken before a list's mutexes
	lists map[string]*list
	ended bool
	wg    sync.WaitGroup // the goroutines of lists
}

// NewFeeds returns the feeds of a node.
func NewFeeds(env *engine.Env, st Store, views Views) *Feeds {
	return &Feeds{Env: env, store: st, views: views, loads: make(chan struct{}, maxLoads), lists: make(map[string]*list)}
}

// Run ends the feeds when ctx ends, and waits for their goroutines. Readers get nothing
// more then.
func (f *Feeds) Run(ctx context.Context) {
	<-ctx.Done()
	f.mu.Lock()
	f.ended = true
	for _, l := range f.lists {
		l.stop()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// Open begins to read a user's list. It does not wait for the store. wake is called when
// Next has something again after it had nothing. It must not block, holds none of the
// feed's locks, and may be called once more beside Close. Call Close when the reader is of
// no use any more. Errors: ErrNoUser, ErrEnded.
func (f *Feeds) Open(user string, wake func()) (*Reader, error) {
	if user == "" {
		return nil, ErrNoUser
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return nil, ErrEnded
	}
	l := f.lists[user]
	if l == nil {
		l = f.startLocked(user)
	}
	l.mu.Lock()
	r := &Reader{list: l, wake: wake, idle: true, begun: l.version}
	l.readers[r] = struct{}{}
	l.mu.Unlock()
	f.Metrics.FeedReaders.Inc()
	return r, nil
}

// startLocked begins a user's list.
func (f *Feeds) startLocked(user string) *list {
	ctx, cancel := context.WithCancel(context.Background())
	l := &list{
		feeds: f, user: user, notices: newNotices(),
		entries: make(map[string]*entry), readers: make(map[*Reader]struct{}),
	}
	unwatch := f.store.WatchUser(user, l.notices.take)
	l.stop = func() {
		cancel()
		unwatch()
	}
	f.lists[user] = l
	f.wg.Go(func() { f.Keep(ctx, "the feed of a list", l.run) })
	return l
}

// close ends a reader, and its list with the last one.
func (f *Feeds) close(r *Reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := r.list
	l.mu.Lock()
	_, open := l.readers[r]
	delete(l.readers, r)
	left := len(l.readers)
	l.mu.Unlock()
	if !open {
		return
	}
	f.Metrics.FeedReaders.Dec()
	if left == 0 {
		delete(f.lists, l.user)
		l.stop()
	}
}

// call runs one call of the store, as soon as fewer than maxLoads run.
func (f *Feeds) call(ctx context.Context, run func(context.Context) error) error {
	select {
	case f.loads <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-f.loads }()
	call, cancel := context.WithTimeout(ctx, f.Timers.WriteTimeout)
	defer cancel()
	return run(call)
}
