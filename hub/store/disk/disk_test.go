package disk

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"go.uber.org/goleak"

	"sessionhub/hub/store"
	"sessionhub/hub/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wide bounds nothing.
var wide store.Retention

// A crash is a power cut that leaves some of what was not synced.
func TestModel(t *testing.T) {
	storetest.RunModel(t, func(t *testing.T, r store.Retention) (store.Store, storetest.Crash) {
		fs := vfs.NewCrashableMem()
		begin := func(t *testing.T) *Store {
			s, err := Open(Options{Dir: "d/data", Retention: r, fs: fs})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		s, rng := begin(t), rand.New(rand.NewPCG(1, 2))
		t.Cleanup(func() { s.Close() })
		return s, func(t *testing.T) store.Store {
			cut := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			s.Close()
			fs = cut
			s = begin(t)
			return s
		}
	})
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T, r store.Retention) store.Store {
		s, err := Open(Options{Dir: t.TempDir(), Retention: r})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	})
}

// A directory that the store makes is for its owner alone; one that was there is left as
// it was.
func TestModeOfTheDirectory(t *testing.T) {
	made, found := filepath.Join(t.TempDir(), "new", "data"), t.TempDir()
	if err := os.Chmod(found, 0o750); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]os.FileMode{made: 0o700, found: 0o750} {
		s, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		s.Close()
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != want {
			t.Errorf("%s has the mode %v, want %v", dir, mode, want)
		}
	}
}
