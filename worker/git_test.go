package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// newRepository is a library whose session's directory is a repository with one commit.
func newRepository(t testing.TB) *library {
	l := newLibrary(t)
	if err := os.RemoveAll(filepath.Join(l.dir, ".git")); err != nil {
		t.Fatal(err)
	}
	l.git("init", "-q", "-b", "main")
	l.commit()
	return l
}

// git runs git as a user would.
func (l *library) git(args ...string) string {
	l.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"}, args...)...)
	cmd.Dir = l.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.Fatalf("git %s: %s: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (l *library) commit() {
	l.Helper()
	l.git("add", "-A")
	l.git("commit", "-q", "-m", "x")
}

func (l *library) base() string { return gitBase(context.Background(), l.w, l.dir) }

// changes lists what has changed since base, one file a line.
func (l *library) changes(base string) string {
	l.Helper()
	got, code := request[protocol.Changes](l, protocol.MethodGitChanges, protocol.GitChangesParams{Base: base})
	if code != "" {
		l.Fatalf("changes: %s", code)
	}
	return changeText(got)
}

func changeText(c protocol.Changes) string {
	var lines []string
	for _, f := range c.Files {
		line := string(f.Status) + " " + f.Path
		if f.OldPath != "" {
			line += " from " + f.OldPath
		}
		if f.Additions != nil {
			line += fmt.Sprintf(" +%d -%d", *f.Additions, *f.Deletions)
		}
		if f.Binary {
			line += " binary"
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (l *library) diff(base, path string) (protocol.FileDiff, protocol.Code) {
	l.Helper()
	return request[protocol.FileDiff](l, protocol.MethodGitDiff, protocol.GitDiffParams{Base: base, Path: path})
}

// everything is what git and the disk have, but for objects.
func (l *library) everything() string {
	l.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(l.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "objects" {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			content, err := os.ReadFile(path)
			all[path] = string(content)
			return err
		}
		return nil
	})
	if err != nil {
		l.Fatal(err)
	}
	var text strings.Builder
	for _, path := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&text, "%s %q\n", path, all[path])
	}
	return text.String()
}

func sameText(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant\n%s", what, got, want)
	}
}

func TestChangesAreThoseSinceTheSessionBegan(t *testing.T) {
	l := newRepository(t)
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	l.write("session/a.txt", "changed before")
	l.write("session/before.txt", "new before")
	l.write("session/staged.txt", "staged before")
	l.git("add", "staged.txt")
	whole := l.everything()
	base := l.base()
	sameText(t, "after the note", l.everything(), whole)
	sameText(t, "at the beginning", l.changes(base), "")
	sameText(t, "without the note", l.changes(""), "added staged.txt +1 -0\nmodified a.txt +1 -1\nuntracked before.txt +1 -0")

	l.write("session/a.txt", "changed before\nand since")
	l.write("session/src/Main.go", "package main\n\nfunc main() {}\n")
	l.commit() // a commit of the session is its change too
	l.write("session/new \"one\"\n.txt", "x\ny\n")
	l.write("session/picture.png", "\x89PNG\x00\x01")
	l.git("mv", "src/deep/main_test.go", "src/moved.go")
	if err := os.Remove(filepath.Join(l.dir, "staged.txt")); err != nil {
		t.Fatal(err)
	}
	l.write("session/.gitignore", "*.log\n")
	l.write("session/build.log", "ignored")
	whole = l.everything()
	sameText(t, "since", l.changes(base), strings.Join([]string{
		"deleted staged.txt +0 -1",
		"modified a.txt +2 -1",
		"modified src/Main.go +3 -1",
		"renamed src/moved.go from src/deep/main_test.go +0 -0",
		"untracked .gitignore +1 -0",
		"untracked new \"one\"\n.txt +2 -0",
		"untracked picture.png binary",
	}, "\n"))
	sameText(t, "after the changes were read", l.everything(), whole)
	got, _ := request[protocol.Changes](l, protocol.MethodGitChanges, protocol.GitChangesParams{Base: base})
	if commit, _, _ := strings.Cut(base, ":"); !got.Repository || got.Branch != "main" || got.Base != commit || got.Since != protocol.SinceStart {
		t.Errorf("changes %+v", got)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("copies of the index are left: %v %v", left, err)
	}
	gone := strings.Repeat("1", 40)
	if got, _ = request[protocol.Changes](l, protocol.MethodGitChanges, protocol.GitChangesParams{Base: gone + ":" + gone}); got.Since != protocol.SinceHead {
		t.Errorf("since a base that is gone: %+v", got)
	}
	if _, code := request[protocol.Changes](l, protocol.MethodGitChanges, protocol.GitChangesParams{Base: "--output=x"}); code != protocol.CodeInvalidRequest {
		t.Errorf("a base that is an option: %q", code)
	}
}

