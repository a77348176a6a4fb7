package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs, with what it says. All methods may be called
// concurrently. Kill it at the end: that is harmless if it has ended.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and was waited for

	mu   sync.Mutex
	said bytes.Buffer  // stdout and stderr
	more chan struct{} // closed and replaced when it has said more
}

// mostSaid bounds what is kept of a process's words.
const mostSaid = 8 << 20

// Launch starts a program with the variables besides the own environment, without
// those that begin with SESSIONHUB_. The agents of this machine are not offered, unless
// env or a flag says so.
func Launch(bin string, env []string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(bin, args...), done: make(chan struct{}), more: make(chan struct{})}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SESSIONHUB_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, "SESSIONHUB_DISCOVER_AGENTS=false"), env...)
	// A test that is killed leaves nothing behind.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.WaitDelay = time.Second // a child of its may hold them
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", bin, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Write takes what the process says.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.said.Len() < mostSaid {
		p.said.Write(b)
	}
	close(p.more)
	p.more = make(chan struct{})
	return len(b), nil
}

// Said is everything that it has said.
func (p *Process) Said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// Find waits until what it says has the pattern, and gives the first group.
func (p *Process) Find(ctx context.Context, pattern string) (string, error) {
	re := regexp.MustCompile(pattern)
	for {
		p.mu.Lock()
		m, more := re.FindSubmatch(p.said.Bytes()), p.more
		p.mu.Unlock()
		if m != nil {
			return string(m[len(m)-1]), nil
		}
		select {
		case <-more:
		case <-p.done:
			return "", fmt.Errorf("the process ended (%d) before it said %s:\n%s", p.cmd.ProcessState.ExitCode(), pattern, p.Said())
		case <-ctx.Done():
			return "", fmt.Errorf("the process does not say %s: %w:\n%s", pattern, ctx.Err(), p.Said())
		}
	}
}

// PID is its process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is what it ended with, after Done; -1 if a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Signal sends one, if the process still lives.
func (p *Process) Signal(sig syscall.Signal) error {
	err := p.cmd.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// Kill ends it with SIGKILL and waits.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL)
	<-p.done
}

// Binary is a sessionhub program.
type Binary string

// Hub is a running `sessionhub serve`.
type Hub struct {
	*Process
	URL, AdminURL string
}

// ready bounds the start of a program.
const ready = 30 * time.Second

// Serve starts a node on free ports and waits until it answers.
func (b Binary) Serve(ctx context.Context, env []string, flags ...string) (*Hub, error) {
	p, err := Launch(string(b), env, append([]string{"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"}, flags...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	h := &Hub{Process: p}
	if h.AdminURL, err = p.Find(ctx, `metrics +(http://\S+)/metrics`); err == nil {
		h.URL, err = p.Find(ctx, `dashboard +(http://\S+?)/?\s`)
	}
	if err != nil {
		p.Kill()
		return nil, err
	}
	return h, nil
}

// Worker starts a worker. It need not have a link when this returns.
func (b Binary) Worker(hub, key string, flags ...string) (*Process, error) {
	return Launch(string(b), []string{"SESSIONHUB_WORKER_KEY=" + key}, append([]string{"worker", "--hub", hub}, flags...)...)
}

// Marked lists the processes whose environment has the variable, such as agents
// that a provider's env has marked with it.
func Marked(variable string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/environ") // the pattern is good
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // it ended meanwhile, or is somebody else's
		}
		if bytes.Contains(append([]byte{0}, raw...), []byte("\x00"+variable+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// Named lists the processes whose command line has the text, zombies left out.
func Named(text string) []int {
	var pids []int
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err == nil && strings.Contains(strings.ReplaceAll(string(raw), "\x00", " "), text) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}
