package feed

import (
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

func TestFeedNeedsAUser(t *testing.T) {
	w := newWorld(t)
	if _, err := w.feeds.Open("", func() {}); !errors.Is(err, ErrNoUser) || !errors.Is(err, session.ErrInvalid) {
		t.Errorf("a feed of nobody: %v", err)
	}
	w.stop()
	if _, err := w.feeds.Open("u1", func() {}); !errors.Is(err, ErrEnded) {
		t.Errorf("a feed after the end: %v", err)
	}
}

// moment is long enough for every refresh that is due.
const moment = time.Second

func settle() {
	time.Sleep(moment)
	synctest.Wait()
}

func TestFeedTellsWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		w.create("old", "u1")
		w.create("older's", "u2")
		c := w.open("u1")
		defer c.reader.Close()
		settle()
		c.want("snapshot old", "list_complete")
		w.create("s1", "u1")
		settle()
		c.want("created s1")
		w.turn("s1", "m1")
		settle()
		c.want("changed s1")
		w.change("s1", question("m1", "q1"))
		settle()
		c.want("needs_you s1")
		w.change("s1", session.InWithdraw{InteractionID: "q1"})
		settle()
		c.want("changed s1")
		w.end("s1", "m1")
		settle()
		c.want("finished s1")
		w.change("s1", session.InRename{Title: "a name"})
		settle()
		c.want("changed s1")
		w.change("s1", session.InClose{Reason: protocol.ClosedExpired})
		settle()
		c.want("changed s1") // no turn ran
		w.change("old", session.InDelete{})
		if err := w.store.Delete(w.ctx, "s1"); err != nil {
			t.Fatal(err)
		}
		settle()
		if got := c.drain(); len(got) != 2 || len(c.picture) != 0 {
			t.Errorf("%q at the end, and %d sessions", got, len(c.picture))
		}
	})
}

// A reader that comes back to a change that is over, or that another one covers, still
// learns what it must.
func TestFeedOfASlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		for _, id := range []string{"asks", "asks again", "turns", "fast", "goes on", "gone", "still"} {
			w.create(id, "u1")
		}
		for _, id := range []string{"asks again", "turns", "goes on"} {
			w.turn(id, "m1")
		}
		w.change("asks again", question("m1", "q1"))
		c := w.open("u1")
		defer c.reader.Close()
		settle()
		c.drain()

		w.turn("asks", "m1")
		w.change("asks", question("m1", "q1"))
		settle()
		w.change("asks", session.InRename{Title: "named since"})
		w.change("asks again", session.InWithdraw{InteractionID: "q1"}, question("m1", "q2")) // as many as before
		w.end("turns", "m1")
		w.turn("fast", "m1")
		w.end("fast", "m1")
		w.end("goes on", "m1")
		w.turn("goes on", "m2")
		w.create("new", "u1")
		w.create("came and went", "u1")
		settle()
		w.change("turns", session.InRename{Title: "named since"})
		w.change("new", session.InRename{Title: "named since"})
		w.change("gone", session.InDelete{})
		w.change("came and went", session.InDelete{})
		settle()
		got := make(map[string]bool)
		for _, change := range c.drain() {
			got[change] = true
		}
		want := []string{"needs_you asks", "needs_you asks again", "finished turns", "finished fast", "changed goes on", "created new", "unlisted gone", "unlisted came and went"}
		for _, change := range want {
			if !got[change] {
				t.Errorf("%q was not told", change)
			}
		}
		if len(got) != len(want) {
			t.Errorf("told %v", got)
		}
	})
}

// What a reader was told in a snapshot can be gone before the snapshot is over.
func TestFeedSnapshotWhileItChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		for i := range 10 {
			w.create(fmt.Sprint("s", i), "u1")
		}
		first := w.open("u1")
		defer first.reader.Close()
		settle()
		c := w.open("u1")
		defer c.reader.Close()
		c.read(1)
		c.read(1)
		if len(c.picture) != 2 {
			t.Fatalf("%d sessions of two reads", len(c.picture))
		}
		for id := range c.picture {
			w.change(id, session.InDelete{})
		}
		w.change("s5", session.InDelete{})
		w.create("new", "u1")
		settle()
		for c.read(1) {
		}
		for _, f := range c.frames {
			if f.Type == protocol.ControlListed && f.Data.Change != protocol.ListSnapshot {
				t.Errorf("%s %s within the snapshot", f.Data.Change, f.Data.Session.SessionID)
			}
		}
		c.equals(w.listing("u1"))
	})
}