func TestDiffOfAFile(t *testing.T) {
	l := newRepository(t)
	base := l.base()
	l.write("session/a.txt", "letters\nand \xff words\n")
	l.write("session/new.txt", "new\n")
	l.write("session/big", strings.Repeat("a line of words\n", 20_000))
	l.git("mv", "src/Main.go", "src/Other.go")
	l.write("session/*.txt", "star\n") // a name, not a pattern
	for path, want := range map[string]string{"*.txt": "@@ -0,0 +1 @@\n+star\n", "a.txt": "+and \uFFFD words\n", "new.txt": "@@ -0,0 +1 @@\n+new\n", filepath.Join(l.dir, "new.txt"): "+new\n"} {
		if got, code := l.diff(base, path); code != "" || !strings.HasSuffix(got.Diff, want) || got.NextOffset != 0 || got.Size != len(got.Diff) {
			t.Errorf("%s: %+v %s", path, got, code)
		}
	}
	renamed, code := request[protocol.FileDiff](l, protocol.MethodGitDiff, protocol.GitDiffParams{Base: base, Path: "src/Other.go", OldPath: "src/Main.go"})
	if !strings.Contains(renamed.Diff, "rename from src/Main.go\nrename to src/Other.go\n") {
		t.Errorf("renamed: %+v %s", renamed, code)
	}
	page, _ := l.diff(base, "big")
	text, version := page.Diff, page.Version
	for pages := 1; page.NextOffset != 0; pages++ {
		if len(page.Diff) > protocol.MaxDiffPage || pages > 10 || page.Version != version {
			t.Fatalf("page %d: %d bytes of version %s", pages, len(page.Diff), page.Version)
		}
		page, _ = request[protocol.FileDiff](l, protocol.MethodGitDiff, protocol.GitDiffParams{Base: base, Path: "big", Offset: page.NextOffset})
		text += page.Diff
	}
	if n := strings.Count(text, "\n+a line of words"); n != 20_000 || len(text) != page.Size {
		t.Errorf("the pages have %d lines and %d bytes", n, len(text))
	}
	for path, want := range map[string]protocol.Code{
		"src/deep/main_test.go": protocol.CodeNotFound, "none": protocol.CodeNotFound, "src": protocol.CodeNotFound, "": protocol.CodeNotFound,
		"../secret.txt": protocol.CodePathNotAllowed, "/etc/passwd": protocol.CodePathNotAllowed, "a\x00": protocol.CodeInvalidRequest,
		"*": protocol.CodeNotFound, ":(top)a.txt": protocol.CodeNotFound,
	} {
		if got, code := l.diff(base, path); code != want {
			t.Errorf("%q: %+v %q, want %q", path, got, code, want)
		}
	}
	if _, code := request[protocol.FileDiff](l, protocol.MethodGitDiff, protocol.GitDiffParams{Path: "a.txt", Offset: 1 << 20}); code != protocol.CodeInvalidRequest {
		t.Errorf("an offset behind the end: %q", code)
	}
}

