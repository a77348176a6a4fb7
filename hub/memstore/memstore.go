// Package memstore keeps sessions in this process's memory: the store of a hub
// that runs alone. What it holds is gone when the process ends.
package memstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// Retention bounds a session's event log. The older end is dropped; the last
// event always stays.
type Retention struct {
	MaxEvents int   // events
	MaxBytes  int64 // of the events' JSON
}

// Store is a hub.Store in memory. Lock order: Store.mu before session.mu; the
// watchers are called under session.mu, so that notices come in order.
type Store struct {
	retention Retention
	epochs    []hub.EpochStart // one for the store's life: nothing outlives it

	mu       sync.RWMutex
	sessions map[string]*session
	created  uint64
	byAge    []*session // oldest first

	openMu sync.Mutex     // after a session's mu
	open   map[string]int // sessions that are not closed, by user

	buckets buckets
	due     dueIndex
	queue   workQueue
	workers registry
	slots   slots
}

// session is one of very many that rest: it is kept small.
type session struct {
	order uint64 // of creation

	mu       sync.Mutex
	state    *hub.State
	version  uint64
	n        uint64 // last event of the present assignment
	entries  []protocol.Entry
	bytes    int64
	last     uint64
	activity int64 // unix nanoseconds of the last event
	commands []hub.Command
	notes    map[string]note
	watchers []*watcher
	deleted  bool
}

type note struct {
	value string
	seq   uint64
}

type watcher struct{ notify func(hub.Notice) }

// New returns an empty store.
func New(r Retention) *Store {
	// 60 random bits: two stores that a client meets differ.
	epoch := strings.ToLower(rand.Text()[:12])
	return &Store{
		retention: r, epochs: []hub.EpochStart{{Epoch: epoch, First: 1}},
		sessions: make(map[string]*session), open: make(map[string]int),
	}
}

var _ hub.Store = (*Store)(nil)

// Available implements hub.Store: it always is.
func (s *Store) Available() error { return nil }

// Shared implements hub.Store: it is this process's own.
func (s *Store) Shared() bool { return false }

// Census implements hub.Store.
func (s *Store) Census(context.Context) (hub.Census, bool, error) {
	c := hub.Census{Sessions: make(map[protocol.Status]int), Queue: s.queue.depths()}
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, x := range s.byAge {
		x.mu.Lock()
		if x.state.Closed != protocol.ClosedDeleted {
			c.Sessions[x.state.Status.Status]++
			c.ApprovalsPending += len(x.state.Approvals)
		}
		x.mu.Unlock()
	}
	return c, true, nil
}

// Create implements hub.Store.
func (s *Store) Create(_ context.Context, id string, b hub.Batch, maxOpen int) (hub.Appended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.sessions[id]; ok {
		return hub.Appended{}, fmt.Errorf("create session %s: %w", id, hub.ErrExists)
	}
	user := b.State.Info.UserID
	if !s.countOpen(user, 1, maxOpen) {
		return hub.Appended{}, fmt.Errorf("%w: the user has %d, which is the most", hub.ErrSessionLimit, maxOpen)
	}
	s.created++
	x := &session{order: s.created}
	s.sessions[id] = x
	s.byAge = append(s.byAge, x)
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.append(b, s.retention), nil
}

// countOpen adds to a user's open sessions, unless that would be more than most
// (0: no limit).
func (s *Store) countOpen(user string, add, most int) bool {
	s.openMu.Lock()
	defer s.openMu.Unlock()
	n := s.open[user] + add
	if add > 0 && most > 0 && n > most {
		return false
	}
	if n == 0 {
		delete(s.open, user)
	} else {
		s.open[user] = n
	}
	return true
}

func (s *Store) find(id string) (*session, error) {
	s.mu.RLock()
	x, ok := s.sessions[id]
	s.mu.RUnlock()
	if !ok {
		return nil, fmt.Errorf("session %s: %w", id, hub.ErrNotFound)
	}
	return x, nil
}

