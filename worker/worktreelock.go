package worker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// lockPoll is how often a lock of another process is tried again.
const lockPoll = 50 * time.Millisecond

// lockFile waits until no other process works on a worktree, and no longer than ctx. The
// system gives the lock back when its process dies.
func (t *worktrees) lockFile(ctx context.Context, id string) (unlock func(), err error) {
	if t.dir == "" || !sessionIDs.MatchString(id) {
		return func() {}, nil // there is no such worktree
	}
	name := filepath.Join(t.dir, "sessions", id+".lock")
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil && isOpenAs(f, name) {
			return func() {
				if _, err := os.Lstat(t.recordFile(id)); errors.Is(err, fs.ErrNotExist) {
					_ = os.Remove(name)
				}
				_ = f.Close()
			}, nil
		}
		_ = f.Close()
		if err == nil { // its last holder has removed it
			continue
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// isOpenAs reports whether a name still leads to an open file.
func isOpenAs(f *os.File, name string) bool {
	one, err1 := f.Stat()
	other, err2 := os.Lstat(name)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}
