package processtree

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// processName is shown by ps and matched by a kill by name. It is not the
	// hub's, so that "killall -9" of the hub leaves those alive who clean up after
	// it. The kernel keeps 15 bytes.
	processName = "agentsupervisor"
	// termPause is the time between two looks for processes that came up after
	// the others got their SIGTERM.
	termPause = 20 * time.Millisecond
	// killBurst passes follow each other without a pause, to be faster than a tree
	// that forks while it is killed; then comes burstPause, for processes that
	// cannot be killed must not cost a whole core.
	killBurst  = 200
	burstPause = 5 * time.Millisecond
)

// SuperviseMain is the program of the supervisor process: the command of
// Spec.Supervisor calls it first of all and exits with its result. It must run in
// a process of its own, since it changes what is the process's: descriptors,
// signals, name, directory. args are those after the subcommand; there are none.
func SuperviseMain(args []string) int {
	// PR_SET_PDEATHSIG is about the death of the thread that forked, not of the
	// process: this one must live as long as the supervisor.
	runtime.LockOSThread()
	s, err := newSupervisor(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "supervise: %v\n", err)
		return 2
	}
	defer s.control.Close()
	if err := s.start(); err != nil {
		// The caller reads it from the socket. If that fails it is gone.
		s.report(failure(err))
		return 1
	}
	s.run()
	return 0
}

func failure(err error) report {
	r := report{Error: err.Error()}
	if s := (*startError)(nil); errors.As(err, &s) {
		r.Error, r.Errno = s.op, int(s.errno)
	}
	return r
}

// startError keeps the number apart, so that the hub can wrap it again.
type startError struct {
	op    string
	errno syscall.Errno
}

func (e *startError) Error() string { return e.op + ": " + e.errno.Error() }

// supervisor is the state of one supervisor process. All fields are owned by the
// main goroutine, but for the channels.
type supervisor struct {
	control *net.UnixConn
	order   order
	agent   int // process id

	terminated chan os.Signal // SIGTERM: end the tree
	lifeline   chan struct{}  // closed by the reader of control: end the tree
	agentExit  chan Exit      // the agent's, once; room for one
	empty      chan struct{}  // closed by reap: no descendant is left
}

func newSupervisor(args []string) (*supervisor, error) {
	const byHub = "this command is started by the hub, not by hand"
	if len(args) > 0 {
		return nil, errors.New(byHub)
	}
	control, err := controlConn(os.NewFile(controlFD, "control"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", byHub, err)
	}
	s := &supervisor{
		control:    control,
		terminated: make(chan os.Signal, 1),
		lifeline:   make(chan struct{}),
		agentExit:  make(chan Exit, 1),
		empty:      make(chan struct{}),
	}
	// Caught and not ignored: what is ignored stays ignored in the agent.
	// A terminal's Ctrl-C and hangup are for the hub.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	signal.Notify(s.terminated, syscall.SIGTERM)
	return s, nil
}

// start reads the order and starts the agent.
func (s *supervisor) start() error {
	if err := json.NewDecoder(s.control).Decode(&s.order); err != nil {
		return fmt.Errorf("read order: %w", err)
	}
	// A failure costs a nicer name only.
	os.WriteFile("/proc/self/comm", []byte(processName), 0)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	if err := closeOnExec(); err != nil {
		return err
	}
	o := s.order
	pid, err := syscall.ForkExec(o.Path, append([]string{o.Path}, o.Args...), &syscall.ProcAttr{
		Dir:   o.Dir,
		Env:   o.Env,
		Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{
			// A group of its own: an agent that signals its group means its tools.
			Setpgid:   true,
			Pdeathsig: syscall.SIGKILL,
		},
	})
	if err != nil {
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			return &startError{op: "exec " + o.Path, errno: errno}
		}
		return fmt.Errorf("exec %s: %w", o.Path, err)
	}
	s.agent = pid
	return nil
}

// run supervises until nothing is left.
func (s *supervisor) run() {
	var wg sync.WaitGroup
	wg.Go(s.reap)
	s.report(report{PID: s.agent})
	s.letGo()
	wg.Go(func() {
		defer close(s.lifeline)
		// Only the end matters; a hub sends nothing after its order.
		for b := make([]byte, 64); ; {
			if _, err := s.control.Read(b); err != nil {
				return
			}
		}
	})
	grace := s.order.Grace
	select {
	case exit := <-s.agentExit:
		// Told before the rest is ended: from now on the end is not the hub's doing.
		s.report(report{Exit: &exit, Left: runningBelow(os.Getpid(), s.agent, nil)})
		s.endTree(min(grace, leftoverGrace))
	case <-s.lifeline:
		s.endAll(grace)
	case <-s.terminated:
		s.endAll(grace)
	}
	s.report(report{Empty: true})
	s.control.Close() // ends the reader
	wg.Wait()
}

// endAll ends the tree and the agent with it.
func (s *supervisor) endAll(grace time.Duration) {
	s.endTree(grace)
	exit := <-s.agentExit
	s.report(report{Exit: &exit})
}

// report ignores errors: a hub that does not read any more is gone, and the end
// of the lifeline is already on its way.
func (s *supervisor) report(r report) {
	json.NewEncoder(s.control).Encode(r)
}

// reap waits for everything that ends below. A subreaper's children are all that
// is below it and lost its parent, so "no child" is "no descendant".
func (s *supervisor) reap() {
	defer close(s.empty)
	for reported := false; ; {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // ECHILD
			return
		case pid == s.agent && !reported: // once: the number can come again
			reported = true
			s.agentExit <- exitOf(ws)
		}
	}
}

// endTree returns when no descendant is left. It never gives up: as long as
// something lives below it somebody has to.
func (s *supervisor) endTree(grace time.Duration) {
	self := os.Getpid()
	over := time.After(grace)
	asked := make(map[incarnation]bool)
	for asking := true; asking; {
		// SIGCONT, because a stopped process acts on SIGTERM only when it runs on.
		signalDescendants(self, asked, syscall.SIGTERM, syscall.SIGCONT)
		select {
		case <-s.empty:
			return
		case <-over:
			asking = false
		case <-time.After(termPause):
		}
	}
	for pass := 1; ; pass++ {
		signalDescendants(self, nil, syscall.SIGKILL)
		pause := time.Duration(0)
		if pass%killBurst == 0 {
			pause = burstPause
		}
		select {
		case <-s.empty:
			return
		case <-time.After(pause):
		}
	}
}

// letGo gives back what the agent has now: with a copy of the pipes here the hub
// would not see the agent close them, and a working directory holds its file system.
func (s *supervisor) letGo() {
	if null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0); err == nil {
		for fd := range 3 {
			unix.Dup3(int(null.Fd()), fd, 0)
		}
		null.Close()
	}
	os.Chdir("/")
}

// closeOnExec keeps everything but the three standard descriptors from the agent,
// also what the hub itself inherited from whoever started it.
func closeOnExec() error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}
