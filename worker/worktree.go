package worker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"sessionhub/protocol"
)

// worktrees are the git worktrees of sessions. They lie in Config.Worktrees, outside of any
// repository's own tree:
//
//	sessions/<id>.json     the record of a session's worktree
//	sessions/<id>.lock     locked by the worker that works on it
//	<name>-<hash>/         of one repository
//	  w-<random>/          a worktree
//	  w-<random>.making    it is being made; the maker has the file locked
//	  w-<random>.spare     it is ready, and no session has it
//	  w-<random>.taken     a session takes it
//	  w-<random>.gone/     what is left of a removed worktree
//
// A worktree takes seconds to make in a large repository. So a spare is kept ready, and a
// session gets it with a new branch. A rename of its marker takes the spare, so two workers
// may share the folder. No user works in a spare: a session has a worktree only when its
// record says Ready.
//
// All methods may be called concurrently.
type worktrees struct {
	w   *Worker // immutable
	dir string  // immutable; "": this worker makes none

	mu     sync.Mutex
	making map[string]*making       // by the repository's folder
	locks  map[string]*worktreeLock // by the worktree's id
}

// worktreeLock is held while a worktree is made, merged or removed. The mutex of worktrees
// guards waiting.
type worktreeLock struct {
	token   chan struct{}
	waiting int
}

// worktreeRecord is what is kept of a session's worktree.
type worktreeRecord struct {
	ID         string   `json:"id"`             // of the session that it was made for
	Sessions   []string `json:"sessions"`       // that work in it: its own, and forks of it
	Repository string   `json:"repository"`     // the top of the user's working tree
	Common     string   `json:"common"`         // git's directory of the repository
	Prefix     string   `json:"prefix"`         // of the user's directory below the top
	Branch     string   `json:"branch"`         // the session's own
	Base       string   `json:"base,omitempty"` // the branch that it is merged into; "": none
	Commit     string   `json:"commit"`         // that it began with
	Name       string   `json:"name,omitempty"` // of its directory; "": it has none yet
	Ready      bool     `json:"ready,omitempty"`
	Branched   bool     `json:"branched,omitempty"` // Branch was made for it
	Used       bool     `json:"used,omitempty"`     // an agent has worked in it
	Kept       bool     `json:"kept,omitempty"`     // the user keeps it
	// Removing is the version of the work that was judged before its removal began; "": it
	// is not being removed.
	Removing string `json:"removing,omitempty"`
	// Merged says that the removal began because nothing would be lost.
	Merged bool `json:"merged,omitempty"`
	// Tip is what Branch was when the removal began.
	Tip string `json:"tip,omitempty"`
}

// sessionIDs are the ids that a record's file may be named by.
var sessionIDs = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func newWorktrees(w *Worker) *worktrees {
	return &worktrees{w: w, dir: w.cfg.Worktrees, making: make(map[string]*making), locks: make(map[string]*worktreeLock)}
}

