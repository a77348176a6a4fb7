package worker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sessionhub/protocol"
)

// actOnWorktree answers MethodWorktreeAct.
func actOnWorktree(ctx context.Context, w *Worker, _ string, request protocol.WorkerRequest) (any, error) {
	var p protocol.WorktreeActionRequest
	if err := decodeParams(request, &p); err != nil {
		return nil, err
	}
	t := w.worktrees
	unlock, err := t.lock(ctx, request.Worktree)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err := t.known(request.Worktree)
	if err != nil {
		return nil, err
	}
	if p.Action == protocol.WorktreeKeep {
		r.Kept = true
		if err := t.save(r); err != nil {
			return nil, err
		}
		return t.report(ctx, r)
	}
	if _, err := t.find(r.ID); err != nil {
		return nil, err
	}
	now, err := t.status(ctx, r, t.top(r))
	if err != nil {
		return nil, err
	}
	switch p.Action {
	case protocol.WorktreeMerge:
		if err := t.merge(ctx, r, now, p); err != nil {
			return nil, err
		}
		out, err := t.report(ctx, r)
		out.State = protocol.WorktreeMerged
		return out, err
	case protocol.WorktreeDiscard:
		if others := slices.DeleteFunc(slices.Clone(r.Sessions), func(s string) bool { return s == request.SessionID }); len(others) > 0 {
			return nil, refuse(protocol.CodeWorktreeRefused, "the session %s works in the worktree too: delete that first", others[0])
		}
		switch {
		case now.Merged, p.Version == now.Version:
		case p.Version != "":
			return nil, refuse(protocol.CodeChanged, "the work in the worktree has changed since you saw it: look at it again")
		default:
			return nil, refuse(protocol.CodeUnmergedWork, "%s would be lost: merge or keep it, or name the version that you saw", lostText(now))
		}
		if err := t.vacate(ctx, r.ID); err != nil {
			return nil, err
		}
		if err := t.remove(ctx, r, now); err != nil {
			return nil, err
		}
		now.State, now.Directory = protocol.WorktreeDiscarded, ""
		return now.WorktreeStatus, nil
	}
	return nil, refuse(protocol.CodeInvalidRequest, "action must be one of merge, keep, discard")
}

// lostText says what a worktree has that its base does not.
func lostText(now *worktreeNow) string {
	var parts []string
	if now.Ahead > 0 {
		parts = append(parts, fmt.Sprintf("%d commits", now.Ahead))
	}
	if now.Uncommitted > 0 {
		parts = append(parts, fmt.Sprintf("%d files that are not committed", now.Uncommitted))
	}
	if now.Unfinished != "" {
		parts = append(parts, "a "+now.Unfinished+" under way")
	}
	if len(parts) == 0 {
		return "work on another branch, in a submodule or in files that git overlooks"
	}
	return strings.Join(parts, " and ")
}

// merge brings the session's branch into its base. It changes nothing before it knows that
// the merge has no conflicts.
func (t *worktrees) merge(ctx context.Context, r *worktreeRecord, now *worktreeNow, p protocol.WorktreeActionRequest) error {
	switch {
	case r.Base == "":
		return refuse(protocol.CodeWorktreeRefused, "the worktree began on no branch (a detached HEAD): merge the branch %s with git", r.Branch)
	case now.BaseGone:
		return refuse(protocol.CodeWorktreeRefused, "the branch %q is gone: merge the branch %s with git", r.Base, r.Branch)
	case now.Unfinished != "":
		return refuse(protocol.CodeUncommitted, "a %s is under way in the worktree: finish it first", now.Unfinished)
	case now.HeadBranch != r.Branch || now.Head == "":
		return refuse(protocol.CodeWorktreeRefused, "the worktree is not on its branch %s any more", r.Branch)
	case now.Conflicts > 0:
		return refuse(protocol.CodeUncommitted, "%d files of the worktree have conflicts: resolve them first", now.Conflicts)
	case now.Uncommitted > 0 && !p.Commit:
		return refuse(protocol.CodeUncommitted, "%d files of the worktree are not committed: commit them first, or merge with commit: true", now.Uncommitted)
	}
	head := now.Head
	if now.Uncommitted > 0 {
		var err error
		if head, err = t.commit(ctx, now.git, r, p.Message); err != nil {
			return err
		}
	}
	target, err := mergeCommit(ctx, now.git, r, now.baseTip, head)
	if err != nil || target == now.baseTip {
		return err
	}
	return t.advance(ctx, now.git, r, now.baseTip, target)
}

