package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// watched is a file system that tells when a directory is synced.
type watched struct {
	vfs.FS
	synced func()
}

type watchedDir struct {
	vfs.File
	synced func()
}

func (w watched) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	return watchedDir{f, w.synced}, err
}

func (d watchedDir) Sync() error {
	d.synced()
	return d.File.Sync()
}

// The secret is made once, and is for its owner alone.
func TestSecret(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, secretFile)
	first, err := Secret(dir)
	if err != nil || len(first) < 32 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	again, err := Secret(dir)
	if err != nil || again != first {
		t.Errorf("another one the second time, %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	write(t, path, "short")
	if _, err := Secret(dir); err == nil {
		t.Error("a short secret was taken")
	}
}

// A crash left the new file behind, for everybody to read: under another umask, or with a
// second name. It was written over, and kept its mode and that name.
func TestSecretWithALeftOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, secretFile)
	write(t, path+".new", "left over")
	if err := os.Chmod(path+".new", 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(path+".new", filepath.Join(dir, "elsewhere")); err != nil {
		t.Fatal(err)
	}
	if _, err := Secret(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "elsewhere")); err != nil || string(text) != "left over" {
		t.Errorf("the file that was left over has the secret now: %q, %v", text, err)
	}
	if _, err := os.Stat(path + ".new"); !os.IsNotExist(err) {
		t.Errorf("the new file is still there: %v", err)
	}
}

// The secret's name was not synced: a power cut took it, and the next start made another
// one, which ended all tokens.
func TestSecretIsOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	synced := false
	d := directory{dir: dir, fs: watched{vfs.Default, func() {
		_, err := os.Stat(filepath.Join(dir, secretFile))
		synced = synced || err == nil
	}}}
	if _, err := d.secret(); err != nil || !synced {
		t.Errorf("its directory was synced behind it: %v, %v", synced, err)
	}
}
