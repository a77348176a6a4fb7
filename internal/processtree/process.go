package processtree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// DefaultGrace is the time between SIGTERM and SIGKILL unless a Spec says otherwise.
	DefaultGrace = 2 * time.Second
	// leftoverGrace replaces a longer grace for what an agent that has ended by
	// itself left behind: nobody waits for its result, but somebody waits for the exit.
	leftoverGrace = 500 * time.Millisecond
	// answerTime is how long after the grace time the hub waits for the end before
	// it takes a supervisor for frozen and kills the tree itself.
	answerTime = time.Second
	// stopTime bounds Stop, counted from the end of the grace time. With
	// DefaultGrace a Stop so takes 5 s at most.
	stopTime = 3 * time.Second
	// startTime bounds Start where its context has no earlier deadline.
	startTime = 10 * time.Second
)

// Spec says what to run. The zero value of each optional field is its default.
type Spec struct {
	// Path is the program: a path (a relative one is taken from this process's
	// working directory) or a bare name, which is looked up in the PATH of Env.
	Path string
	// Args are the arguments after the program's name.
	Args []string
	// Env is the agent's whole environment. Nil is an empty one, and not this
	// process's, whose variables hold secrets that are none of the agent's
	// business. On Linux one variable is added, the mark of the tree.
	Env []string
	// Dir is the agent's working directory; empty is this process's.
	Dir string
	// Terminal gives the agent a pseudo terminal instead of pipes. Stdin and Stdout of the
	// Process are its other end, and Stderr has nothing. A read fails with EIO when all have
	// closed it. Linux only; elsewhere the agent gets pipes.
	Terminal bool
	// Grace is the time between SIGTERM and SIGKILL; 0 is DefaultGrace.
	Grace time.Duration
	// Supervisor is the command that ends in SuperviseMain; nil is this program
	// with the subcommand "supervise". Linux only.
	Supervisor []string
}

// Exit tells how an agent ended. At most one of Signal and Lost is set.
type Exit struct {
	// Code is the exit code, or -1 where there is none.
	Code int
	// Signal is the description of the signal that ended the agent, such as
	// "killed", or empty.
	Signal string
	// Lost says that the supervisor was killed before it could report the exit.
	Lost bool
}

// String is "exit status 3", "signal: killed" or "exit status unknown: ...".
func (e Exit) String() string {
	switch {
	case e.Lost:
		return "exit status unknown: the supervisor was killed"
	case e.Signal != "":
		return "signal: " + e.Signal
	default:
		return fmt.Sprintf("exit status %d", e.Code)
	}
}

// exitOf translates a wait status without losing the difference between
// "exited with 137" and "killed by signal 9".
func exitOf(ws syscall.WaitStatus) Exit {
	if ws.Signaled() {
		return Exit{Code: -1, Signal: ws.Signal().String()}
	}
	return Exit{Code: ws.ExitStatus()}
}

// Process is a running agent and everything below it. All methods may be called
// by any goroutine at any time.
//
// Whoever called Start must call Stop or Close, also after Done is closed by
// itself, and closes the three pipes (Close does). They stay open after Done so
// that the last output can still be read.
type Process struct {
	// Stdin, Stdout and Stderr are this side's ends of the agent's pipes.
	// Deadlines work, and Close ends a Read or Write that waits. Stop closes Stdin.
	Stdin, Stdout, Stderr *os.File

	// immutable after Start
	pid   int
	grace time.Duration
	tree  *tree // of this system

	stopOnce sync.Once
	stopping chan struct{} // closed by stopOnce

	exitOnce sync.Once
	exited   chan struct{} // closed by exitOnce

	leftMu sync.Mutex
	left   []Running // guarded by leftMu; nil until the end has begun

	done chan struct{} // closed by guard, when nothing of the tree is left
	// written by guard before done is closed
	exit Exit
	err  error
}

