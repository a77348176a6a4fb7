package mem

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(_ *testing.T, r store.Retention) store.Store { return New(r) })
}

func TestModel(t *testing.T) {
	storetest.RunModel(t, func(_ *testing.T, r store.Retention) (store.Store, storetest.Crash) { return New(r), nil })
}

// Two stores that a client meets differ, so that a cursor of the one is not
// taken for a place in the other.
func TestEpochsDiffer(t *testing.T) {
	r := store.Retention{MaxEvents: 1, MaxBytes: 1}
	if a, b := New(r).epochs[0].Epoch, New(r).epochs[0].Epoch; a == b || len(a) != 12 {
		t.Errorf("epochs %q and %q", a, b)
	}
}

// What is trimmed does not stay in memory: the slice's array does not grow with
// the log.
func TestTrimmedEventsAreFreed(t *testing.T) {
	s := New(store.Retention{MaxEvents: 10})
	c, err := session.NewState(session.Info{SessionID: "s1"}, session.Policy{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), "s1", store.Batch{State: c.State, Events: c.Events}, 0); err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		if _, err := s.Append(t.Context(), "s1", store.Batch{Events: c.Events}); err != nil {
			t.Fatal(err)
		}
	}
	x, err := s.find("s1")
	if err != nil {
		t.Fatal(err)
	}
	if n := cap(x.entries); n > 100 {
		t.Errorf("room for %d entries, though 10 are kept", n)
	}
	if snap, ok := x.snapshot(s.epochs); !ok || snap.First != 9_992 {
		t.Errorf("first %d", snap.First)
	}
}

// A listing goes on where it ended, newest first, although what it has shown is
// deleted meanwhile, and although it is longer than what is taken under the lock.
func TestListWhileDeleting(t *testing.T) {
	s := New(store.Retention{})
	const users = 3
	for i := range 3 * pageSize * users {
		id := fmt.Sprintf("s%05d", i)
		c, err := session.NewState(session.Info{SessionID: id, UserID: fmt.Sprint("u", i%users)}, session.Policy{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Create(t.Context(), id, store.Batch{State: c.State, Events: c.Events}, 0); err != nil {
			t.Fatal(err)
		}
	}
	for user, limit := range map[string]int{"u1": 100, "u2": pageSize, "": 2*pageSize + 1} {
		q := store.ListQuery{User: user, Limit: limit}
		before, shown := "t", 0
		for {
			page, next, err := s.List(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, snap := range page {
				id := snap.State.Info.SessionID
				if id >= before || user != "" && snap.State.Info.UserID != user {
					t.Fatalf("user %q: %s of %s behind %s", user, id, snap.State.Info.UserID, before)
				}
				before = id
				shown++
				if user != "" {
					if err := s.Delete(t.Context(), id); err != nil {
						t.Fatal(err)
					}
				}
			}
			if next == "" {
				break
			}
			if len(page) != limit {
				t.Fatalf("user %q: %d sessions on a page of %d", user, len(page), limit)
			}
			q.After = next
		}
		if user != "" && shown != 3*pageSize {
			t.Errorf("user %q: %d sessions shown", user, shown)
		}
	}
	census, _, err := s.Census(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, n := range census.Sessions {
		total += n
	}
	if total != 3*pageSize || len(s.ages.byUser) != 1 {
		t.Errorf("%d sessions of %d users are left, want those of u0", total, len(s.ages.byUser))
	}
}
