package worker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sessionhub/protocol"
)

const (
	// makeTime is how long git may take to make one worktree.
	makeTime = 30 * time.Minute
	// maxSpares is how many repositories have a spare.
	maxSpares = 4
	// spareLife is how long a spare waits for a session before it is removed.
	spareLife = 24 * time.Hour
	// takenLife is how long a session may take to get its record. A worktree that was taken
	// before, and that no record names, is nobody's.
	takenLife = 10 * time.Minute
	// sweepEvery is how often spares are looked at.
	sweepEvery = time.Hour
)

// making is a spare that is being made.
type making struct {
	done chan struct{} // closed when it is made, or has failed
	err  error         // valid once done is closed
}

// beginSpare has a spare made in the background, unless one is being made. It does not wait.
func (t *worktrees) beginSpare(o *origin) *making {
	t.mu.Lock()
	defer t.mu.Unlock()
	folder := t.folder(o.common)
	if m := t.making[folder]; m != nil {
		return m
	}
	m := &making{done: make(chan struct{})}
	t.making[folder] = m
	t.w.runners.Go(func() {
		ctx, cancel := context.WithTimeout(t.w.life, makeTime)
		defer cancel()
		began := time.Now()
		if m.err = t.makeSpare(ctx, o, folder); m.err != nil && ctx.Err() == nil {
			m.err = t.makeSpare(ctx, o, folder) // another git may have removed a worktree meanwhile, and git's folder of them
		}
		if m.err != nil {
			t.w.log.Warn("a worktree could not be made", "repository", o.top, "error", m.err)
		} else {
			t.w.log.Info("a worktree is ready for the next session", "repository", o.top, "took", time.Since(began).Round(time.Millisecond))
		}
		t.mu.Lock()
		delete(t.making, folder)
		t.mu.Unlock()
		close(m.done)
	})
	return m
}

// makeSpare makes a worktree without a branch.
func (t *worktrees) makeSpare(ctx context.Context, o *origin, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	top := filepath.Join(folder, "w-"+strings.ToLower(rand.Text()[:10]))
	mark, err := os.OpenFile(top+".making", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer mark.Close()
	if err := syscall.Flock(int(mark.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return err
	}
	git := t.w.gitAt(o.top)
	git.holds = mark // a git that outlives this process holds the lock on
	if _, err := git.change(ctx, "worktree", "add", "--quiet", "--detach", top, o.commit); err != nil {
		t.dropHalf(git, top)
		return madeError(err)
	}
	if err := writeWhole(top+".spare", []byte(o.commit)); err != nil {
		t.dropHalf(git, top)
		return err
	}
	return os.Remove(top + ".making")
}

// madeError is the error of a worktree that could not be made, in words for the user.
func madeError(err error) error {
	switch {
	case says(err, "No space left"):
		return refuse(protocol.CodeWorktreeRefused, "the worktree could not be made: no space is left on the worker's disk")
	case says(err, "Permission denied"):
		return refuse(protocol.CodeWorktreeRefused, "the worktree could not be made: the worker may not write to the repository's git directory, or to its --worktrees")
	}
	if failed, ok := errors.AsType[*gitFailure](err); ok {
		return refuse(protocol.CodeWorktreeRefused, "git could not make the worktree: %s", printable(clip(strings.TrimSpace(failed.said), 300)))
	}
	return err
}

// dropHalf removes what is left of a worktree that no session ever had.
func (t *worktrees) dropHalf(git *repository, top string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.w.life), time.Minute)
	defer cancel()
	if err := os.RemoveAll(top); err != nil {
		t.w.log.Warn("remove a worktree that nobody has", "directory", top, "error", err)
		return
	}
	_, _ = git.change(ctx, "worktree", "remove", "--force", top) // git may not know it
	for _, mark := range []string{".spare", ".taken", ".making"} {
		_ = os.Remove(top + mark)
	}
}

