package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
)

// broken is a disk in memory on which some operations fail, from when they are said to.
type broken struct {
	fs   vfs.FS
	disk *vfs.MemFS
	on   atomic.Bool
}

func newBroken(fails func(op errorfs.Op) error) *broken {
	b := &broken{disk: vfs.NewCrashableMem()}
	b.fs = errorfs.Wrap(b.disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if !b.on.Load() {
			return nil
		}
		return fails(op)
	}))
	return b
}

func (b *broken) open(t testing.TB, failed func(error)) *Store {
	t.Helper()
	s, err := Open(Options{Dir: "d/data", Retention: wide, fs: b.fs, Failed: failed})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// onFiles fails operations of some kinds on files of one kind.
func onFiles(suffix string, err error, kinds ...errorfs.OpKind) func(errorfs.Op) error {
	return func(op errorfs.Op) error {
		for _, k := range kinds {
			if op.Kind == k && strings.HasSuffix(op.Path, suffix) {
				return err
			}
		}
		return nil
	}
}

// Tables cannot be written, and the log can: appends went on until the memory was
// full, and waited for ever then, while the node said that it was ready. The store
// fails: at once if the disk is full, else after a while. Every call ends, and what was
// accepted is there at the next start.
func TestTablesThatCannotBeWritten(t *testing.T) {
	for _, c := range []struct {
		name        string
		err         error
		least, most time.Duration
		tells       string
	}{
		{"full", syscall.ENOSPC, 0, time.Second, "the disk is full: free some space and start again"},
		{"over a quota", syscall.EDQUOT, 0, time.Second, "the disk is full: free some space and start again"},
		{"broken", syscall.EIO, patience, patience + 2*time.Second, "its files could not be written for 30s: "},
	} {
		for _, kind := range []errorfs.OpKind{errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileSync} {
			if c.err == syscall.EIO && kind != errorfs.OpCreate {
				continue // it makes 300 tables whole
			}
			if judge.Raced && c.err == syscall.EDQUOT {
				continue // it goes the way of a full disk
			}
			t.Run(fmt.Sprint(c.name, " ", kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBroken(onFiles(".sst", c.err, kind, errorfs.OpFileSyncData))
					failed := make(chan error, 9)
					s := b.open(t, func(err error) { failed <- err })
					create(t, s, "s1")
					began := time.Now()
					b.on.Store(true)
					var accepted uint64
					for {
						done, err := s.Append(t.Context(), "s1", output(strings.Repeat("x", 1<<20)))
						if err != nil {
							if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), c.tells) {
								t.Errorf("the error is %v", err)
							}
							break
						}
						accepted = done.Last
					}
					if took := time.Since(began); took < c.least || took > c.most {
						t.Errorf("it failed after %s, want between %s and %s", took, c.least, c.most)
					}
					if err := <-failed; !strings.Contains(err.Error(), c.tells) || s.Available("") == nil {
						t.Errorf("told: %v; ready: %v", err, s.Available(""))
					}
					s.Close()
					if len(failed) > 0 {
						t.Errorf("told again: %v", <-failed)
					}
					after := open(t, b.disk.CrashClone(vfs.CrashCloneCfg{}))
					defer after.Close()
					if n := uint64(len(log(t, after, "s1"))); n < accepted || accepted < 10 {
						t.Errorf("%d events were accepted, %d are there", accepted, n)
					}
				})
			})
		}
	}
}

// A disk that is mended in time goes on, however often it was broken.
func TestTablesThatCannotBeWrittenForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroken(onFiles(".sst", syscall.EIO, errorfs.OpCreate))
		s := b.open(t, func(err error) { t.Errorf("it failed: %v", err) })
		defer s.Close()
		create(t, s, "s1")
		for range 3 {
			b.on.Store(true)
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := s.flush(t.Context()); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(patience * 2 / 3)
			b.on.Store(false)
			wg.Wait()
			if _, err := s.Append(t.Context(), "s1", output("x")); err != nil {
				t.Error(err)
			}
		}
	})
}