// A list that does not change costs nothing, and a session that changes without a pause is
// read five times a second.
func TestFeedCosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		for i := range 300 {
			w.create(fmt.Sprint("s", i), "u1")
		}
		c := w.open("u1")
		other := w.open("u1")
		settle()
		if n := w.store.calls.Load(); n > 8 {
			t.Errorf("%d calls for 300 sessions", n)
		}
		w.store.calls.Store(0)
		time.Sleep(time.Hour)
		if _, err := w.store.Append(w.ctx, "s1", store.Batch{Events: []session.NewEvent{{Type: protocol.EventOutput, Data: []byte(`{}`)}}}); err != nil {
			t.Fatal(err)
		}
		w.create("another's", "u2")
		settle()
		if n := w.store.calls.Load(); n > 0 {
			t.Errorf("%d calls for nothing", n)
		}
		for i := range 1000 {
			w.change("s1", session.InRename{Title: fmt.Sprint(i)})
			time.Sleep(10 * time.Millisecond)
		}
		settle()
		if n := w.store.calls.Load(); n < 2*45 || n > 2*52 { // a read and a view
			t.Errorf("%d calls for changes of 10 s", n)
		}
		c.reader.Close()
		c.reader.Close() // may be called twice
		other.reader.Close()
		w.store.calls.Store(0)
		w.change("s1", session.InRename{Title: "nobody reads"})
		settle()
		if n := w.store.calls.Load(); n > 0 {
			t.Errorf("%d calls without a reader", n)
		}
	})
}

// The change that matters most is told at once, however much else there is.
func TestFeedIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		for i := range 1000 {
			w.create(fmt.Sprint("s", i), "u1")
		}
		c := w.open("u1")
		defer c.reader.Close()
		settle()
		c.drain()
		for i := range 1000 {
			w.change(fmt.Sprint("s", i), session.InRename{Title: "x"})
		}
		w.turn("s500", "m")
		w.change("s500", question("m", "q"))
		begun := time.Now()
		synctest.Wait()
		for c.read(1 << 20) {
		}
		if c.picture["s500"].PendingApprovals == 0 {
			time.Sleep(restTime + time.Millisecond)
			synctest.Wait()
			for c.read(1 << 20) {
			}
		}
		if c.picture["s500"].PendingApprovals == 0 {
			t.Errorf("the question was not told within %s", time.Since(begun))
		}
	})
}

// A store that is away for a while costs no session, and few calls.
func TestFeedOfAStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.stop()
		w.create("s1", "u1")
		c := w.open("u1")
		defer c.reader.Close()
		settle()
		c.drain()
		w.store.spoilBy(func() error { return store.ErrUnreachable })
		w.store.calls.Store(0)
		w.change("s1", session.InRename{Title: "away"})
		w.create("s2", "u1")
		time.Sleep(10 * time.Second)
		if n := w.store.calls.Load(); n > 2*50 {
			t.Errorf("%d calls in 10 s", n)
		}
		// One of them panics, when the store is back.
		var first atomic.Bool
		w.store.spoilBy(func() error {
			if !first.Swap(true) {
				panic("a fault")
			}
			return nil
		})
		time.Sleep(3 * time.Second)
		w.change("s1", session.InRename{Title: "back"})
		w.change("s2", session.InRename{Title: "back"})
		settle()
		c.drain()
		c.equals(w.listing("u1"))
	})
}

// The memory of a list is that of its sessions, whatever a reader does that takes nothing.
func TestFeedIsBounded(t *testing.T) {
	const sessions = 10_000
	w := newWorld(t)
	defer w.stop()
	for i := range sessions {
		w.create(fmt.Sprint("s", i), "u1")
	}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	c, slow := w.open("u1"), w.open("u1")
	defer c.reader.Close()
	defer slow.reader.Close()
	for c.complete == 0 {
		<-c.wake
		for c.read(1 << 16) {
		}
		c.frames = nil
	}
	for slow.read(1 << 16) {
		slow.frames = nil
	}
	l := w.feeds.lists["u1"]
	c.picture, c.snapshot = nil, nil
	if each := (heap() - before) / sessions; each > 3000 {
		t.Errorf("%d bytes for each session", each)
	} else {
		t.Logf("%d bytes for each session", each)
	}
	// Sessions come and go while the slow reader takes nothing.
	c.picture, c.snapshot = make(map[string]protocol.Session), make(map[string]bool)
	for i := range 4 * sessions {
		l.change(func() {
			id := fmt.Sprint("x", i)
			snap := store.Snapshot{State: &session.State{Info: session.Info{SessionID: id}}, Epochs: []store.EpochStart{{Epoch: "e", First: 1}}}
			l.putLocked(snap, []byte(`{}`))
			l.dropLocked(id)
			l.tidyLocked()
		})
	}
	l.mu.Lock()
	entries, order, gone := len(l.entries), len(l.order), l.gone
	l.mu.Unlock()
	if most := sessions + sessions/2 + mostGone + 1; entries > most+entries/2 || order > 2*entries+65 || entries != sessions+gone {
		t.Errorf("%d entries, %d of them gone, in %d places", entries, gone, order)
	}
	// It has missed some that are gone: it gets everything anew.
	slow.frames = nil
	for slow.read(1 << 16) {
		if len(slow.frames) > 2*sessions {
			t.Fatal("no end of frames")
		}
	}
	if slow.complete != 2 {
		t.Errorf("%d snapshots", slow.complete)
	}
	slow.equals(w.listing("u1"))
}
