package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

func waiting(id, user string) store.Waiting {
	return store.Waiting{ID: id, User: user, Provider: "demo"}
}

// queue calls the queue for the suite.
type queue struct{ *ground }

func (f queue) enqueue(ws ...store.Waiting) {
	f.Helper()
	for _, w := range ws {
		if err := f.store.Enqueue(f.ctx, w); err != nil {
			f.Fatalf("enqueue %+v: %v", w, err)
		}
	}
}

func (f queue) dequeue(w store.Waiting) {
	f.Helper()
	if err := f.store.Dequeue(f.ctx, w); err != nil {
		f.Fatalf("dequeue %+v: %v", w, err)
	}
}

// queued writes the ids that wait, in order.
func (f queue) queued(provider, workspace string, n int) string {
	f.Helper()
	all, err := f.store.Queued(f.ctx, provider, workspace, n)
	if err != nil {
		f.Fatalf("list what is queued: %v", err)
	}
	var ids []string
	for _, w := range all {
		if w.Provider != provider || w.Workspace != workspace {
			f.Errorf("%+v in the queue of %q in %q", w, provider, workspace)
		}
		ids = append(ids, w.ID)
	}
	return strings.Join(ids, " ")
}

func testQueue(f *fixture) {
	a, b, c := waiting("a", "u"), waiting("b", "u"), waiting("c", "u")
	f.enqueue(a, b, c, a) // a repeat keeps its place
	if got := f.queued("demo", "", 10); got != "a b c" {
		f.Errorf("queued: %s", got)
	}
	if got := f.queued("demo", "", 2); got != "a b" {
		f.Errorf("the first two: %s", got)
	}
	f.dequeue(b)
	f.dequeue(b)
	f.dequeue(waiting("none", "u"))
	f.enqueue(b)
	if got := f.queued("demo", "", 10); got != "a c b" {
		f.Errorf("b came again: %s", got)
	}
	for _, w := range []store.Waiting{
		{ID: "d", User: "u:\x00 {odd}", Provider: "demo", Workspace: "ws:\x00{1} x"}, {ID: "e", User: "u", Provider: "other"},
	} {
		f.enqueue(w)
		all, err := f.store.Queued(f.ctx, w.Provider, w.Workspace, 10)
		if err != nil || !slices.Equal(all, []store.Waiting{w}) {
			f.Errorf("queued in a lane of its own: %+v, %v", all, err)
		}
	}
}

// A user with a hundred sessions does not keep another user waiting.
func testQueueIsFair(f *fixture) {
	for i := range 10 {
		f.enqueue(waiting(fmt.Sprint("a", i), "greedy"))
	}
	f.dequeue(waiting("a0", "greedy"))
	f.dequeue(waiting("a1", "greedy"))
	f.enqueue(waiting("b0", "modest"), waiting("b1", "modest"))
	order := f.queued("demo", "", 100)
	place := func(id string) int { return slices.Index(strings.Fields(order), id) }
	if place("b0") > 1 || place("b1") > 3 {
		f.Errorf("the modest user waits behind the greedy one: %s", order)
	}
	for i := range 7 {
		if place(fmt.Sprint("a", i+2)) > place(fmt.Sprint("a", i+3)) {
			f.Errorf("a user's own are out of order: %s", order)
		}
	}
}

func testQueueWatch(f *fixture) {
	// A watcher gets the whole Waiting: a node reads no queue that its workers do not
	// serve.
	w := store.Waiting{ID: "a", User: "u:\x00 {odd}", Provider: "other", Workspace: "ws:\x00{1} x\n"}
	var calls, whole, odd atomic.Int32
	stop := f.store.WatchQueue(func(told store.Waiting) {
		calls.Add(1)
		switch told {
		case w:
			whole.Add(1)
		case store.Waiting{}: // something may have been missed
		default:
			odd.Add(1)
		}
	})
	f.until("a notice", func() bool { f.enqueue(w); return whole.Load() > 0 })
	stop()
	if odd.Load() != 0 {
		f.Errorf("%d notices of what was not queued", odd.Load())
	}
	n := calls.Load()
	f.enqueue(waiting("b", "u"))
	time.Sleep(50 * time.Millisecond) // what would come late, does
	if calls.Load() != n {
		f.Error("notified after stop")
	}
}

// until repeats ok until it reports true.
func (f *fixture) until(what string, ok func() bool) {
	f.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			f.Fatalf("%s did not come", what)
		}
	}
}

func testCensus(f *fixture) {
	f.create("s1", "u1")
	f.create("s2", "u1")
	f.assigned("s3")
	f.enqueue(waiting("s1", "u1"), store.Waiting{ID: "s2", User: "u", Provider: "demo", Workspace: "w"})
	var c store.Census
	f.until("the count", func() bool {
		var ours bool
		var err error
		c, ours, err = f.store.Census(f.ctx)
		if err != nil {
			f.Fatalf("census: %v", err)
		}
		return ours && c.Sessions[protocol.StatusIdle] == 2 && c.Sessions[protocol.StatusStarting] == 1 && c.Queue["demo"] == 2
	})
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Fatal(err)
	}
	f.until("the count after a deletion", func() bool {
		c, _, err := f.store.Census(f.ctx)
		return err == nil && c.Sessions[protocol.StatusIdle] == 1
	})
}
