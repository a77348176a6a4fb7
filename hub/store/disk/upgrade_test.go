package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// later are the forms of a version that is to come: its states are wrapped, which no
// other form can read. write is called before each write of the step.
func later(write func(n int) error) []form {
	return []form{
		{number: 1, pebble: pebble.FormatColumnarBlocks},
		{number: 2, pebble: pebble.FormatValueSeparation, raise: func(ctx context.Context, db *pebble.DB) error {
			it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindState}, UpperBound: []byte{kindState + 1}})
			if err != nil {
				return err
			}
			var todo []*pebble.Batch
			for ok := it.First(); ok; ok = it.Next() {
				if strings.HasPrefix(string(it.Value()), "wrapped ") {
					continue // by a run that was cut short
				}
				b := db.NewBatch()
				_ = b.Set(it.Key(), append([]byte("wrapped "), it.Value()...), nil)
				todo = append(todo, b)
			}
			err = it.Close()
			for n, b := range todo {
				if err == nil {
					err = write(n)
				}
				if err == nil {
					err = db.Apply(b, pebble.Sync)
				}
				_ = b.Close()
			}
			return err
		}},
		{number: 3, pebble: pebble.FormatValueSeparation},
	}
}

// states gives the raw states of a store, and the epoch.
func states(t *testing.T, fs vfs.FS, at form) (all []string, epoch string) {
	t.Helper()
	s := newStore(Options{Dir: "d/data", fs: fs, forms: []form{at}})
	s.directory.form = at
	lock, err := s.directory.lock()
	if s.lock = lock; err == nil {
		err = s.openDB()
	}
	if err == nil {
		err = s.scan(kindState, func(_ uint64, v []byte) error {
			all = append(all, string(v))
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := s.get(metaKey(metaEpoch))
	if err = errors.Join(err, s.closeFiles()); err != nil {
		t.Fatal(err)
	}
	return all, string(b)
}

func text(t *testing.T, fs vfs.FS, name string) string {
	t.Helper()
	d := directory{fs: fs, dir: "d/data"}
	s, err := d.readFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return s
}

// The steps raise the format, theirs and Pebble's, and nothing else does: a later
// version serves the store as it is, and so does the older one after it.
func TestUpgrade(t *testing.T) {
	forms := later(func(int) error { return nil })
	for _, end := range []string{"closed", "killed"} {
		t.Run(end, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			old := Options{Dir: "d/data", Retention: wide, fs: fs, forms: forms[:1]}
			s, err := Open(old)
			if err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				create(t, s, fmt.Sprint("s", i))
			}
			s.Close()
			// The later version serves the store, in the format that it has.
			now := Options{Dir: "d/data", Retention: wide, fs: fs, forms: forms}
			if s, err = Open(now); err != nil {
				t.Fatal(err)
			}
			if v := s.db.FormatMajorVersion(); text(t, fs, formatFile) != "1" || v != forms[0].pebble {
				t.Errorf("serving has raised the format to %s, Pebble's to %s", text(t, fs, formatFile), v)
			}
			if _, err := upgrade(t.Context(), now); !errors.Is(err, ErrInUse) {
				t.Errorf("upgrade of a store in use: %v", err)
			}
			s.Close()
			if s, err = Open(old); err != nil {
				t.Fatalf("the older version, after it: %v", err)
			}
			epoch := s.epoch
			if end == "killed" {
				cut := fs.CrashClone(vfs.CrashCloneCfg{})
				s.Close()
				fs = cut
				old.fs, now.fs = fs, fs
			} else {
				s.Close()
			}
			u, err := upgrade(t.Context(), now)
			if err != nil || u != (Upgraded{1, 3}) {
				t.Fatalf("%+v, %v", u, err)
			}
			if text(t, fs, formatFile) != "3" || text(t, fs, upgradingFile) != "" || (text(t, fs, closedFile) != "") != (end == "closed") {
				t.Errorf("format %q, upgrading %q, closed %q", text(t, fs, formatFile), text(t, fs, upgradingFile), text(t, fs, closedFile))
			}
			all, kept := states(t, fs, forms[2])
			if len(all) != 3 || kept != epoch {
				t.Errorf("%d states, epoch %s after %s", len(all), kept, epoch)
			}
			for _, s := range all {
				if !strings.HasPrefix(s, "wrapped {") {
					t.Errorf("a state is %q", s)
				}
			}
			if desc, err := pebble.Peek("d/data/sessions", fs); err != nil || desc.FormatMajorVersion != forms[1].pebble {
				t.Errorf("Pebble's is %v, %v", desc, err)
			}
			if u, err := upgrade(t.Context(), now); err != nil || u != (Upgraded{3, 3}) {
				t.Errorf("once more: %+v, %v", u, err)
			}
			for what, err := range map[string]error{
				"open":    func() error { _, err := Open(old); return err }(),
				"check":   func() error { _, err := check(t.Context(), old, func(Fault) {}); return err }(),
				"upgrade": func() error { _, err := upgrade(t.Context(), old); return err }(),
			} {
				if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "start a version at least as new as that one") {
					t.Errorf("%s with the older version: %v", what, err)
				}
			}
		})
	}
}

