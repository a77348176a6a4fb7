package mem

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// sessions is a store.Sessions. Lock order: sessions.mu before record.mu before openMu. The
// watchers are called under record.mu, so that notices come in order. Those of users are too.
type sessions struct {
	retention store.Retention
	epochs    []store.EpochStart // one epoch for the store's life: no session outlives the store

	UserWatchers

	mu      sync.RWMutex
	byID    map[string]*record
	created uint64
	ages    Index[*record]

	openMu sync.Mutex
	open   map[string]int // sessions that are not closed, by user
}

// Create implements store.Writer.
func (s *sessions) Create(_ context.Context, id string, b store.Batch, maxOpen int) (store.Appended, error) {
	user := b.State.Info.UserID
	x, err := s.add(id, user, maxOpen)
	if err != nil {
		return store.Appended{}, err
	}
	defer x.mu.Unlock()
	done := x.append(b, s.retention)
	s.TellUser(user, store.UserNotice{Session: id})
	return done, nil
}

// add makes an empty session. It returns with the session's mutex held, so that nobody sees
// the session before its first change.
func (s *sessions) add(id, user string, maxOpen int) (*record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[id]; ok {
		return nil, fmt.Errorf("create session %s: %w", id, store.ErrExists)
	}
	if !s.countOpen(user, 1, maxOpen) {
		return nil, fmt.Errorf("%w: the user has %d, which is the most", store.ErrSessionLimit, maxOpen)
	}
	s.created++
	x := &record{order: s.created}
	x.mu.Lock()
	s.byID[id] = x
	s.ages.Add(user, x)
	return x, nil
}

// countOpen adds to a user's open sessions. It reports false, and adds nothing, if the user
// would have more than most (0: no limit).
func (s *sessions) countOpen(user string, add, most int) bool {
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

func (s *sessions) find(id string) (*record, error) {
	s.mu.RLock()
	x, ok := s.byID[id]
	s.mu.RUnlock()
	if !ok {
		return nil, notFound(id)
	}
	return x, nil
}

// Load implements store.Reader.
func (s *sessions) Load(_ context.Context, id string) (store.Snapshot, error) {
	x, err := s.find(id)
	if err != nil {
		return store.Snapshot{}, err
	}
	snap, ok := x.snapshot(s.epochs)
	if !ok {
		return store.Snapshot{}, notFound(id)
	}
	return snap, nil
}

// Confirm implements store.Reader. There is no other server.
func (s *sessions) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	return s.Load(ctx, id)
}

// Append implements store.Writer.
func (s *sessions) Append(_ context.Context, id string, b store.Batch) (store.Appended, error) {
	x, err := s.find(id)
	if err != nil {
		return store.Appended{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.deleted {
		return store.Appended{}, notFound(id)
	}
	if f := b.Fence; f != nil {
		switch {
		case !x.state.Has(f.Assignment):
			return store.Appended{}, session.ErrFenced
		case f.N <= x.n:
			return store.Appended{}, store.ErrRepeat
		case f.N != x.n+1:
			return store.Appended{}, store.ErrHole
		}
	}
	if b.State != nil && (b.Expect != x.version || b.Epoch != "" && b.Epoch != s.epochs[len(s.epochs)-1].Epoch) {
		return store.Appended{}, store.ErrConflict
	}
	if b.State != nil && b.State.Closed != "" && x.state.Closed == "" {
		s.countOpen(x.state.Info.UserID, -1, 0)
	}
	done := x.append(b, s.retention)
	if b.Listed {
		s.TellUser(x.state.Info.UserID, store.UserNotice{Session: id})
	}
	return done, nil
}

// Read implements store.Reader.
func (s *sessions) Read(_ context.Context, id string, after uint64, maxEvents, maxBytes int) (store.Page, error) {
	x, err := s.find(id)
	if err != nil {
		return store.Page{}, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.behind(after)
	end, bytes := i, 0
	for end < len(x.entries) && end-i < maxEvents {
		if bytes += x.entries[end].JSONLen(); bytes > maxBytes && end > i {
			break
		}
		end++
	}
	// Copied, since trim clears what it drops.
	return store.Page{Entries: slices.Clone(x.entries[i:end]), First: x.first(), Last: x.last, Epoch: s.epochs[0].Epoch}, nil
}

// Commands implements store.CommandLog.
func (s *sessions) Commands(_ context.Context, id string, after uint64) ([]session.Command, error) {
	x, err := s.find(id)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []session.Command
	for _, c := range x.commands {
		if c.Seq > after {
			out = append(out, c)
		}
	}
	return out, nil
}

// Note implements store.Notes.
func (s *sessions) Note(_ context.Context, id, key string) (string, uint64, bool, error) {
	x, err := s.find(id)
	if err != nil {
		return "", 0, false, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.notes[key]
	return n.value, n.seq, ok, nil
}

// LoadNote implements store.Notes. A note is never taken away: a note that was there when
// the snapshot was read is still there when the note is read. If a change came between the
// two reads, the store refuses the change that is decided on this snapshot.
func (s *sessions) LoadNote(ctx context.Context, id, key string) (store.Snapshot, store.Noted, error) {
	snap, err := s.Load(ctx, id)
	if err != nil {
		return store.Snapshot{}, store.Noted{}, err
	}
	var n store.Noted
	n.Value, n.Seq, n.OK, err = s.Note(ctx, id, key)
	return snap, n, err
}

// Part implements store.Parts.
func (s *sessions) Part(_ context.Context, id, key string) ([]byte, bool, error) {
	x, err := s.find(id)
	if err != nil {
		return nil, false, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	part, ok := x.parts[key]
	return part, ok, nil
}

// Watch implements store.Reader.
func (s *sessions) Watch(id string, notify func(store.Notice)) func() {
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

// List implements store.Lister.
func (s *sessions) List(_ context.Context, q store.ListQuery) ([]store.Snapshot, string, error) {
	return s.ages.List(q, s.snapshot)
}

func (s *sessions) snapshot(x *record) (store.Snapshot, bool) { return x.snapshot(s.epochs) }

// Delete implements store.Writer.
func (s *sessions) Delete(_ context.Context, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.byID[id]
	if !ok {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	user := x.state.Info.UserID
	if x.state.Closed == "" {
		s.countOpen(user, -1, 0)
	}
	x.deleted = true
	delete(s.byID, id)
	s.ages.Remove(user, x)
	s.TellUser(user, store.UserNotice{Session: id})
	return nil
}

func notFound(id string) error { return fmt.Errorf("session %s: %w", id, session.ErrNotFound) }
