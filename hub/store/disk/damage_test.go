package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"sessionhub/hub/store"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// files reads all files below a directory.
func files(t *testing.T, fs vfs.FS, dir string) map[string][]byte {
	t.Helper()
	out := make(map[string][]byte)
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		path := fs.PathJoin(dir, name)
		info, err := fs.Stat(path)
		if errors.Is(err, os.ErrNotExist) { // Pebble removes files in the background
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			for k, v := range files(t, fs, path) {
				out[k] = v
			}
			continue
		}
		if info.Mode()&os.ModeSocket != 0 {
			continue
		}
		f, err := fs.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		out[path] = b
	}
	return out
}

func put(t *testing.T, content map[string][]byte) vfs.FS {
	t.Helper()
	fs := vfs.NewMem()
	if err := fs.MkdirAll("d/data/sessions", 0o700); err != nil {
		t.Fatal(err)
	}
	for path, b := range content {
		f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
		if err == nil {
			_, err = f.Write(bytes.Clone(b)) // under the race detector it is overwritten
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return fs
}

// content is all that the sessions of a store have, or an error.
func content(t *testing.T, s *Store) (logs map[string][]protocol.Entry, rest string, err error) {
	logs = make(map[string][]protocol.Entry)
	all, _, err := s.List(t.Context(), store.ListQuery{Limit: 100})
	if err != nil {
		return nil, "", err
	}
	for _, snap := range all {
		id := snap.State.Info.SessionID
		p, err := s.Read(t.Context(), id, 0, 1<<30, 1<<40)
		if err != nil {
			return nil, "", err
		}
		commands, err := s.Commands(t.Context(), id, 0)
		if err != nil {
			return nil, "", err
		}
		note, seq, ok, err := s.Note(t.Context(), id, "m:m1")
		if err != nil {
			return nil, "", err
		}
		logs[id] = p.Entries
		rest += fmt.Sprintf("%s %s %v %q %d %v\n", id, protocol.Marshal(snap.State), commands, note, seq, ok)
	}
	return logs, rest, nil
}

// A bit flips at every tenth byte of a small store, whose sessions are compacted: one
// in the middle of it, one at its end, where a kill loses the step. It opens with all
// that was there, in the old form or in the new one, or somebody is told: by an error,
// or, where it was killed and the end of its log cannot be told from one that was never
// written, by a new epoch.
func TestFlippedBits(t *testing.T) {
	apart := 10
	if judge.Raced {
		apart = 101
	}
	for _, end := range []string{"closed", "killed"} {
		t.Run(end, func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			s := open(t, fs)
			forms := make(map[string]map[string]bool) // of the events, by session
			seen := func(id string) {
				if forms[id] == nil {
					forms[id] = make(map[string]bool)
				}
				for _, e := range log(t, s, id) {
					forms[id][string(e.AppendJSON(nil))] = true
				}
			}
			compact := func(id string) error {
				seen(id)
				c, err := step(s, id, func() int { return 7 })
				if err == nil {
					err = s.Compact(t.Context(), id, c)
				}
				return err
			}
			for i := range 3 {
				id := fmt.Sprint("s", i)
				create(t, s, id)
				b, err := decided(s, id, "m1")
				if err == nil {
					_, err = s.Append(t.Context(), id, b)
				}
				for n := 0; n < 20 && err == nil; n++ {
					_, err = s.Append(t.Context(), id, output(strings.Repeat("text ", n)))
					if i == 1 && n == 12 && err == nil {
						err = compact(id)
					}
				}
				if i == 2 && err == nil {
					err = compact(id)
				}
				seen(id)
				if err != nil {
					t.Fatal(err)
				}
			}
			logs, rest, err := content(t, s)
			if err != nil {
				t.Fatal(err)
			}
			epoch := s.epoch
			var whole map[string][]byte
			if end == "killed" {
				whole = files(t, fs.CrashClone(vfs.CrashCloneCfg{}), "d")
				s.Close()
			} else {
				s.Close()
				whole = files(t, fs, "d")
			}
			ends := make(map[string]uint64)
			for id, entries := range logs {
				if ends[id] = entries[len(entries)-1].Seq; id != "s0" && uint64(len(entries)) == ends[id] {
					t.Fatalf("%s is not compacted", id)
				}
			}
			size, equal, refused, shorter := 0, 0, 0, 0
			most := 0 // events that are missing
			for path, b := range whole {
				size += len(b)
				for at := 0; at < len(b); at += apart {
					b[at] ^= 1 << (at % 8)
					flipped := put(t, whole)
					b[at] ^= 1 << (at % 8)
					s, err := Open(Options{Dir: "d/data", Retention: wide, fs: flipped})
					if err != nil {
						refused++
						continue
					}
					got, state, err := content(t, s)
					now := s.epoch
					s.Close()
					if err != nil {
						refused++
						continue
					}
					same := state == rest
					lost := 0
					for id, last := range ends {
						next := uint64(1)
						for _, e := range got[id] {
							if e.First() != next || !forms[id][string(e.AppendJSON(nil))] {
								t.Fatalf("%s, byte %d: event %d of %s is another one", path, at, e.Seq, id)
							}
							next = e.Seq + 1
						}
						lost += int(last + 1 - next)
					}
					same = same && lost == 0
					switch {
					case same:
						equal++
					case now == epoch || end == "closed":
						t.Fatalf("%s, byte %d: less than there was, in silence", path, at)
					default:
						shorter++
						most = max(most, lost)
					}
				}
			}
			t.Logf("%d bytes: %d times equal, %d errors, %d times shorter in a new epoch", size, equal, refused, shorter)
			if most > 2 {
				t.Errorf("%d events are missing, though only the end of the log cannot be judged", most)
			}
			if refused == 0 || size > 64<<10 {
				t.Errorf("%d errors, %d bytes", refused, size)
			}
		})
	}
}

// What is wrong with a directory is said, and nothing of it is changed.
func TestDirectoriesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	refused := func(path string, want error, text string) {
		t.Helper()
		_, err := Open(Options{Dir: path, Retention: wide})
		if !errors.Is(err, want) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	used := filepath.Join(dir, "a", "used")
	s, err := Open(Options{Dir: used, Retention: wide})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{used, filepath.Join(used, dataDir)} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v; want mode 0700", path, info.Mode(), err)
		}
	}
	refused(used, ErrInUse, "end that process, or name another directory")
	s.Close()

	strange := filepath.Join(dir, "strange")
	write(t, filepath.Join(strange, "thesis.txt"), "years of work")
	refused(strange, ErrForeign, "name an empty directory")
	if names, err := os.ReadDir(strange); err != nil || len(names) != 1 {
		t.Errorf("a stranger's directory has %v now, %v", names, err)
	}

	newer := filepath.Join(dir, "newer")
	write(t, filepath.Join(newer, formatFile), "2\n")
	refused(newer, ErrNewer, "its format is 2, and this version reads 1")

	write(t, filepath.Join(used, formatFile), "nonsense")
	refused(used, ErrDamaged, "keep a copy of the directory")
	write(t, filepath.Join(used, formatFile), "1\n")
	marker, err := filepath.Glob(filepath.Join(used, dataDir, "marker.format-version.*"))
	if err != nil || len(marker) != 1 {
		t.Fatal(marker, err)
	}
	later := strings.TrimSuffix(marker[0], filepath.Ext(marker[0])) + ".999"
	if err := os.Rename(marker[0], later); err != nil {
		t.Fatal(err)
	}
	refused(used, ErrNewer, "start a version at least as new")
	if err := os.Rename(later, marker[0]); err != nil {
		t.Fatal(err)
	}
	// Pebble takes a database without this marker for none, and would make a new one.
	manifest, err := filepath.Glob(filepath.Join(used, dataDir, "marker.manifest.*"))
	if err != nil || len(manifest) != 1 {
		t.Fatal(manifest, err)
	}
	aside := filepath.Join(dir, "marker")
	if err := os.Rename(manifest[0], aside); err != nil {
		t.Fatal(err)
	}
	before := files(t, vfs.Default, used)
	refused(used, ErrDamaged, "restore a backup")
	if err := os.Remove(filepath.Join(used, closedFile)); err != nil { // as if the process had been killed
		t.Fatal(err)
	}
	delete(before, filepath.Join(used, closedFile))
	refused(used, ErrDamaged, "restore a backup")
	if after := files(t, vfs.Default, used); !maps.EqualFunc(before, after, bytes.Equal) {
		t.Errorf("files that are refused were changed: %d before, %d after", len(before), len(after))
	}
	if err := os.Rename(aside, manifest[0]); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	write(t, file, "x")
	if _, err := Open(Options{Dir: file, Retention: wide}); err == nil {
		t.Error("a file was taken for a directory")
	}
	s, err = Open(Options{Dir: used, Retention: wide})
	if err != nil {
		t.Fatalf("after all of that: %v", err)
	}
	s.Close()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A deleted session's text leaves the files: the tables, and the logs, which would be
