package hub_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
)

// fickle is a store with two servers: one for the sessions, which goes away at moments
// that a test names, and one for all else.
type fickle struct {
	*mem.Store
	away    atomic.Bool                              // what has the sessions
	goes    atomic.Pointer[func(store.Batch) moment] // whether it goes away with an append
	hidden  atomic.Int64                             // so often it is said to be away, and is not
	forgets atomic.Bool                              // the events of workers
}

// moment is what becomes of an append.
type moment int

const (
	isMade    moment = iota
	isUnasked        // the server is away, and does not make it
	isUnheard        // it is made, and nobody hears of it
	isTheLast        // it is made, and then the server is away
	isNotMade        // this one alone is not made
)

func (s *fickle) Available(id string) error {
	if id != "" && (s.away.Load() || s.hidden.Add(-1) >= 0) {
		return errAway
	}
	return nil
}

func (s *fickle) Load(ctx context.Context, id string) (store.Snapshot, error) {
	if s.away.Load() {
		return store.Snapshot{}, errAway
	}
	snap, err := s.Store.Load(ctx, id)
	if s.forgets.Load() {
		snap.N = 0
	}
	return snap, err
}

func (s *fickle) Confirm(ctx context.Context, id string) (store.Snapshot, error) {
	return s.Load(ctx, id)
}

func (s *fickle) Append(ctx context.Context, id string, b store.Batch) (store.Appended, error) {
	then := isMade
	if goes := s.goes.Load(); goes != nil {
		then = (*goes)(b)
	}
	if then == isUnasked {
		s.away.Store(true)
	}
	if s.away.Load() || then == isNotMade {
		return store.Appended{}, errAway
	}
	done, err := s.Store.Append(ctx, id, b)
	switch then {
	case isUnheard:
		err = errAway
	case isTheLast:
		s.away.Store(true)
	}
	return done, err
}

// at has the appends judged.
func (s *fickle) at(goes func(store.Batch) moment) { s.hidden.Store(0); s.goes.Store(&goes) }

// back ends all faults.
func (s *fickle) back() { s.goes.Store(nil); s.away.Store(false) }

func inFickle(t *testing.T, test func(w *world, s *fickle), change ...func(*hub.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		kept := mem.New(roomy)
		seen := &fickle{Store: kept}
		w := newWorldOn(t, kept, seen, change...)
		test(w, seen)
		w.stop()
	})
}

func (w *world) wantHeld(worker string, ids ...string) {
	w.t.Helper()
	held, err := w.store.Held(w.ctx, worker)
	var got []string
	for _, h := range held {
		got = append(got, h.Session)
	}
	if err != nil || !slices.Equal(got, ids) {
		w.t.Errorf("on the list of %s are %v, %v; want %v", worker, held, err, ids)
	}
}

// assigns reports whether a batch gives the session to a worker.
func assigns(b store.Batch) bool {
	return b.State != nil && b.State.Worker != "" && b.State.Running != 0 && b.Fence == nil
}

// An assignment that was not made, and whose session ended before it was tried again,
// left the session on the worker's list for good.
func TestAssignmentThatWasNotMadeLeavesNoHold(t *testing.T) {
	inFickle(t, func(w *world, s *fickle) {
		p := w.join(hello("w1"))
		id := w.create()
		p.want("welcome")
		s.at(func(b store.Batch) moment {
			if assigns(b) {
				return isNotMade
			}
			return isMade
		})
		w.say(id, "m1")
		synctest.Wait()
		w.wantHeld("w1", id) // it may have been made
		if err := w.hub.Delete(w.ctx, id); err != nil {
			t.Fatal(err)
		}
		at(time.Second)
		p.want("")
		w.wantHeld("w1")
	})
}

// The server of a session came back between the look at a doubt and the look at the
// queue: the session was found to have a worker, which nobody told of it. It stayed
// with that worker for as long as the worker lived.
func TestDoubtOutlivesALookAtTheQueue(t *testing.T) {
	inFickle(t, func(w *world, s *fickle) {
		p := w.join(hello("w1"))
		id := w.create()
		first := true
		p.want("welcome") // and nothing else wakes the dispatcher
		s.at(func(b store.Batch) moment {
			if !assigns(b) || !first {
				return isMade
			}
			first = false
			s.hidden.Store(1)
			return isUnheard
		})
		w.say(id, "m1")
		at(10 * time.Second)
		p.want("assign(1 after 0 resume=false) message(1 m1)")
		w.wantHeld("w1", id)
	})
}