// commit commits everything in the worktree that git does not ignore.
func (t *worktrees) commit(ctx context.Context, git *repository, r *worktreeRecord, message string) (string, error) {
	if message = strings.TrimSpace(message); message == "" {
		message = "Work of the session " + r.ID
	}
	if err := whoCommits(ctx, git); err != nil {
		return "", err
	}
	if _, err := git.change(ctx, "add", "--all"); err != nil {
		return "", gitRefusal(err, "commit the worktree's files")
	}
	if _, err := git.change(ctx, "commit", "--quiet", "--no-verify", "--cleanup=whitespace", "-m", message); err != nil {
		return "", gitRefusal(err, "commit the worktree's files")
	}
	return git.object(ctx, "HEAD^{commit}"), ctx.Err()
}

// whoCommits refuses to commit without a name and an address.
func whoCommits(ctx context.Context, git *repository) error {
	if _, err := git.change(ctx, "var", "GIT_COMMITTER_IDENT"); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return refuse(protocol.CodeWorktreeRefused, "git on the worker does not know who commits: set user.name and user.email there")
	}
	return nil
}

// gitRefusal tells the user why git did not do something.
func gitRefusal(err error, what string) error {
	failed, ok := errors.AsType[*gitFailure](err)
	if !ok {
		return err
	}
	if says(err, ".lock': File exists") {
		return refuse(protocol.CodeWorktreeRefused, "git could not %s: another git is at work there, or has left its lock behind", what)
	}
	return refuse(protocol.CodeWorktreeRefused, "git could not %s: %s", what, printable(clip(strings.TrimSpace(failed.said+failed.out), 300)))
}

// mergeCommit gives the commit that has the base and the head. No working tree is touched.
func mergeCommit(ctx context.Context, git *repository, r *worktreeRecord, base, head string) (string, error) {
	if in, err := git.isAncestor(ctx, head, base); in || err != nil {
		return base, err
	}
	if in, err := git.isAncestor(ctx, base, head); in || err != nil {
		return head, err
	}
	if err := whoCommits(ctx, git); err != nil {
		return "", err
	}
	out, err := git.change(ctx, "merge-tree", "--write-tree", "--name-only", "--no-messages", "-z", base, head)
	if failed, ok := errors.AsType[*gitFailure](err); ok && failed.code == 1 {
		names := strings.Split(strings.Trim(failed.out, "\x00"), "\x00")[1:]
		return "", refuse(protocol.CodeMergeConflict, "%d files have conflicts with %s: %s. Nothing was changed. Ask the agent to merge %s into its branch.",
			len(names), r.Base, printable(clip(strings.Join(names[:min(10, len(names))], ", "), 400)), r.Base)
	}
	if err != nil {
		return "", gitRefusal(err, "merge")
	}
	tree := strings.TrimRight(out, "\x00\n")
	commit, err := git.change(ctx, "commit-tree", tree, "-p", base, "-p", head, "-m", fmt.Sprintf("Merge branch '%s' into %s", r.Branch, r.Base))
	if err != nil {
		return "", gitRefusal(err, "commit the merge")
	}
	return commit, nil
}

