package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// directory is the directory of a store, with the files beside Pebble's.
type directory struct {
	fs    vfs.FS
	dir   string
	forms []form // the formats that this version knows
	form  form   // of this store
}

// prepare makes the directory, or judges an existing one, and locks it.
func (d *directory) prepare() (*pebble.Lock, error) {
	dir := d.dir
	names, err := d.fs.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, explain(err)
	}
	err = d.readForm()
	switch {
	case err == nil:
		if err := d.notUpgrading(); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case halfCopy(names) != nil:
		return nil, halfCopy(names)
	case slices.ContainsFunc(names, foreign):
		return nil, fmt.Errorf("%w: name an empty directory, or one that does not exist", ErrForeign)
	default:
		d.form = d.newest()
		if err := d.fs.MkdirAll(d.fs.PathJoin(dir, dataDir), 0o700); err != nil {
			return nil, explain(err)
		}
		if err := d.writeFile(formatFile, strconv.Itoa(d.form.number)); err != nil {
			return nil, explain(err)
		}
		// A new directory is on the disk once its parent is synced.
		for at, parent := dir, d.fs.PathDir(dir); parent != at; at, parent = parent, d.fs.PathDir(parent) {
			_ = d.syncDir(parent) // it may be a directory that we cannot read
		}
	}
	// If the making of a directory was cut short, it has no place for the data yet.
	if err := d.fs.MkdirAll(d.fs.PathJoin(dir, dataDir), 0o700); err != nil {
		return nil, explain(err)
	}
	return d.lock()
}

// mayBeNew judges a directory in which Pebble finds no database, and would make one. A
// store whose making was cut short has no tables and no log yet: Pebble makes them last.
// mark is that of a clean end.
func (d *directory) mayBeNew(mark string) error {
	dir := d.fs.PathJoin(d.dir, dataDir)
	desc, err := pebble.Peek(dir, d.fs)
	if err != nil || desc.Exists {
		return err
	}
	names, err := d.fs.List(dir)
	if err != nil {
		return err
	}
	left := slices.IndexFunc(names, func(name string) bool { return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".log") })
	switch {
	case left >= 0:
		return damaged(fmt.Errorf("%s is there, but not the file that names the database's tables (marker.manifest.*)", names[left]))
	case mark != "":
		return damaged(errors.New("a process has ended cleanly here, but there is no database"))
	}
	return nil
}

// lock keeps every other process out, until the lock is closed.
func (d *directory) lock() (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(d.fs.PathJoin(d.dir, dataDir), d.fs)
	if err != nil {
		if isPermission(err) {
			return nil, explain(err)
		}
		return nil, fmt.Errorf("%w: end that process, or name another directory (%w)", ErrInUse, err)
	}
	return lock, nil
}

func isPermission(err error) bool { return explain(err) != err }

// foreign reports whether a file in a directory without a format file is not the store's.
func foreign(name string) bool {
	return name != "lost+found" && name != dataDir && name != formatFile+".new"
}

// readFile reads a file of one line.
func (d *directory) readFile(name string) (string, error) {
	f, err := d.fs.Open(d.fs.PathJoin(d.dir, name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	return strings.TrimSpace(string(b)), err
}

// writeFile puts a whole file in its place, on the disk.
func (d *directory) writeFile(name, text string) error {
	path := d.fs.PathJoin(d.dir, name)
	f, err := d.fs.Create(path+".new", vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write([]byte(text + "\n"))
	err = errors.Join(err, f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := d.fs.Rename(path+".new", path); err != nil {
		return err
	}
	return d.syncDir(d.dir)
}

func (d *directory) syncDir(path string) error {
	f, err := d.fs.OpenDir(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// readClosed reads the mark of a clean end. It is empty if the last end was not clean.
func (d *directory) readClosed() (mark string, err error) {
	mark, err = d.readFile(closedFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return mark, err
}

// dropClosed takes the mark away: from here on the store is in use.
func (d *directory) dropClosed() error { return d.remove(closedFile) }

// remove takes a file away, if it is there.
func (d *directory) remove(name string) error {
	err := d.fs.Remove(d.fs.PathJoin(d.dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return d.syncDir(d.dir)
}
