package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"sessionhub/hub/store"
)

// openAt opens a store on the real file system. It may be closed before the test ends.
func openAt(t *testing.T, dir string, fs vfs.FS) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir, Retention: wide, fs: fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.closed.Load() {
			s.Close()
		}
	})
	return s
}

// faults gives what Check tells of a store.
func faults(t *testing.T, dir string) (Checked, []Fault) {
	t.Helper()
	var all []Fault
	c, err := Check(t.Context(), dir, func(f Fault) { all = append(all, f) })
	if err != nil {
		t.Fatal(err)
	}
	return c, all
}

// A copy is made while sessions are written: the log of each is a beginning of what was
// written, it has all that was acknowledged before, and it goes on in an epoch of its
// own. The store does not notice.
func TestBackupUnderLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := openAt(t, dir, nil)
	secret, err := Secret(dir)
	if err != nil {
		t.Fatal(err)
	}
	const sessions = 4
	var acknowledged [sessions]atomic.Uint64
	for i := range sessions {
		create(t, s, fmt.Sprint("s", i))
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	defer wg.Wait()
	defer stop()
	for i := range sessions {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				b, err := output(strings.Repeat("x", n%500)), error(nil)
				if n%8 == 0 {
					b, err = decided(s, fmt.Sprint("s", i), fmt.Sprint("m", n))
				}
				if err == nil {
					var done store.Appended
					done, err = s.Append(context.Background(), fmt.Sprint("s", i), b)
					acknowledged[i].Store(done.Last)
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for round := range 8 {
		if round == 4 { // tables beside the log
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		var before [sessions]uint64
		for i := range before {
			for before[i] = 0; before[i] < uint64(round*50); before[i] = acknowledged[i].Load() {
				if t.Failed() {
					return
				}
			}
		}
		to := filepath.Join(t.TempDir(), "copy")
		made, err := Backup(t.Context(), dir, to)
		if err != nil || !made.Running || !made.Secret || made.Dir != to || made.Bytes == 0 {
			t.Fatalf("%+v, %v", made, err)
		}
		if c, all := faults(t, to); len(all) > 0 || c.Sessions != sessions || c.Clean {
			t.Fatalf("%+v, faults %v", c, all)
		}
		restored := openAt(t, to, nil)
		if again, err := Secret(to); again != secret || err != nil {
			t.Errorf("the secret is another one, %v", err)
		}
		if restored.epoch == s.epoch {
			t.Error("the copy goes on in the epoch of the store")
		}
		for i := range sessions {
			id := fmt.Sprint("s", i)
			got, all := log(t, restored, id), log(t, s, id)
			for len(all) < len(got) { // what was being stored is in the copy, and about to be seen here
				all = log(t, s, id)
			}
			if uint64(len(got)) < before[i] {
				t.Fatalf("%s: %d events were acknowledged before, the copy has %d", id, before[i], len(got))
			}
			for n, e := range got {
				if !bytes.Equal(e.AppendJSON(nil), all[n].AppendJSON(nil)) {
					t.Fatalf("%s: event %d is another one in the copy", id, e.Seq)
				}
			}
			if _, err := restored.Append(t.Context(), id, output("the copy goes on")); err != nil {
				t.Error(err)
			}
		}
		restored.Close()
	}
	stop()
	wg.Wait()
	s.Close()
	if _, all := faults(t, dir); len(all) > 0 {
		t.Errorf("the store has faults: %v", all)
	}
}

// A store that no node has is copied as it is, after a clean end and after another one.
// Its copy begins a new epoch all the same: clients may see more of the original.
func TestBackupWithoutANode(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := open(t, fs)
	create(t, s, "s1")
	if _, err := s.Append(t.Context(), "s1", output("x")); err != nil {
		t.Fatal(err)
	}
	epoch, want := s.epoch, log(t, s, "s1")
	killed, closed := filepath.Join(t.TempDir(), "killed"), filepath.Join(t.TempDir(), "closed")
	unpack(t, fs.CrashClone(vfs.CrashCloneCfg{}), killed)
	s.Close()
	unpack(t, fs, closed)
	for _, from := range []string{closed, killed} {
		before := files(t, vfs.Default, from)
		to := filepath.Join(t.TempDir(), "a", "copy")
		made, err := Backup(t.Context(), from, to)
		if err != nil || made.Running || made.Secret {
			t.Fatalf("%+v, %v", made, err)
		}
		if same(before, files(t, vfs.Default, from)) != "" {
			t.Errorf("the store has changed: %s", same(before, files(t, vfs.Default, from)))
		}
		for _, path := range []string{to, filepath.Join(to, dataDir)} {
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v; want mode 0700", path, info.Mode(), err)
			}
		}
		restored := openAt(t, to, nil)
		if restored.epoch == epoch || fmt.Sprint(log(t, restored, "s1")) != fmt.Sprint(want) {
			t.Errorf("epoch %s after %s, log %v", restored.epoch, epoch, log(t, restored, "s1"))
		}
		snap, err := restored.Load(t.Context(), "s1")
		if err != nil || fmt.Sprint(snap.Epochs) != fmt.Sprint([]store.EpochStart{{Epoch: epoch, First: 1}, {Epoch: restored.epoch, First: 3}}) {
			t.Errorf("epochs %v, %v", snap.Epochs, err)
		}
		restored.Close()
	}
}

// unpack writes the files of a store in d/data into a directory of the real file system.
func unpack(t *testing.T, fs vfs.FS, dir string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(dir, dataDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, b := range files(t, fs, "d/data") {
		if err := os.WriteFile(filepath.Join(dir, strings.TrimPrefix(path, "d/data")), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// same says what differs between two sets of files.
func same(a, b map[string][]byte) string {
	for path := range b {
		if _, ok := a[path]; !ok {
			return path + " is new"
		}
	}
	for path, was := range a {
		if now, ok := b[path]; !ok || !bytes.Equal(was, now) {
			return path + " is gone, or another one"
		}
	}
	return ""
}

// What can be no copy is refused, and left as it is.
func TestBackupsThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, nil)
	create(t, s, "s1")
	full := t.TempDir()
	write(t, filepath.Join(full, "thesis.txt"), "years of work")
	other := filepath.Join(t.TempDir(), "copy")
	if _, err := Backup(t.Context(), dir, other); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(dir, dataDir), link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ from, to, text string }{
		{dir, full, "it is not empty: name an empty directory, or one that does not exist"},
		{dir, other, "it holds a store already"},
		{dir, dir, "it lies inside of the store"},
		{dir, filepath.Join(dir, dataDir, "x"), "it lies inside of the store"},
		{dir, filepath.Join(link, "x", "y"), "it lies inside of the store"},
		{full, filepath.Join(t.TempDir(), "new"), "there is no store of sessionhub in it"},
		{filepath.Join(dir, "nothing"), filepath.Join(t.TempDir(), "new"), "it does not exist"},
	} {
		before := files(t, vfs.Default, full)
		if _, err := Backup(t.Context(), c.from, c.to); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("from %s to %s: %v", c.from, c.to, err)
		}
		if now := same(before, files(t, vfs.Default, full)); now != "" {
			t.Error(now)
		}
	}
	if names, err := os.ReadDir(filepath.Join(dir, dataDir)); err != nil {
		t.Error(err)
	} else {
		for _, name := range names {
			if name.IsDir() {
				t.Errorf("there is a directory %s in the store now", name.Name())
			}
		}
	}
}

// Half of a copy is taken for no store by anybody, and the next backup begins anew.
func TestHalfACopy(t *testing.T) {
	dir := t.TempDir()
	s := openAt(t, dir, nil)
	create(t, s, "s1")
	to := filepath.Join(t.TempDir(), "copy")
	if _, err := Backup(t.Context(), dir, to); err != nil {
		t.Fatal(err)
	}
	// As a process leaves it that is killed before the end.
	if err := os.Remove(filepath.Join(to, formatFile)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(to, copyingFile), "")
	write(t, filepath.Join(to, dataDir, "000999.sst"), "half")
	if _, err := Open(Options{Dir: to, Retention: wide}); !errors.Is(err, errHalfCopy) {
		t.Errorf("open: %v", err)
	}
	if _, err := Check(t.Context(), to, func(Fault) {}); !errors.Is(err, errHalfCopy) {
		t.Errorf("check: %v", err)
	}
	if _, err := Backup(t.Context(), to, filepath.Join(t.TempDir(), "x")); !errors.Is(err, errHalfCopy) {
		t.Errorf("backup of it: %v", err)
	}
	if _, err := Backup(t.Context(), dir, to); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(to, dataDir, "000999.sst")); err == nil {
		t.Error("what was left of the first one is still there")
	}
	if c, all := faults(t, to); len(all) > 0 || c.Sessions != 1 {
		t.Errorf("%+v, faults %v", c, all)
	}
}

// A backup that fails, or that nobody waits for any more, leaves nothing behind, and
// the store goes on: also where its own file system would have failed it.
func TestBackupThatFails(t *testing.T) {
	root := t.TempDir()
	to := filepath.Join(root, "copy")
	var inject atomic.Pointer[func(errorfs.Op) error]
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if do := inject.Load(); do != nil && (strings.HasPrefix(op.Path, to) || op.Kind == errorfs.OpLink) { // which has the old path
			return (*do)(op)
		}
		return nil
	}))
	s := openAt(t, filepath.Join(root, "data"), fs)
	create(t, s, "s1")
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	for _, c := range []struct {
		name, text string
		do         func(errorfs.Op) error
	}{
		{"full disk", "the disk is full", func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileWrite {
				return syscall.ENOSPC
			}
			return nil
		}},
		{"fsync", "input/output error", func(op errorfs.Op) error {
			if op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData {
				return syscall.EIO
			}
			return nil
		}},
		{"called off", "it was called off, and nothing is left of it", func(op errorfs.Op) error {
			if op.Kind == errorfs.OpCreate && !strings.HasSuffix(op.Path, copyingFile) {
				cancel()
			}
			return nil
		}},
	} {
		inject.Store(&c.do)
		_, err := s.backup(ctx, to)
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
		inject.Store(nil)
		if names, err := os.ReadDir(root); err != nil || len(names) != 1 {
			t.Errorf("%s: left behind: %v, %v", c.name, names, err)
		}
		if _, err := s.Append(t.Context(), "s1", output(c.name)); err != nil {
			t.Fatalf("%s: the store: %v", c.name, err)
		}
	}
	// A file system without hard links says that they are not permitted.
	links := 0
	deny := func(op errorfs.Op) error {
		if op.Kind == errorfs.OpLink {
			links++
			return syscall.EPERM
		}
		return nil
	}
	inject.Store(&deny)
	if _, err := s.backup(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	inject.Store(nil)
	if links == 0 {
		t.Error("no table was to be shared")
	}
	restored := openAt(t, to, nil)
	if got, want := log(t, restored, "s1"), log(t, s, "s1"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the copy has %d events of %d", len(got), len(want))
	}
}

