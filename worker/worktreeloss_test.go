package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// Work that git's status of the worktree does not show is work all the same.
func TestWorktreeKeepsWorkThatStatusHides(t *testing.T) {
	for name, work := range map[string]func(*grove, string){
		"a repository made anew": func(g *grove, dir string) {
			_ = os.Remove(dir + "/.git")
			g.in(dir, "init", "-q", "-b", "main")
			g.put(dir+"/x", "1")
			g.in(dir, "add", ".")
			g.in(dir, "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "x")
		},
		"a repository in the repository": func(g *grove, dir string) {
			g.in(dir, "init", "-q", "nested")
			g.in(dir+"/nested", "-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "--allow-empty", "-qm", "x")
			g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge, Commit: true}, "")
		},
		"assumed unchanged": func(g *grove, dir string) {
			g.in(dir, "update-index", "--assume-unchanged", "a.txt")
			g.put(dir+"/a.txt", "work")
		},
		"skipped": func(g *grove, dir string) {
			g.in(dir, "update-index", "--skip-worktree", "a.txt")
			g.put(dir+"/a.txt", "work")
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrove(t)
			dir := g.grow("s_1")
			work(g, dir)
			g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard}, map[bool]protocol.Code{
				true: protocol.CodeWorktreeRefused, false: protocol.CodeUnmergedWork,
			}[name == "a repository made anew"])
			_, _ = treeAsk[protocol.WorktreeReleased](g, "s_1", protocol.MethodWorktreeRelease, nil)
			if !there(dir) {
				t.Error("work is lost")
			}
		})
	}
}

// A merge does not overwrite a file that the user's repository ignores.
func TestWorktreeMergeKeepsIgnoredFiles(t *testing.T) {
	g := newGrove(t)
	g.put(g.dir+"/.gitignore", ".env\n")
	g.commit()
	g.put(g.dir+"/.env", "the user's")
	dir := g.grow("s_1")
	g.put(dir+"/.env", "the agent's")
	g.in(dir, "add", "-f", ".env")
	g.in(dir, "commit", "-qm", "x")
	before := g.git("rev-parse", "main")
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge}, protocol.CodeUncommitted)
	if text, _ := os.ReadFile(g.dir + "/.env"); string(text) != "the user's" || g.git("rev-parse", "main") != before {
		t.Errorf(".env has %q", text)
	}
}

// A branch that the user has checked out stays when its session's worktree goes.
func TestWorktreeRemovalKeepsABranchInUse(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	g.in(dir, "checkout", "-q", "--detach")
	g.git("checkout", "-q", "sessionhub/1")
	tip := g.git("rev-parse", "HEAD")
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard}, "")
	if got := g.git("rev-parse", "--verify", "HEAD"); got != tip || there(dir) {
		t.Errorf("the user's HEAD is %q, want %q; the worktree is there: %v", got, tip, there(dir))
	}
}

// A base may be another name of the branch that is checked out.
func TestWorktreeMergeIntoAnotherNameOfABranch(t *testing.T) {
	g := newGrove(t)
	g.git("symbolic-ref", "refs/heads/alias", "refs/heads/main")
	if _, refused := treeAsk[protocol.WorktreeMade](g, "s_1", protocol.MethodWorktreeMake, protocol.WorktreeMakeParams{Base: "alias"}); refused.Code != "" {
		t.Fatal(refused.Detail)
	}
	dir := g.grow("s_1")
	g.put(dir+"/x", "1")
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge, Commit: true}, "")
	if got := g.git("status", "--porcelain"); got != "" || !there(g.dir+"/x") {
		t.Errorf("the branch moved under its files: %s", got)
	}
}

// Names that are no branches' names are refused before a session is made with them.
func TestWorktreeRefusesNamesThatAreNoBranches(t *testing.T) {
	g := newGrove(t)
	g.git("checkout", "-qb", "other")
	g.git("checkout", "-q", "main")
	for i, p := range []protocol.WorktreeMakeParams{
		{Base: "main~0"}, {Base: "main@{0}"}, {Base: "*"}, {Branch: "@{-1}"}, {Branch: "--force"}, {Branch: "HEAD"}, {Branch: "a..b"},
	} {
		if _, refused := treeAsk[protocol.WorktreeMade](g, fmt.Sprint("s_no", i), protocol.MethodWorktreeMake, p); refused.Code == "" {
			t.Errorf("%+v was accepted", p)
		}
	}
}

