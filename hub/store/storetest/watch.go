package storetest

import (
	"bytes"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// watchTime is how long a store may take to give a hint.
const watchTime = 10 * time.Second

// A notice is a hint: it may come in any order, or not at all. Its content must be true.
// While there are appends, some notices must arrive.
func testWatch(f *fixture) {
	f.create("s1", "u1")
	f.create("s2", "u1")
	var mu sync.Mutex
	seen := make(map[uint64][]byte)
	last, changed := uint64(0), false
	stop := f.store.Watch("s1", func(n store.Notice) {
		mu.Lock()
		defer mu.Unlock()
		for i, e := range n.Entries {
			if i > 0 && e.First() != n.Entries[i-1].Seq+1 {
				f.Errorf("a notice with a hole before %d", e.First())
			}
			// Copied: the bytes must not be kept.
			seen[e.Seq] = e.AppendJSON(nil)
		}
		if k := len(n.Entries); k > 0 && n.Entries[k-1].Seq > n.Last {
			f.Errorf("a notice of %d with the end %d", n.Entries[k-1].Seq, n.Last)
		}
		last = max(last, n.Last)
		changed = changed || n.Changed
	})
	defer stop()

	f.append("s2", batchOf("not here"))
	deadline := time.Now().Add(watchTime)
	for heard, told := false, false; !heard || !told; {
		f.append("s1", batchOf("a", "b"))
		f.append("s1", f.decide("s1", session.InMessage{Data: protocol.MessageData{MessageID: "m", Content: []byte(`"x"`)}}))
		mu.Lock()
		heard, told = last > 1, changed
		mu.Unlock()
		if time.Now().After(deadline) {
			f.Fatalf("no notice in %s (changed: %v)", watchTime, told)
		}
	}
	stop()
	mu.Lock()
	defer mu.Unlock()
	end := f.load("s1").Last
	if last > end {
		f.Errorf("a notice said that the end is %d, but it is %d", last, end)
	}
	for _, e := range f.all("s1").Entries {
		if b, ok := seen[e.Seq]; ok && !bytes.Equal(b, e.AppendJSON(nil)) {
			f.Errorf("event %d: the notice had %s, the log has %s", e.Seq, b, e.AppendJSON(nil))
		}
	}
}

func testWatchStop(f *fixture) {
	f.create("s1", "u1")
	var wg sync.WaitGroup
	end := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
			}
			if _, err := f.store.Append(f.ctx, "s1", batchOf("x")); err != nil {
				f.Error(err)
				return
			}
		}
	})
	var others atomic.Int64
	stay := f.store.Watch("s1", func(store.Notice) { others.Add(1) })
	for range 100 {
		var stopped atomic.Bool
		stop := f.store.Watch("s1", func(store.Notice) {
			if stopped.Load() {
				f.Error("a notice after stop has returned")
			}
		})
		stop()
		stopped.Store(true)
		stop() // may be called twice
	}
	// The watcher that stayed still gets notices.
	before, deadline := others.Load(), time.Now().Add(watchTime)
	for others.Load() == before {
		if time.Now().After(deadline) {
			f.Fatal("the watcher that stayed hears nothing any more")
		}
		time.Sleep(time.Millisecond)
	}
	close(end)
	wg.Wait()
	stay()
	// The session is gone: stop has nothing to wait for.
	stop := f.store.Watch("s1", func(store.Notice) {})
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Error(err)
	}
	stop()
}