// Load implements hub.Store.
func (s *Store) Load(_ context.Context, id string) (hub.Snapshot, error) {
	x, err := s.find(id)
	if err != nil {
		return hub.Snapshot{}, err
	}
	return s.snapshot(x), nil
}

// Confirm implements hub.Store. There is no other server.
func (s *Store) Confirm(ctx context.Context, id string) (hub.Snapshot, error) { return s.Load(ctx, id) }

func (s *Store) snapshot(x *session) hub.Snapshot {
	x.mu.Lock()
	defer x.mu.Unlock()
	return hub.Snapshot{
		State: x.state, Version: x.version, Epochs: s.epochs,
		First: x.first(), Last: x.last, LastActivity: time.Unix(0, x.activity), N: x.n,
	}
}

// Append implements hub.Store.
func (s *Store) Append(_ context.Context, id string, b hub.Batch) (hub.Appended, error) {
	x, err := s.find(id)
	if err != nil {
		return hub.Appended{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.deleted {
		return hub.Appended{}, fmt.Errorf("session %s: %w", id, hub.ErrNotFound)
	}
	if f := b.Fence; f != nil {
		switch {
		case !x.state.Has(f.Assignment):
			return hub.Appended{}, hub.ErrFenced
		case f.N <= x.n:
			return hub.Appended{}, hub.ErrRepeat
		case f.N != x.n+1:
			return hub.Appended{}, hub.ErrHole
		}
	}
	if b.State != nil && (b.Expect != x.version || b.Epoch != "" && b.Epoch != s.epochs[len(s.epochs)-1].Epoch) {
		return hub.Appended{}, hub.ErrConflict
	}
	if b.State != nil && b.State.Closed != "" && x.state.Closed == "" {
		s.countOpen(x.state.Info.UserID, -1, 0)
	}
	return x.append(b, s.retention), nil
}

// append stores a batch that was let through. Called with x.mu held.
func (x *session) append(b hub.Batch, r Retention) hub.Appended {
	now := time.Now()
	done := hub.Appended{First: x.last + 1, Time: now}
	if len(b.Events) > 0 {
		x.activity = now.UnixNano()
	}
	if b.Forget {
		x.entries, x.bytes, x.commands, x.notes = nil, 0, nil, nil
	}
	if b.Fence != nil {
		x.n = b.Fence.Last()
	}
	if b.State != nil {
		if x.state != nil && b.State.Assignment != x.state.Assignment {
			x.n = 0
		}
		x.state = b.State
		x.version++
	}
	added := len(x.entries)
	for _, e := range b.Events {
		x.last++
		entry := protocol.Entry{Seq: x.last, Type: e.Type}
		entry.Tail = protocol.AppendEventTail(make([]byte, 0, len(e.Data)+len(e.Type)+64), e.Type, now, e.Data)
		x.entries = append(x.entries, entry)
		x.bytes += int64(entry.JSONLen())
	}
	done.Last = x.last
	fresh := slices.Clip(x.entries[added:])

	for _, n := range b.Notes {
		if x.notes == nil {
			x.notes = make(map[string]note)
		}
		x.notes[n.Key] = note{value: n.Value, seq: done.First + uint64(n.Event)}
	}
	x.commands = append(x.commands, b.Commands...)
	if len(b.Drop) > 0 {
		x.commands = slices.DeleteFunc(x.commands, func(c hub.Command) bool { return slices.Contains(b.Drop, c.Seq) })
	}
	notice := hub.Notice{Entries: fresh, Last: x.last, Changed: b.State != nil}
	for _, w := range x.watchers {
		w.notify(notice)
	}
	x.trim(r) // last: the watchers were shown its slice
	return done
}

// trim drops the older end. The slice moves on and is copied when append grows
// it, so what is dropped does not stay in memory.
func (x *session) trim(r Retention) {
	drop := 0
	for len(x.entries)-drop > 1 && (len(x.entries)-drop > r.MaxEvents || x.bytes > r.MaxBytes) {
		x.bytes -= int64(x.entries[drop].JSONLen())
		x.entries[drop].Tail = nil
		drop++
	}
	x.entries = x.entries[drop:]
}

// first is the first seq that is kept. Called with x.mu held.
func (x *session) first() uint64 {
	if len(x.entries) == 0 {
		return x.last + 1
	}
	return x.entries[0].First()
}

// Read implements hub.Store.
func (s *Store) Read(_ context.Context, id string, after uint64, maxEvents, maxBytes int) (hub.Page, error) {
	x, err := s.find(id)
	if err != nil {
		return hub.Page{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	i, _ := slices.BinarySearchFunc(x.entries, after, func(e protocol.Entry, seq uint64) int {
		if e.Seq <= seq {
			return -1
		}
		return 1
	})
	end, bytes := i, 0
	for end < len(x.entries) && end-i < maxEvents {
		if bytes += x.entries[end].JSONLen(); bytes > maxBytes && end > i {
			break
		}
		end++
	}
	// Copied, since trim clears what it drops.
	return hub.Page{Entries: slices.Clone(x.entries[i:end]), First: x.first(), Last: x.last, Epoch: s.epochs[0].Epoch}, nil
}

// Commands implements hub.Store.
func (s *Store) Commands(_ context.Context, id string, after uint64) ([]hub.Command, error) {
	x, err := s.find(id)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []hub.Command
	for _, c := range x.commands {
		if c.Seq > after {
			out = append(out, c)
		}
	}
	return out, nil
}

// Note implements hub.Store.
func (s *Store) Note(_ context.Context, id, key string) (string, uint64, bool, error) {
	x, err := s.find(id)
	if err != nil {
		return "", 0, false, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.notes[key]
	return n.value, n.seq, ok, nil
}

// Watch implements hub.Store.
func (s *Store) Watch(id string, notify func(hub.Notice)) func() {
	x, err := s.find(id)
	if err != nil {
		return func() {}
	}
	w := &watcher{notify: notify}
	x.mu.Lock()
	x.watchers = append(x.watchers, w)
	x.mu.Unlock()
	return func() {
		x.mu.Lock()
		x.watchers = slices.DeleteFunc(slices.Clone(x.watchers), func(o *watcher) bool { return o == w })
		x.mu.Unlock()
	}
}

// List implements hub.Store.
func (s *Store) List(_ context.Context, q hub.ListQuery) ([]hub.Snapshot, string, error) {
	before := ^uint64(0)
	if q.After != "" {
		n, err := strconv.ParseUint(q.After, 36, 64)
		if err != nil {
			return nil, "", fmt.Errorf("%w: cursor %q is not one of a listing", hub.ErrInvalid, q.After)
		}
		before = n
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []hub.Snapshot
	for _, x := range slices.Backward(s.byAge) {
		if x.order >= before {
			continue
		}
		snap := s.snapshot(x)
		if snap.State.Closed == protocol.ClosedDeleted || (q.User != "" && snap.State.Info.UserID != q.User) || (q.Status != "" && snap.State.Status.Status != q.Status) {
			continue
		}
		if len(out) == q.Limit {
			return out, strconv.FormatUint(before, 36), nil
		}
		out = append(out, snap)
		before = x.order
	}
	return out, "", nil
}

// Delete implements hub.Store.
func (s *Store) Delete(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.sessions[id]
	if !ok {
		return nil
	}
	delete(s.sessions, id)
	s.byAge = slices.DeleteFunc(s.byAge, func(o *session) bool { return o == x })
	x.mu.Lock()
	if x.state.Closed == "" {
		s.countOpen(x.state.Info.UserID, -1, 0)
	}
	x.deleted = true
	x.mu.Unlock()
	return nil
}