// Of two sessions that ask for one branch at once, one gets it.
func TestWorktreesNeverShareABranch(t *testing.T) {
	g := newGrove(t)
	for _, id := range []string{"s_1", "s_2"} { // both found the name free
		r := &worktreeRecord{ID: id, Sessions: []string{id}, Repository: g.dir, Common: g.dir + "/.git", Branch: "feature", Base: "main", Commit: g.git("rev-parse", "HEAD")}
		if err := g.w.worktrees.save(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.w.worktrees.ensure(t.Context(), "s_1", "s_1"); err != nil {
		t.Fatal(err)
	}
	if dir, err := g.w.worktrees.ensure(t.Context(), "s_2", "s_2"); err == nil {
		t.Errorf("%s is on the branch of another session", dir)
	}
}

// A worktree is not another session's because its id came back.
func TestWorktreeOfAnotherRepositoryIsNotGiven(t *testing.T) {
	g := newGrove(t)
	g.grow("s_1")
	g.dir = filepath.Join(g.root, "other")
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g.git("init", "-q")
	g.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "x")
	if made, refused := treeAsk[protocol.WorktreeMade](g, "s_1", protocol.MethodWorktreeMake, nil); refused.Code != protocol.CodeWorktreeRefused {
		t.Errorf("%+v %+v", made, refused)
	}
}

// A maker that was killed behind its last step leaves a mark. A session may have the
// worktree by then.
func TestSweepKeepsAWorktreeThatWasTakenFromADeadMaker(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	g.put(dir+"/x", "work")
	g.put(dir+".making", "")
	judge.Within(t, 20*time.Second, "a spare is made", func() bool {
		marks, _ := filepath.Glob(filepath.Join(g.trees, "*", "w-*.spare"))
		return len(marks) == 1
	})
	marks, _ := filepath.Glob(filepath.Join(g.trees, "*", "w-*.spare"))
	spare := strings.TrimSuffix(marks[0], ".spare")
	g.put(spare+".making", "")
	g.w.worktrees.sweep(t.Context())
	if !there(dir+"/x") || !there(spare) || there(dir+".making") || there(spare+".making") {
		t.Errorf("work %v, spare %v, marks %v %v", there(dir+"/x"), there(spare), there(dir+".making"), there(spare+".making"))
	}
}

// Some versions of git write the worktree's place relative to their own directory.
func TestWorktreeWithARelativePlaceIsKnown(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	r, err := g.w.worktrees.load("s_1")
	if err != nil {
		t.Fatal(err)
	}
	gitDir := g.in(dir, "rev-parse", "--absolute-git-dir")
	place, err := filepath.Rel(gitDir, dir+"/.git")
	if err != nil {
		t.Fatal(err)
	}
	g.put(gitDir+"/gitdir", place+"\n")
	if g.w.worktrees.isForgotten(r) {
		t.Error("the worktree counts as removed: its work is not looked at again")
	}
}

// The base may go back between a removal's beginning and its end.
func TestWorktreeStaysIfItsBaseGoesBack(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	g.put(dir+"/x", "1")
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge, Commit: true}, "")
	trees := g.w.worktrees
	r, err := trees.load("s_1")
	if err != nil {
		t.Fatal(err)
	}
	now, err := trees.status(t.Context(), r, dir)
	if err != nil {
		t.Fatal(err)
	}
	g.git("reset", "-q", "--hard", "HEAD~")
	if err := trees.remove(t.Context(), r, now); err == nil || !there(dir+"/x") {
		t.Errorf("the only copy of the work is gone: %v", err)
	}
	if got := g.status("s_1"); got.Merged || got.Ahead != 1 {
		t.Errorf("after the refused removal: %+v", got)
	}
}

// Two workers may share the folder. One does not touch what the other is at.
func TestWorktreeIsLockedForOtherWorkers(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	unlock, err := g.w.worktrees.lock(t.Context(), "s_1")
	if err != nil {
		t.Fatal(err)
	}
	g.restart()
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
	defer cancel()
	if _, err := g.w.worktrees.lock(ctx, "s_1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("two workers have the lock: %v", err)
	}
	unlock()
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard}, "")
	if left, _ := filepath.Glob(filepath.Join(g.trees, "sessions", "*")); there(dir) || len(left) != 0 {
		t.Errorf("after the removal: %v", left)
	}
}
