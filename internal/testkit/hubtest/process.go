// Package hubtest is a hub as tests see it from outside: the built program as a
// process, requests and their answers, and what its streams carry.
package hubtest

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// Buffer keeps a log that may be read while it is written.
type Buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

// String is everything that was written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// Process is a running `sessionhub serve`.
type Process struct {
	Cmd        *exec.Cmd
	URL, Admin string // of the two listeners, without a path
	Root       string // its workspace
	Banner     string // what it said on stdout until it was up
	Log        *Buffer
	Ended      chan struct{} // closed when the process has ended

	t testing.TB
}

// lastOfLog is how much of a node's log a failed test shows.
const lastOfLog = 8000

var (
	dashboard = regexp.MustCompile(`dashboard +(http://\S+)/`)
	metrics   = regexp.MustCompile(`metrics +(http://\S+)/metrics`)
)

// Serve starts a node on free ports, with a workspace of its own and roomy rates,
// which flags can narrow. It is killed when the test ends. Its environment is that
// of the test without settings of the program, and env.
func Serve(t testing.TB, binary string, env []string, flags ...string) *Process {
	t.Helper()
	p := &Process{Root: t.TempDir(), Log: &Buffer{}, Ended: make(chan struct{}), t: t}
	p.Cmd = exec.Command(binary, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workspace-root", p.Root, "--worktrees", t.TempDir(), "--drain-timeout", "2s",
		"--rate-sessions", "1000/s:1000", "--rate-messages", "1000/s:1000",
	}, flags...)...)
	p.Cmd.Env = append(Environment(), env...)
	p.Cmd.Stderr = p.Log
	out, err := p.Cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	in := bufio.NewReader(out)
	up := p.readBanner(in)
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = p.Cmd.Wait()
		close(p.Ended)
	}()
	if up != nil {
		t.Fatalf("the node did not start: %v\n%s%s", up, p.Banner, p.Log)
	}
	return p
}

// readBanner reads the URLs, and behind them the lines of the workspace and of the
// place of the sessions.
func (p *Process) readBanner(in *bufio.Reader) error {
	for p.URL == "" || p.Admin == "" {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		p.Banner += line
		if m := dashboard.FindStringSubmatch(line); m != nil {
			p.URL = m[1]
		}
		if m := metrics.FindStringSubmatch(line); m != nil {
			p.Admin = m[1]
		}
	}
	for range 2 {
		line, err := in.ReadString('\n')
		p.Banner += line
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Process) end() {
	_ = p.Cmd.Process.Kill()
	<-p.Ended
	if p.t.Failed() {
		log := p.Log.String()
		p.t.Logf("the end of the node's log:\n%s", log[max(0, len(log)-lastOfLog):])
	}
}

// Terminate sends SIGTERM, which drains.
func (p *Process) Terminate() {
	p.t.Helper()
	if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
}

// Host is what a raw connection dials.
func (p *Process) Host() string { return strings.TrimPrefix(p.URL, "http://") }

// Environment is that of the test without settings of the program. The agents of this
// machine are not offered.
func Environment() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SESSIONHUB_") {
			env = append(env, v)
		}
	}
	return append(env, "SESSIONHUB_DISCOVER_AGENTS=false")
}
