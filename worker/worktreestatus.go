package worker

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"sessionhub/protocol"
)

// worktreeNow is what a worktree has at one moment.
type worktreeNow struct {
	protocol.WorktreeStatus
	tip     string // of the session's branch; "": it is gone
	baseTip string // "": the base has no branch, or its branch is gone
	git     *repository
}

// status reads a worktree. Its top is where it lies now.
func (t *worktrees) status(ctx context.Context, r *worktreeRecord, top string) (*worktreeNow, error) {
	now := &worktreeNow{git: t.w.gitAt(top)}
	now.SessionWorktree = protocol.SessionWorktree{Branch: r.Branch, Base: r.Base, Commit: r.Commit, Directory: t.place(r), State: protocol.WorktreeActive}
	if r.Kept {
		now.State = protocol.WorktreeKept
	}
	git := now.git
	where, err := git.output(ctx, nil, "rev-parse", "--path-format=absolute", "--absolute-git-dir", "--git-common-dir", "--show-toplevel")
	if err != nil {
		if errors.Is(err, errNoRepository) {
			return nil, refuse(protocol.CodeNotFound, "git does not know the worktree any more; its directory is %s", t.top(r))
		}
		return nil, err
	}
	// An agent may have made a repository of its own there. Or git has found one further up.
	lines := strings.Split(strings.TrimSuffix(where, "\n"), "\n")
	if len(lines) != 3 || !isSame(lines[1], r.Common) || !isSame(lines[2], top) {
		return nil, refuse(protocol.CodeWorktreeRefused, "the worktree belongs to another repository than it was made from; its directory is %s", t.top(r))
	}
	gitDir := lines[0]
	now.Head = git.object(ctx, "HEAD^{commit}")
	if ref, err := git.output(ctx, nil, "symbolic-ref", "--quiet", "HEAD"); err == nil {
		now.HeadBranch, _ = strings.CutPrefix(strings.TrimSpace(ref), "refs/heads/")
	}
	now.tip = git.object(ctx, "refs/heads/"+r.Branch+"^{commit}")
	if r.Base != "" {
		now.baseTip = git.object(ctx, "refs/heads/"+r.Base+"^{commit}")
		now.BaseGone = now.baseTip == "" && ctx.Err() == nil
	}
	now.Unfinished = unfinishedIn(gitDir)
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\x00%s\x00%s\x00%s\x00", now.Head, now.HeadBranch, now.tip, now.Unfinished)
	if err := now.readFiles(ctx, top, sum); err != nil {
		return nil, err
	}
	hidden, err := now.readHidden(ctx, top, sum)
	if err != nil {
		return nil, err
	}
	hidden = hidden || hasModules(gitDir)
	onto := now.baseTip
	if onto == "" {
		onto = r.Commit
	}
	if now.Head != "" {
		counts, err := git.output(ctx, nil, "rev-list", "--left-right", "--count", onto+"..."+now.Head)
		if err != nil {
			return nil, err
		}
		if left, right, ok := strings.Cut(strings.TrimSpace(counts), "\t"); ok {
			now.Behind, _ = strconv.Atoi(left)
			now.Ahead, _ = strconv.Atoi(right)
		}
	}
	branchIn := now.tip == ""
	if !branchIn {
		if branchIn, err = git.isAncestor(ctx, now.tip, onto); err != nil {
			return nil, err
		}
	}
	// The commits of a submodule may lie in the worktree's own git directory alone.
	now.Merged = now.Head != "" && now.Ahead == 0 && branchIn && now.Uncommitted == 0 && now.Unfinished == "" && !hidden
	now.Version = hex.EncodeToString(sum.Sum(nil)[:16])
	return now, ctx.Err()
}

// isSame reports whether two paths lead to one file.
func isSame(a, b string) bool {
	one, err1 := os.Stat(a)
	other, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(one, other)
}

// hasModules reports whether a worktree's git directory has repositories of submodules.
func hasModules(gitDir string) bool {
	entries, err := os.ReadDir(filepath.Join(gitDir, "modules"))
	return err == nil && len(entries) > 0
}