// A diff of gigabytes costs a bounded time and answer. The file is sparse.
func TestHugeFilesAreNotCompared(t *testing.T) {
	l := newRepository(t)
	base := l.base()
	l.write("session/a.txt", "")
	if err := os.Truncate(filepath.Join(l.dir, "a.txt"), 2<<30); err != nil {
		t.Fatal(err)
	}
	l.write("session/lines", strings.Repeat("a line of words\n", 300_000))
	l.write("session/huge", "")
	if err := os.Truncate(filepath.Join(l.dir, "huge"), 2<<30); err != nil {
		t.Fatal(err)
	}
	sameText(t, "changes", l.changes(base), "modified a.txt binary\nuntracked huge binary\nuntracked lines +300000 -0")
	if got, code := l.diff(base, "a.txt"); code != "" || !strings.Contains(got.Diff, "Binary files differ") {
		t.Errorf("%+v %s", got, code)
	}
	if got, code := l.diff(base, "lines"); code != "" || !got.Truncated || got.Size != protocol.MaxDiffBytes {
		t.Errorf("%d bytes, truncated %t, %s", got.Size, got.Truncated, code)
	}
	sameText(t, "base", l.base(), l.git("rev-parse", "HEAD")) // so much is not noted
}

func TestChangesInTheMiddleOfARepository(t *testing.T) {
	l := newRepository(t)
	l.write("session/a.txt", "outside")
	l.write("session/src/Main.go", "inside")
	l.write("session/src/new", "new")
	l.write("session/beside", "new")
	l.git("mv", "src/deep/main_test.go", "moved_out.go")
	l.dir = filepath.Join(l.dir, "src")
	sameText(t, "changes", l.changes(""), "deleted deep/main_test.go +0 -1\nmodified Main.go +1 -1\nuntracked new +1 -0")
	if got, code := l.diff("", "Main.go"); code != "" || !strings.Contains(got.Diff, "+inside") {
		t.Errorf("%+v %s", got, code)
	}
	if got, code := l.diff("", "new"); code != "" || !strings.Contains(got.Diff, "+new") {
		t.Errorf("%+v %s", got, code)
	}
	base := l.base()
	sameText(t, "changes since the base", l.changes(base), "")
	// A directory that the repository ignores is none of its.
	l.write("session/.gitignore", "/out/\n")
	l.write("session/out/a", "x")
	l.dir = filepath.Join(l.root, "session/out")
	if got, _ := request[protocol.Changes](l, protocol.MethodGitChanges, nil); got.Repository {
		t.Errorf("changes of an ignored directory: %+v", got)
	}
	if got, _ := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "a"}); len(got.Files) != 1 {
		t.Errorf("search in an ignored directory: %+v", got)
	}
}

