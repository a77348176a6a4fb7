package worker

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// grove is a library whose worker makes worktrees of the session's directory.
type grove struct {
	*library
	trees string
}

func newGrove(t testing.TB) *grove {
	t.Helper()
	l := newRepository(t)
	g := &grove{library: l, trees: filepath.Join(t.TempDir(), "trees")}
	l.git("config", "user.name", "a")
	l.git("config", "user.email", "a@example.org")
	g.restart()
	return g
}

// restart gives the grove a new worker, as after a crash.
func (g *grove) restart() {
	g.Helper()
	w, err := New(Config{Root: g.root, Worktrees: g.trees, Providers: map[string]Provider{"demo": {Command: "true"}}})
	if err != nil {
		g.Fatal(err)
	}
	g.w = w
	g.Cleanup(func() { _ = w.Close() })
}

// treeAsk gives the result of a request about the worktree of a session.
func treeAsk[T any](g *grove, id string, method protocol.WorkerMethod, params any) (out T, refused protocol.RequestError) {
	g.Helper()
	r := g.w.answer(protocol.WorkerRequest{ID: "1", Method: method, SessionID: id, Worktree: id, WorkingDirectory: g.dir, Params: protocol.Marshal(params)})
	if r.Error != nil {
		return out, *r.Error
	}
	if err := protocol.Decode(r.Result, &out); err != nil {
		g.Fatal(err)
	}
	return out, refused
}

// grow makes a worktree, waits for it, and gives its directory.
func (g *grove) grow(id string) string {
	g.Helper()
	if _, refused := treeAsk[protocol.WorktreeMade](g, id, protocol.MethodWorktreeMake, nil); refused.Code != "" {
		g.Fatalf("make: %v", refused.Detail)
	}
	dir, err := g.w.worktrees.ensure(g.Context(), id, id)
	if err != nil {
		g.Fatal(err)
	}
	return dir
}

func (g *grove) status(id string) protocol.WorktreeStatus {
	g.Helper()
	got, refused := treeAsk[protocol.WorktreeStatus](g, id, protocol.MethodWorktreeStatus, nil)
	if refused.Code != "" {
		g.Fatalf("status: %v", refused.Detail)
	}
	return got
}

func (g *grove) act(id string, r protocol.WorktreeActionRequest, want protocol.Code) protocol.WorktreeStatus {
	g.Helper()
	got, refused := treeAsk[protocol.WorktreeStatus](g, id, protocol.MethodWorktreeAct, r)
	if refused.Code != want {
		g.Errorf("%+v: %q %s, want %q", r, refused.Code, refused.Detail, want)
	}
	return got
}

func (g *grove) put(name, text string) {
	g.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		g.Fatal(err)
	}
}

// in runs git in a directory.
func (g *grove) in(dir string, args ...string) string {
	g.Helper()
	return g.library.git(append([]string{"-C", dir}, args...)...)
}

func there(path string) bool { _, err := os.Lstat(path); return err == nil }

func TestWorktreeIsMadeMergedAndRemoved(t *testing.T) {
	g := newGrove(t)
	g.put(filepath.Join(g.dir, "a.txt"), "not committed")
	dir := g.grow("s_first0000")
	if text, _ := os.ReadFile(filepath.Join(dir, "a.txt")); string(text) != "letters" {
		t.Errorf("the worktree has %q: want what is committed", text)
	}
	g.put(filepath.Join(g.dir, "a.txt"), "letters")
	now := g.status("s_first0000")
	if now.Branch != "sessionhub/first000" || now.Base != "main" || now.Directory != dir || !now.Merged || now.Making {
		t.Errorf("a new worktree: %+v", now)
	}
	g.put(filepath.Join(dir, "new.txt"), "work")
	g.act("s_first0000", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge}, protocol.CodeUncommitted)
	g.act("s_first0000", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge, Commit: true, Message: "the work"}, "")
	if text, _ := os.ReadFile(filepath.Join(g.dir, "new.txt")); string(text) != "work" {
		t.Error("the base's working tree has not what was merged")
	}
	if got := g.git("log", "-1", "--format=%s %an", "main"); got != "the work a" {
		t.Errorf("the commit is %q", got)
	}
	// Both go on: a merge commit.
	g.put(filepath.Join(g.dir, "mine.txt"), "mine")
	g.commit()
	g.put(filepath.Join(g.dir, "draft.txt"), "not committed") // it stays
	g.put(filepath.Join(dir, "second.txt"), "more")
	if now := g.status("s_first0000"); now.Merged || now.Uncommitted != 1 || now.Behind != 1 {
		t.Errorf("with more work: %+v", now)
	}
	now = g.act("s_first0000", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge, Commit: true}, "")
	if !now.Merged || now.State != protocol.WorktreeMerged || !there(filepath.Join(g.dir, "second.txt")) || !there(filepath.Join(g.dir, "draft.txt")) {
		t.Errorf("after the merge: %+v", now)
	}
	if got := g.git("log", "-1", "--format=%P", "main"); strings.Count(got, " ") != 1 {
		t.Errorf("the merge has the parents %q", got)
	}
	g.act("s_first0000", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard}, "")
	if there(dir) || strings.Contains(g.git("branch", "--list"), "sessionhub/") {
		t.Error("a merged worktree was not removed")
	}
	if _, refused := treeAsk[protocol.WorktreeStatus](g, "s_first0000", protocol.MethodWorktreeStatus, nil); refused.Code != protocol.CodeNotFound {
		t.Errorf("a removed worktree: %+v", refused)
	}
}

