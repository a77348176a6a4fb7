package valkey

import (
	"testing"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
)

// The first append behind a restart of the server begins another epoch, and says so: who
// made it has read the session in the epoch before.
func TestAppendTellsItsEpoch(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	s := open(t, server.URL(), space())
	if err := create(t, s, "s1", "u1"); err != nil {
		t.Fatal(err)
	}
	before, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	batch := store.Batch{Events: []session.NewEvent{output(10)}}
	done, err := s.Append(t.Context(), "s1", batch)
	if err != nil || done.Epoch != before.Epoch() {
		t.Fatalf("an append in %s: %+v, %v", before.Epoch(), done, err)
	}
	if snap := before.After(done); snap.Last != done.Last || len(snap.Epochs) != 1 {
		t.Errorf("%+v behind %+v", snap, done)
	}
	server.Kill()
	server.Restart()
	judge.Within(t, 20*time.Second, "an answer of the server", func() bool {
		done, err = s.Append(t.Context(), "s1", batch)
		return err == nil
	})
	after, err := s.Load(t.Context(), "s1")
	if err != nil || len(after.Epochs) != 2 {
		t.Fatalf("behind a restart: %+v, %v", after, err)
	}
	if snap := before.After(done); snap.Last != after.Last || len(snap.Epochs) != 2 || snap.Epochs[1] != after.Epochs[1] {
		t.Errorf("the append gave %+v, which makes %+v; the store has %+v", done, snap, after)
	}
}
