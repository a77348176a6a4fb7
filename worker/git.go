package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sessionhub/protocol"
)

// repository runs git in a session's working directory, which may be in the middle of a
// repository. Nothing that is run here writes to the repository's index, refs or files: what
// needs an index works on a copy. A repository's filters (such as those of Git LFS) run as
// they do for the agent: with the environment of an agent, and nothing of the hub's.
type repository struct {
	dir    string // the working directory
	gitDir string
	prefix string // of dir in the repository; "" or it ends with a slash
	env    []string
	holds  *os.File // a locked file that the processes of change inherit; nil: none
	temp   string   // a private directory with the copy of the index; "" until copyIndex
}

// gitOptions turn off what could start a program, ask, wait or depend on the user's taste.
var gitOptions = []string{
	"--no-pager", "--no-optional-locks",
	"-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.quotePath=false", "-c", "core.splitIndex=false",
	"-c", "core.bigFileThreshold=16m", // a larger file is binary: it is neither read nor compared
	"-c", "core.fsync=none", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "safe.bareRepository=explicit",
	"-c", "submodule.recurse=false", "-c", "protocol.allow=never", "-c", "core.askPass=", "-c", "credential.helper=",
}

// diffOptions make a diff the same whatever the user's configuration says.
var diffOptions = []string{
	"--no-ext-diff", "--no-textconv", "--no-color", "--relative", "-O/dev/null", "--ignore-submodules=dirty", "--submodule=short",
}

var errNoRepository = errors.New("no repository")

// gitEnv is the environment of git: that of an agent, without what changes git's words.
func gitEnv(environ []string) []string {
	return append(agentEnv(Provider{}, environ), "LC_ALL=C", "GIT_LITERAL_PATHSPECS=1", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "GIT_ASKPASS=", "SSH_ASKPASS=")
}

// openRepository finds the repository of a directory. errNoRepository: there is none, or it
// ignores the directory, or the directory is not in its working tree.
func openRepository(ctx context.Context, w *Worker, dir string) (*repository, error) {
	r := &repository{dir: dir, env: gitEnv(w.cfg.Environ)}
	out, err := r.output(ctx, nil, "rev-parse", "--is-inside-work-tree", "--absolute-git-dir")
	if err != nil {
		return nil, err
	}
	inside, gitDir, _ := strings.Cut(strings.TrimSuffix(out, "\n"), "\n")
	if inside != "true" {
		return nil, errNoRepository
	}
	prefix, err := r.output(ctx, nil, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, err
	}
	r.gitDir, r.prefix = gitDir, strings.TrimSuffix(prefix, "\n")
	if r.prefix != "" && r.ignored(ctx) {
		return nil, errNoRepository
	}
	return r, nil
}

// ignored reports whether the repository ignores the whole working directory.
func (r *repository) ignored(ctx context.Context) bool {
	plain := *r
	plain.env = append(slices.Clone(r.env), "GIT_LITERAL_PATHSPECS=0") // check-ignore takes no other
	if _, err := plain.output(ctx, nil, "check-ignore", "--quiet", "."); err != nil {
		return false
	}
	known, err := r.output(ctx, nil, "ls-files", "-z", "--", ".")
	return err == nil && known == ""
}

// close removes the copy of the index.
func (r *repository) close() {
	if r.temp != "" {
		_ = os.RemoveAll(r.temp)
	}
}

// copyIndex makes the following commands work on a copy of the index. So a lock of another
// git does not matter, and the repository's own index stays as it is.
//
// The agent may have put anything in the index's place, such as a pipe or a device.
func (r *repository) copyIndex(ctx context.Context) error {
	temp, err := os.MkdirTemp("", "sessionhub-git-")
	if err != nil {
		return err
	}
	r.temp = temp
	name := filepath.Join(temp, "index")
	r.env = append(r.env, "GIT_INDEX_FILE="+name)
	from, err := os.OpenFile(filepath.Join(r.gitDir, "index"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // nothing was added yet
	}
	if err != nil {
		return fileError(".git/index", err)
	}
	defer from.Close()
	info, err := from.Stat()
	switch {
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return refuse(protocol.CodePathNotAllowed, "the index of the repository is no file")
	case info.Size() > maxIndexBytes:
		return refuse(protocol.CodePayloadTooLarge, "the index of the repository is longer than %d MiB", maxIndexBytes>>20)
	}
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, untilDone{ctx, io.LimitReader(from, info.Size())})
	if err := errors.Join(err, to.Close()); err != nil {
		return err
	}
	// A file that is no older than the index may have changed after it: git reads it again.
	return os.Chtimes(name, time.Time{}, info.ModTime())
}