func TestRepositoriesOfAllSorts(t *testing.T) {
	l := newLibrary(t) // its .git is none
	if got, code := request[protocol.Changes](l, protocol.MethodGitChanges, nil); code != "" || got.Repository || got.Files == nil {
		t.Errorf("without a repository: %+v %s", got, code)
	}
	if _, code := l.diff("", "a.txt"); code != protocol.CodeNotFound {
		t.Errorf("without a repository: %s", code)
	}
	sameText(t, "base without a repository", l.base(), "")
	if err := os.RemoveAll(filepath.Join(l.dir, ".git")); err != nil {
		t.Fatal(err)
	}
	l.git("init", "-q", "-b", "main")
	base := l.base()
	if !strings.HasPrefix(base, ":") {
		t.Errorf("base without a commit: %q", base)
	}
	l.write("session/first", "1\n")
	sameText(t, "without a commit", l.changes(base), "untracked first +1 -0")
	if got, _ := request[protocol.Changes](l, protocol.MethodGitChanges, nil); len(got.Files) != 10 || got.Branch != "main" || got.Base != "" {
		t.Errorf("without a commit and a note: %+v", got)
	}
	l.commit()
	sameText(t, "after the first commit", l.changes(base), "added first +1 -0")

	l.git("checkout", "-q", "-b", "other")
	l.write("session/first", "other\n")
	l.commit()
	l.git("checkout", "-q", "main")
	l.write("session/first", "main\n")
	l.commit()
	cmd := exec.Command("git", "merge", "other")
	cmd.Dir = l.dir
	_ = cmd.Run() // it has conflicts
	if got := l.changes(""); !strings.HasPrefix(got, "conflicted first") || strings.Count(got, "\n") > 0 {
		t.Errorf("a conflict: %q", got)
	}
	if found, _ := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "first"}); len(found.Files) != 1 {
		t.Errorf("search in a conflict: %+v", found)
	}
	l.git("merge", "--abort")

	l.write("session/.git/index.lock", "") // another git is at work, or was ended
	l.write("session/first", "locked\n")
	sameText(t, "while the index is locked", l.changes(""), "modified first +1 -1")
	if l.base() == l.git("rev-parse", "HEAD") {
		t.Error("nothing is noted while the index is locked")
	}
	_ = os.Remove(filepath.Join(l.dir, ".git/index.lock"))

	// Git cannot read a file: the changes come without counts.
	l.git("config", "filter.broken.clean", "false")
	l.git("config", "filter.broken.required", "true")
	l.write("session/.gitattributes", "first filter=broken\n")
	sameText(t, "with a filter that fails", l.changes(""), "modified first\nuntracked .gitattributes")
	sameText(t, "since a base that git cannot make", l.changes(l.base()), "modified first\nuntracked .gitattributes")
	l.write("session/.gitattributes", "unread filter=broken\n")
	l.write("session/unread", "x")
	sameText(t, "since a base without what git does not know", l.changes(l.base()), "modified first\nuntracked .gitattributes\nuntracked unread")
	_ = os.Remove(filepath.Join(l.dir, ".gitattributes"))
	_ = os.Remove(filepath.Join(l.dir, "unread"))

	inner := filepath.Join(l.dir, "inner")
	l.git("init", "-q", inner)
	l.git("-C", inner, "commit", "-q", "--allow-empty", "-m", "x")
	sameText(t, "with another repository", l.changes(""), "modified first +1 -1\nuntracked inner")
	l.git("-c", "advice.addEmbeddedRepo=false", "add", "inner")
	l.git("commit", "-q", "-m", "x", "inner")
	l.git("-C", inner, "commit", "-q", "--allow-empty", "-m", "y")
	l.write("session/inner/x", "x")
	sameText(t, "with a submodule", l.changes(""), "modified first +1 -1\nmodified inner +1 -1")
	if got, code := l.diff("", "inner"); code != "" || !strings.Contains(got.Diff, "+Subproject commit") {
		t.Errorf("a submodule: %+v %s", got, code)
	}
	sameText(t, "base with a submodule", l.changes(l.base()), "")
	l.write("session/\xff\xfe", "x")
	if got, _ := request[protocol.Changes](l, protocol.MethodGitChanges, nil); got.Unnamed != 1 || len(got.Files) != 2 {
		t.Errorf("a name that is not UTF-8: %+v", got)
	}
}

func TestUnreadableFilesAreNotCompared(t *testing.T) {
	if os.Getuid() == 0 { // root reads every file
		asNobody(t)
		return
	}
	l := newRepository(t)
	l.write("session/before", "x")
	l.write("session/closed", "x")
	_ = os.Chmod(filepath.Join(l.dir, "closed"), 0)
	l.write("session/src/Main.go", "changed")
	_ = os.Chmod(filepath.Join(l.dir, "src/Main.go"), 0)
	base := l.base()
	l.write("session/a.txt", "changed")
	sameText(t, "changes", l.changes(""), "modified a.txt +1 -1\nmodified src/Main.go\nuntracked before +1 -0\nuntracked closed")
	sameText(t, "since the base", l.changes(base), "modified a.txt +1 -1\nmodified src/Main.go\nuntracked before +1 -0\nuntracked closed")
	for _, path := range []string{"closed", "src/Main.go"} {
		if _, code := l.diff(base, path); code != protocol.CodePathNotAllowed {
			t.Errorf("diff of %s: %q", path, code)
		}
	}
}

// Nothing that a repository's configuration names is started, and nothing of the worker's
// environment leads git elsewhere.
func TestGitRunsNoProgramOfTheRepository(t *testing.T) {
	l := newRepository(t)
	ran := filepath.Join(l.root, "ran")
	program := filepath.Join(l.root, "program")
	l.write("program", "#!/bin/sh\necho ran >>"+ran+"\n")
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"core.fsmonitor", "core.pager", "diff.external", "diff.x.command", "diff.x.textconv", "pager.diff", "core.editor", "core.sshCommand"} {
		l.git("config", name, program)
	}
	l.git("config", "core.hooksPath", l.root)
	l.write("post-index-change", "#!/bin/sh\necho ran >>"+ran+"\n")
	_ = os.Chmod(filepath.Join(l.root, "post-index-change"), 0o700)
	l.write("session/.gitattributes", "* diff=x\n")
	l.write("session/a.txt", "changed")
	_ = os.Remove(ran)
	base := l.base()
	l.w.cfg.Environ = append(os.Environ(), "GIT_DIR=/nowhere", "GIT_EXTERNAL_DIFF="+program, "GIT_PAGER="+program)
	sameText(t, "changes", l.changes(""), "modified a.txt +1 -1\nuntracked .gitattributes +1 -0")
	if got, code := l.diff("", "a.txt"); code != "" || !strings.Contains(got.Diff, "+changed") {
		t.Errorf("%+v %s", got, code)
	}
	sameText(t, "since the base", l.changes(base), "")
	if out, err := os.ReadFile(ran); err == nil {
		t.Errorf("programs ran: %s", out)
	}
}

func TestRepositoryOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give a file away") // skip: it needs a file of another user
	}
	l := newRepository(t)
	for _, path := range []string{l.dir, filepath.Join(l.dir, ".git")} {
		if err := os.Chown(path, 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	r := l.w.answer(protocol.WorkerRequest{ID: "1", Method: protocol.MethodGitChanges, WorkingDirectory: l.dir})
	if r.Error == nil || r.Error.Code != protocol.CodePathNotAllowed || !strings.Contains(r.Error.Detail, "safe.directory") {
		t.Errorf("answer %s, error %+v", r.Result, r.Error)
	}
	if found, code := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "a.txt"}); len(found.Files) != 1 {
		t.Errorf("search: %+v %s", found, code)
	}
}

func TestWorkerWithoutGit(t *testing.T) {
	l := newRepository(t)
	t.Setenv("PATH", t.TempDir())
	if _, code := request[protocol.Changes](l, protocol.MethodGitChanges, nil); code != protocol.CodeNotImplemented {
		t.Errorf("changes: %q", code)
	}
	if found, code := request[protocol.FileMatches](l, protocol.MethodFilesSearch, protocol.FilesSearchParams{Query: "a.txt"}); len(found.Files) != 1 {
		t.Errorf("search: %+v %s", found, code)
	}
	sameText(t, "base", l.base(), "")
}

// A git that hangs ends with the request, and so does what it has started.
func TestGitThatHangsEndsInTime(t *testing.T) {
	l := newRepository(t)
	file := filepath.Join(l.root, "pid")
	l.git("config", "filter.slow.clean", "echo $$ >"+file+".new; mv "+file+".new "+file+"; sleep 600; true")
	l.write("session/.gitattributes", "a.txt filter=slow\n")
	l.write("session/a.txt", "changed")
	// hang calls f, and ends its time when the filter runs.
	hang := func(f func(context.Context)) {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var done sync.WaitGroup
		done.Go(func() { f(ctx) })
		var text []byte
		judge.Within(t, 30*time.Second, "the filter", func() bool {
			text, _ = os.ReadFile(file)
			return len(text) > 0
		})
		cancel()
		done.Wait()
		pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
		judge.Within(t, 30*time.Second, "the end of the filter", func() bool {
			stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return syscall.Kill(pid, 0) != nil || strings.Contains(string(stat), ") Z ") // nobody has waited for it
		})
		_ = os.Remove(file)
	}
	hang(func(ctx context.Context) {
		_, err := gitDiff(ctx, l.w, l.dir, protocol.WorkerRequest{Params: protocol.Marshal(protocol.GitDiffParams{Path: "a.txt"})})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
	hang(func(ctx context.Context) {
		sameText(t, "base", gitBase(ctx, l.w, l.dir), l.git("rev-parse", "HEAD"))
	})
}

func TestManyChangesAreCut(t *testing.T) {
	l := newRepository(t)
	for i := range protocol.MaxChangedFiles + 500 {
		l.write(fmt.Sprintf("session/many/%04d", i), "x")
	}
	l.write("session/a.txt", "changed")
	got, code := request[protocol.Changes](l, protocol.MethodGitChanges, nil)
	if code != "" || len(got.Files) != protocol.MaxChangedFiles || !got.Truncated || got.Files[0].Path != "a.txt" {
		t.Errorf("%d files, truncated %t, %s", len(got.Files), got.Truncated, code)
	}
	sameText(t, "base", l.changes(l.base()), "")
}