// advance moves the base to a commit that has it, and the files of the working tree that has
// the base checked out. What is not committed there stays, or the merge is refused.
func (t *worktrees) advance(ctx context.Context, git *repository, r *worktreeRecord, from, to string) error {
	base := "refs/heads/" + r.Base
	if other, err := git.output(ctx, nil, "symbolic-ref", "--quiet", base); err == nil { // git lists a working tree with this name
		base = strings.TrimSpace(other)
	}
	at, err := git.checkedOut(ctx, base)
	if err != nil {
		return err
	}
	if at == "" {
		if isRebased(r.Common, strings.TrimPrefix(base, "refs/heads/")) {
			return refuse(protocol.CodeUncommitted, "a rebase of %s is under way: finish it first", r.Base)
		}
		if _, err := git.change(ctx, "update-ref", "--no-deref", "-m", "merge "+r.Branch, base, to, from); err != nil {
			return refuse(protocol.CodeChanged, "%s has moved meanwhile: try again", r.Base)
		}
		return nil
	}
	if _, err := t.w.cfg.ResolveDir(at); err != nil && at != r.Repository {
		return refuse(protocol.CodeWorktreeRefused, "the branch %s is checked out outside of the worker's workspace: merge the branch %s with git", r.Base, r.Branch)
	}
	if _, err := os.Stat(at); err != nil {
		return refuse(protocol.CodeWorktreeRefused, "the working tree that has %s checked out is gone from the disk", r.Base)
	}
	_, err = t.w.gitAt(at).change(ctx, "merge", "--ff-only", "--quiet", "--no-stat", "--no-autostash", "--no-overwrite-ignore", to)
	switch {
	case err == nil:
		return nil
	case says(err, "would be overwritten", "not uptodate", "would be removed"):
		return refuse(protocol.CodeUncommitted, "the merge would overwrite changes that are not committed where %s is checked out: commit or stash them first. Nothing was changed.", r.Base)
	case says(err, "Not possible to fast-forward", "Diverging branches"):
		return refuse(protocol.CodeChanged, "%s has moved meanwhile: try again", r.Base)
	case says(err, "have not concluded", "unmerged files"):
		return refuse(protocol.CodeUncommitted, "another merge is under way where %s is checked out: finish it first", r.Base)
	}
	return gitRefusal(err, "merge")
}

// checkedOut gives the working tree that has a branch checked out; "": none has. The branch
// begins with refs/heads/.
func (r *repository) checkedOut(ctx context.Context, branch string) (at string, err error) {
	list, err := r.change(ctx, "worktree", "list", "--porcelain", "-z")
	for _, entry := range strings.Split(list, "\x00\x00") {
		lines := strings.Split(strings.Trim(entry, "\x00"), "\x00")
		if slices.Contains(lines, "branch "+branch) {
			at = strings.TrimPrefix(lines[0], "worktree ")
		}
	}
	return at, err
}

// dropBranch deletes the branch of a removed worktree. It stays if it has moved meanwhile, or
// if somebody has it checked out: that working tree would be without a commit.
func (t *worktrees) dropBranch(ctx context.Context, git *repository, r *worktreeRecord) error {
	at, err := git.checkedOut(ctx, "refs/heads/"+r.Branch)
	switch {
	case err != nil:
		return err
	case at != "" || isRebased(r.Common, r.Branch):
		return errors.New("somebody works on it")
	}
	_, err = git.change(ctx, "update-ref", "--no-deref", "-d", "refs/heads/"+r.Branch, r.Tip)
	return err
}

// remove removes a worktree and its branch, if the worktree still has what it had when now
// was read.
func (t *worktrees) remove(ctx context.Context, r *worktreeRecord, now *worktreeNow) error {
	r.Removing, r.Merged, r.Tip = now.Version, now.Merged, now.tip
	if err := t.save(r); err != nil {
		return err
	}
	return t.finishRemoval(ctx, r)
}

