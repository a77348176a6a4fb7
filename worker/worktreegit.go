package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sessionhub/protocol"
)

// writeOptions are those of git commands that change a repository. Hooks do not run: they
// are for people at their desks, and an agent may have changed them. Filters, such as those
// of Git LFS, run as they do for the agent.
var writeOptions = []string{
	"--no-pager",
	"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", "-c", "core.splitIndex=false",
	"-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "safe.bareRepository=explicit", "-c", "submodule.recurse=false",
	"-c", "protocol.allow=never", "-c", "core.askPass=", "-c", "credential.helper=", "-c", "user.useConfigOnly=true",
	"-c", "commit.gpgSign=false", "-c", "merge.verifySignatures=false", "-c", "advice.detachedHead=false", "-c", "checkout.workers=0",
}

// gitFailure is a git command that has failed.
type gitFailure struct {
	command string
	code    int    // its exit
	said    string // on stderr
	out     string // on stdout
}

func (f *gitFailure) Error() string {
	return fmt.Sprintf("git %s: exit %d: %s", f.command, f.code, printable(clip(strings.TrimSpace(f.said), 500)))
}

// says reports whether a command has failed with one of some words.
func says(err error, words ...string) bool {
	failed, ok := errors.AsType[*gitFailure](err)
	if !ok {
		return false
	}
	for _, w := range words {
		if strings.Contains(failed.said, w) || strings.Contains(failed.out, w) {
			return true
		}
	}
	return false
}

// change runs a command that may change the repository, and gives what it prints. At the end
// of ctx the command is asked to end, so that it removes its locks.
func (r *repository) change(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append(append([]string{}, writeOptions...), args...)...)
	cmd.Dir, cmd.Env = r.dir, r.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // filters end with it, and the worker's signals do not reach it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	if r.holds != nil {
		cmd.ExtraFiles = []*os.File{r.holds}
	}
	out, said := &head{most: maxGitOutput}, &head{most: 4096}
	cmd.Stdout, cmd.Stderr = out, said
	err := cmd.Run()
	if err == nil {
		return strings.TrimSuffix(out.String(), "\n"), nil
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return "", fmt.Errorf("start git: %w", err)
	}
	return out.String(), &gitFailure{command: args[0], code: exit.ExitCode(), said: said.String(), out: out.String()}
}

// gitAt runs git in a directory that is known to be in a working tree.
func (w *Worker) gitAt(dir string) *repository {
	return &repository{dir: dir, env: gitEnv(w.cfg.Environ)}
}

// oldestGit is the first version with merge-tree --write-tree.
var oldestGit = [2]int{2, 38}

// checkGit refuses a git that is not there, or is too old.
func (r *repository) checkGit(ctx context.Context) error {
	text, err := r.output(ctx, nil, "version")
	if err != nil {
		return err
	}
	words := strings.Fields(text)
	parts := strings.Split(words[min(2, len(words)-1)], ".")
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[min(1, len(parts)-1)])
	if err1 == nil && err2 == nil && (major > oldestGit[0] || major == oldestGit[0] && minor >= oldestGit[1]) {
		return nil
	}
	return refuse(protocol.CodeWorktreeRefused, "worktrees need git %d.%d or newer on the worker: it has %q", oldestGit[0], oldestGit[1], clip(strings.TrimSpace(text), 64))
}

// origin is the repository and the branch that a worktree is made from.
type origin struct {
	*repository
	top    string // of the user's working tree
	common string // git's directory, which all worktrees share
	base   string // "": HEAD is on no branch
	commit string
}

