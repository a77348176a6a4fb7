package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/protocol"
)

// sessions is a store.Sessions.
type sessions struct {
	*database
	eraser    eraser
	retention store.Retention
	epoch     string // for new sessions

	mu      sync.RWMutex
	byID    map[string]*record
	created uint64 // order of the newest session
	ages    mem.Index[*record]
	users   mem.UserWatchers
	awake   map[string]int // by user: sessions that are neither closed nor asleep

	bounds Bounds
	bytes  atomic.Int64 // of all sessions: see head.size
}

// record is a session in memory: all of it except its logs, notes and parts.
type record struct {
	store *sessions
	id    string
	order uint64 // of creation

	// head is what readers see: all of it is on the disk. It is nil while the session is
	// being created, and when that has failed.
	head atomic.Pointer[head]

	mu   sync.Mutex // a writer holds it until its batch is on the disk
	gone bool       // deleted, or never created

	watchMu  sync.Mutex
	watchers []*watcher
}

type watcher struct{ notify func(store.Notice) }

// Order implements mem.Aged.
func (x *record) Order() uint64 { return x.order }

func notFound(id string) error { return fmt.Errorf("session %s: %w", id, session.ErrNotFound) }

// find returns a session with its present head.
func (s *sessions) find(id string) (*record, *head, error) {
	if err := s.down(); err != nil {
		return nil, nil, err
	}
	s.mu.RLock()
	x := s.byID[id]
	s.mu.RUnlock()
	if x == nil {
		return nil, nil, notFound(id)
	}
	h := x.head.Load()
	if h == nil { // it is being created
		x.mu.Lock()
		h = x.head.Load()
		x.mu.Unlock()
	}
	if h == nil {
		return nil, nil, notFound(id)
	}
	return x, h, nil
}

// Create implements store.Writer.
func (s *sessions) Create(_ context.Context, id string, b store.Batch, maxOpen int) (store.Appended, error) {
	if err := s.enter(); err != nil {
		return store.Appended{}, err
	}
	defer s.gate.RUnlock()
	user := b.State.Info.UserID
	x, err := s.reserve(id, user, maxOpen)
	if err != nil {
		return store.Appended{}, err
	}
	defer x.mu.Unlock()
	epochs := []store.EpochStart{{Epoch: s.epoch, First: 1}}
	batch := s.db.NewBatch()
	defer batch.Close()
	_ = batch.Set(key(kindIdentity, x.order), protocol.Marshal(identity{ID: id, Epochs: epochs}), nil)
	b.MaxOpen = maxOpen
	done, err := x.write(batch, &head{first: 1, epochs: epochs}, b)
	if err != nil {
		x.gone = true
		s.forget(x, user)
		return store.Appended{}, err
	}
	s.users.TellUser(user, store.UserNotice{Session: id})
	return done, nil
}

// reserve takes an id and a user's seat. It returns the new record with its mu held.
func (s *sessions) reserve(id, user string, maxOpen int) (*record, error) {
	for {
		s.mu.Lock()
		old := s.byID[id]
		if old == nil {
			defer s.mu.Unlock()
			if err := s.roomFor(user, maxOpen); err != nil {
				return nil, err
			}
			s.created++
			x := &record{store: s, id: id, order: s.created}
			x.mu.Lock() // no other goroutine knows it yet
			s.byID[id] = x
			s.ages.Add(user, x)
			return x, nil
		}
		s.mu.Unlock()
		if _, _, err := s.find(id); err == nil { // find waits for a creation under way
			return nil, fmt.Errorf("create session %s: %w", id, store.ErrExists)
		} else if !errors.Is(err, session.ErrNotFound) {
			return nil, err
		}
	}
}

// forget takes a user's record out of the tables.
func (s *sessions) forget(x *record, user string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, x.id)
	s.ages.Remove(user, x)
}

