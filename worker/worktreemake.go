package worker

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"sessionhub/protocol"
)

// makeWait is how long the answer to MethodWorktreeMake waits for the worktree. After that
// the worktree is made while the user goes on.
const makeWait = 2 * time.Second

// prepareWorktree answers MethodWorktreePrepare: it has a spare made, for a session that is
// about to be created.
func prepareWorktree(ctx context.Context, w *Worker, dir string, request protocol.WorkerRequest) (any, error) {
	var p protocol.WorktreeMakeParams
	if err := decodeParams(request, &p); err != nil {
		return nil, err
	}
	o, err := w.worktrees.openOrigin(ctx, dir, p.Base)
	if err != nil {
		return nil, err
	}
	ready := w.worktrees.hasSpare(o)
	if !ready {
		w.worktrees.keepSpare(o)
	}
	return protocol.PreparedWorktree{Base: o.base, Commit: o.commit, Ready: ready}, nil
}

// makeWorktree answers MethodWorktreeMake. A repeat for the same session gives the same
// worktree.
func makeWorktree(ctx context.Context, w *Worker, dir string, request protocol.WorkerRequest) (any, error) {
	var p protocol.WorktreeMakeParams
	if err := decodeParams(request, &p); err != nil {
		return nil, err
	}
	t, id := w.worktrees, request.SessionID
	if !sessionIDs.MatchString(id) {
		return nil, refuse(protocol.CodeInvalidRequest, "a worktree needs the id of its session")
	}
	o, err := t.openOrigin(ctx, dir, p.Base)
	if err != nil {
		return nil, err
	}
	unlock, err := t.lock(ctx, id)
	if err != nil {
		return nil, err
	}
	r, err := t.load(id)
	if errors.Is(err, errNoWorktree) {
		r = &worktreeRecord{ID: id, Sessions: []string{id}, Repository: o.top, Common: o.common, Prefix: o.prefix, Base: o.base, Commit: o.commit}
		if r.Branch, err = o.branchFor(ctx, id, p.Branch); err == nil {
			err = t.save(r)
		}
	}
	unlock()
	if err == nil && (r.Common != o.common || r.Prefix != o.prefix) {
		err = refuse(protocol.CodeWorktreeRefused, "a session of this id had a worktree of another directory, %s", t.place(r))
	}
	if err != nil {
		return nil, err
	}
	ready := make(chan error, 1)
	w.runners.Go(func() { _, err := t.ensure(w.life, id, ""); ready <- err })
	made := protocol.WorktreeMade{Branch: r.Branch, Base: r.Base, Commit: r.Commit, Workspace: w.cfg.Workspace}
	select {
	case err := <-ready:
		if err != nil {
			return nil, err
		}
		made.Directory, err = t.find(id)
		return made, err
	case <-time.After(makeWait):
	case <-ctx.Done():
	}
	return made, nil
}

// ensure makes the worktree of a record ready, and gives the directory in which its sessions
// work. It notes the session whose agent is about to work there; "": none is. After a crash,
// it begins anew with another spare.
func (t *worktrees) ensure(ctx context.Context, id, session string) (string, error) {
	unlock, err := t.lock(ctx, id)
	if err != nil {
		return "", err
	}
	defer unlock()
	r, err := t.known(id)
	if err != nil {
		return "", err
	}
	noted := session == "" || r.Used && slices.Contains(r.Sessions, session)
	if !noted {
		r.Used = true
		if !slices.Contains(r.Sessions, session) {
			r.Sessions = append(r.Sessions, session)
		}
	}
	if r.Ready {
		if !noted {
			if err := t.save(r); err != nil {
				return "", err
			}
		}
		return t.find(id)
	}
	o := &origin{repository: t.w.gitAt(r.Repository), top: r.Repository, common: r.Common, base: r.Base, commit: r.Commit}
	name, commit, err := t.take(ctx, o)
	if err != nil {
		return "", err
	}
	r.Name = name
	if err := t.save(r); err != nil {
		return "", err
	}
	if err := t.give(ctx, r, commit); err != nil {
		return "", madeError(err)
	}
	r.Ready, r.Branched = true, true
	if err := t.save(r); err != nil {
		return "", err
	}
	_ = os.Remove(t.top(r) + ".taken") // the record says it now
	t.w.log.Info("worktree made", "worktree", id, "branch", r.Branch, "directory", t.top(r))
	t.keepSpare(o)
	return t.find(id)
}

// give brings a spare, which is at a commit, to that of the record, and onto a new branch.
func (t *worktrees) give(ctx context.Context, r *worktreeRecord, commit string) error {
	git := t.w.gitAt(t.top(r))
	if commit != r.Commit { // only what differs is written
		if _, err := git.change(ctx, "read-tree", "-m", "-u", commit, r.Commit); err != nil {
			return err
		}
	}
	ref, note := "refs/heads/"+r.Branch, "branch: created for the session "+r.ID
	if at := git.object(ctx, ref); at == "" || at != r.Commit || !r.Branched && !git.wasNoted(ctx, ref, note) {
		none := zeros(len(r.Commit)) // it fails if there is such a branch: somebody else's
		if _, err := git.change(ctx, "update-ref", "--create-reflog", "-m", note, ref, r.Commit, none); err != nil {
			return err
		}
	}
	_, err := git.change(ctx, "symbolic-ref", "-m", "checkout: for a session", "HEAD", ref)
	return err
}

// wasNoted reports whether the log of a branch has a line: an attempt before a crash may have
// made the branch.
func (r *repository) wasNoted(ctx context.Context, ref, note string) bool {
	log, err := r.output(ctx, nil, "reflog", "show", "--format=%gs", ref, "--")
	return err == nil && slices.Contains(strings.Split(log, "\n"), note)
}

// zeros is the id of no object.
func zeros(n int) string {
	id := make([]byte, n)
	for i := range id {
		id[i] = '0'
	}
	return string(id)
}

// inWorktree gives the directory of the session's worktree when it is made. It runs in a
// goroutine of the session's agent.
func (s *session) inWorktree() func(context.Context) (string, error) {
	id := s.assign.Worktree
	if id == "" {
		return nil
	}
	return func(ctx context.Context) (string, error) { return s.w.worktrees.ensure(ctx, id, s.id) }
}

// worktreeDetail says for a status that the agent waits for its worktree; empty: it does not.
func (s *session) worktreeDetail() string {
	if s.assign.Worktree == "" {
		return ""
	}
	if r, err := s.w.worktrees.load(s.assign.Worktree); err != nil || r.Ready {
		return ""
	}
	return "the worktree is being made"
}