// A node that ends calls a backup off, and does not wait for it. Another one beside it
// is refused.
func TestEndDuringABackup(t *testing.T) {
	root := t.TempDir()
	dir, to := filepath.Join(root, "data"), filepath.Join(root, "copy")
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasPrefix(op.Path, filepath.Join(to, dataDir)) {
			once.Do(func() {
				close(reached)
				<-goOn
			})
		}
		return nil
	}))
	s := openAt(t, dir, fs)
	create(t, s, "s1")
	said := make(chan error, 1)
	go func() {
		_, err := Backup(context.Background(), dir, to)
		said <- err
	}()
	<-reached
	if _, err := Backup(t.Context(), dir, filepath.Join(root, "second")); err == nil || !strings.Contains(err.Error(), "another backup is under way: wait for its end") {
		t.Errorf("a second one: %v", err)
	}
	ctx := s.copying.Load().ctx
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.Close()
	}()
	<-ctx.Done()
	close(goOn)
	<-closed
	if err := <-said; err == nil || !strings.Contains(err.Error(), "it was called off") {
		t.Errorf("whoever asked is told %v", err)
	}
	if names, err := os.ReadDir(root); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	again := openAt(t, dir, nil)
	if again.epoch != s.epoch {
		t.Error("the store did not end cleanly")
	}
}

// Who has asked goes away: the node stops, and nothing is left.
func TestNobodyWaitsForABackup(t *testing.T) {
	root := t.TempDir()
	dir, to := filepath.Join(root, "data"), filepath.Join(root, "copy")
	ctx, cancel := context.WithCancel(t.Context())
	node := make(chan context.Context, 1)
	var s *Store
	fs := errorfs.Wrap(vfs.Default, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasPrefix(op.Path, filepath.Join(to, dataDir)) {
			cancel()
			c := s.copying.Load().ctx
			<-c.Done()
			select {
			case node <- c:
			default:
			}
		}
		return nil
	}))
	s = openAt(t, dir, fs)
	create(t, s, "s1")
	if _, err := Backup(ctx, dir, to); !errors.Is(err, context.Canceled) {
		t.Errorf("the error is %v", err)
	}
	<-node
	s.Close() // which waits
	if names, err := os.ReadDir(root); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}
