package disk

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// set stores another state of a session.
func (s *sessions) set(t *testing.T, id string, most int, change func(*session.State)) error {
	t.Helper()
	snap, err := s.Load(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	next := *snap.State
	change(&next)
	_, err = s.Append(t.Context(), id, store.Batch{State: &next, Expect: snap.Version, MaxOpen: most})
	return err
}

func atWork(s *session.State) { s.Worker = "w" }
func asleep(s *session.State) { s.Worker = "" }
func closed(s *session.State) { s.Closed = protocol.ClosedExpired }

// A session counts while it is at work, however it came and went, and over a restart.
func TestAwakeSessionsAreCounted(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	for i := range 4 {
		create(t, s, fmt.Sprint("s", i))
	}
	want := func(awake int) {
		t.Helper()
		if s.awake["u"] != awake {
			t.Errorf("%d count, want %d", s.awake["u"], awake)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want(0)
	must(s.set(t, "s0", 2, atWork))
	must(s.set(t, "s0", 2, atWork)) // it counts already
	must(s.set(t, "s1", 2, atWork))
	if err := s.set(t, "s2", 2, atWork); !errors.Is(err, store.ErrSessionLimit) {
		t.Errorf("a third: %v, want ErrSessionLimit", err)
	}
	want(2)
	must(s.set(t, "s0", 2, asleep))
	must(s.set(t, "s2", 2, atWork))
	must(s.set(t, "s1", 2, closed)) // while it is at work
	want(1)
	must(s.set(t, "s3", 2, atWork))
	s.Close()
	s = open(t, fs)
	defer s.Close()
	want(2)
	must(s.Delete(t.Context(), "s2"))
	want(1)
	must(s.Delete(t.Context(), "s0")) // asleep
	want(1)
	must(s.Delete(t.Context(), "s3"))
	if len(s.awake) != 0 {
		t.Errorf("%v count when all are gone", s.awake)
	}
}

// What goes first, and no more than has to.
func TestExcess(t *testing.T) {
	fs := vfs.NewMem()
	s := open(t, fs)
	for i := range 6 {
		id := fmt.Sprint("s", i)
		create(t, s, id)
		for range 10 {
			if _, err := s.Append(t.Context(), id, output(fmt.Sprintf("%01000d", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for id, change := range map[string]func(*session.State){"s0": atWork, "s4": closed} {
		if err := s.set(t, id, 0, change); err != nil {
			t.Fatal(err)
		}
	}
	check := func(b Bounds, full bool, ids ...string) {
		t.Helper()
		s.bounds = b
		if got, f := s.Excess(); !slices.Equal(got, ids) || f != full {
			t.Errorf("%+v: %v (%v), want %v (%v)", b, got, f, ids, full)
		}
	}
	_, h, err := s.find("s1")
	if err != nil {
		t.Fatal(err)
	}
	each := h.size()
	attached, state := *h, *h.state
	state.Attachments = []session.Attachment{{Size: 100}, {Size: 1}}
	attached.state = &state
	if got := attached.size(); got != each+101 {
		t.Errorf("with attachments it counts %d, without %d", got, each)
	}
	if state.Forgotten = true; attached.size() != each {
		t.Error("attachments count that are gone")
	}
	for range 2 {
		check(Bounds{}, false)
		check(Bounds{MaxSessions: 6, MaxBytes: 6*each + 1000}, false)
		check(Bounds{MaxSessions: 5}, false, "s4")
		check(Bounds{MaxSessions: 3}, false, "s4", "s1", "s2")
		check(Bounds{MaxBytes: 5*each + 1000}, false, "s4")
		check(Bounds{MaxBytes: 3*each + 1000}, false, "s4", "s1", "s2")
		check(Bounds{MaxSessions: 5, MaxBytes: 4*each + 1000}, false, "s4", "s1")
		check(Bounds{MaxBytes: 1}, true, "s4", "s1", "s2", "s3", "s5")
		s.Close()
		s = open(t, fs)
	}
	defer s.Close()
	// What is compacted, forgotten or deleted counts no more.
	before := s.bytes.Load()
	snap, err := s.Load(t.Context(), "s5")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), "s5", store.Batch{State: snap.State, Expect: snap.Version, Forget: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "s4"); err != nil {
		t.Fatal(err)
	}
	if got, want := s.bytes.Load(), before-2*each+sessionBytes; got < want-100 || got > want+100 {
		t.Errorf("%d bytes, want about %d", got, want)
	}
}
