package processtree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// These tests hold on every Unix system; tree_linux_test.go has what needs the supervisor.

func TestExitIsReportedExactly(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"success", []string{"exit", "0"}, "exit status 0"},
		{"code", []string{"exit", "3"}, "exit status 3"},
		{"a code that looks like a signal", []string{"exit", "137"}, "exit status 137"},
		{"killed", []string{"die", "9"}, "signal: killed"},
		{"terminated", []string{"die", "15"}, "signal: terminated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := run(t, agentSpec(t, c.args...))
			if got := finished(t, p, 5*time.Second).String(); got != c.want {
				t.Errorf("exit is %q, want %q", got, c.want)
			}
		})
	}
	if got := (Exit{Code: -1, Lost: true}).String(); !strings.Contains(got, "unknown") {
		t.Errorf("a lost exit says %q", got)
	}
}

func TestStartNamesWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	script := filepath.Join(dir, "script")
	garbage := filepath.Join(dir, "garbage")
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		plain:   {"no program", 0o600},
		script:  {"#!/nonexistent/interpreter\n", 0o700},
		garbage: {"\x7fELF is only the beginning of one", 0o700},
	} {
		if err := os.WriteFile(name, []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		set  func(*Spec)
		want error
		text string
	}{
		{"no command", func(s *Spec) { s.Path = "" }, nil, "no command"},
		{"missing path", func(s *Spec) { s.Path = filepath.Join(dir, "gone") }, fs.ErrNotExist, "gone"},
		{"missing name", func(s *Spec) { s.Path = "no-such-agent" }, fs.ErrNotExist, "PATH"},
		{"no PATH in its environment", func(s *Spec) { s.Path, s.Env = "sh", nil }, fs.ErrNotExist, "PATH"},
		{"not executable", func(s *Spec) { s.Path = plain }, fs.ErrPermission, "not executable"},
		{"not executable, by name", func(s *Spec) { s.Path, s.Env = "plain", []string{"PATH=" + dir} }, fs.ErrPermission, "not executable"},
		{"a directory", func(s *Spec) { s.Path = dir }, fs.ErrPermission, "not executable"},
		{"missing interpreter, found by exec", func(s *Spec) { s.Path = script }, fs.ErrNotExist, script},
		{"not a program, found by exec", func(s *Spec) { s.Path = garbage }, syscall.ENOEXEC, "exec format error"},
		{"missing directory", func(s *Spec) { s.Dir = filepath.Join(dir, "gone") }, fs.ErrNotExist, "working directory"},
		{"directory is a file", func(s *Spec) { s.Dir = plain }, syscall.ENOTDIR, "working directory"},
		{"negative grace", func(s *Spec) { s.Grace = -1 }, nil, "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spec := agentSpec(t, "exit", "0")
			c.set(&spec)
			p, err := Start(t.Context(), spec)
			if err == nil {
				p.Close()
				t.Fatal("no error")
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%q is no %v", err, c.want)
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q does not name %q", err, c.text)
			}
		})
	}
}

func TestPipesRunStraightToTheAgent(t *testing.T) {
	p := run(t, agentSpec(t, "echo"))
	text := strings.Repeat("0123456789", 50_000) // more than pipes hold
	var wg sync.WaitGroup
	wg.Go(func() {
		io.WriteString(p.Stdin, text)
		p.Stdin.Close()
	})
	out, err := io.ReadAll(p.Stdout)
	if err != nil || string(out) != text {
		t.Errorf("read %d bytes of %d, %v", len(out), len(text), err)
	}
	wg.Wait()
	// The last output is still there after the end.
	finished(t, p, 5*time.Second)
	if last, err := io.ReadAll(p.Stderr); err != nil || string(last) != "input ended" {
		t.Errorf("stderr has %q, %v", last, err)
	}
}

func TestReadDeadlineAndCloseEndAWaitingRead(t *testing.T) {
	p := run(t, agentSpec(t, "echo"))
	p.Stdout.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := p.Stdout.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read ended with %v", err)
	}
	p.Stdout.SetReadDeadline(time.Time{})
	ended := make(chan error, 1)
	go func() {
		_, err := p.Stdout.Read(make([]byte, 1))
		ended <- err
	}()
	p.Stdout.Close()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("read of a closed pipe succeeded")
		}
	case <-time.After(judge.Patience):
		t.Fatal("close did not end the read")
	}
}

func TestEnvironmentAndDirectoryAreExactlyTheGiven(t *testing.T) {
	t.Setenv("SESSIONHUB_TOKEN_SECRET", "must not reach an agent")
	spec := agentSpec(t, "environment")
	spec.Env = []string{"A=1", "B=two words", noRaceSleep}
	p := run(t, spec)
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(spec.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var others []string
	for line := range strings.Lines(string(out)) {
		line = strings.TrimSuffix(line, "\n")
		if !strings.HasPrefix(line, "AGENT_TREE_ID=") {
			others = append(others, line)
		}
	}
	if got, want := strings.Join(others, "|"), "A=1|B=two words|"+noRaceSleep+"|dir="+dir; got != want {
		t.Errorf("agent has %q, want %q", got, want)
	}
}

func TestStopAsksBeforeItKills(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	p := run(t, agentSpec(t, "polite", asked))
	if line := make([]byte, 6); must(io.ReadFull(p.Stdout, line)) != 6 {
		t.Fatal("agent is not ready")
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !exists(asked) {
		t.Error("no SIGTERM came")
	}
	if got := p.Wait(); got != (Exit{Code: 7}) {
		t.Errorf("exit is %+v", got)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestStopTwiceAtOnceAndAgainLater(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "stubborn", dir))
	all := members(t, dir, 1)
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = p.Stop(t.Context()) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if left := alive(all); len(left) > 0 {
		t.Errorf("Stop returned while %v ran", left)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Errorf("a late Stop: %v", err)
	}
	if err := errors.Join(p.Close(), p.Close()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func TestStopGoesOnAfterItsContext(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "stubborn", dir))
	all := members(t, dir, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	if got := finished(t, p, 5*time.Second); got.Signal != "killed" {
		t.Errorf("exit is %v", got)
	}
	allGone(t, all, 0)
}

func TestTwentyAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 20 {
		spec := agentSpec(t, "echo")
		wg.Go(func() {
			p, err := Start(t.Context(), spec)
			if err != nil {
				t.Errorf("agent %d: %v", i, err)
				return
			}
			defer p.Close()
			if _, err := io.WriteString(p.Stdin, "x"); err != nil {
				t.Errorf("agent %d: %v", i, err)
			}
			p.Stdin.Close()
			if out, err := io.ReadAll(p.Stdout); err != nil || string(out) != "x" {
				t.Errorf("agent %d said %q, %v", i, out, err)
			}
			if err := p.Stop(t.Context()); err != nil {
				t.Errorf("agent %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
