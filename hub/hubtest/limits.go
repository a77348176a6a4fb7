package hubtest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub"
	"sessionhub/protocol"
)

// create asks for one more session than the user may have.
func testSessionLimit(f *fixture) {
	const most = 3
	create := func(id, user string) error {
		_, err := f.store.Create(f.ctx, id, firstBatch(f.T, id, user), most)
		return err
	}
	for i := range most {
		if err := create(fmt.Sprint("s", i), "u1"); err != nil {
			f.Fatal(err)
		}
	}
	if err := create("more", "u1"); !errors.Is(err, hub.ErrSessionLimit) {
		f.Errorf("one more: %v, want ErrSessionLimit", err)
	}
	if _, err := f.store.Load(f.ctx, "more"); !errors.Is(err, hub.ErrNotFound) {
		f.Errorf("the refused session is there: %v", err)
	}
	if err := create("s0", "u1"); !errors.Is(err, hub.ErrExists) {
		f.Errorf("a repeat at the limit: %v, want ErrExists", err)
	}
	if err := create("other", "u2"); err != nil {
		f.Errorf("another user: %v", err)
	}
	// A closed one does not count, nor does it count twice; nor a deleted one.
	snap := f.load("s0")
	closed := *snap.State
	closed.Closed = protocol.ClosedExpired
	if _, err := f.store.Append(f.ctx, "s0", hub.Batch{State: &closed, Expect: snap.Version}); err != nil {
		f.Fatal(err)
	}
	if err := f.store.Delete(f.ctx, "s0"); err != nil {
		f.Fatal(err)
	}
	if err := create("s3", "u1"); err != nil {
		f.Errorf("after one was closed: %v", err)
	}
	if err := create("s4", "u1"); !errors.Is(err, hub.ErrSessionLimit) {
		f.Errorf("one more again: %v, want ErrSessionLimit", err)
	}
	if err := f.store.Delete(f.ctx, "s1"); err != nil {
		f.Fatal(err)
	}
	if err := create("s5", "u1"); err != nil {
		f.Errorf("after one was deleted: %v", err)
	}
}

func testSessionLimitRace(f *fixture) {
	const most = 5
	var made atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		b := firstBatch(f.T, fmt.Sprint("s", i), "u1")
		wg.Go(func() {
			switch _, err := f.store.Create(f.ctx, fmt.Sprint("s", i), b, most); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, hub.ErrSessionLimit):
				f.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	if made.Load() != most {
		f.Errorf("%d were made, want %d", made.Load(), most)
	}
}

// forget: the logs and notes go, the state and the numbering stay.
func testForget(f *fixture) {
	f.create("s1", "u1")
	snap := f.load("s1")
	_, err := f.store.Append(f.ctx, "s1", hub.Batch{
		State: snap.State, Expect: snap.Version, Events: []hub.NewEvent{{Type: protocol.EventOutput, Data: []byte(`{}`)}},
		Commands: []hub.Command{{Seq: 1, Type: protocol.WorkerMessage, Data: []byte(`{}`)}}, Notes: []hub.Note{{Key: "k", Value: "v"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.store.Append(f.ctx, "s1", hub.Batch{State: snap.State, Expect: snap.Version + 1, Forget: true}); err != nil {
		f.Fatal(err)
	}
	after := f.load("s1")
	if after.Last != snap.Last+1 || after.First != after.Last+1 || after.State.Info.UserID != "u1" {
		f.Errorf("first %d, last %d, want %d and %d", after.First, after.Last, snap.Last+2, snap.Last+1)
	}
	page, err := f.store.Read(f.ctx, "s1", 0, 10, 1000)
	if err != nil || len(page.Entries) != 0 {
		f.Errorf("%d events are left, %v", len(page.Entries), err)
	}
	if commands, err := f.store.Commands(f.ctx, "s1", 0); err != nil || len(commands) != 0 {
		f.Errorf("%d commands are left, %v", len(commands), err)
	}
	if _, _, ok, err := f.store.Note(f.ctx, "s1", "k"); err != nil || ok {
		f.Errorf("the note is left: %v, %v", ok, err)
	}
}

// A bucket gives its burst at once, then says how long to wait; each name has
// one of its own, under any number of callers.
func testTokenBucket(f *fixture) {
	r := hub.Rate{PerSecond: 20, Burst: 5}
	var given atomic.Int32
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			wait, err := f.store.TakeToken(f.ctx, "a", r)
			if err != nil {
				f.Errorf("take: %v", err)
			}
			if wait == 0 {
				given.Add(1)
			} else if wait > 50*time.Millisecond {
				f.Errorf("wait %v for one of 20 in a second", wait)
			}
		})
	}
	wg.Wait()
	if n := given.Load(); n < 5 || n > 8 { // a slow machine gains some meanwhile
		f.Errorf("%d were given, want 5", n)
	}
	if wait, err := f.store.TakeToken(f.ctx, "b", r); err != nil || wait != 0 {
		f.Errorf("another name: %v, %v", wait, err)
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		wait, err := f.store.TakeToken(f.ctx, "a", r)
		if err != nil || time.Now().After(deadline) {
			f.Fatalf("no token came back: %v", err)
		}
		if wait == 0 {
			return
		}
		time.Sleep(wait)
	}
}
