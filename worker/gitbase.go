package worker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// baseTime is how long git may take to note what a session begins with. Until then its
	// agent opens no session.
	baseTime = 10 * time.Second
	// maxBaseFiles and maxBaseBytes bound the files that are not committed and noted all
	// the same. If there are more, the session's changes include those from before it.
	maxBaseFiles = 2000
	maxBaseBytes = 32 << 20
)

// gitBase notes what the working directory has when a session begins: the last commit and,
// in a tree of git, the files that are not committed. It writes objects into the repository,
// which git throws away after two weeks (gc.pruneExpire), and no reference to them. It is ""
// if git has nothing to note, or cannot.
func gitBase(ctx context.Context, w *Worker, dir string) string {
	ctx, cancel := context.WithTimeout(ctx, baseTime)
	defer cancel()
	r, err := openRepository(ctx, w, dir)
	if err != nil {
		return ""
	}
	defer r.close()
	commit := r.object(ctx, "HEAD^{commit}")
	tree, err := r.snapshot(ctx)
	switch {
	case err != nil && ctx.Err() == nil:
		w.log.Debug("git cannot note what is not committed", "error", err)
		return commit
	case tree == "":
		return commit
	}
	return commit + ":" + tree
}

// snapshot makes a tree of the index and the changed files.
func (r *repository) snapshot(ctx context.Context) (string, error) {
	if err := r.copyIndex(ctx); err != nil {
		return "", err
	}
	changed, cut, err := r.fields(ctx, "diff-files", "--name-only", "-z", "--relative", "--ignore-submodules=dirty", "--", ".")
	if err != nil || cut {
		return "", err
	}
	left := room{files: maxBaseFiles, bytes: maxBaseBytes}
	if !left.take(r.dir, changed) {
		return "", nil
	}
	if err := r.update(ctx, changed); err != nil {
		return "", err
	}
	others, cut, err := r.fields(ctx, "ls-files", "--others", "--exclude-standard", "-z")
	others = slices.DeleteFunc(others, func(name string) bool {
		return strings.HasSuffix(name, "/") || !r.isReadable(name) // another repository, or not the worker's
	})
	if err == nil && !cut && left.take(r.dir, others) {
		_ = r.update(ctx, others) // if a filter fails, all count as new in the session
	}
	tree, err := r.output(ctx, nil, "write-tree", "--missing-ok")
	return strings.TrimSpace(tree), err
}

// update puts files of the disk into the copy of the index: all of them, or none.
func (r *repository) update(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	_, err := r.output(ctx, []byte(strings.Join(names, "\x00")+"\x00"), "update-index", "--add", "--remove", "-z", "--stdin")
	return err
}

// room is how much of the changed files may still be noted.
type room struct {
	files int
	bytes int64
}

// take reports whether files fit, and counts them if so.
func (left *room) take(dir string, names []string) bool {
	rest := room{left.files - len(names), left.bytes}
	if rest.files < 0 {
		return false
	}
	for _, name := range names {
		if info, err := os.Lstat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			rest.bytes -= info.Size()
		}
	}
	if rest.bytes < 0 {
		return false
	}
	*left = rest
	return true
}

// noteBase begins to note what the session begins with, if this is its first agent.
func (s *session) noteBase() {
	if s.assign.Resume || s.agentSession != "" || s.base.done != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.w.life)
	done, dir := make(chan struct{}), s.dir
	s.base.done, s.base.wait, s.base.cancel = done, done, cancel
	s.agents.Go(func() {
		defer close(done)
		defer cancel()
		s.base.id = gitBase(ctx, s.w, dir)
	})
}

// base is what the session begins with.
type base struct {
	id     string        // valid once done is closed
	done   chan struct{} // closed when it is noted; nil before the first agent
	wait   <-chan struct{}
	next   func() // what goes on then; nil if nothing waits
	cancel context.CancelFunc
}

// afterBase calls next once it is noted what the session begins with.
func (s *session) afterBase(next func()) {
	if s.base.wait == nil {
		next()
		return
	}
	a := s.agent
	s.base.next = func() {
		if s.agent == a && !a.stopped {
			next()
		}
	}
}

// baseNoted runs when done is closed.
func (s *session) baseNoted() {
	next := s.base.next
	s.base.wait, s.base.next = nil, nil
	if next != nil {
		next()
	}
}