// Append implements store.Writer.
func (s *sessions) Append(_ context.Context, id string, b store.Batch) (store.Appended, error) {
	if err := s.enter(); err != nil {
		return store.Appended{}, err
	}
	defer s.gate.RUnlock()
	x, _, err := s.find(id)
	if err != nil {
		return store.Appended{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone {
		return store.Appended{}, notFound(id)
	}
	h := x.head.Load()
	if f := b.Fence; f != nil {
		switch {
		case !h.state.Has(f.Assignment):
			return store.Appended{}, session.ErrFenced
		case f.N <= h.n:
			return store.Appended{}, store.ErrRepeat
		case f.N != h.n+1:
			return store.Appended{}, store.ErrHole
		}
	}
	if b.State != nil && (b.Expect != h.version || b.Epoch != "" && b.Epoch != h.epochs[len(h.epochs)-1].Epoch) {
		return store.Appended{}, store.ErrConflict
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	done, err := x.write(batch, h, b)
	if err == nil && b.Listed {
		s.users.TellUser(b.State.Info.UserID, store.UserNotice{Session: id})
	}
	return done, err
}

// write stores a batch that the checks have let through on a head. It then shows the new
// head. Readers and watchers see only what is on the disk. Called with x.mu held.
func (x *record) write(batch *pebble.Batch, old *head, b store.Batch) (store.Appended, error) {
	now := time.Now()
	h := *old
	h.stamp++
	done := store.Appended{First: h.last + 1, Time: now}
	if len(b.Events) > 0 {
		h.activity = now.UnixNano()
	}
	if b.Forget {
		_ = batch.DeleteRange(key(kindData, x.order), key(kindData, x.order+1), nil)
		h.count, h.bytes, h.first, h.compact = 0, 0, h.last+1, h.last
	}
	if b.Fence != nil {
		h.n = b.Fence.Last()
	}
	if b.State != nil {
		if old.state != nil && b.State.Assignment != old.state.Assignment {
			h.n = 0
		}
		h.state = b.State
		h.version++
		_ = batch.Set(key(kindState, x.order), protocol.Marshal(b.State), nil)
	}
	fresh := make([]protocol.Entry, 0, len(b.Events))
	for _, e := range b.Events {
		h.last++
		entry := protocol.Entry{Seq: h.last, Type: e.Type}
		entry.Tail = protocol.AppendEventTail(make([]byte, 0, len(e.Data)+len(e.Type)+64), e.Type, now, e.Data)
		fresh = append(fresh, entry)
		h.count++
		h.bytes += uint64(entry.JSONLen())
		setEvent(batch, x.order, entry)
	}
	done.Last = h.last
	x.writeRest(batch, &h, b, done.First)
	if err := x.trim(batch, &h, fresh); err != nil {
		return store.Appended{}, err
	}
	h.set(batch, x.order)
	if err := x.store.wake(old.state, h.state, b.MaxOpen); err != nil {
		return store.Appended{}, fmt.Errorf("session %s: %w", x.id, err)
	}
	apply := x.store.apply
	if b.Forget {
		apply = func(batch *pebble.Batch) error { return x.store.eraser.mark(x.order, batch) }
	}
	if err := apply(batch); err != nil {
		x.store.recount(h.state, old.state) // back to the old state
		return store.Appended{}, fmt.Errorf("session %s: %w", x.id, err)
	}
	x.show(&h)
	x.tell(store.Notice{Entries: fresh, Last: h.last, Epoch: h.epochs[len(h.epochs)-1].Epoch, Changed: b.State != nil})
	return done, nil
}

// writeRest writes commands, notes and parts.
func (x *record) writeRest(batch *pebble.Batch, h *head, b store.Batch, first uint64) {
	for _, n := range b.Notes {
		_ = batch.Set(named(x.order, dataNote, n.Key), encodeNote(h.stamp, first+uint64(n.Event), n.Value), nil)
	}
	for _, c := range b.Commands {
		_ = batch.Set(numbered(x.order, dataCommand, c.Seq), encodeCommand(h.stamp, c), nil)
	}
	for _, seq := range b.Drop {
		_ = batch.Delete(numbered(x.order, dataCommand, seq), nil)
	}
	for _, p := range b.Parts {
		_ = batch.Set(named(x.order, dataPart, p.Key), p.Data, nil)
	}
	for _, key := range b.Dropped {
		_ = batch.Delete(named(x.order, dataPart, key), nil)
	}
}

// tell calls the watchers. Called with x.mu held, so that notices come in order.
func (x *record) tell(n store.Notice) {
	x.watchMu.Lock()
	defer x.watchMu.Unlock()
	for _, w := range x.watchers {
		w.notify(n)
	}
}

// Watch implements store.Reader.
func (s *sessions) Watch(id string, notify func(store.Notice)) func() {
	x, _, err := s.find(id)
	if err != nil {
		return func() {}
	}
	w := &watcher{notify: notify}
	x.watchMu.Lock()
	x.watchers = append(x.watchers, w)
	x.watchMu.Unlock()
	return func() {
		x.watchMu.Lock()
		x.watchers = slices.DeleteFunc(slices.Clone(x.watchers), func(o *watcher) bool { return o == w })
		x.watchMu.Unlock()
	}
}

// WatchUser implements store.UserWatcher.
func (s *sessions) WatchUser(user string, notify func(store.UserNotice)) func() {
	return s.users.WatchUser(user, notify)
}

// Delete implements store.Writer.
func (s *sessions) Delete(_ context.Context, id string) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.gate.RUnlock()
	x, _, err := s.find(id)
	if errors.Is(err, session.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone {
		return nil
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, kind := range []byte{kindIdentity, kindHead, kindState} {
		_ = batch.Delete(key(kind, x.order), nil)
	}
	_ = batch.DeleteRange(key(kindData, x.order), key(kindData, x.order+1), nil)
	if err := s.eraser.mark(x.order, batch); err != nil {
		return fmt.Errorf("delete session %s: %w", id, err)
	}
	x.gone = true
	h := x.head.Load()
	s.bytes.Add(-h.size())
	s.recount(h.state, nil)
	s.forget(x, h.state.Info.UserID)
	s.users.TellUser(h.state.Info.UserID, store.UserNotice{Session: id})
	return nil
}
