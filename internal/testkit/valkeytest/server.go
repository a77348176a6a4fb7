// Package valkeytest starts real servers for tests: one alone, a cluster of
// three, or a primary with replicas under three Sentinels. They listen on free
// ports of 127.0.0.1, keep everything in folders of the test's own with
// `appendfsync always`, and end with the test, however it ends.
package valkeytest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/need"
)

// patience is how long a server may take for what it is asked to do here. It is
// long for the sake of slow machines: nothing waits for it to pass.
const patience = 60 * time.Second

// Valkey is the path of valkey-server.
func Valkey(tb testing.TB) string { tb.Helper(); return need.Valkey.Path(tb) }

// Redis is the path of redis-server.
func Redis(tb testing.TB) string { tb.Helper(); return need.Redis.Path(tb) }

// Server is one server process, or its place while it is down: Restart brings it
// back on the same port with the same files. Its methods are for the test's own
// goroutine, or for one at a time.
type Server struct {
	tb       testing.TB
	program  string
	dir      string
	port     int
	sentinel bool

	mu      sync.Mutex
	process *os.Process   // nil while it is down
	ended   chan struct{} // closed when the process is gone
}

// Start starts a server alone. settings are lines of its configuration, beside
// those that all servers here have.
func Start(tb testing.TB, program string, settings ...string) *Server {
	tb.Helper()
	return start(tb, program, false, append([]string{
		`save ""`, "appendonly yes", "appendfsync always", "repl-diskless-sync-delay 0", "protected-mode no",
	}, settings...))
}

func start(tb testing.TB, program string, sentinel bool, settings []string) *Server {
	tb.Helper()
	const attempts = 5 // another process may take a port between the look and the start
	var err error
	for range attempts {
		s := &Server{tb: tb, program: program, dir: folder(tb), port: freePort(tb), sentinel: sentinel}
		// A file and no arguments: Sentinels and failovers rewrite it, and a
		// restart goes on with what they wrote.
		lines := append([]string{
			"bind 127.0.0.1", fmt.Sprintf("port %d", s.port), fmt.Sprintf("dir %q", s.dir), fmt.Sprintf("logfile %q", s.log()),
		}, settings...)
		if err := os.WriteFile(s.config(), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(s.end)
		if err = s.start(); err == nil {
			return s
		}
	}
	tb.Fatalf("start %s: %v", program, err)
	return nil
}

// folder makes a folder for a server's files, in memory where the machine has such
// a place: they are synced at each write, and a kill of the process is all that
// they must survive. On a shared disk one sync can take seconds.
func folder(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sessionhub-valkey-")
	if err != nil {
		return tb.TempDir()
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) }) // what is left there is gone with the next start of the machine
	return dir
}

func freePort(tb testing.TB) int {
	tb.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (s *Server) config() string { return filepath.Join(s.dir, "server.conf") }
func (s *Server) log() string    { return filepath.Join(s.dir, "server.log") }

// Addr is the server's host and port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the server's address as --valkey-url takes it.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// start starts the process and waits until it answers.
func (s *Server) start() error {
	args := []string{s.config()}
	if s.sentinel {
		args = append(args, "--sentinel")
	}
	cmd := exec.Command(s.program, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// It ends with the thread that started it, also when the test is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended, started := make(chan struct{}), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for the thread to live as long as the process
		defer runtime.UnlockOSThread()
		defer close(ended)
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		_ = cmd.Wait() // how it ended is the test's own doing
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.process, s.ended = cmd.Process, ended
	s.mu.Unlock()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		// One that wants a password answers too.
		if reply, err := s.Do("PING"); reply == "PONG" || err != nil && strings.HasPrefix(err.Error(), "NOAUTH") {
			return nil
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(s.log())
			return fmt.Errorf("it ended: %s%s", out.Bytes(), tail(log))
		default:
		}
		if time.Now().After(deadline) {
			s.Kill()
			s.tb.Fatalf("%s has not answered for %s", s.program, patience)
		}
	}
}

func tail(log []byte) []byte { return log[max(0, len(log)-2000):] }

// end ends the server at the end of the test, and shows its log if that failed.
func (s *Server) end() {
	s.Kill()
	if s.tb.Failed() {
		if log, err := os.ReadFile(s.log()); err == nil {
			s.tb.Logf("end of the log of %s:\n%s", s.Addr(), tail(log))
		}
	}
}

// signal sends a signal to the process, if it runs.
func (s *Server) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		_ = s.process.Signal(sig) // it may have ended just now
	}
}

// Kill ends the process as kill -9 does, and waits until it is gone. Killing one
// that is down does nothing.
func (s *Server) Kill() {
	s.signal(syscall.SIGKILL)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		<-s.ended
		s.process = nil
	}
}

// Stop freezes the process (SIGSTOP); Cont lets it go on.
func (s *Server) Stop() { s.signal(syscall.SIGSTOP) }

// Cont lets a frozen process go on (SIGCONT).
func (s *Server) Cont() { s.signal(syscall.SIGCONT) }

// Start starts the server again, with what it kept, after a Kill. Unlike Restart
// it may be called by any goroutine.
func (s *Server) Start() error {
	if err := s.start(); err != nil {
		return fmt.Errorf("start %s again: %w", s.Addr(), err)
	}
	return nil
}

// Restart kills the process if it runs, and starts it again with what it kept.
func (s *Server) Restart() {
	s.tb.Helper()
	s.Kill()
	if err := s.start(); err != nil {
		s.tb.Fatalf("restart %s: %v", s.Addr(), err)
	}
}

// Copy keeps what the server has stored by now. The function that it returns puts
// that back while the process does not run: the server then starts without the end
// of its log, as a replica does that takes over too soon.
func (s *Server) Copy() (back func()) {
	s.tb.Helper()
	kept := s.tb.TempDir()
	stored := filepath.Join(s.dir, "appendonlydir")
	if err := os.CopyFS(kept, os.DirFS(stored)); err != nil {
		s.tb.Fatalf("copy what %s has stored: %v", s.Addr(), err)
	}
	return func() {
		s.tb.Helper()
		err := os.RemoveAll(stored)
		if err == nil {
			err = os.CopyFS(stored, os.DirFS(kept))
		}
		if err != nil {
			s.tb.Fatalf("put back what %s had stored: %v", s.Addr(), err)
		}
	}
}

// CPU is the processor time that the process has used, user and system, in steps
// of 10 ms.
func (s *Server) CPU() time.Duration {
	s.tb.Helper()
	s.mu.Lock()
	pid := s.process.Pid
	s.mu.Unlock()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		s.tb.Fatal(err)
	}
	// proc(5): utime and stime are fields 14 and 15; field 2, in brackets, may
	// hold spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			s.tb.Fatal(err)
		}
		ticks += n
	}
	const perSecond = 100 // USER_HZ: the same on every Linux that Go runs on
	return time.Duration(ticks) * time.Second / perSecond
}
