package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// publish appends one output as the n-th of an assignment.
func (f *fixture) publish(id string, assignment, n uint64) error {
	_, err := f.store.Append(f.ctx, id, store.Batch{
		Events: outputs(fmt.Sprintf("%d/%d", assignment, n)), Fence: &store.Fence{Assignment: assignment, N: n},
	})
	return err
}

func (f *fixture) wantPublish(id string, assignment, n uint64, want error) {
	f.Helper()
	if err := f.publish(id, assignment, n); !errors.Is(err, want) {
		f.Errorf("event %d of assignment %d: %v, want %v", n, assignment, err, want)
	}
}

func testFence(f *fixture) {
	f.create("s0", "u1")
	f.wantPublish("s0", 0, 1, session.ErrFenced) // no worker has it
	a := f.assigned("s1")
	f.wantPublish("s1", a-1, 1, session.ErrFenced)
	f.wantPublish("s1", a+1, 1, session.ErrFenced)
	f.wantPublish("s1", a, 2, store.ErrHole)
	f.wantPublish("s1", a, 1, nil)
	f.wantPublish("s1", a, 1, store.ErrRepeat)
	f.wantPublish("s1", a, 3, store.ErrHole)
	f.wantPublish("s1", a, 2, nil)
	f.wantPublish("s1", a, 1, store.ErrRepeat)
	f.wantPublish("s1", a, 0, store.ErrRepeat) // there is none: nothing to store
	if n := f.load("s1").N; n != 2 {
		f.Errorf("last event of the assignment %d, want 2", n)
	}
	var texts []string
	for _, e := range f.all("s1").Entries {
		if e.Type == protocol.EventOutput {
			texts = append(texts, f.text(e))
		}
	}
	if want := fmt.Sprintf("[%d/1 %d/2]", a, a); fmt.Sprint(texts) != want {
		f.Errorf("the log has %v, want %s", texts, want)
	}
}

// An event that is acknowledged but not stored takes its number.
func testFenceOnly(f *fixture) {
	a := f.assigned("s1")
	before := f.load("s1")
	done := f.append("s1", store.Batch{Fence: &store.Fence{Assignment: a, N: 1}})
	if done.Last >= done.First {
		f.Errorf("it is at %+v", done)
	}
	after := f.load("s1")
	if after.Last != before.Last || after.Version != before.Version || after.N != 1 {
		f.Errorf("%+v became %+v", before, after)
	}
	f.wantPublish("s1", a, 1, store.ErrRepeat)
	f.wantPublish("s1", a, 2, nil)
	// Several events of one number: a long text that was split.
	f.append("s1", store.Batch{Events: outputs("x", "y", "z"), Fence: &store.Fence{Assignment: a, N: 3}})
	if s := f.load("s1"); s.N != 3 || s.Last != before.Last+4 {
		f.Errorf("a split event: %+v", s)
	}
}

// A batch can stand for several of a worker's events.
func testFenceOfMany(f *fixture) {
	a := f.assigned("s1")
	before := f.load("s1").Last
	many := func(n uint64, count int, want error, texts ...string) {
		f.Helper()
		_, err := f.store.Append(f.ctx, "s1", store.Batch{
			Events: outputs(texts...), Fence: &store.Fence{Assignment: a, N: n, Count: count},
		})
		if !errors.Is(err, want) {
			f.Errorf("%d events from %d on: %v, want %v", count, n, err, want)
		}
	}
	many(2, 3, store.ErrHole, "x", "x", "x")
	many(1, 3, nil, "1", "2", "3")
	many(1, 3, store.ErrRepeat, "1", "2", "3")
	many(3, 2, store.ErrRepeat, "3", "4") // its end is not stored with it
	many(5, 2, store.ErrHole, "5", "6")
	many(4, 1, nil, "4")
	many(5, 3, nil, "5", "6a", "6b", "7") // one of them was split
	many(8, 2, nil)                       // acknowledged, not stored
	many(10, 0, nil, "10")                // none means one
	if n := f.load("s1").N; n != 10 {
		f.Errorf("last event of the assignment %d, want 10", n)
	}
	var texts []string
	for _, e := range f.read("s1", before, 100, 1<<20).Entries {
		texts = append(texts, f.text(e))
	}
	if want := "[1 2 3 4 5 6a 6b 7 10]"; fmt.Sprint(texts) != want {
		f.Errorf("the log has %v, want %s", texts, want)
	}
}

func testFenceOfNextAssignment(f *fixture) {
	a := f.assigned("s1")
	for n := range uint64(3) {
		f.wantPublish("s1", a, n+1, nil)
	}
	f.message("s1", "m2") // a change of the state alone leaves the place as it is
	if n := f.load("s1").N; n != 3 {
		f.Errorf("a message moved the worker's place to %d", n)
	}
	f.change("s1", session.InLost{})
	f.wantPublish("s1", a, 4, session.ErrFenced)
	f.change("s1", session.InAssign{Worker: "w2", Workspace: "ws"})
	s := f.load("s1")
	if s.State.Assignment <= a || s.N != 0 {
		f.Errorf("assignment %d after %d, with %d events", s.State.Assignment, a, s.N)
	}
	f.wantPublish("s1", a, 4, session.ErrFenced)
	f.wantPublish("s1", a, 1, session.ErrFenced)
	f.wantPublish("s1", s.State.Assignment, 1, nil)
}

// closed stays the last event of the log, though the worker has not let go yet.
func testFenceAfterClosed(f *fixture) {
	a := f.assigned("s1")
	f.wantPublish("s1", a, 1, nil)
	f.change("s1", session.InClose{Reason: protocol.ClosedDeleted})
	f.wantPublish("s1", a, 2, session.ErrFenced)
	if _, err := f.store.Append(f.ctx, "s1", store.Batch{Fence: &store.Fence{Assignment: a, N: 2}}); !errors.Is(err, session.ErrFenced) {
		f.Errorf("a fence alone: %v, want ErrFenced", err)
	}
	p := f.all("s1")
	if e := p.Entries[len(p.Entries)-1]; e.Type != protocol.EventClosed {
		f.Errorf("the last event is %s", e.Type)
	}
}

// Two links that send the same numbers: each is stored once, in order.
func testFenceRace(f *fixture) {
	a := f.assigned("s1")
	before := f.load("s1").Last
	const events = 100
	var stored atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := uint64(1); n <= events; n++ {
				switch err := f.publish("s1", a, n); {
				case err == nil:
					stored.Add(1)
				case !errors.Is(err, store.ErrRepeat):
					f.Errorf("event %d: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	if stored.Load() != events {
		f.Errorf("%d events were stored, want %d", stored.Load(), events)
	}
	p := f.read("s1", before, 1000, 1<<20)
	for i, e := range p.Entries {
		if want := fmt.Sprintf("%d/%d", a, i+1); f.text(e) != want {
			f.Fatalf("event %d is %s, want %s", e.Seq, f.text(e), want)
		}
	}
}