// Whatever is not merged stays: commits, changed files, new files, and work on another
// branch. Only a discard that names what the user saw removes it.
func TestUnmergedWorkIsNeverRemoved(t *testing.T) {
	for name, work := range map[string]func(*grove, string){
		"commit": func(g *grove, dir string) {
			g.put(dir+"/x", "1")
			g.in(dir, "add", "x")
			g.in(dir, "commit", "-qm", "x")
		},
		"change":   func(g *grove, dir string) { g.put(dir+"/a.txt", "2") },
		"staged":   func(g *grove, dir string) { g.put(dir+"/a.txt", "2"); g.in(dir, "add", "a.txt") },
		"new file": func(g *grove, dir string) { g.put(dir+"/x", "1") },
		"removed":  func(g *grove, dir string) { _ = os.Remove(dir + "/a.txt") },
		"other branch": func(g *grove, dir string) {
			g.in(dir, "checkout", "-qb", "side")
			g.in(dir, "commit", "--allow-empty", "-qm", "x")
		},
		"detached": func(g *grove, dir string) {
			g.in(dir, "checkout", "-q", "--detach")
			g.in(dir, "commit", "--allow-empty", "-qm", "x")
		},
		"its branch": func(g *grove, dir string) {
			g.in(dir, "commit", "--allow-empty", "-qm", "x")
			g.in(dir, "checkout", "-q", "--detach", "HEAD~")
		},
		"a repository":  func(g *grove, dir string) { g.in(dir, "init", "-q", "nested"); g.put(dir+"/nested/x", "1") },
		"in the middle": func(g *grove, dir string) { g.in(dir, "bisect", "start") },
	} {
		t.Run(name, func(t *testing.T) {
			g := newGrove(t)
			dir := g.grow("s_1")
			work(g, dir)
			tip := g.git("rev-parse", "sessionhub/1")
			g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard}, protocol.CodeUnmergedWork)
			g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard, Version: "another"}, protocol.CodeChanged)
			released, _ := treeAsk[protocol.WorktreeReleased](g, "s_1", protocol.MethodWorktreeRelease, nil)
			if released.Kept == "" || !there(dir) || g.git("rev-parse", "sessionhub/1") != tip {
				t.Fatalf("unmerged work was lost: %+v", released)
			}
			g.restart()
			g.w.worktrees.sweep(t.Context())
			seen := g.status("s_1")
			if seen.Merged || !there(dir) {
				t.Errorf("it counts as merged: %+v", seen)
			}
			g.put(dir+"/later", "arrived after the user looked")
			g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard, Version: seen.Version}, protocol.CodeChanged)
			g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard, Version: g.status("s_1").Version}, "")
			if there(dir) {
				t.Error("a discard that names what the user saw was not done")
			}
		})
	}
}