// finishRemoval does the steps of a removal that are not done. Each may be done again after
// a crash. First the directory gets another name, so that nothing finds its way there. Work
// that came before that is seen, and the removal is taken back.
func (t *worktrees) finishRemoval(ctx context.Context, r *worktreeRecord) error {
	top := t.top(r)
	if _, err := os.Lstat(top); err == nil {
		if err := os.Rename(top, top+".gone"); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(filepath.Join(top+".gone", ".git")); err == nil && !t.isForgotten(r) {
		now, err := t.status(ctx, r, top+".gone")
		if err == nil && (now.Version != r.Removing || r.Merged && !now.Merged) {
			err = refuse(protocol.CodeChanged, "the work in the worktree has changed since you saw it: look at it again")
		}
		if err != nil {
			return errors.Join(err, t.takeBack(r))
		}
	}
	git := t.w.gitAt(r.Repository)
	git.env = append(git.env, "GIT_DIR="+r.Common)
	if _, err := os.Lstat(r.Common); err == nil {
		if _, err := git.change(ctx, "worktree", "remove", "--force", "--force", top); err != nil && !says(err, "is not a working tree") {
			return errors.Join(gitRefusal(err, "remove the worktree"), t.takeBack(r))
		}
		if r.Tip != "" {
			if err := t.dropBranch(ctx, git, r); err != nil {
				t.w.log.Warn("the branch of a removed worktree stays", "worktree", r.ID, "branch", r.Branch, "error", err)
			}
		}
	}
	if err := os.Remove(t.recordFile(r.ID)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.w.log.Info("worktree removed", "worktree", r.ID, "branch", r.Branch)
	t.w.runners.Go(func() { _ = os.RemoveAll(top + ".gone") })
	return nil
}

// isForgotten reports whether git knows no worktree at the record's place any more.
func (t *worktrees) isForgotten(r *worktreeRecord) bool {
	files, _ := filepath.Glob(filepath.Join(r.Common, "worktrees", "*", "gitdir"))
	for _, file := range files {
		raw, err := os.ReadFile(file)
		place := strings.TrimSpace(string(raw))
		if !filepath.IsAbs(place) { // with worktree.useRelativePaths
			place = filepath.Join(filepath.Dir(file), place)
		}
		if err == nil && place == filepath.Join(t.top(r), ".git") {
			return false
		}
	}
	return true
}

// takeBack undoes the first steps of a removal.
func (t *worktrees) takeBack(r *worktreeRecord) error {
	err := os.Rename(t.top(r)+".gone", t.top(r))
	r.Removing, r.Merged, r.Tip = "", false, ""
	return errors.Join(err, t.save(r))
}

// releaseWorktree answers MethodWorktreeRelease. The worktree is removed if its work is
// merged and no other session works in it.
func releaseWorktree(ctx context.Context, w *Worker, _ string, request protocol.WorkerRequest) (any, error) {
	t := w.worktrees
	unlock, err := t.lock(ctx, request.Worktree)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err := t.known(request.Worktree)
	if refused, ok := errors.AsType[*protocol.RequestError](err); ok && refused.Code == protocol.CodeNotFound {
		return protocol.WorktreeReleased{}, nil
	}
	if err != nil {
		return nil, err
	}
	for _, s := range t.users(r.ID) {
		if s.id != request.SessionID {
			continue
		}
		select {
		case <-s.done: // the close command ends it
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	r.Sessions = slices.DeleteFunc(r.Sessions, func(id string) bool { return id == request.SessionID })
	if err := t.save(r); err != nil {
		return nil, err
	}
	kept := func(why string) (any, error) {
		w.log.Info("the worktree of a session that ended stays", "session", request.SessionID, "worktree", r.ID, "branch", r.Branch, "directory", t.top(r), "why", why)
		return protocol.WorktreeReleased{Kept: why}, nil
	}
	switch {
	case len(r.Sessions) > 0:
		return kept("another session works in it")
	case r.Kept:
		return kept("its user keeps it")
	case !r.Ready:
		return protocol.WorktreeReleased{}, os.Remove(t.recordFile(r.ID)) // nobody has worked in it
	}
	if _, err := t.find(r.ID); err != nil {
		return kept(err.Error())
	}
	now, err := t.status(ctx, r, t.top(r))
	if err != nil {
		return nil, err
	}
	if !now.Merged {
		return kept(lostText(now) + " would be lost")
	}
	return protocol.WorktreeReleased{}, t.remove(ctx, r, now)
}
