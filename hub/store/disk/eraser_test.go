package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"sessionhub/hub/store"
)

// A session's text is forgotten, and while that is taken out of the files the session is
// deleted whole. It stays marked, over a restart too, and the next round takes out the
// rest: the end of the first round took the mark of both.
func TestDeletedAgainWhileErasing(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	create(t, s, "s1")
	snap, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), "s1", store.Batch{State: snap.State, Expect: snap.Version, Forget: true}); err != nil {
		t.Fatal(err)
	}
	round := s.eraser.marked()
	if len(round) != 1 {
		t.Fatalf("marked: %v", round)
	}
	if err := s.eraser.rewrite(t.Context(), round); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	if err := s.eraser.unmark(round); err != nil {
		t.Fatal(err)
	}
	if left := s.eraser.marked(); len(left) != 1 {
		t.Errorf("marked behind the round: %v", left)
	}
	s.Close()
	s = open(t, fs)
	defer s.Close()
	if left := s.eraser.marked(); len(left) != 1 {
		t.Fatalf("marked over a restart: %v", left)
	}
	if err := s.eraser.erase(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := s.eraser.marked(); len(left) != 0 {
		t.Errorf("marked behind the second round: %v", left)
	}
	holds := func() (out []string) {
		for path, b := range files(t, fs, "d") {
			if bytes.Contains(b, []byte("a title")) {
				out = append(out, path)
			}
		}
		return out
	}
	for late := time.Now().Add(time.Minute); len(holds()) > 0; time.Sleep(10 * time.Millisecond) { // Pebble removes files in the background
		if time.Now().After(late) {
			t.Fatalf("the title is still in %v", holds())
		}
	}
}

// A round cannot end while a mark is written and does not count yet: it would take that
// mark for one that it has seen.
func TestMarkedAtTheEndOfARound(t *testing.T) {
	var s *Store
	var syncs, ends atomic.Int64
	b := newBroken(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
			syncs.Add(1)
			if s.eraser.marking.TryLock() {
				ends.Add(1)
				s.eraser.marking.Unlock()
			}
		}
		return nil
	})
	s = b.open(t, nil)
	defer s.Close()
	create(t, s, "s1")
	snap, err := s.Load(t.Context(), "s1")
	if err != nil {
		t.Fatal(err)
	}
	b.on.Store(true)
	if _, err := s.Append(t.Context(), "s1", store.Batch{State: snap.State, Expect: snap.Version, Forget: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	b.on.Store(false)
	if syncs.Load() != 2 || ends.Load() != 0 {
		t.Errorf("a round could end in %d of %d writes", ends.Load(), syncs.Load())
	}
}

// A round on a disk that takes no tables ends: with the store, and with its context. It
// waited for ever, and so did the end of the process.
func TestEraseOnABrokenDisk(t *testing.T) {
	for name, fault := range map[string]error{"full": syscall.ENOSPC, "broken": syscall.EIO} {
		synctest.Test(t, func(t *testing.T) {
			b := newBroken(onFiles(".sst", fault, errorfs.OpCreate))
			s := b.open(t, nil)
			create(t, s, "s1")
			if err := s.flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), "s1"); err != nil {
				t.Fatal(err)
			}
			b.on.Store(true)
			if fault == syscall.EIO {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := s.eraser.erase(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: the round ended with %v", name, err)
				}
				if err := s.eraser.rewrite(ctx, nil); !errors.Is(err, context.DeadlineExceeded) { // the logs alone
					t.Errorf("%s: the change of logs ended with %v", name, err)
				}
			}
			if err := s.eraser.erase(t.Context()); !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("%s: the round ended with %v", name, err)
			}
			s.Close()
			after := open(t, b.disk.CrashClone(vfs.CrashCloneCfg{}))
			defer after.Close()
			if left := after.eraser.marked(); len(left) != 1 {
				t.Errorf("%s: marked at the next start: %v", name, fmt.Sprint(left))
			}
		})
	}
}
