package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Copied describes a finished backup.
type Copied struct {
	Dir     string `json:"dir"`
	Files   int    `json:"files"`
	Bytes   int64  `json:"bytes"`   // also of files that it shares with the store
	Secret  bool   `json:"secret"`  // it holds the secret that signs tokens
	Running bool   `json:"running"` // a node has the store, and has made the copy
}

// Backup makes a consistent copy of the store in dir. The directory to must be empty or not
// exist. A node that has the store open makes the copy and goes on meanwhile; otherwise
// this process makes it.
//
// The copy holds everything that was acknowledged before Backup began. It shares the files
// that never change with the store if both are in one file system. The copy goes on in an
// epoch of its own.
//
// When ctx ends, or on an error, Backup leaves nothing in to. What a killed process has
// left there, the next Backup removes.
func Backup(ctx context.Context, dir, to string) (Copied, error) {
	s := newStore(Options{Dir: dir})
	to, err := filepath.Abs(to)
	if err != nil {
		return Copied{}, err
	}
	if err := s.directory.readStore(); err != nil {
		return Copied{}, fmt.Errorf("directory %s: %w", dir, err)
	}
	lock, err := s.directory.lock()
	switch {
	case errors.Is(err, ErrInUse):
		return askForBackup(ctx, dir, to)
	case err != nil:
		return Copied{}, fmt.Errorf("directory %s: %w", dir, err)
	}
	made, err := s.copyTo(ctx, to, func() error {
		return copyFiles(copyFS{s.opt.fs, ctx}, s.opt.fs.PathJoin(dir, dataDir), s.opt.fs.PathJoin(to, dataDir))
	})
	return made, errors.Join(err, lock.Close())
}

// backup is Backup for a store that is open.
func (s *Store) backup(ctx context.Context, to string) (Copied, error) {
	if !filepath.IsAbs(to) {
		return Copied{}, fmt.Errorf("backup to %q: it is not an absolute path", to)
	}
	if !s.copying.CompareAndSwap(nil, &copying{ctx, to}) {
		return Copied{}, errors.New("another backup is under way: wait for its end")
	}
	defer s.copying.Store(nil)
	if err := s.enter(); err != nil {
		return Copied{}, err
	}
	defer s.gate.RUnlock()
	begun := time.Now()
	made, err := s.copyTo(ctx, to, func() error {
		// Everything that was acknowledged is in the log file already.
		err := s.db.Checkpoint(s.opt.fs.PathJoin(to, dataDir))
		return errors.Join(err, s.down())
	})
	if err != nil {
		s.log.Warn("store: a backup failed", "to", to, "error", err)
		return Copied{}, err
	}
	made.Running = true
	s.log.Info("store: a backup was made", "to", to, "bytes", made.Bytes, "seconds", time.Since(begun).Seconds())
	return made, nil
}

// copyTo makes the copy: do copies Pebble's files, copyTo makes the files around them.
func (s *Store) copyTo(ctx context.Context, to string, do func() error) (made Copied, err error) {
	t := &target{directory: directory{fs: copyFS{s.opt.fs, ctx}, dir: to}}
	defer func() {
		if err != nil {
			t.directory.fs = s.opt.fs // also behind the end of ctx
			t.abort()
			if ctx.Err() != nil {
				err = errors.New("it was called off, and nothing is left of it")
			}
			err = fmt.Errorf("backup to %s: %w", to, explain(err))
		}
	}()
	if err := notInside(s.opt.Dir, to); err != nil {
		return Copied{}, err
	}
	if err := t.begin(); err != nil {
		return Copied{}, err
	}
	if err := do(); err != nil {
		return Copied{}, err
	}
	if err := t.makeLock(); err != nil {
		return Copied{}, err
	}
	secret, err := t.copySecret(s.opt.Dir)
	if err != nil {
		return Copied{}, err
	}
	if err := ctx.Err(); err != nil {
		return Copied{}, err
	}
	if err := t.finish(s.directory.form); err != nil {
		return Copied{}, err
	}
	files, bytes, err := t.size()
	return Copied{Dir: to, Files: files, Bytes: bytes, Secret: secret}, err
}

// notInside refuses a copy inside the store's own directory.
func notInside(dir, to string) error {
	store, err := os.Stat(dir)
	if err != nil {
		return err
	}
	for {
		if real, err := filepath.EvalSymlinks(to); err == nil {
			to = real
		}
		if at, err := os.Stat(to); err == nil && os.SameFile(at, store) {
			return errors.New("it lies inside of the store: name a directory elsewhere")
		}
		parent := filepath.Dir(to)
		if parent == to {
			return nil
		}
		to = parent
	}
}

// copyFiles copies a database that no process has open.
func copyFiles(fsys vfs.FS, from, to string) error {
	if err := fsys.MkdirAll(to, 0o700); err != nil {
		return err
	}
	names, err := fsys.List(from)
	if err != nil {
		return err
	}
	for _, name := range names {
		oldname, newname := fsys.PathJoin(from, name), fsys.PathJoin(to, name)
		switch {
		case name == lockFile:
			continue
		case strings.HasSuffix(name, ".sst"), strings.HasSuffix(name, ".blob"): // never changed
			err = vfs.LinkOrCopy(fsys, oldname, newname)
		default:
			err = vfs.Copy(fsys, oldname, newname)
		}
		if err != nil {
			return err
		}
	}
	d, err := fsys.OpenDir(to)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// askForBackup asks the process that has the store open to make a backup of it.
func askForBackup(ctx context.Context, dir, to string) (Copied, error) {
	got, err := ask(ctx, dir, order{Backup: to})
	switch {
	case errors.Is(err, fs.ErrPermission):
		return Copied{}, fmt.Errorf("directory %s: a node has it, and only its user may ask it for a backup: run this as that user (%w)", dir, err)
	case errors.Is(err, errNoAnswer):
		return Copied{}, fmt.Errorf("directory %s: a process has it that does not take orders, such as a node that is about to start or `sessionhub check`: try again, or end it (%w)", dir, err)
	case err != nil:
		return Copied{}, fmt.Errorf("directory %s: ask the node that has it for a backup: %w", dir, err)
	case got.Error != "":
		return Copied{}, errors.New(got.Error)
	case got.Copied == nil:
		return Copied{}, fmt.Errorf("directory %s: the node that has it is of another version, and does not know what a backup is", dir)
	}
	return *got.Copied, nil
}