// take gives a session a spare: the name of its directory, and its commit. If there is none,
// one is made first. ok is false if ctx ended meanwhile.
func (t *worktrees) take(ctx context.Context, o *origin) (name, commit string, err error) {
	folder := t.folder(o.common)
	for {
		marks, _ := filepath.Glob(filepath.Join(folder, "w-*.spare"))
		for _, mark := range marks {
			top := strings.TrimSuffix(mark, ".spare")
			raw, err := os.ReadFile(mark)
			if err != nil || os.Chtimes(mark, time.Time{}, time.Now()) != nil || os.Rename(mark, top+".taken") != nil {
				continue // another session was faster
			}
			return filepath.Base(top), string(raw), nil
		}
		m := t.beginSpare(o)
		select {
		case <-m.done:
			if m.err != nil {
				return "", "", m.err
			}
		case <-ctx.Done():
			return "", "", ctx.Err()
		}
	}
}

// hasSpare reports whether a repository has a spare.
func (t *worktrees) hasSpare(o *origin) bool {
	marks, _ := filepath.Glob(filepath.Join(t.folder(o.common), "w-*.spare"))
	return len(marks) > 0
}

// keepSpare has a spare made if there is none, and removes those that are too many.
func (t *worktrees) keepSpare(o *origin) {
	if !t.hasSpare(o) {
		t.beginSpare(o)
	}
	t.w.runners.Go(func() { t.sweepSpares(t.w.life, maxSpares) })
}

// begin cleans up behind an earlier process, and then keeps the spares few.
func (t *worktrees) begin() {
	if t.dir == "" {
		return
	}
	t.w.runners.Go(func() {
		every := time.NewTicker(sweepEvery)
		defer every.Stop()
		for {
			t.sweep(t.w.life)
			select {
			case <-every.C:
			case <-t.w.life.Done():
				return
			}
		}
	})
}

// sweep removes what no session has: half-made worktrees of a process that has died, spares
// that nobody wanted, and the rest of removed worktrees. Removals that a crash has broken off
// go on.
func (t *worktrees) sweep(ctx context.Context) {
	records, _ := filepath.Glob(filepath.Join(t.dir, "sessions", "*.json"))
	for _, file := range records {
		r, err := t.load(strings.TrimSuffix(filepath.Base(file), ".json"))
		if err != nil {
			t.w.log.Warn("a worktree's record cannot be read: nothing is removed", "file", file, "error", err)
			return
		}
		info, err := os.Stat(file)
		unused := err == nil && r.Ready && !r.Used && !r.Kept && time.Since(info.ModTime()) > spareLife
		if r.Removing == "" && !unused || ctx.Err() != nil {
			continue
		}
		unlock, err := t.lock(ctx, r.ID)
		if err != nil {
			return
		}
		if r, err = t.load(r.ID); err == nil {
			switch {
			case r.Removing != "":
				err = t.finishRemoval(ctx, r)
			case r.Ready && !r.Used && !r.Kept:
				err = t.unmake(ctx, r)
			}
			if err != nil {
				t.w.log.Warn("remove a worktree", "worktree", r.ID, "error", err)
			}
		}
		unlock()
	}
	// What is listed before the records are read has its record by then, if it is somebody's.
	gone, _ := filepath.Glob(filepath.Join(t.dir, "*", "w-*.gone"))
	marks, _ := filepath.Glob(filepath.Join(t.dir, "*", "w-*.making"))
	taken, _ := filepath.Glob(filepath.Join(t.dir, "*", "w-*.taken"))
	named, err := t.named()
	if err != nil {
		t.w.log.Warn("a worktree's record cannot be read: nothing is removed", "error", err)
		return
	}
	for _, dir := range gone {
		if ctx.Err() == nil && !named[strings.TrimSuffix(dir, ".gone")] {
			_ = os.RemoveAll(dir)
		}
	}
	for _, mark := range marks {
		if f, err := os.OpenFile(mark, os.O_WRONLY, 0); err == nil {
			if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil && ctx.Err() == nil {
				t.dropMaking(strings.TrimSuffix(mark, ".making"))
			}
			_ = f.Close()
		}
	}
	for _, mark := range taken {
		top := strings.TrimSuffix(mark, ".taken")
		switch info, err := os.Stat(mark); {
		case err != nil || ctx.Err() != nil:
		case named[top]:
		case time.Since(info.ModTime()) > takenLife:
			t.dropNobodys(top)
		}
	}
	t.sweepSpares(ctx, maxSpares)
}