// used again otherwise. That of a compacted one leaves them in both forms.
func TestDeletedTextLeavesTheFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(Options{Dir: dir, Retention: wide})
	if err != nil {
		t.Fatal(err)
	}
	holds := func() (out []string) {
		for path, b := range files(t, vfs.Default, dir) {
			if bytes.Contains(b, []byte("a-secret-word")) {
				out = append(out, path)
			}
		}
		return out
	}
	say := func(id string, n int) {
		t.Helper()
		create(t, s, id)
		for i := range n {
			if _, err := s.Append(t.Context(), id, output(fmt.Sprint("a-secret-word ", i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	compact := func(id string, each int) {
		t.Helper()
		c, err := step(s, id, func() int { return each })
		if err == nil {
			err = s.Compact(t.Context(), id, c)
		}
		if err != nil || len(log(t, s, id)) > 50 {
			t.Fatalf("compact %s: %v", id, err)
		}
	}
	flush := func() {
		t.Helper()
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	say("in tables", 50)
	say("compacted in tables", 50) // the old form in one, the new one in another
	say("compacted in the log", 200)
	flush()
	compact("compacted in tables", 10)
	flush()
	compact("compacted in the log", 100)
	say("compacted at once", 50)
	compact("compacted at once", 10)
	say("in the log", 50)
	create(t, s, "stays")
	if len(holds()) == 0 {
		t.Fatal("the word is not in the files at all")
	}
	for _, id := range []string{"in tables", "in the log", "compacted in tables", "compacted in the log", "compacted at once"} {
		if err := s.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	// It is known over a restart what has to go.
	s.Close()
	if s, err = Open(Options{Dir: dir, Retention: wide}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.eraser.erase(t.Context()); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(time.Minute); len(holds()) > 0; time.Sleep(10 * time.Millisecond) { // Pebble removes files in the background
		if time.Now().After(late) {
			t.Fatalf("the word is still in %v", holds())
		}
	}
	if len(s.eraser.garbage) > 0 {
		t.Errorf("%d sessions are still to go", len(s.eraser.garbage))
	}
	if _, err := s.Load(t.Context(), "stays"); err != nil {
		t.Error(err)
	}
}