// Close ends on every disk, and marks a clean end only where all is on it. It waited
// for ever for tables; a log that could not be made ended the process with a panic.
func TestCloseOnABrokenDisk(t *testing.T) {
	for name, fails := range map[string]func(errorfs.Op) error{
		"full":                onFiles(".sst", syscall.ENOSPC, errorfs.OpFileWrite),
		"tables":              onFiles(".sst", syscall.EIO, errorfs.OpFileWrite),
		"make tables":         onFiles(".sst", syscall.EIO, errorfs.OpCreate),
		"log":                 onFiles(".log", syscall.EIO, errorfs.OpFileWrite),
		"sync log":            onFiles(".log", syscall.EIO, errorfs.OpFileSync, errorfs.OpFileSyncData),
		"make log":            onFiles(".log", syscall.EIO, errorfs.OpCreate),
		"sync directory":      onFiles("sessions", syscall.EIO, errorfs.OpFileSync),
		"manifest":            func(op errorfs.Op) error { return onManifest(op, errorfs.OpFileWrite) },
		"sync manifest":       func(op errorfs.Op) error { return onManifest(op, errorfs.OpFileSync) },
		"mark":                onFiles(closedFile+".new", syscall.EIO, errorfs.OpFileWrite),
		"everything":          func(op errorfs.Op) error { return whenWriting(op, syscall.EIO) },
		"everything is full":  func(op errorfs.Op) error { return whenWriting(op, syscall.ENOSPC) },
		"everything, read it": func(errorfs.Op) error { return syscall.EIO },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroken(fails)
				s := b.open(t, nil)
				for i := range 5 { // so that Pebble has logs that it would use again
					create(t, s, fmt.Sprint("s", i))
					if err := s.flush(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				create(t, s, "last")
				b.on.Store(true)
				began := time.Now()
				s.Close()
				if took := time.Since(began); took > closeTime+leaveTime {
					t.Errorf("it took %s", took)
				}
				after := open(t, b.disk.CrashClone(vfs.CrashCloneCfg{}))
				defer after.Close()
				all, _, err := after.List(t.Context(), store.ListQuery{Limit: 100})
				if err != nil || len(all) != 6 || after.epoch == s.epoch {
					t.Errorf("%d sessions, %v; epoch %s after %s", len(all), err, after.epoch, s.epoch)
				}
			})
		})
	}
}

func onManifest(op errorfs.Op, kind errorfs.OpKind) error {
	if op.Kind == kind && strings.Contains(op.Path, "MANIFEST") {
		return syscall.EIO
	}
	return nil
}

func whenWriting(op errorfs.Op, err error) error {
	if op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		return err
	}
	return nil
}

// Whatever fails while sessions are written, nobody is told of more than there is at
// the next start, and no call waits for ever.
func TestFailedFiles(t *testing.T) {
	for name, fails := range map[string]func(errorfs.Op) error{
		"make log":           onFiles(".log", syscall.EIO, errorfs.OpCreate),
		"sync directory":     onFiles("sessions", syscall.EIO, errorfs.OpFileSync),
		"manifest":           func(op errorfs.Op) error { return onManifest(op, errorfs.OpFileWrite) },
		"sync manifest":      func(op errorfs.Op) error { return onManifest(op, errorfs.OpFileSync) },
		"everything is full": func(op errorfs.Op) error { return whenWriting(op, syscall.ENOSPC) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBroken(fails)
			failed := make(chan error, 9)
			s := b.open(t, func(err error) { failed <- err })
			for range 3 { // so that Pebble has logs that it would use again
				if err := s.flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			var accepted [4]uint64
			var wg sync.WaitGroup
			for i := range accepted {
				id := fmt.Sprint("s", i)
				create(t, s, id)
				wg.Go(func() {
					for {
						done, err := s.Append(context.Background(), id, output(strings.Repeat("x", 100<<10)))
						if err != nil {
							return
						}
						if accepted[i] = done.Last; done.Last == 30 {
							b.on.Store(true) // at the next change of logs, after 16 MiB
						}
					}
				})
			}
			wg.Wait()
			<-failed
			s.Close()
			after := open(t, b.disk.CrashClone(vfs.CrashCloneCfg{}))
			defer after.Close()
			for i := range accepted {
				if n := uint64(len(log(t, after, fmt.Sprint("s", i)))); n < accepted[i] {
					t.Errorf("session %d: %d events were accepted, %d are there", i, accepted[i], n)
				}
			}
		})
	}
}

