package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// An agent writes what it likes to its repository. Whatever a file of git is, each request
// ends with its time, takes little room, and leaves nothing behind.
func TestRepositoryWhoseFilesAreNone(t *testing.T) {
	fifo := func(name string) error { return syscall.Mkfifo(name, 0o600) }
	endless := func(name string) error { return os.Symlink("/dev/zero", name) }
	huge := func(name string) error {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			return err
		}
		return os.Truncate(name, 1<<40)
	}
	for name, c := range map[string]struct {
		file string
		put  func(string) error
	}{
		"an index that is a pipe":         {".git/index", fifo},
		"an index that is a device":       {".git/index", endless},
		"an index that is huge":           {".git/index", huge},
		"a configuration that is a pipe":  {".git/config", fifo},
		"a configuration that is endless": {".git/config", endless},
		"a HEAD that is a pipe":           {".git/HEAD", fifo},
		"ignored names that are a pipe":   {".gitignore", fifo},
		"ignored names that are endless":  {".gitignore", endless},
		"attributes that are a pipe":      {".gitattributes", fifo},
		"attributes that are endless":     {".gitattributes", endless},
		"attributes that are huge":        {".gitattributes", huge},
		"a .git that is a pipe":           {".git", fifo},
		"a .git that is endless":          {".git", endless},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			l := newRepository(t)
			l.write("session/a.txt", "changed")
			file := filepath.Join(l.dir, c.file)
			if err := os.RemoveAll(file); err != nil {
				t.Fatal(err)
			}
			if err := c.put(file); err != nil {
				t.Fatal(err)
			}
			for what, f := range map[string]func(context.Context) error{
				"changes": func(ctx context.Context) error {
					_, err := gitChanges(ctx, l.w, l.dir, protocol.WorkerRequest{})
					return err
				},
				"diff": func(ctx context.Context) error {
					_, err := gitDiff(ctx, l.w, l.dir, protocol.WorkerRequest{Params: protocol.Marshal(protocol.GitDiffParams{Path: "a.txt"})})
					return err
				},
				"search": func(ctx context.Context) error {
					_, err := searchFiles(ctx, l.w, l.dir, protocol.WorkerRequest{Params: protocol.Marshal(protocol.FilesSearchParams{Query: "a.txt"})})
					return err
				},
				"base": func(ctx context.Context) error { _ = gitBase(ctx, l.w, l.dir); return nil },
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				over := make(chan error, 1)
				go func() { over <- f(ctx) }()
				judge.Within(t, 20*time.Second, "the end of "+what, func() bool { return len(over) > 0 })
				cancel()
				if err := <-over; err != nil && strings.Contains(c.file, "index") && what != "search" && protocolCode(err) == "" {
					t.Errorf("%s: %v, want a refusal that says why", what, err)
				}
			}
			left, _ := filepath.Glob(filepath.Join(os.TempDir(), "sessionhub-git-*"))
			if len(left) > 0 {
				t.Errorf("left behind: %s", strings.Join(left, " "))
			}
		})
	}
}

func protocolCode(err error) protocol.Code {
	var refused *protocol.RequestError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// To compare a file of empty lines, git takes fifty times its size. It gets no more memory than
// a large repository needs: the diff is refused, and the changes come without counts.
func TestGitTakesBoundedMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory of git is bounded on Linux only") // skip: no other system lets a process bound another
	}
	l := newRepository(t)
	l.write("session/lines", strings.Repeat("\n", 15<<20))
	l.write("session/a.txt", "changed")
	if got, code := l.diff("", "lines"); code != protocol.CodePayloadTooLarge {
		t.Errorf("a diff of %d bytes, code %q", got.Size, code)
	}
	sameText(t, "changes", l.changes(""), "modified a.txt\nuntracked lines")
	if got, code := l.diff("", "a.txt"); code != "" || !strings.Contains(got.Diff, "+changed") {
		t.Errorf("the file beside it: %+v %s", got, code)
	}
}