// An upgrade ends at any moment, and again: no version takes what it leaves for a
// store, and the next run goes on to the end.
func TestUpgradeThatIsCutShort(t *testing.T) {
	fs := vfs.NewCrashableMem()
	old := Options{Dir: "d/data", Retention: wide, fs: fs, forms: later(nil)[:1]}
	s, err := Open(old)
	if err != nil {
		t.Fatal(err)
	}
	const sessions = 5
	for i := range sessions {
		create(t, s, fmt.Sprint("s", i))
	}
	s.Close()
	errCut := errors.New("cut")
	runs := 0
	for {
		runs++
		var crashed *vfs.MemFS
		forms := later(func(n int) error {
			if n == 0 {
				return nil
			}
			crashed = fs.CrashClone(vfs.CrashCloneCfg{}) // as if the power went: one write is done
			return errCut
		})
		now := Options{Dir: "d/data", Retention: wide, fs: fs, forms: forms}
		u, err := upgrade(t.Context(), now)
		if err == nil {
			if u != (Upgraded{1, 3}) {
				t.Errorf("%+v", u)
			}
			break
		}
		if !errors.Is(err, errCut) || !strings.Contains(err.Error(), "run `sessionhub upgrade` again") {
			t.Fatal(err)
		}
		if runs%2 == 0 {
			fs = crashed
		}
		old.fs, now.fs = fs, fs
		for what, err := range map[string]error{
			"open":  func() error { _, err := Open(now); return err }(),
			"check": func() error { _, err := check(t.Context(), now, func(Fault) {}); return err }(),
		} {
			if !errors.Is(err, errUpgrading) || !strings.Contains(err.Error(), "run `sessionhub upgrade --data-dir d/data` again") {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := Open(old); !errors.Is(err, ErrNewer) {
			t.Errorf("the older version: %v", err)
		}
	}
	if runs != sessions {
		t.Errorf("%d runs for %d writes", runs, sessions)
	}
	all, _ := states(t, fs, later(nil)[2])
	for _, s := range all {
		if !strings.HasPrefix(s, "wrapped {") {
			t.Errorf("a state is %q", s)
		}
	}
	if len(all) != sessions || text(t, fs, upgradingFile) != "" {
		t.Errorf("%d states, upgrading %q", len(all), text(t, fs, upgradingFile))
	}
}

// What this version writes is the newest format that it knows, and there is nothing to
// do about it.
func TestNothingToUpgrade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := openAt(t, dir, nil)
	create(t, s, "s1")
	s.Close()
	before := files(t, vfs.Default, dir)
	u, err := Upgrade(t.Context(), dir)
	newest := knownForms[len(knownForms)-1].number
	if err != nil || u != (Upgraded{newest, newest}) {
		t.Errorf("%+v, %v", u, err)
	}
	if now := same(before, files(t, vfs.Default, dir)); now != "" {
		t.Error(now)
	}
	for i, f := range knownForms {
		if f.number != knownForms[0].number+i {
			t.Errorf("form %d is in place %d", f.number, i)
		}
	}
}