// openOrigin finds what a worktree of a directory would be made from, or refuses.
func (t *worktrees) openOrigin(ctx context.Context, dir, base string) (*origin, error) {
	if t.dir == "" {
		return nil, refuse(protocol.CodeWorktreeRefused, "the worker has no place for worktrees: start it with --worktrees")
	}
	if err := t.w.gitAt(dir).checkGit(ctx); err != nil {
		return nil, err
	}
	r, err := openRepository(ctx, t.w, dir)
	if errors.Is(err, errNoRepository) {
		return nil, refuse(protocol.CodeWorktreeRefused, "the directory is in no working tree of a git repository, or git ignores it")
	}
	if err != nil {
		return nil, err
	}
	o := &origin{repository: r, base: base}
	out, err := r.output(ctx, nil, "rev-parse", "--path-format=absolute", "--show-toplevel", "--git-common-dir")
	if err != nil {
		return nil, err
	}
	o.top, o.common, _ = strings.Cut(strings.TrimSuffix(out, "\n"), "\n")
	if within(o.top, t.dir) || within(o.common, t.dir) {
		return nil, refuse(protocol.CodeWorktreeRefused, "the worker's --worktrees lies in this repository: it must lie outside")
	}
	if base == "" {
		ref, err := r.output(ctx, nil, "symbolic-ref", "--quiet", "HEAD")
		if branch, ok := strings.CutPrefix(strings.TrimSpace(ref), "refs/heads/"); err == nil && ok {
			o.base = branch
		}
		o.commit = r.object(ctx, "HEAD^{commit}")
	} else if o.commit = r.branch(ctx, base); o.commit == "" && ctx.Err() == nil {
		return nil, refuse(protocol.CodeWorktreeRefused, "the repository has no branch %q", clip(base, 200))
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case o.commit == "":
		return nil, refuse(protocol.CodeWorktreeRefused, "the repository has no commit yet: a worktree begins with one")
	case r.prefix != "" && r.object(ctx, o.commit+":"+strings.TrimSuffix(r.prefix, "/")) == "":
		return nil, refuse(protocol.CodeWorktreeRefused, "the directory is not in the commit that the worktree would begin with: commit it first")
	}
	return o, nil
}

// branch gives the commit of a branch; "": there is none of exactly this name. Other words
// for a commit, such as main~3, name no branch.
func (r *repository) branch(ctx context.Context, name string) string {
	ref := "refs/heads/" + name
	if all, err := r.output(ctx, nil, "for-each-ref", "--format=%(refname)", ref); err != nil || strings.TrimSpace(all) != ref {
		return ""
	}
	return r.object(ctx, ref+"^{commit}")
}

// branchFor finds a free name for a session's branch.
func (o *origin) branchFor(ctx context.Context, id, wanted string) (string, error) {
	if wanted != "" {
		if name, err := o.output(ctx, nil, "check-ref-format", "--branch", wanted); err != nil || strings.TrimSpace(name) != wanted {
			return "", refuse(protocol.CodeInvalidRequest, "worktree.branch is no name of a branch")
		}
		if o.object(ctx, "refs/heads/"+wanted) != "" {
			return "", refuse(protocol.CodeWorktreeRefused, "the branch %q is there already", clip(wanted, 200))
		}
		return wanted, nil
	}
	short := strings.TrimPrefix(id, "s_")
	for _, n := range []int{8, 12, len(short)} {
		name := protocol.WorktreeBranches + short[:min(n, len(short))]
		if o.object(ctx, "refs/heads/"+name) == "" {
			return name, ctx.Err()
		}
	}
	return "", refuse(protocol.CodeWorktreeRefused, "the branch %s%s is there already", protocol.WorktreeBranches, short)
}

// unfinished are the files and directories in a worktree's git directory that say that an
// operation is under way.
var unfinished = map[string]string{
	"rebase-merge": "rebase", "rebase-apply": "rebase", "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick",
	"REVERT_HEAD": "revert", "BISECT_LOG": "bisect", "sequencer": "sequence of picks",
}

// unfinishedIn names the operation that is under way in a worktree with this git directory.
func unfinishedIn(gitDir string) string {
	for name, what := range unfinished {
		if _, err := os.Lstat(filepath.Join(gitDir, name)); !errors.Is(err, fs.ErrNotExist) {
			return what
		}
	}
	return ""
}

// isRebased reports whether a worktree of the repository rebases a branch. git shows no
// branch for such a worktree.
func isRebased(common, branch string) bool {
	dirs, _ := filepath.Glob(filepath.Join(common, "worktrees", "*"))
	for _, dir := range append(dirs, common) {
		for _, name := range []string{"rebase-merge/head-name", "rebase-apply/head-name"} {
			if raw, err := os.ReadFile(filepath.Join(dir, name)); err == nil && string(bytes.TrimSpace(raw)) == "refs/heads/"+branch {
				return true
			}
		}
	}
	return false
}

// isAncestor reports whether all commits of one are in the other.
func (r *repository) isAncestor(ctx context.Context, one, other string) (bool, error) {
	if one == other {
		return true, nil
	}
	_, err := r.change(ctx, "merge-base", "--is-ancestor", one, other)
	if failed, ok := errors.AsType[*gitFailure](err); ok && failed.code == 1 {
		return false, nil
	}
	return err == nil, err
}
