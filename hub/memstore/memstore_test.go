package memstore

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"sessionhub/hub"
	"sessionhub/hub/hubtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// never is a bound that no test reaches.
const never = 1 << 40

func TestConformance(t *testing.T) {
	hubtest.Run(t, func(_ *testing.T, r hubtest.Retention) hub.Store {
		bounds := Retention{MaxEvents: r.MaxEvents, MaxBytes: r.MaxBytes}
		if bounds.MaxEvents == 0 {
			bounds.MaxEvents = never
		}
		if bounds.MaxBytes == 0 {
			bounds.MaxBytes = never
		}
		return New(bounds)
	})
}

// Two stores that a client meets differ, so that a cursor of the one is not
// taken for a place in the other.
func TestEpochsDiffer(t *testing.T) {
	r := Retention{MaxEvents: 1, MaxBytes: 1}
	if a, b := New(r).epochs[0].Epoch, New(r).epochs[0].Epoch; a == b || len(a) != 12 {
		t.Errorf("epochs %q and %q", a, b)
	}
}

// What is trimmed does not stay in memory: the slice's array does not grow with
// the log.
func TestTrimmedEventsAreFreed(t *testing.T) {
	s := New(Retention{MaxEvents: 10, MaxBytes: never})
	c, err := hub.NewState(hub.Info{SessionID: "s1"}, hub.Policy{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), "s1", hub.Batch{State: c.State, Events: c.Events}, 0); err != nil {
		t.Fatal(err)
	}
	for range 10_000 {
		if _, err := s.Append(t.Context(), "s1", hub.Batch{Events: c.Events}); err != nil {
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
	if s.snapshot(x).First != 9_992 {
		t.Errorf("first %d", s.snapshot(x).First)
	}
}
