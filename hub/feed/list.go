package feed

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// list is a user's list of sessions, as far as this node knows it. Its goroutine reads the
// store: run. The readers' goroutines read the entries.
type list struct {
	feeds   *Feeds
	user    string
	notices *notices
	stop    func()

	// Of run alone.
	begun   time.Time       // when the last listing began
	cursor  string          // where the next page of the listing begins, while there is one
	listing bool            // a listing goes on
	unseen  map[string]bool // entries from before the listing that it has not had

	mu      sync.Mutex
	whole   bool // the first listing is over
	version uint64
	entries map[string]*entry
	order   []place // by version; an entry's older places count no more
	gone    int     // entries that are gone
	cut     uint64  // up to here entries that are gone were forgotten
	readers map[*Reader]struct{}
}

// place is an entry's place in the order of changes.
type place struct {
	version uint64
	entry   *entry
}

// entry is a session in its newest form. The versions say when something was last so; they
// are the list's.
type entry struct {
	id      string
	gone    bool
	version uint64
	created uint64 // it was made, while the list was followed
	asked   uint64 // a question came
	ended   uint64 // a turn ended, or the session
	pending int
	resting bool
	view    json.RawMessage

	stored    stored
	status    protocol.Status
	finished  uint64
	questions []string
}

// stored says which form of a session was read. Equal ones have the same entry.
type stored struct {
	version uint64
	epoch   string
	created time.Time
}

func storedOf(s store.Snapshot) stored {
	return stored{s.Version, s.Epoch(), s.State.Info.CreatedAt}
}

// run follows the store until ctx ends.
func (l *list) run(ctx context.Context) {
	l.listing, l.begun = false, time.Time{}
	l.notices.loseAll() // the first listing, or behind a panic
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := l.round(ctx)
		if wait == 0 {
			select {
			case <-ctx.Done():
			case <-l.notices.wake:
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-l.notices.wake:
		case <-timer.C:
		}
	}
}

// round reads one page of each kind that is due. wait is how long the next round may take
// to begin if no notice comes; 0: for ever.
func (l *list) round(ctx context.Context) (wait time.Duration) {
	ids, wait := l.notices.due(time.Now(), loadPage)
	if len(ids) > 0 {
		wait = 1
		if err := l.refresh(ctx, ids); err != nil {
			return l.pause(ctx, err)
		}
	}
	if !l.listing && l.notices.isLost() {
		if left := relistTime - time.Since(l.begun); left > 0 {
			return sooner(wait, left)
		}
		l.notices.found()
		l.begin()
	}
	if !l.listing {
		return wait
	}
	if err := l.page(ctx); err != nil {
		return l.pause(ctx, err)
	}
	return 1
}

// sooner is the lesser of two waits, of which 0 is for ever.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b < a {
		return b
	}
	return a
}