// maxGitMemory bounds the memory of one git, in bytes. A small object can hold a file of
// gigabytes, and attributes can make git compare it.
const maxGitMemory = 768 << 20

// maxIndexBytes bounds an index. That of a million files has about 100 MB.
const maxIndexBytes = 512 << 20

// untilDone reads until a context ends.
type untilDone struct {
	context.Context
	from io.Reader
}

func (u untilDone) Read(p []byte) (int, error) {
	if err := u.Err(); err != nil {
		return 0, err
	}
	return u.from.Read(p)
}

// maxGitOutput bounds what output and fields read.
const maxGitOutput = 1 << 20

// output gives all that a command prints.
func (r *repository) output(ctx context.Context, stdin []byte, args ...string) (string, error) {
	var out []byte
	err := r.stream(ctx, stdin, args, func(from io.Reader) (err error) {
		out, err = io.ReadAll(io.LimitReader(from, maxGitOutput))
		return err
	})
	return string(out), err
}

// fields gives what a command prints between NUL bytes. cut: it prints more than is read,
// and the last field, which is not whole, is left out.
func (r *repository) fields(ctx context.Context, args ...string) (all []string, cut bool, err error) {
	out, err := r.output(ctx, nil, args...)
	all = strings.Split(out, "\x00")
	return all[:len(all)-1], len(out) >= maxGitOutput, err
}

// stream runs a command, and read reads what it prints. If read leaves something, the
// command is ended, and counts as done.
func (r *repository) stream(ctx context.Context, stdin []byte, args []string, read func(io.Reader) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append(append([]string{}, gitOptions...), args...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.dir, r.env, bytes.NewReader(stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // filters end with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	said := &head{most: 4096}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return refuse(protocol.CodeNotImplemented, "git is not installed on the worker")
		}
		return fmt.Errorf("start git: %w", err)
	}
	if err := boundMemory(cmd.Process.Pid); err != nil && !errors.Is(err, syscall.ESRCH) {
		cancel()
		_ = cmd.Wait()
		return fmt.Errorf("bound the memory of git: %w", err)
	}
	readErr := read(out)
	var one [1]byte
	n, _ := out.Read(one[:])
	if n > 0 || readErr != nil {
		cancel()
		_ = cmd.Wait()
		return readErr
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return gitError(args[0], said.String(), err)
	}
	return nil
}

// head keeps the first bytes that are written to it.
type head struct {
	bytes.Buffer
	most int
}

func (h *head) Write(p []byte) (int, error) {
	_, _ = h.Buffer.Write(p[:min(len(p), max(0, h.most-h.Len()))])
	return len(p), nil
}

// gitError makes the error of a command that has failed.
func gitError(command, said string, err error) error {
	switch {
	case strings.Contains(said, "not a git repository"), strings.Contains(said, "must be run in a work tree"),
		strings.Contains(said, "cannot use bare repository"):
		return errNoRepository
	case strings.Contains(said, "dubious ownership"):
		return refuse(protocol.CodePathNotAllowed, "the repository belongs to another user than the worker: git reads it only if safe.directory names it")
	case strings.Contains(strings.ToLower(said), "out of memory"):
		return refuse(protocol.CodePayloadTooLarge, "what git would have to read is too large")
	case strings.Contains(said, "Permission denied"):
		return refuse(protocol.CodePathNotAllowed, "the worker may not read a file of the repository")
	}
	return fmt.Errorf("git %s: %w: %s", command, err, printable(clip(strings.TrimSpace(said), 500)))
}

// object gives the id of what a name stands for; "" if there is no such thing.
func (r *repository) object(ctx context.Context, name string) string {
	out, err := r.output(ctx, nil, "rev-parse", "--quiet", "--verify", "--end-of-options", name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(out)
}

// untracked lists files below the working directory that git neither knows nor ignores, by
// their paths from the repository's top. A name that ends with a slash is another repository.
func (r *repository) untracked(ctx context.Context, paths ...string) (names []string, cut bool, err error) {
	return r.fields(ctx, append([]string{"ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--"}, paths...)...)
}

// listUntracked puts files into the copy of the index, as empty ones. So a diff of the
// working tree shows them. A file that goes meanwhile does no harm.
func (r *repository) listUntracked(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	empty, err := r.output(ctx, nil, "hash-object", "--stdin")
	if err != nil {
		return err
	}
	var info bytes.Buffer
	for _, name := range names {
		fmt.Fprintf(&info, "100644 %s 0\t%s\x00", strings.TrimSpace(empty), name)
	}
	_, err = r.output(ctx, info.Bytes(), "update-index", "-z", "--index-info")
	return err
}