func TestEndOfASessionRemovesOnlyItsMergedWorktree(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	if _, err := g.w.worktrees.ensure(t.Context(), "s_1", "s_fork"); err != nil {
		t.Fatal(err)
	}
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard}, protocol.CodeWorktreeRefused) // the fork works there too
	if got, _ := treeAsk[protocol.WorktreeReleased](g, "s_1", protocol.MethodWorktreeRelease, nil); got.Kept == "" || !there(dir) {
		t.Errorf("the fork's worktree: %+v", got)
	}
	r := g.w.answer(protocol.WorkerRequest{ID: "1", Method: protocol.MethodWorktreeRelease, SessionID: "s_fork", Worktree: "s_1", WorkingDirectory: g.dir})
	if r.Error != nil || there(dir) {
		t.Errorf("a worktree without work stays: %+v", r)
	}
	kept := g.grow("s_2")
	g.act("s_2", protocol.WorktreeActionRequest{Action: protocol.WorktreeKeep}, "")
	if got, _ := treeAsk[protocol.WorktreeReleased](g, "s_2", protocol.MethodWorktreeRelease, nil); got.Kept == "" || !there(kept) {
		t.Errorf("a worktree that its user keeps: %+v", got)
	}
}

func TestMergeThatCannotBeDoneChangesNothing(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	g.put(dir+"/a.txt", "theirs")
	g.in(dir, "commit", "-qam", "theirs")
	merge := protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge}
	same := func(what string, code protocol.Code) {
		t.Helper()
		before, tree := g.git("rev-parse", "HEAD", "sessionhub/1"), g.git("status", "--porcelain")
		g.act("s_1", merge, code)
		if g.git("rev-parse", "HEAD", "sessionhub/1") != before || g.git("status", "--porcelain") != tree {
			t.Errorf("%s: the refused merge has changed something", what)
		}
	}
	g.put(g.dir+"/a.txt", "not committed")
	same("changes that it would overwrite", protocol.CodeUncommitted)
	g.git("commit", "-qam", "mine")
	same("a conflict", protocol.CodeMergeConflict)
	g.git("reset", "-q", "--hard", "HEAD~")
	g.in(dir, "checkout", "-q", "--detach")
	same("another branch", protocol.CodeWorktreeRefused)
	g.in(dir, "checkout", "-q", "sessionhub/1")
	g.git("config", "--unset", "user.name")
	g.git("config", "--unset", "user.email")
	g.put(g.dir+"/other.txt", "x")
	g.commit()
	t.Setenv("HOME", t.TempDir())
	g.w.cfg.Environ = os.Environ()
	same("nobody who commits", protocol.CodeWorktreeRefused)
	g.git("checkout", "-q", "--detach")
	g.git("branch", "-D", "main")
	same("no base", protocol.CodeWorktreeRefused)
}

func TestMergeIntoABranchThatIsNotCheckedOut(t *testing.T) {
	g := newGrove(t)
	dir := g.grow("s_1")
	g.in(dir, "commit", "--allow-empty", "-qm", "theirs")
	g.git("checkout", "-qb", "elsewhere")
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge}, "")
	if g.git("rev-parse", "main") != g.in(dir, "rev-parse", "HEAD") {
		t.Error("main has not moved")
	}
	// A rebase hides that main is in use.
	g.in(dir, "commit", "--allow-empty", "-qm", "more")
	g.git("checkout", "-q", "main")
	g.put(g.dir+"/x", "1")
	g.commit()
	before := g.git("rev-parse", "main")
	rebase := exec.Command("git", "-C", g.dir, "rebase", "-q", "--force-rebase", "--exec", "false", "HEAD~")
	if out, err := rebase.CombinedOutput(); err == nil || !there(g.dir+"/.git/rebase-merge") {
		t.Fatalf("the rebase did not stop: %s", out)
	}
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge}, protocol.CodeUncommitted)
	if g.git("rev-parse", "main") != before {
		t.Error("a branch moved under its rebase")
	}
}