// pause waits before a call is repeated that failed. It returns at once when ctx ends.
func (l *list) pause(ctx context.Context, err error) time.Duration {
	if ctx.Err() == nil {
		l.feeds.Log.Debug("feed: read the store", "user", l.user, "error", err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(engine.StoreRetry):
	}
	return 1
}

// begin has everything read again.
func (l *list) begin() {
	l.listing, l.cursor, l.begun = true, "", time.Now()
	l.unseen = make(map[string]bool)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, e := range l.entries {
		if !e.gone {
			l.unseen[id] = true
		}
	}
}

// page reads one page of a listing. At its end, the sessions that it did not have are read
// one by one: a listing says nothing about them.
func (l *list) page(ctx context.Context) error {
	var snaps []store.Snapshot
	var next string
	err := l.feeds.call(ctx, func(ctx context.Context) (err error) {
		snaps, next, err = l.feeds.store.List(ctx, store.ListQuery{User: l.user, Limit: listPage, After: l.cursor})
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range snaps {
		delete(l.unseen, s.State.Info.SessionID)
	}
	if err := l.show(ctx, snaps, nil); err != nil {
		return err
	}
	if l.cursor = next; next != "" {
		return nil
	}
	l.listing = false
	l.notices.name(slices.Collect(maps.Keys(l.unseen))...)
	l.unseen = nil
	l.change(func() { l.whole = true })
	return nil
}

// refresh reads some sessions. Those that cannot be read are named again. The error is that
// of a store that answers nothing.
func (l *list) refresh(ctx context.Context, ids []string) error {
	read, errs := make([]store.Snapshot, len(ids)), make([]error, len(ids))
	var wg sync.WaitGroup
	for i, id := range ids {
		wg.Go(func() {
			errs[i] = l.feeds.Guard("a read for a feed", func() error {
				return l.feeds.call(ctx, func(ctx context.Context) (err error) {
					read[i], err = store.Visible(l.feeds.store.Load(ctx, id))
					return err
				})
			}, "session", id)
		})
	}
	wg.Wait()
	var snaps []store.Snapshot
	var gone, again []string
	var failed error
	for i, err := range errs {
		switch {
		case errors.Is(err, session.ErrNotFound):
			gone = append(gone, ids[i])
		case errors.Is(err, engine.ErrPanic): // the log has it; its next notice tries again
		case err != nil:
			again, failed = append(again, ids[i]), err
		case read[i].State.Info.UserID == l.user: // a notice is a hint
			snaps = append(snaps, read[i])
		}
	}
	l.feeds.Metrics.FeedRefreshes.Add(float64(len(ids)))
	l.notices.name(again...)
	if len(again) == len(ids) {
		return failed
	}
	if err := l.show(ctx, snaps, gone); err != nil {
		l.notices.name(ids...)
		return err
	}
	return nil
}

// show makes entries of what was read, and wakes the readers.
func (l *list) show(ctx context.Context, snaps []store.Snapshot, gone []string) error {
	snaps = slices.DeleteFunc(snaps, l.knows)
	if len(snaps)+len(gone) == 0 {
		return nil
	}
	views := make([]protocol.Session, 0, len(snaps))
	if len(snaps) > 0 {
		err := l.feeds.call(ctx, func(ctx context.Context) (err error) {
			views, err = l.feeds.views(ctx, snaps)
			return err
		})
		if err != nil {
			return err
		}
	}
	texts := make([]json.RawMessage, len(views))
	for i, v := range views {
		texts[i] = slices.Clip(protocol.Marshal(v))
	}
	l.change(func() {
		for i, s := range snaps {
			l.putLocked(s, texts[i])
		}
		for _, id := range gone {
			l.dropLocked(id)
		}
		l.tidyLocked()
	})
	return nil
}

// knows reports whether an entry shows what was read.
func (l *list) knows(s store.Snapshot) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[s.State.Info.SessionID]
	return e != nil && !e.gone && e.stored == storedOf(s)
}

// change changes the list, and wakes the readers that wait. No lock is held when they are
// called.
func (l *list) change(f func()) {
	l.mu.Lock()
	f()
	var waiting []*Reader
	for r := range l.readers {
		if r.idle {
			r.idle = false
			waiting = append(waiting, r)
		}
	}
	l.mu.Unlock()
	for _, r := range waiting {
		r.wake()
	}
}

// putLocked shows a session as it was read.
func (l *list) putLocked(s store.Snapshot, view json.RawMessage) {
	id := s.State.Info.SessionID
	e := l.entries[id]
	fresh := e == nil || e.gone
	if fresh {
		if e == nil {
			e = new(entry)
			l.entries[id] = e
		} else {
			l.gone--
		}
		*e = entry{id: id}
	}
	l.moveLocked(e)
	questions := questionsOf(s.State)
	if fresh && l.whole {
		e.created = e.version
	}
	if slices.ContainsFunc(questions, func(q string) bool { return !slices.Contains(e.questions, q) }) {
		e.asked = e.version
	}
	status := s.State.Status.Status
	resting := status == protocol.StatusIdle || status == protocol.StatusEnded || status == protocol.StatusFailed
	if !fresh && (s.State.Finished > e.finished || resting && working(e.status)) {
		e.ended = e.version
	}
	e.questions, e.pending = questions, len(s.State.Approvals)+len(s.State.Elicitations)
	e.resting, e.status, e.finished = resting, status, s.State.Finished
	e.stored, e.view = storedOf(s), view
}

func working(s protocol.Status) bool {
	return s == protocol.StatusStarting || s == protocol.StatusRunning || s == protocol.StatusRequiresAction
}

func questionsOf(s *session.State) []string {
	if s.Questions() == 0 {
		return nil
	}
	ids := make([]string, 0, len(s.Approvals)+len(s.Elicitations))
	for _, a := range s.Approvals {
		ids = append(ids, a.Data.InteractionID)
	}
	for _, q := range s.Elicitations {
		ids = append(ids, q.Data.InteractionID)
	}
	return ids
}

// dropLocked notes that a session is gone.
func (l *list) dropLocked(id string) {
	e := l.entries[id]
	if e == nil || e.gone {
		return
	}
	*e = entry{id: id, gone: true, version: e.version}
	l.moveLocked(e)
	l.gone++
}

// moveLocked puts an entry at the end of the order.
func (l *list) moveLocked(e *entry) {
	l.version++
	e.version = l.version
	l.order = append(l.order, place{l.version, e})
}

// mostGone is how many gone sessions are kept for slow readers, beside half of those in the
// list. A reader that needs more gets a new snapshot. A reader that is still at its first one
// gets them all: if it takes nothing, its connection ends within the write timeout.
const mostGone = 1000

// tidyLocked bounds the memory: it forgets gone sessions that every reader knows of, or that
// are too many, and places that count no more.
func (l *list) tidyLocked() {
	most := mostGone + (len(l.entries)-l.gone)/2
	over := 0
	if l.gone > most {
		over = l.gone - most/2 // far below, since this costs a look at each place
	}
	if over == 0 && len(l.order) <= 2*len(l.entries)+64 {
		return
	}
	known, needed := l.version, l.version
	for r := range l.readers {
		if r.told {
			known = min(known, r.cursor)
			continue
		}
		at := max(r.cursor, r.begun)
		known, needed = min(known, at), min(needed, at) // it can begin anew only behind its snapshot
	}
	l.order = slices.Clip(slices.DeleteFunc(l.order, func(p place) bool {
		e := p.entry
		if e.version != p.version {
			return true
		}
		if !e.gone || e.version > known && (over <= 0 || e.version > needed) {
			return false
		}
		if e.version > known {
			l.cut = e.version
		}
		over--
		l.gone--
		delete(l.entries, e.id)
		return true
	}))
}
