package disk

import (
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// volume is the file system that Pebble sees: the disk's, until the store fails. From then
// on nothing on the disk changes, as if the process had been killed. Pebble's writes go
// nowhere and report success.
//
// Otherwise Pebble would panic or wait for ever when its log or its tables cannot be
// written. With a volume, each of its calls ends. No caller is told that such a write is
// stored: after a write, the store asks down().
type volume struct {
	vfs.FS
	store *database
}

// Unwrap implements vfs.FS.
func (v volume) Unwrap() vfs.FS { return v.FS }

// rewritable reports whether Pebble retries a failed file under another name: only a table.
func rewritable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// retryPause is how long Pebble waits after a table that cannot be written. Without the
// pause it would retry at once and use a whole core.
const retryPause = 100 * time.Millisecond

// Create implements vfs.FS.
func (v volume) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if v.store.down() != nil {
		return v.nowhere()
	}
	made, err := v.FS.Create(name, category)
	if err == nil {
		return file{made, v.store, rewritable(name)}, nil
	}
	if err = v.store.write(err, rewritable(name)); err != nil {
		return nil, err
	}
	return v.nowhere()
}

// nowhere returns a file that keeps nothing.
func (v volume) nowhere() (vfs.File, error) {
	made, err := vfs.NewMem().Create("nowhere", vfs.WriteCategoryUnspecified)
	return file{made, v.store, false}, err
}

// ReuseForWrite implements vfs.FS. It makes a new log: an old one that is written over
// would keep the text of deleted sessions at its end.
func (v volume) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	_ = v.store.write(v.Remove(oldname), false)
	return v.Create(newname, category)
}

// Open implements vfs.FS. It pauses when a failed store opens a file that it wrote last:
// the file does not exist, and Pebble retries at once.
func (v volume) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	opened, err := v.FS.Open(name, options...)
	if err != nil && v.store.down() != nil {
		time.Sleep(retryPause)
	}
	return opened, err
}

// OpenDir implements vfs.FS.
func (v volume) OpenDir(name string) (vfs.File, error) {
	opened, err := v.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return file{opened, v.store, false}, nil
}

// Remove implements vfs.FS.
func (v volume) Remove(name string) error {
	if v.store.down() != nil {
		return nil
	}
	return v.FS.Remove(name)
}

// RemoveAll implements vfs.FS.
func (v volume) RemoveAll(name string) error {
	if v.store.down() != nil {
		return nil
	}
	return v.FS.RemoveAll(name)
}

// Rename implements vfs.FS.
func (v volume) Rename(oldname, newname string) error {
	if v.store.down() != nil {
		return nil
	}
	return v.FS.Rename(oldname, newname)
}

// Link implements vfs.FS.
func (v volume) Link(oldname, newname string) error {
	if v.store.down() != nil {
		return nil
	}
	return v.FS.Link(oldname, newname)
}

// file is a file that is written, or a directory that is synced, on a volume.
type file struct {
	vfs.File
	store      *database
	rewritable bool
}

// Write implements vfs.File.
func (f file) Write(p []byte) (int, error) {
	if f.store.down() != nil {
		return len(p), nil
	}
	n, err := f.File.Write(p)
	if err = f.store.write(err, f.rewritable); err == nil {
		n = len(p)
	}
	return n, err
}

// Sync implements vfs.File.
func (f file) Sync() error { return f.try(f.File.Sync) }

// SyncData implements vfs.File.
func (f file) SyncData() error { return f.try(f.File.SyncData) }

// SyncTo implements vfs.File.
func (f file) SyncTo(length int64) (full bool, err error) {
	err = f.try(func() error {
		full, err = f.File.SyncTo(length)
		return err
	})
	return full, err
}

// Preallocate implements vfs.File.
func (f file) Preallocate(offset, length int64) error {
	if f.store.down() != nil {
		return nil
	}
	return f.File.Preallocate(offset, length) // Pebble goes on without it
}

// Close implements vfs.File.
func (f file) Close() error {
	err := f.File.Close()
	if f.store.down() != nil {
		return nil
	}
	return f.store.write(err, f.rewritable)
}

// try does a step that can fail the store.
func (f file) try(do func() error) error {
	if f.store.down() != nil {
		return nil
	}
	return f.store.write(do(), f.rewritable)
}