// readFiles counts the files that are not committed, and adds them with their sizes and times
// to the sum.
func (now *worktreeNow) readFiles(ctx context.Context, top string, sum io.Writer) error {
	args := []string{"status", "--porcelain=v2", "-z", "--untracked-files=all", "--ignore-submodules=none", "--no-renames"}
	return now.git.stream(ctx, nil, args, func(from io.Reader) error {
		lines := bufio.NewReaderSize(from, 64<<10)
		for {
			line, err := lines.ReadString(0)
			if line == "" || errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			line = line[:len(line)-1]
			_, _ = io.WriteString(sum, line+"\x00")
			now.Uncommitted++
			path := ""
			switch line[0] {
			case '?':
				path = strings.TrimPrefix(line, "? ")
			case 'u':
				now.Conflicts++
				path = field(line, 10)
			default:
				path = field(line, 8)
			}
			if info, err := os.Lstat(filepath.Join(top, filepath.FromSlash(path))); err == nil {
				fmt.Fprintf(sum, "%d %d\x00", info.Size(), info.ModTime().UnixNano())
			}
		}
	})
}

// readHidden reports whether the worktree has files that git was told to overlook, or another
// repository of which it knows a commit. git's status shows no work in either.
func (now *worktreeNow) readHidden(ctx context.Context, top string, sum io.Writer) (found bool, err error) {
	err = now.git.stream(ctx, nil, []string{"ls-files", "-v", "--stage", "-z"}, func(from io.Reader) error {
		lines := bufio.NewReaderSize(from, 64<<10)
		for {
			line, err := lines.ReadString(0)
			if line == "" || errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			flags, path, _ := strings.Cut(line[:len(line)-1], "\t") // flag, mode, id, stage
			path = filepath.Join(top, filepath.FromSlash(path))
			switch {
			case strings.HasPrefix(field(flags, 1), "160000 "):
				path = filepath.Join(path, ".git")
			case flags[0] != 'S' && (flags[0] < 'a' || flags[0] > 'z'): // neither skip-worktree nor assume-unchanged
				continue
			}
			if info, err := os.Lstat(path); err == nil {
				found = true
				fmt.Fprintf(sum, "%s\x00%d %d\x00", line, info.Size(), info.ModTime().UnixNano())
			}
		}
	})
	return found, err
}

// field gives what stands behind n spaces.
func field(line string, n int) string {
	for range n {
		_, line, _ = strings.Cut(line, " ")
	}
	return line
}

// worktreeStatus answers MethodWorktreeStatus.
func worktreeStatus(ctx context.Context, w *Worker, _ string, request protocol.WorkerRequest) (any, error) {
	t := w.worktrees
	r, err := t.known(request.Worktree)
	if err != nil {
		return nil, err
	}
	return t.report(ctx, r)
}

// known loads the record of a worktree that is not being removed.
func (t *worktrees) known(id string) (*worktreeRecord, error) {
	r, err := t.load(id)
	switch {
	case errors.Is(err, errNoWorktree), err == nil && r.Removing != "":
		return nil, refuse(protocol.CodeNotFound, "this worker has no worktree of the session: it was thrown away, or is another worker's")
	}
	return r, err
}

// report is what the user learns of a worktree.
func (t *worktrees) report(ctx context.Context, r *worktreeRecord) (protocol.WorktreeStatus, error) {
	if !r.Ready {
		return protocol.WorktreeStatus{Making: true, SessionWorktree: protocol.SessionWorktree{
			Branch: r.Branch, Base: r.Base, Commit: r.Commit, State: protocol.WorktreeActive,
		}}, nil
	}
	if _, err := t.find(r.ID); err != nil {
		return protocol.WorktreeStatus{}, err
	}
	now, err := t.status(ctx, r, t.top(r))
	if err != nil {
		return protocol.WorktreeStatus{}, err
	}
	return now.WorktreeStatus, nil
}