// What fails while a store is opened is told by Open, also where Pebble tells nobody.
func TestOpenOnABrokenDisk(t *testing.T) {
	for name, fails := range map[string]func(errorfs.Op) error{
		"tables":    onFiles(".sst", syscall.EIO, errorfs.OpCreate),
		"log":       onFiles(".log", syscall.EIO, errorfs.OpFileWrite),
		"sync log":  onFiles(".log", syscall.EIO, errorfs.OpFileSync, errorfs.OpFileSyncData),
		"make log":  onFiles(".log", syscall.EIO, errorfs.OpCreate),
		"manifest":  func(op errorfs.Op) error { return onManifest(op, errorfs.OpFileWrite) },
		"directory": onFiles("sessions", syscall.EIO, errorfs.OpFileSync),
	} {
		for _, end := range []string{"closed", "killed"} {
			if name == "tables" && end == "closed" {
				continue // no table is written then
			}
			t.Run(name+" "+end, func(t *testing.T) {
				b := newBroken(fails)
				s := b.open(t, nil)
				create(t, s, "s1")
				if end == "killed" {
					cut := b.disk.CrashClone(vfs.CrashCloneCfg{})
					s.Close()
					b = newBroken(fails)
					b.disk = cut
					b.fs = errorfs.Wrap(cut, errorfs.InjectorFunc(func(op errorfs.Op) error {
						if b.on.Load() {
							return fails(op)
						}
						return nil
					}))
				} else {
					s.Close()
				}
				b.on.Store(true)
				s, err := Open(Options{Dir: "d/data", Retention: wide, fs: b.fs, Failed: func(err error) { t.Errorf("told beside Open: %v", err) }})
				if err == nil {
					s.Close()
				}
				if err == nil || !strings.Contains(err.Error(), "input/output error") {
					t.Errorf("the error is %v", err)
				}
				b.on.Store(false)
				s = b.open(t, nil)
				defer s.Close()
				if _, err := s.Load(t.Context(), "s1"); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Nothing changes on the disk once a store has failed, whatever Pebble does: it is as a
// crash left it.
func TestNothingChangesAfterAFailure(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	create(t, s, "s1")
	if err := s.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	create(t, s, "s2")
	s.fail(syscall.EIO)
	before := files(t, fs, "d")
	for range 3 { // makes tables and logs, and removes logs
		if err := s.db.Flush(); err != nil {
			t.Error(err)
		}
	}
	v := volume{fs, s.database}
	for path := range before {
		if err := errors.Join(v.Rename(path, path+".old"), v.Link(path, path+".link"), v.Remove(path), v.RemoveAll(path)); err != nil {
			t.Error(err)
		}
	}
	s.Close()
	after := files(t, fs, "d")
	if len(after) != len(before) {
		t.Errorf("%d files, there were %d", len(after), len(before))
	}
	for path, b := range before {
		if !bytes.Equal(after[path], b) {
			t.Errorf("%s has changed", path)
		}
	}
}

// A damaged table, which Pebble tries to join with others for ever, stops the store only
// when appends wait for that: the rest can be read, and a restart mends nothing.
func TestDamagedTableAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &database{log: slog.New(slog.DiscardHandler), stopped: make(chan struct{})}
		fails := func(long time.Duration) error {
			for end := time.Now().Add(long); time.Now().Before(end); time.Sleep(time.Second) {
				d.background(fmt.Errorf("join tables: %w", pebble.ErrCorruption))
			}
			return d.down()
		}
		if err := fails(10 * patience); err != nil {
			t.Errorf("it failed while appends went on: %v", err)
		}
		d.stall(true)
		err := fails(patience / 2)
		d.stall(false)
		if err = errors.Join(err, fails(patience)); err != nil {
			t.Errorf("it failed after a short wait of appends: %v", err)
		}
		d.stall(true)
		if err := fails(patience + 2*time.Second); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("appends wait for ever, and the store says %v", err)
		}
	})
}
