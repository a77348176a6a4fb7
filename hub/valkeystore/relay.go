package valkeystore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// relay brings what is appended anywhere to this node's watchers. It has one link
// to each primary, which is subscribed to the channels of the watched sessions
// there. A node hears nothing of a session that nobody watches on it.
//
// Lock order: relay.mu, then link.mu; neither is held when a watcher is called.
type relay struct {
	store *Store

	mu     sync.RWMutex
	topics map[string]*topic // by session, and that of the queue
	links  map[string]*link  // by the primary's id; one, without an id, if there is no cluster
	lost   error             // why the primaries are not known; nil once they are
	up     bool              // what Options.Up was told last

	told sync.Mutex // held for a call of Options.Up
}

// topic is a session that is watched. watchers is replaced, never changed.
type topic struct {
	slot     uint16
	watchers []*watcher
}

// watcher is one call of Watch. Its mutex is the session lock of hub's lock order:
// it is held while notify runs.
type watcher struct {
	mu      sync.Mutex
	notify  func(hub.Notice)
	stopped bool
}

func (w *watcher) call(n hub.Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.notify(n)
	}
}

func newRelay(s *Store) *relay {
	return &relay{store: s, topics: make(map[string]*topic), links: make(map[string]*link), lost: errors.New("not connected yet")}
}

// run keeps the links until ctx ends, and waits for them.
func (r *relay) run(ctx context.Context) {
	if r.store.publish == "SPUBLISH" {
		r.followCluster(ctx)
		return
	}
	l := newLink(r, primary{ranges: []slotRange{{0, hashSlots - 1}}})
	r.mu.Lock()
	r.links[""], r.lost = l, nil
	r.mu.Unlock()
	l.run(ctx)
}

// Watch implements hub.Store. The subscription is made by and by; once it is
// there, a notice says how far the log is, so nothing before it is missed.
func (s *Store) Watch(id string, notify func(hub.Notice)) func() {
	if _, ok := s.keys(id); !ok {
		return func() {}
	}
	return s.watch(id, notify)
}

func (s *Store) watch(id string, notify func(hub.Notice)) func() {
	w := &watcher{notify: notify}
	s.relay.add(id, w)
	return func() {
		w.mu.Lock()
		done := w.stopped
		w.stopped = true
		w.mu.Unlock()
		if !done {
			s.relay.remove(id, w)
		}
	}
}

func (r *relay) add(id string, w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[id]
	if t == nil {
		t = &topic{slot: slotOf(r.store.channel(id))}
		r.topics[id] = t
		r.changedLocked(id, t.slot)
	}
	t.watchers = append(slices.Clip(t.watchers), w)
}

func (r *relay) remove(id string, w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[id]
	if t == nil {
		return
	}
	t.watchers = slices.DeleteFunc(slices.Clone(t.watchers), func(o *watcher) bool { return o == w })
	if len(t.watchers) == 0 {
		delete(r.topics, id)
		r.changedLocked(id, t.slot)
	}
}

// changedLocked has the session's subscription put right.
func (r *relay) changedLocked(id string, slot uint16) {
	for _, l := range r.links {
		if l.owns(slot) {
			l.change(id)
		}
	}
}

// watched tells whether anybody watches the session.
func (r *relay) watched(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.topics[id] != nil
}

// watchedBy lists the sessions that a link has to be subscribed to.
func (r *relay) watchedBy(l *link) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []string
	for id, t := range r.topics {
		if l.owns(t.slot) {
			out = append(out, id)
		}
	}
	return out
}

// lookAtAll has the watchers of all sessions told how far their logs are.
func (r *relay) lookAtAll() {
	r.mu.RLock()
	links := slices.Collect(maps.Values(r.links))
	r.mu.RUnlock()
	for _, l := range links {
		l.inbox.look(r.watchedBy(l)...)
	}
}

// tell calls the session's watchers.
func (r *relay) tell(id string, n hub.Notice) {
	r.mu.RLock()
	var watchers []*watcher
	if t := r.topics[id]; t != nil {
		watchers = t.watchers
	}
	r.mu.RUnlock()
	for _, w := range watchers {
		w.call(n)
	}
}

// ready says why the store cannot be used now, or nil.
func (r *relay) ready() error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.lost != nil {
		return fmt.Errorf("valkey: %w: %w", hub.ErrUnreachable, r.lost)
	}
	for _, l := range r.links {
		if err := l.state(); err != nil {
			return fmt.Errorf("valkey: %w: %w", unavailability(err), err)
		}
	}
	return nil
}

// await gives the first connections a moment, so that who has just opened the
// store finds it available. It is no error if they take longer.
func (r *relay) await(ctx context.Context, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for r.ready() != nil {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// report tells the owner when the store began or ceased to answer.
func (r *relay) report() {
	r.told.Lock()
	defer r.told.Unlock()
	if up := r.ready() == nil; up != r.up {
		r.up = up
		r.store.opt.Up(up)
	}
}

// session is the session of a channel.
func (r *relay) session(channel string) string {
	if channel == r.store.channel(queueTopic) {
		return queueTopic
	}
	id, _ := strings.CutPrefix(channel, r.store.opt.Prefix+"{")
	return strings.TrimSuffix(id, "}")
}

// parseNotice takes what append.lua announces: "last changed epoch length
// length...", a line break, and the events' bytes behind each other.
func parseNotice(message string) (hub.Notice, error) {
	head, body, ok := strings.Cut(message, "\n")
	words := strings.Fields(head)
	if !ok || len(words) < 3 {
		return hub.Notice{}, errors.New("an announcement without its head")
	}
	last, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil {
		return hub.Notice{}, err
	}
	n := hub.Notice{Last: last, Changed: words[1] == "1", Epoch: words[2]}
	lengths := words[3:]
	if len(lengths) == 0 {
		return n, nil
	}
	bytes, at := []byte(body), 0
	n.Entries = make([]protocol.Entry, len(lengths))
	for i, text := range lengths {
		length, err := strconv.Atoi(text)
		if err != nil || length < 0 || length > len(bytes)-at {
			return hub.Notice{}, fmt.Errorf("an announcement of %d bytes with an event of %q", len(bytes), text)
		}
		e, err := entry(last-uint64(len(lengths)-1-i), bytes[at:at+length:at+length])
		if err != nil {
			return hub.Notice{}, err
		}
		n.Entries[i] = e
		at += length
	}
	return n, nil
}