func TestWorktreeThatCannotBeMade(t *testing.T) {
	g := newGrove(t)
	refused := func(what string, params any, want protocol.Code, words string) {
		t.Helper()
		_, got := treeAsk[protocol.WorktreeMade](g, "s_no", protocol.MethodWorktreeMake, params)
		if got.Code != want || !strings.Contains(got.Detail, words) {
			t.Errorf("%s: %q %q", what, got.Code, got.Detail)
		}
		if there(g.w.worktrees.recordFile("s_no")) {
			t.Errorf("%s: there is a record", what)
		}
	}
	refused("no such base", protocol.WorktreeMakeParams{Base: "none"}, protocol.CodeWorktreeRefused, "no branch")
	refused("no branch's name", protocol.WorktreeMakeParams{Branch: "a..b"}, protocol.CodeInvalidRequest, "")
	refused("a branch that is there", protocol.WorktreeMakeParams{Branch: "main"}, protocol.CodeWorktreeRefused, "there already")
	top := g.dir
	if err := os.Mkdir(filepath.Join(top, "untracked"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.dir = filepath.Join(top, "untracked")
	refused("a directory that no commit has", nil, protocol.CodeWorktreeRefused, "commit it first")
	g.dir = g.root
	refused("no repository", nil, protocol.CodeWorktreeRefused, "no working tree")
	g.dir = filepath.Join(g.root, "bare.git")
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g.git("init", "-q", "--bare")
	refused("a bare repository", nil, protocol.CodeWorktreeRefused, "no working tree")
	g.dir = filepath.Join(g.root, "unborn")
	if err := os.Mkdir(g.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	g.git("init", "-q")
	refused("no commit", nil, protocol.CodeWorktreeRefused, "no commit yet")
	g.w.worktrees.dir = filepath.Join(g.dir, "trees")
	refused("worktrees inside of the repository", nil, protocol.CodeWorktreeRefused, "outside")
	g.w.worktrees.dir = ""
	refused("no place", nil, protocol.CodeWorktreeRefused, "--worktrees")
	g.w.worktrees.dir = g.trees
	bin := t.TempDir()
	g.put(filepath.Join(bin, "git"), "#!/bin/sh\necho git version 2.20.1\n")
	if err := os.Chmod(filepath.Join(bin, "git"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	refused("an old git", nil, protocol.CodeWorktreeRefused, "2.38")
	t.Setenv("PATH", t.TempDir())
	refused("no git", nil, protocol.CodeNotImplemented, "not installed")
}

// A session in a subdirectory stays in it, its hooks do not run, and its changes are those
// since the worktree began.
func TestWorktreeOfASubdirectoryWithSubmodulesAndHooks(t *testing.T) {
	g := newGrove(t)
	module := filepath.Join(g.root, "module")
	if err := os.Mkdir(module, 0o700); err != nil {
		t.Fatal(err)
	}
	g.in(module, "init", "-q")
	g.in(module, "commit", "--allow-empty", "-qm", "m")
	g.git("submodule", "--quiet", "add", module, "mod")
	g.commit()
	ran := filepath.Join(g.root, "hook-ran")
	g.put(filepath.Join(g.dir, ".git", "hooks", "post-checkout"), "#!/bin/sh\ntouch "+ran+"\n")
	if err := os.Chmod(filepath.Join(g.dir, ".git", "hooks", "post-checkout"), 0o700); err != nil {
		t.Fatal(err)
	}
	g.dir = filepath.Join(g.dir, "src")
	dir := g.grow("s_1")
	if filepath.Base(dir) != "src" || !there(filepath.Join(dir, "Main.go")) {
		t.Errorf("the session works in %s", dir)
	}
	if there(ran) {
		t.Error("a hook ran")
	}
	g.put(filepath.Join(dir, "Main.go"), "package other")
	g.in(dir, "commit", "-qam", "x")
	r := g.w.answer(protocol.WorkerRequest{ID: "1", Method: protocol.MethodGitChanges, Worktree: "s_1", WorkingDirectory: g.dir,
		Params: protocol.Marshal(protocol.GitChangesParams{Base: g.status("s_1").Commit})})
	var changes protocol.Changes
	if r.Error != nil || protocol.Decode(r.Result, &changes) != nil || changeText(changes) != "modified Main.go +1 -1" || changes.Branch != "sessionhub/1" {
		t.Errorf("the changes: %+v %s", r.Error, r.Result)
	}
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeMerge}, "")
	g.act("s_1", protocol.WorktreeActionRequest{Action: protocol.WorktreeDiscard}, "")
	if there(dir) {
		t.Error("a worktree of a repository with submodules stays")
	}
}

// A spare is as old as it is. The session's worktree is at the head of now.
func TestSpareIsBroughtToTheHead(t *testing.T) {
	g := newGrove(t)
	g.grow("s_1")
	judge.Within(t, 20*time.Second, "a spare is made", func() bool {
		p, _ := treeAsk[protocol.PreparedWorktree](g, "s_1", protocol.MethodWorktreePrepare, nil)
		return p.Ready
	})
	g.put(g.dir+"/a.txt", "newer")
	_ = os.Remove(g.dir + "/src/Main.go")
	g.put(g.dir+"/fresh.txt", "x")
	g.commit()
	dir := g.grow("s_2")
	if text, _ := os.ReadFile(dir + "/a.txt"); string(text) != "newer" || !there(dir+"/fresh.txt") || there(dir+"/src/Main.go") {
		t.Error("the worktree is not at the head")
	}
	if got := g.in(dir, "status", "--porcelain"); got != "" {
		t.Errorf("it has changes: %s", got)
	}
	if now := g.status("s_2"); !now.Merged || now.Commit != g.git("rev-parse", "main") {
		t.Errorf("%+v", now)
	}
}

// Each step of making and removing can be the last one before a kill. The next worker goes
// on, and loses nothing.
func TestCrashInTheMiddleOfAWorktree(t *testing.T) {
	g := newGrove(t)
	g.grow("s_0") // has a spare made
	trees := g.w.worktrees
	r := &worktreeRecord{ID: "s_1", Sessions: []string{"s_1"}, Repository: g.dir, Common: g.dir + "/.git", Branch: "sessionhub/1", Base: "main", Commit: g.git("rev-parse", "HEAD")}
	if err := trees.save(r); err != nil { // killed before it had a spare
		t.Fatal(err)
	}
	g.restart()
	first := g.grow("s_1")
	half := *r
	half.ID, half.Sessions, half.Branch, half.Name = "s_2", []string{"s_2"}, "sessionhub/2", "w-none"
	g.git("update-ref", "--create-reflog", "-m", "branch: created for the session s_2", "refs/heads/sessionhub/2", half.Commit) // killed between its branch and the end
	if err := g.w.worktrees.save(&half); err != nil {
		t.Fatal(err)
	}
	g.restart()
	second := g.grow("s_2")
	if first == second || g.in(second, "rev-parse", "--abbrev-ref", "HEAD") != "sessionhub/2" {
		t.Errorf("%s, %s", first, second)
	}
	// Killed in the middle of a removal, when work had come in the last moment.
	for _, late := range []bool{true, false} {
		now := g.status("s_1")
		r, err := g.w.worktrees.load("s_1")
		if err != nil {
			t.Fatal(err)
		}
		r.Removing, r.Tip = now.Version, now.Head
		if err := errors.Join(g.w.worktrees.save(r), os.Rename(first, first+".gone")); err != nil {
			t.Fatal(err)
		}
		if late {
			g.put(first+".gone/late", "x")
		}
		g.restart()
		g.w.worktrees.sweep(t.Context())
		if there(first+"/late") != late || there(first) != late {
			t.Errorf("late %v: the directory is there: %v", late, there(first))
		}
		_ = os.Remove(first + "/late")
	}
	if _, err := g.w.worktrees.load("s_1"); !errors.Is(err, errNoWorktree) {
		t.Errorf("the record of a removed worktree: %v", err)
	}
	if !there(second) {
		t.Error("another worktree is gone")
	}
}

// A worktree that no agent has worked in for a day goes, and is made anew when one does.
func TestUnusedWorktreeIsUnmade(t *testing.T) {
	g := newGrove(t)
	if made, refused := treeAsk[protocol.WorktreeMade](g, "s_1", protocol.MethodWorktreeMake, nil); refused.Code != "" || made.Directory == "" {
		t.Fatalf("%+v %+v", made, refused)
	}
	used := g.grow("s_2")
	first := g.status("s_1").Directory
	old := time.Now().Add(-spareLife - time.Minute)
	for _, id := range []string{"s_1", "s_2"} {
		if err := os.Chtimes(g.w.worktrees.recordFile(id), old, old); err != nil {
			t.Fatal(err)
		}
	}
	g.put(first+"/mine", "somebody's")
	g.w.worktrees.sweep(t.Context())
	if !there(first + "/mine") {
		t.Fatal("work is lost")
	}
	_ = os.Remove(first + "/mine")
	g.w.worktrees.sweep(t.Context())
	if there(first) || !there(used) {
		t.Errorf("unused %v, used %v", there(first), there(used))
	}
	if again := g.grow("s_1"); again == first || !there(again+"/a.txt") || g.status("s_1").HeadBranch != "sessionhub/1" {
		t.Errorf("made anew: %s", again)
	}
}