// named gives the directories that records name.
func (t *worktrees) named() (map[string]bool, error) {
	all := make(map[string]bool)
	records, _ := filepath.Glob(filepath.Join(t.dir, "sessions", "*.json"))
	for _, file := range records {
		r, err := t.load(strings.TrimSuffix(filepath.Base(file), ".json"))
		switch {
		case err == nil:
			all[t.top(r)] = true
		case !errors.Is(err, errNoWorktree):
			return nil, err
		}
	}
	return all, nil
}

// dropMaking removes what a dead maker has left half made. The maker may have died with only
// its mark left to remove: then the worktree is a spare, or a session's.
func (t *worktrees) dropMaking(top string) {
	for _, mark := range []string{".spare", ".taken", ".left"} {
		if _, err := os.Lstat(top + mark); !errors.Is(err, fs.ErrNotExist) {
			_ = os.Remove(top + ".making")
			return
		}
	}
	switch named, err := t.named(); { // a session that has it has no mark any more
	case err != nil:
		t.w.log.Warn("a worktree's record cannot be read: nothing is removed", "error", err)
	case named[top]:
		_ = os.Remove(top + ".making")
	default:
		t.dropNobodys(top)
	}
}

// unmake removes the directory of a worktree in which no agent has worked, and that has no
// work. The record stays: if the session runs after all, the worktree is made anew.
func (t *worktrees) unmake(ctx context.Context, r *worktreeRecord) error {
	top := t.top(r)
	now, err := t.status(ctx, r, top)
	if err != nil || !now.Merged || now.Head != r.Commit {
		return err
	}
	if err := writeWhole(top+".taken", nil); err != nil {
		return err
	}
	r.Name, r.Ready = "", false
	if err := t.save(r); err != nil {
		return err
	}
	t.dropNobodys(top)
	return nil
}

// dropNobodys removes a worktree that no session ever had.
func (t *worktrees) dropNobodys(top string) {
	t.w.log.Info("a worktree that no session has is removed", "directory", top)
	git := t.w.gitAt(filepath.Dir(top))
	if raw, err := os.ReadFile(filepath.Join(top, ".git")); err == nil {
		// .git/worktrees/<name>: run git in the repository, since this directory goes.
		gitDir := strings.TrimSpace(strings.TrimPrefix(string(raw), "gitdir: "))
		git.env = append(git.env, "GIT_DIR="+filepath.Dir(filepath.Dir(gitDir)))
	}
	t.dropHalf(git, top)
}

// sweepSpares removes the spares that have waited for too long, and the oldest above most.
func (t *worktrees) sweepSpares(ctx context.Context, most int) {
	type spare struct {
		mark string
		at   time.Time
	}
	var all []spare
	marks, _ := filepath.Glob(filepath.Join(t.dir, "*", "w-*.spare"))
	for _, mark := range marks {
		if info, err := os.Stat(mark); err == nil {
			all = append(all, spare{mark, info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b spare) int { return b.at.Compare(a.at) })
	for i, s := range all {
		if ctx.Err() != nil {
			return
		}
		if i < most && time.Since(s.at) < spareLife {
			continue
		}
		if err := t.dropSpare(ctx, strings.TrimSuffix(s.mark, ".spare")); err != nil {
			t.w.log.Warn("remove a spare worktree", "directory", strings.TrimSuffix(s.mark, ".spare"), "error", err)
		}
	}
}

// dropSpare removes a spare. One in which somebody has worked all the same stays, and is no
// spare any more.
func (t *worktrees) dropSpare(ctx context.Context, top string) error {
	commit, err := os.ReadFile(top + ".spare")
	if err != nil {
		return nil // a session has it
	}
	if err := os.Rename(top+".spare", top+".left"); err != nil {
		return nil
	}
	git := t.w.gitAt(top)
	head := git.object(ctx, "HEAD^{commit}")
	changed, err := git.output(ctx, nil, "status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none")
	switch {
	case err != nil:
		return err
	case changed != "" || head != string(commit):
		return fmt.Errorf("somebody has worked in it, so it stays: %w", fs.ErrExist)
	}
	if err := os.Rename(top+".left", top+".taken"); err != nil {
		return err
	}
	t.dropNobodys(top)
	return nil
}
