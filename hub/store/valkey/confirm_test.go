package valkey

import (
	"errors"
	"slices"
	"testing"
	"time"

	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
)

// A primary that was frozen while another one took its place answers with what it
// knew until the Sentinels tell it. It cannot confirm that.
func TestConfirmAsksNoOldPrimary(t *testing.T) {
	t.Parallel()
	set := valkeytest.StartSentinelSet(t, valkeytest.Valkey(t), 2, "min-replicas-to-write 1")
	s := open(t, set.URL(), space(), func(o *Options) { o.CallTimeout = time.Second })
	w := &worker{t: t, store: s, id: "s1", assignment: benchSession(t, s, "s1")}
	w.append(time.Now().Add(judge.Patience))
	old := set.Primary()
	// A node that has not heard of the failover.
	behind := open(t, old.URL(), s.opt.Prefix, func(o *Options) { o.CallTimeout = time.Second })
	before, err := behind.Confirm(t.Context(), "s1")
	if err != nil {
		t.Fatalf("while it is the primary: %v", err)
	}

	old.Stop()
	judge.Within(t, 30*time.Second, "another primary", func() bool { return set.Primary() != old })
	var sealed store.Snapshot
	judge.Within(t, 20*time.Second, "the confirmation of the new one", func() bool {
		sealed, err = s.Confirm(t.Context(), "s1")
		return err == nil
	})
	if sealed.Last != before.Last || len(sealed.Epochs) != 2 || sealed.Epochs[1].First != sealed.Last+1 {
		t.Errorf("confirmed %+v: want the log of %+v in a new epoch", sealed, before)
	}
	w.append(time.Now().Add(judge.Patience))
	for _, x := range set.Watch {
		x.Stop() // else they would tell it at once
	}
	defer func() {
		for _, x := range set.Watch {
			x.Cont()
		}
	}()
	old.Cont()

	var stale store.Snapshot
	judge.Within(t, 20*time.Second, "an answer of the old primary", func() bool {
		stale, err = behind.Load(t.Context(), "s1")
		return err == nil
	})
	if stale.Last != before.Last || len(stale.Epochs) != 1 {
		t.Fatalf("the old primary answers %+v: this test needs one that is behind %+v", stale, before)
	}
	for range 10 {
		if snap, err := behind.Confirm(t.Context(), "s1"); !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("the old primary has confirmed %+v, %v", snap, err)
		}
	}
	judge.Within(t, 20*time.Second, "the confirmation of what was appended", func() bool {
		snap, err := s.Confirm(t.Context(), "s1")
		return err == nil && snap.Last == before.Last+1 && slices.Equal(snap.Epochs, sealed.Epochs)
	})
}