// Start runs an agent. ctx bounds the start only; a Process lives until it ends
// or is stopped. A command that is missing or not executable, a directory that is
// none and a failing exec are errors here (errors.Is works with fs.ErrNotExist
// and fs.ErrPermission), and leave no process behind.
func Start(ctx context.Context, spec Spec) (*Process, error) {
	resolved, err := resolve(spec)
	if err != nil {
		return nil, fmt.Errorf("start agent %q: %w", spec.Path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	p, err := start(ctx, resolved)
	if err != nil {
		return nil, fmt.Errorf("start agent %q: %w", spec.Path, err)
	}
	return p, nil
}

// PID is the agent's process id. It may belong to somebody else once Done is closed.
func (p *Process) PID() int { return p.pid }

// Exited is closed when the agent itself has ended, or is not known to live any
// more. What it started can still be there, with its pipes in hand: see Done. If it
// is closed before anybody called Stop, then the agent ended by itself.
func (p *Process) Exited() <-chan struct{} { return p.exited }

func (p *Process) noteExit() { p.exitOnce.Do(func() { close(p.exited) }) }

// Done is closed when the agent and everything below it are gone.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for Done and tells how the agent ended. It does not ask for the end.
func (p *Process) Wait() Exit {
	<-p.done
	return p.exit
}

// Stop ends the tree and waits until nothing of it is left, at most for the grace
// time and 3 s. It closes Stdin and asks with SIGTERM; what is left after the
// grace time gets SIGKILL. If ctx ends first Stop returns, and the end goes on
// without it. Any number of calls share one end.
func (p *Process) Stop(ctx context.Context) error {
	p.stopOnce.Do(func() {
		// Before anything ends: some agents end themselves and what they started
		// when their stdin does.
		p.noteLeft(p.Running(Below{}))
		p.Stdin.Close()
		close(p.stopping)
	})
	timer := time.NewTimer(p.grace + stopTime)
	defer timer.Stop()
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return fmt.Errorf("stop agent %d: %w", p.pid, context.Cause(ctx))
	case <-timer.C:
		return fmt.Errorf("stop agent %d: still not gone %v after it was asked", p.pid, p.grace+stopTime)
	}
}

// Close stops the tree and closes the three pipes. It may be called twice.
func (p *Process) Close() error {
	err := p.Stop(context.Background()) // Stop has its own bound
	p.closePipes()
	return err
}

// closePipes ignores errors: the only one is "already closed", which is allowed.
func (p *Process) closePipes() {
	p.Stdin.Close()
	p.Stdout.Close()
	p.Stderr.Close()
}

// pipes are both ends of the agent's stdin, stdout and stderr.
type pipes struct {
	near [3]*os.File // this process's
	far  [3]*os.File // the agent's
}

// The size of a terminal. Long addresses stay on one line.
const (
	terminalRows    = 50
	terminalColumns = 1000
)

// openFor opens what the agent of a spec gets.
func openFor(spec Spec) (pipes, error) {
	if spec.Terminal {
		return openTerminal()
	}
	return openPipes()
}

func openPipes() (pipes, error) {
	var p pipes
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			p.close()
			return pipes{}, fmt.Errorf("open pipe: %w", err)
		}
		p.near[i], p.far[i] = r, w
		if i == 0 { // the agent reads this one
			p.near[i], p.far[i] = w, r
		}
	}
	return p, nil
}

func (p *pipes) closeFar() {
	for _, f := range p.far {
		if f != nil {
			f.Close()
		}
	}
}

func (p *pipes) close() {
	p.closeFar()
	for _, f := range p.near {
		if f != nil {
			f.Close()
		}
	}
}

// newProcess takes over the near ends.
func newProcess(p pipes, grace time.Duration) *Process {
	return &Process{
		Stdin:    p.near[0],
		Stdout:   p.near[1],
		Stderr:   p.near[2],
		grace:    grace,
		stopping: make(chan struct{}),
		exited:   make(chan struct{}),
		done:     make(chan struct{}),
	}
}

// resolve fills in the defaults and turns Path and Dir into absolute ones, so
// that it no longer matters in which process and directory the exec happens.
func resolve(spec Spec) (Spec, error) {
	if spec.Grace < 0 {
		return spec, fmt.Errorf("grace time %v is negative", spec.Grace)
	}
	if spec.Grace == 0 {
		spec.Grace = DefaultGrace
	}
	dir, err := filepath.Abs(spec.Dir)
	if err != nil {
		return spec, fmt.Errorf("resolve working directory: %w", err)
	}
	spec.Dir = dir
	info, err := os.Stat(dir)
	if err != nil {
		return spec, fmt.Errorf("working directory: %w", err)
	}
	if !info.IsDir() {
		return spec, fmt.Errorf("working directory %s: %w", dir, syscall.ENOTDIR)
	}
	spec.Path, err = lookPath(spec.Path, spec.Env)
	return spec, err
}

// lookPath finds a program as the agent's own environment would: exec.LookPath
// knows only this process's PATH.
func lookPath(name string, env []string) (string, error) {
	if name == "" {
		return "", errors.New("no command")
	}
	if strings.ContainsRune(name, filepath.Separator) {
		path, err := filepath.Abs(name)
		if err != nil {
			return "", fmt.Errorf("resolve command: %w", err)
		}
		return path, executable(path)
	}
	var search string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			search = v // the last one wins, as in os/exec
		}
	}
	var denied error
	for _, dir := range filepath.SplitList(search) {
		if !filepath.IsAbs(dir) {
			continue // as os/exec: what lies in the current directory is never meant
		}
		path := filepath.Join(dir, name)
		err := executable(path)
		if err == nil {
			return path, nil
		}
		if errors.Is(err, fs.ErrPermission) {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", fmt.Errorf("command not found in its PATH %q: %w", search, fs.ErrNotExist)
}

// executable finds early and with a clear text what exec would refuse.
func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("command: %w", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("command %s is not executable: %w", path, fs.ErrPermission)
	}
	return nil
}
