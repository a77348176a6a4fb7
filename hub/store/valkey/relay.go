package valkey

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

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// relay brings appends of any node to this node's watchers. It has one link to each
// primary, which is subscribed to the channels of the watched sessions there. A node
// receives nothing about a session that nobody watches on it.
//
// Lock order: relay.mu, then link.mu. Neither is held when a watcher is called.
type relay struct {
	*calls

	mu     sync.RWMutex
	topics map[string]*topic // by session; and those of the queue and the boxes
	links  map[string]*link  // by the primary's id; one, without an id, if there is no cluster
	lost   error             // why the primaries are not known; nil once they are
	up     bool              // what Options.Up was told last

	told sync.Mutex // held for a call of Options.Up
}

// topic is a session that is watched. The slice watchers is replaced, never changed.
type topic struct {
	hashSlot   uint16
	everywhere bool // it is watched at each primary: see userTopic
	watchers   []*watcher
}

// at reports whether the topic is watched over a link.
func (t *topic) at(l *link) bool { return t.everywhere || l.owns(t.hashSlot) }

// watcher is one call of Watch. Its mutex is the session lock of the hub's lock order: it
// is held while notify runs.
type watcher struct {
	mu      sync.Mutex
	notify  func(store.Notice)
	stopped bool
}

func (w *watcher) call(n store.Notice) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.notify(n)
	}
}

func newRelay(c *calls) *relay {
	return &relay{calls: c, topics: make(map[string]*topic), links: make(map[string]*link), lost: errors.New("not connected yet")}
}

// run keeps the links until ctx ends, and then waits for them.
func (r *relay) run(ctx context.Context) {
	if r.publish == "SPUBLISH" {
		r.followCluster(ctx)
		return
	}
	l := newLink(r, primary{ranges: []hashSlotRange{{0, hashSlots - 1}}})
	r.mu.Lock()
	r.links[""], r.lost = l, nil
	r.mu.Unlock()
	l.run(ctx)
}

// Watch implements store.Reader. It returns before the subscription is made. Once it is
// made, a notice tells where the log ends, so the watcher misses nothing before it.
func (r *relay) Watch(id string, notify func(store.Notice)) func() {
	if _, ok := r.keys(id); !ok {
		return func() {}
	}
	return r.watch(id, notify)
}

func (r *relay) watch(id string, notify func(store.Notice)) func() {
	w := &watcher{notify: notify}
	r.add(id, w)
	return func() {
		w.mu.Lock()
		done := w.stopped
		w.stopped = true
		w.mu.Unlock()
		if !done {
			r.remove(id, w)
		}
	}
}

func (r *relay) add(id string, w *watcher) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[id]
	if t == nil {
		t = &topic{hashSlot: hashSlotOf(r.channel(id)), everywhere: isUser(id)}
		r.topics[id] = t
		r.changedLocked(id, t)
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
		r.changedLocked(id, t)
	}
}

// changedLocked has the links correct the subscription of a topic.
func (r *relay) changedLocked(id string, t *topic) {
	for _, l := range r.links {
		if t.at(l) {
			l.change(id)
		}
	}
}

// watched reports whether anybody watches the session.
func (r *relay) watched(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.topics[id] != nil
}

// watchedBy lists the sessions that a link must be subscribed to.
func (r *relay) watchedBy(l *link) []string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var out []string
	for id, t := range r.topics {
		if t.at(l) {
			out = append(out, id)
		}
	}
	return out
}

// markAllBehind marks all watched sessions: their watchers will be told where the logs end.
func (r *relay) markAllBehind() {
	r.mu.RLock()
	links := slices.Collect(maps.Values(r.links))
	r.mu.RUnlock()
	for _, l := range links {
		l.inbox.markBehind(r.watchedBy(l)...)
	}
}

// tell calls the session's watchers.
func (r *relay) tell(id string, n store.Notice) {
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

// ready returns an error if any part of the store cannot be used now.
func (r *relay) ready() error { return r.readyOf(func(*link) bool { return true }) }

// readyFor returns an error if the data of a hash slot cannot be used now.
func (r *relay) readyFor(hashSlot uint16) error {
	return r.readyOf(func(l *link) bool { return l.owns(hashSlot) })
}

// someReady returns an error if no part of the store can be used now.
func (r *relay) someReady() error {
	r.mu.RLock()
	links := slices.Collect(maps.Values(r.links))
	r.mu.RUnlock()
	if slices.ContainsFunc(links, func(l *link) bool { return l.state() == nil }) {
		return nil
	}
	return r.ready()
}

func (r *relay) readyOf(needed func(*link) bool) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.lost != nil {
		return fmt.Errorf("valkey: %w: %w", store.ErrUnreachable, r.lost)
	}
	for _, l := range r.links {
		if !needed(l) {
			continue
		}
		if err := l.state(); err != nil {
			return fmt.Errorf("valkey: %w: %w", unavailability(err), err)
		}
	}
	return nil
}

// await gives the first connections a moment, so that the caller of Open finds the store
// available. It is no error if they take longer.
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

// report tells the owner when the store begins or ceases to answer.
func (r *relay) report() {
	r.told.Lock()
	defer r.told.Unlock()
	if up := r.ready() == nil; up != r.up {
		r.up = up
		r.opt.Up(up)
	}
}

// Available implements store.Availability. It asks no server: the heartbeats over the
// connection to each primary notice a fault within 2 s. A session needs the primary of its
// hash slot. With an empty id, one primary that answers is enough.
func (r *relay) Available(id string) error {
	if _, ok := r.keys(id); !ok {
		return r.someReady()
	}
	return r.readyFor(hashSlotOf(r.channel(id)))
}

// session returns the session of a channel, or the topic.
func (r *relay) session(channel string) string {
	if channel == r.channel(queueTopic) {
		return queueTopic
	}
	if user, ok := strings.CutPrefix(channel, r.userChannel("")); ok {
		return userTopic + user
	}
	if box, ok := strings.CutPrefix(channel, r.opt.Prefix+"box{"); ok {
		return boxTopic + strings.TrimSuffix(box, "}")
	}
	id, _ := strings.CutPrefix(channel, r.opt.Prefix+"{")
	return strings.TrimSuffix(id, "}")
}

// parseNotice reads what append.lua announces: "last changed epoch length length...", a
// line break, and the bytes of the events one after the other.
func parseNotice(message string) (store.Notice, error) {
	head, body, ok := strings.Cut(message, "\n")
	words := strings.Fields(head)
	if !ok || len(words) < 3 {
		return store.Notice{}, errors.New("an announcement without its head")
	}
	last, err := strconv.ParseUint(words[0], 10, 64)
	if err != nil {
		return store.Notice{}, err
	}
	n := store.Notice{Last: last, Changed: words[1] == "1", Epoch: words[2]}
	lengths := words[3:]
	if len(lengths) == 0 {
		return n, nil
	}
	bytes, at := []byte(body), 0
	n.Entries = make([]protocol.Entry, len(lengths))
	for i, text := range lengths {
		length, err := strconv.Atoi(text)
		if err != nil || length < 0 || length > len(bytes)-at {
			return store.Notice{}, fmt.Errorf("an announcement of %d bytes with an event of %q", len(bytes), text)
		}
		e, err := entry(last-uint64(len(lengths)-1-i), bytes[at:at+length:at+length])
		if err != nil {
			return store.Notice{}, err
		}
		n.Entries[i] = e
		at += length
	}
	return n, nil
}
