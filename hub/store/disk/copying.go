package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// copying is a backup that is being made. It lives until ctx ends.
type copying struct {
	ctx context.Context
	dir string
}

// outside is the file system that Pebble sees: its own, and beside it the directory of a
// backup. An error in the backup's directory is not a fault of the store.
type outside struct {
	vfs.FS
	other   vfs.FS
	copying interface{ Load() *copying }
}

// of returns the file system that a file belongs to.
func (o outside) of(name string) vfs.FS {
	c := o.copying.Load()
	if rest, ok := "", false; c != nil {
		if rest, ok = strings.CutPrefix(name, c.dir); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
			return copyFS{o.other, c.ctx}
		}
	}
	return o.FS
}

// Unwrap implements vfs.FS.
func (o outside) Unwrap() vfs.FS { return o.FS }

// Create implements vfs.FS.
func (o outside) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	return o.of(name).Create(name, category)
}

// Link implements vfs.FS.
func (o outside) Link(oldname, newname string) error { return o.of(newname).Link(oldname, newname) }

// Rename implements vfs.FS.
func (o outside) Rename(oldname, newname string) error {
	return o.of(newname).Rename(oldname, newname)
}

// MkdirAll implements vfs.FS.
func (o outside) MkdirAll(dir string, perm os.FileMode) error { return o.of(dir).MkdirAll(dir, perm) }

// OpenDir implements vfs.FS.
func (o outside) OpenDir(name string) (vfs.File, error) { return o.of(name).OpenDir(name) }

// Remove implements vfs.FS.
func (o outside) Remove(name string) error { return o.of(name).Remove(name) }

// RemoveAll implements vfs.FS.
func (o outside) RemoveAll(name string) error { return o.of(name).RemoveAll(name) }

// copyFS is the file system that a backup is written to. Its files are for their owner
// alone. It refuses every write after the end of ctx.
type copyFS struct {
	vfs.FS
	ctx context.Context
}

// MkdirAll implements vfs.FS.
func (c copyFS) MkdirAll(dir string, _ os.FileMode) error { return c.FS.MkdirAll(dir, 0o700) }

// Create implements vfs.FS.
func (c copyFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := c.ctx.Err(); err != nil {
		return nil, err
	}
	f, err := c.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return copyFile{f, c.ctx}, nil
}

// Link implements vfs.FS. A file system without hard links says that they are not
// permitted; Link copies the file then.
func (c copyFS) Link(oldname, newname string) error {
	err := c.FS.Link(oldname, newname)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("no hard links here: %s", err)
	}
	return err
}

type copyFile struct {
	vfs.File
	ctx context.Context
}

// Write implements vfs.File.
func (f copyFile) Write(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

// target is the directory that a backup is made in. It is a store once it has its format
// file. Until then the file copyingFile marks it as half a backup.
type target struct {
	directory
	made  bool      // the directory, by begin
	begun bool      // every file in it belongs to this backup
	lock  io.Closer // of copyingFile; nil without it
}

// halfCopy refuses a directory whose names show that a backup was cut short there.
func halfCopy(names []string) error {
	if !slices.Contains(names, copyingFile) || slices.Contains(names, formatFile) {
		return nil
	}
	return fmt.Errorf("%w: `sessionhub backup` to the same directory removes it and begins anew; it can be removed by hand, too", errHalfCopy)
}

// begin makes the directory, or takes an empty one, or takes over half a backup.
func (t *target) begin() (err error) {
	names, err := t.fs.List(t.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := t.fs.MkdirAll(t.dir, 0o700); err != nil {
			return err
		}
		t.made = true
	case err != nil:
		return err
	case slices.Contains(names, formatFile):
		return errors.New("it holds a store already: name an empty directory, or one that does not exist")
	case halfCopy(names) == nil && slices.ContainsFunc(names, func(name string) bool { return name != "lost+found" }):
		return errors.New("it is not empty: name an empty directory, or one that does not exist")
	}
	if t.lock, err = t.fs.Lock(t.fs.PathJoin(t.dir, copyingFile)); err != nil {
		if isPermission(err) {
			return err
		}
		return fmt.Errorf("another backup is being made there (%w)", err)
	}
	t.begun = true
	if err := t.clear(); err != nil {
		return err
	}
	return t.syncDir(t.dir)
}

// clear removes all files of a backup, except for copyingFile.
func (t *target) clear() (err error) {
	for _, name := range []string{formatFile, formatFile + ".new", secretFile, secretFile + ".new", dataDir} {
		err = errors.Join(err, t.fs.RemoveAll(t.fs.PathJoin(t.dir, name)))
	}
	return err
}

// abort removes everything that the backup has made.
func (t *target) abort() {
	if t.begun && t.clear() == nil { // otherwise copyingFile must stay and mark the directory
		_ = t.fs.Remove(t.fs.PathJoin(t.dir, copyingFile))
	}
	_ = t.unlock()
	if t.made {
		_ = t.fs.Remove(t.dir)
	}
}

func (t *target) unlock() error {
	if t.lock == nil {
		return nil
	}
	lock := t.lock
	t.lock = nil
	return lock.Close()
}

// finish makes the copy a store, on the disk. The copy never has the mark of a clean end,
// even if the original has one. Clients may see later events of the original, so the copy
// goes on in another epoch.
func (t *target) finish(form form) error {
	if err := t.writeFile(formatFile, strconv.Itoa(form.number)); err != nil {
		return err
	}
	err := t.fs.Remove(t.fs.PathJoin(t.dir, copyingFile))
	err = errors.Join(err, t.unlock(), t.syncDir(t.dir))
	for at, parent := t.dir, t.fs.PathDir(t.dir); t.made && parent != at; at, parent = parent, t.fs.PathDir(parent) {
		_ = t.syncDir(parent) // it may be a directory that we cannot read
	}
	return err
}

// lockFile is Pebble's own lock of a database.
const lockFile = "LOCK"

// makeLock makes the file that locks a database, so that Check need not make one.
func (t *target) makeLock() error {
	f, err := t.fs.Create(t.fs.PathJoin(t.dir, dataDir, lockFile), vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	return f.Close()
}

// copySecret copies the secret that signs tokens, if there is one.
func (t *target) copySecret(from string) (found bool, err error) {
	b, err := os.ReadFile(filepath.Join(from, secretFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, writeSecret(filepath.Join(t.dir, secretFile), string(b))
}

// size adds up the files of the copy.
func (t *target) size() (files int, bytes int64, err error) {
	for _, dir := range []string{t.dir, t.fs.PathJoin(t.dir, dataDir)} {
		names, err := t.fs.List(dir)
		if err != nil {
			return 0, 0, err
		}
		for _, name := range names {
			info, err := t.fs.Stat(t.fs.PathJoin(dir, name))
			if err != nil {
				return 0, 0, err
			}
			if !info.IsDir() {
				files++
				bytes += info.Size()
			}
		}
	}
	return files, bytes, nil
}
