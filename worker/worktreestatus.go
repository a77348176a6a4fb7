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
	gitDir, err := git.output(ctx, nil, "rev-parse", "--absolute-git-dir")
	if err != nil {
		if errors.Is(err, errNoRepository) {
			return nil, refuse(protocol.CodeNotFound, "git does not know the worktree any more; its directory is %s", t.top(r))
		}
		return nil, err
	}
	gitDir = strings.TrimSuffix(gitDir, "\n")
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
	modules := hasModules(gitDir)
	if err := now.readFiles(ctx, top, sum); err != nil {
		return nil, err
	}
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
	now.Merged = now.Head != "" && now.Ahead == 0 && branchIn && now.Uncommitted == 0 && now.Unfinished == "" && !modules
	now.Version = hex.EncodeToString(sum.Sum(nil)[:16])
	return now, ctx.Err()
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