// lock waits until nobody else works on a worktree, in this process or another. It waits no
// longer than ctx.
func (t *worktrees) lock(ctx context.Context, id string) (unlock func(), err error) {
	t.mu.Lock()
	l := t.locks[id]
	if l == nil {
		l = &worktreeLock{token: make(chan struct{}, 1)}
		t.locks[id] = l
	}
	l.waiting++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if l.waiting--; l.waiting == 0 {
			delete(t.locks, id)
		}
	}
	select {
	case l.token <- struct{}{}:
		open, err := t.lockFile(ctx, id)
		if err != nil {
			<-l.token
			leave()
			return nil, err
		}
		return func() { open(); <-l.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

func (t *worktrees) recordFile(id string) string {
	return filepath.Join(t.dir, "sessions", id+".json")
}

// folder is that of a repository, which has the git directory common.
func (t *worktrees) folder(common string) string {
	sum := sha256.Sum256([]byte(common))
	name := filepath.Base(common)
	if name == ".git" {
		name = filepath.Base(filepath.Dir(common))
	}
	name = regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(name, "-")
	return filepath.Join(t.dir, strings.Trim(clipBytes(name, 40), ".")+"-"+hex.EncodeToString(sum[:6]))
}

func clipBytes(s string, most int) string { return s[:min(len(s), most)] }

// errNoWorktree says that there is no record.
var errNoWorktree = errors.New("there is no such worktree")

// load reads a record. errNoWorktree: there is none.
func (t *worktrees) load(id string) (*worktreeRecord, error) {
	if t.dir == "" || !sessionIDs.MatchString(id) {
		return nil, errNoWorktree
	}
	raw, err := os.ReadFile(t.recordFile(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoWorktree
	}
	if err != nil {
		return nil, err
	}
	var r worktreeRecord
	if err := json.Unmarshal(raw, &r); err != nil || r.ID != id {
		return nil, fmt.Errorf("the record of the worktree %s cannot be read", id)
	}
	return &r, nil
}

// save writes a record: a crash leaves the earlier one, or this one.
func (t *worktrees) save(r *worktreeRecord) error {
	return writeWhole(t.recordFile(r.ID), protocol.Marshal(r))
}

// writeWhole replaces a file in one step.
func writeWhole(name string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	temp := name + "." + rand.Text()[:6]
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(temp)
		return err
	}
	return os.Rename(temp, name)
}

// top is the worktree of a record.
func (t *worktrees) top(r *worktreeRecord) string { return filepath.Join(t.folder(r.Common), r.Name) }

// place is where the sessions of a record work: the place of the user's directory.
func (t *worktrees) place(r *worktreeRecord) string {
	return filepath.Join(t.top(r), filepath.FromSlash(r.Prefix))
}

// find gives the directory in which a session of a worktree works, without links.
func (t *worktrees) find(id string) (string, error) {
	r, err := t.load(id)
	switch {
	case errors.Is(err, errNoWorktree):
		return "", refuse(protocol.CodeNotFound, "this worker has no worktree of the session: it was thrown away, or is another worker's")
	case err != nil:
		return "", err
	case r.Removing != "":
		return "", refuse(protocol.CodeNotFound, "the session's worktree is being thrown away")
	case !r.Ready:
		return "", refuse(protocol.CodeUnavailable, "the session's worktree is being made: try again in a few seconds")
	}
	top, err := filepath.EvalSymlinks(t.top(r))
	if err != nil {
		return "", refuse(protocol.CodeNotFound, "the session's worktree is gone from the worker's disk; its branch is %s", r.Branch)
	}
	dir, err := filepath.EvalSymlinks(filepath.Join(top, filepath.FromSlash(r.Prefix)))
	if err != nil || !within(top, dir) {
		return "", refuse(protocol.CodeNotFound, "the session's directory is not in its worktree any more")
	}
	return dir, nil
}

// isOfWorktrees reports whether a method is about a worktree itself.
func isOfWorktrees(m protocol.WorkerMethod) bool { return strings.HasPrefix(string(m), "worktree.") }

// dirOf resolves the directory that a request is about.
func (w *Worker) dirOf(r protocol.WorkerRequest) (string, error) {
	dir, err := w.cfg.ResolveDir(r.WorkingDirectory)
	if err != nil || r.Worktree == "" || isOfWorktrees(r.Method) {
		return dir, err
	}
	return w.worktrees.find(r.Worktree)
}

// users gives the sessions of a worktree that this worker has now.
func (t *worktrees) users(id string) (all []*session) {
	t.w.mu.Lock()
	defer t.w.mu.Unlock()
	for _, s := range t.w.order {
		if s.assign.Worktree == id {
			all = append(all, s)
		}
	}
	return all
}

// vacate gives the sessions of a worktree back to the hub and waits until their agents are
// gone. A session that is at work is left alone, and refused.
func (t *worktrees) vacate(ctx context.Context, id string) error {
	for _, s := range t.users(id) {
		answer := make(chan bool, 1)
		select {
		case s.vacate <- answer:
			if !<-answer {
				return refuse(protocol.CodeBusy, "the agent is at work in the worktree: wait until it is idle, or stop it")
			}
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// onVacate gives the session back unless it is at work.
func (s *session) onVacate(answer chan<- bool) {
	if s.turn != nil || s.background.works || s.replay.due {
		answer <- false
		return
	}
	s.release(protocol.ReleaseIdle, true)
	s.leaving.final = true
	answer <- true
}
