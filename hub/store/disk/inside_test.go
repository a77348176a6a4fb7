package disk

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
)

// assign makes a session that a worker has.
func assign(t *testing.T, s *Store, id, worker string) {
	t.Helper()
	create(t, s, id)
	b, err := decided(s, id, "m1")
	if err == nil {
		_, err = s.Append(t.Context(), id, b)
	}
	if err != nil {
		t.Fatal(err)
	}
	snap, _ := s.Load(t.Context(), id)
	c, err := session.Step(snap.State, session.InAssign{Worker: worker, Workspace: "ws"}, session.Policy{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), id, store.Batch{State: c.State, Expect: snap.Version, Events: c.Events}); err != nil {
		t.Fatal(err)
	}
}

// Processes came and went without a look at the sessions: their starts failed behind the
// store's. The store knew the worker of the last one alone, so the sessions of an earlier
// one waited for it for a whole lease.
func TestWorkersOfEarlierProcesses(t *testing.T) {
	opt := Options{Dir: "d", Retention: wide, Lease: time.Minute, Worker: "inside", fs: vfs.NewMem()}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	assign(t, s, "first", "inside")
	assign(t, s, "far", "far")
	for i := range 100 {
		s.Close()
		opt.Worker = fmt.Sprint("inside-", i)
		if i%3 == 2 {
			opt.Worker = "" // --worker none
		}
		if s, err = Open(opt); err != nil {
			t.Fatal(err)
		}
		if i == 3 {
			assign(t, s, "second", opt.Worker)
		}
	}
	defer func() { s.Close() }()
	for worker, alive := range map[string]bool{"inside": false, "inside-3": false, "far": true} {
		if left, _, err := s.WorkerLease(t.Context(), worker); err != nil || (left > 0) != alive {
			t.Errorf("worker %s has %s, %v", worker, left, err)
		}
		if held, _ := s.Held(t.Context(), worker); len(held) != 1 {
			t.Errorf("worker %s holds %v", worker, held)
		}
	}
	kept, _, err := s.get(metaKey(metaInside))
	if err != nil || string(kept) != `["inside","inside-3"]` {
		t.Errorf("the store remembers %s, %v", kept, err)
	}
	// Their sessions are gone from them: nobody asks for them again.
	for _, id := range []string{"first", "second"} {
		if err := s.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	if s, err = Open(opt); err != nil {
		t.Fatal(err)
	}
	if kept, _, _ := s.get(metaKey(metaInside)); string(kept) != `[]` {
		t.Errorf("the store still remembers %s", kept)
	}
}

// What is remembered has a bound: the oldest worker gets a lease.
func TestVeryManyEarlierProcesses(t *testing.T) {
	opt := Options{Dir: "d", Retention: wide, Lease: time.Minute, fs: vfs.NewMem()}
	for i := range maxInside + 2 {
		opt.Worker = fmt.Sprint("inside-", i)
		s, err := Open(opt)
		if err != nil {
			t.Fatal(err)
		}
		if i == maxInside+1 {
			for worker, alive := range map[string]bool{"inside-0": true, "inside-1": false, fmt.Sprint("inside-", maxInside): false} {
				if left, _, err := s.WorkerLease(t.Context(), worker); err != nil || (left > 0) != alive {
					t.Errorf("worker %s has %s, %v", worker, left, err)
				}
			}
		}
		assign(t, s, fmt.Sprint("s", i), opt.Worker)
		s.Close()
	}
}
