package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// createAwake makes a session that counts in every store: it has something to do. If the
// session cannot wake up, createAwake deletes it.
func (f *fixture) createAwake(id, user string, most int) error {
	if _, err := f.store.Create(f.ctx, id, firstBatch(f.T, id, user), most); err != nil {
		return err
	}
	b := f.decide(id, message("m1"))
	b.MaxOpen = most
	_, err := f.store.Append(f.ctx, id, b)
	if err != nil {
		if again := f.load(id); again.State.Busy() || again.Last != 1 {
			f.Errorf("%s was refused to wake up, and is %+v", id, again.State)
		}
		_ = f.store.Delete(f.ctx, id)
	}
	return err
}

// A user asks for one session more than allowed.
func testSessionLimit(f *fixture) {
	const most = 3
	create := func(id, user string) error { return f.createAwake(id, user, most) }
	for i := range most {
		if err := create(fmt.Sprint("s", i), "u1"); err != nil {
			f.Fatal(err)
		}
	}
	if err := create("more", "u1"); !errors.Is(err, store.ErrSessionLimit) {
		f.Errorf("one more: %v, want ErrSessionLimit", err)
	}
	if _, err := f.store.Load(f.ctx, "more"); !errors.Is(err, session.ErrNotFound) {
		f.Errorf("the refused session is there: %v", err)
	}
	if err := create("s0", "u1"); !errors.Is(err, store.ErrExists) {
		f.Errorf("a repeat at the limit: %v, want ErrExists", err)
	}
	if err := create("other", "u2"); err != nil {
		f.Errorf("another user: %v", err)
	}
	// A closed session does not count, and does not count twice. A deleted one does not
	// count either.
	snap := f.load("s0")
	closed := *snap.State
	closed.Closed = protocol.ClosedExpired
	if _, err := f.store.Append(f.ctx, "s0", store.Batch{State: &closed, Expect: snap.Version}); err != nil {
		f.Fatal(err)
	}
	if err := f.store.Delete(f.ctx, "s0"); err != nil {
		f.Fatal(err)
	}
	if err := create("s3", "u1"); err != nil {
		f.Errorf("after one was closed: %v", err)
	}
	if err := create("s4", "u1"); !errors.Is(err, store.ErrSessionLimit) {
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
		wg.Go(func() {
			switch err := f.createAwake(fmt.Sprint("s", i), "u1", most); {
			case err == nil:
				made.Add(1)
			case !errors.Is(err, store.ErrSessionLimit):
				f.Errorf("create: %v", err)
			}
		})
	}
	wg.Wait()
	if made.Load() != most {
		f.Errorf("%d were made, want %d", made.Load(), most)
	}
}

// Forget drops the logs and notes; the state and the numbering stay.
func testForget(f *fixture) {
	f.create("s1", "u1")
	snap := f.load("s1")
	_, err := f.store.Append(f.ctx, "s1", store.Batch{
		State: snap.State, Expect: snap.Version, Events: []session.NewEvent{{Type: protocol.EventOutput, Data: []byte(`{}`)}},
		Commands: []session.Command{{Seq: 1, Type: protocol.WorkerMessage, Data: []byte(`{}`)}}, Notes: []session.Note{{Key: "k", Value: "v"}},
	})
	if err != nil {
		f.Fatal(err)
	}
	if _, err := f.store.Append(f.ctx, "s1", store.Batch{State: snap.State, Expect: snap.Version + 1, Forget: true}); err != nil {
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

// A bucket gives its burst at once, then says how long to wait. Each name has a bucket of
// its own, under any number of callers.
func testTokenBucket(f *fixture) {
	r := store.Rate{PerSecond: 20, Burst: 5}
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

// A token that was taken for nothing can be given back. A bucket never holds more than its
// burst.
func testTokenBack(f *fixture) {
	r := store.Rate{PerSecond: 0.001, Burst: 2}
	take := func(free bool) {
		f.Helper()
		if wait, err := f.store.TakeToken(f.ctx, "a", r); err != nil || (wait == 0) != free {
			f.Errorf("take: %v, %v", wait, err)
		}
	}
	give := func() {
		f.Helper()
		if err := f.store.GiveToken(f.ctx, "a", r); err != nil {
			f.Errorf("give: %v", err)
		}
	}
	give() // into a full one
	take(true)
	take(true)
	take(false)
	give()
	take(true)
	take(false)
	for range 5 {
		give()
	}
	take(true)
	take(true)
	take(false)
}
