package processtree

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// markVariable carries a random name of the tree in the environment of everything
// below the supervisor. It has no prefix of the hub's own settings, so that a hub
// which an agent starts does not take it for one.
const markVariable = "AGENT_TREE_ID"

// tree is the hub's side of one supervisor. It is owned by Start, and by guard
// once that runs.
type tree struct {
	cmd     *exec.Cmd
	control *net.UnixConn
	reports *json.Decoder
	mark    string // "AGENT_TREE_ID=<random>"

	mu     sync.Mutex // held while the supervisor's number is used or given back
	reaped bool       // guarded by mu: the number may be somebody else's now
}

func start(ctx context.Context, spec Spec) (*Process, error) {
	files, err := openFor(spec)
	if err != nil {
		return nil, err
	}
	t, err := startSupervisor(spec, files)
	files.closeFar()
	if err != nil {
		files.close()
		return nil, err
	}
	p := newProcess(files, spec.Grace)
	p.tree = t
	p.pid, err = t.handshake(ctx, spec)
	// The guard runs in any case: it also waits for a supervisor whose start failed.
	go p.guard(t)
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func startSupervisor(spec Spec, files pipes) (*tree, error) {
	argv := spec.Supervisor
	if len(argv) == 0 {
		// Not os.Executable: this name works also after the file was replaced by
		// an upgrade while the hub runs.
		argv = []string{"/proc/self/exe", "supervise"}
	}
	control, far, err := controlPair()
	if err != nil {
		return nil, err
	}
	defer far.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files.far[0], files.far[1], files.far[2]
	cmd.ExtraFiles = []*os.File{far}
	// Nothing of the hub's environment: it holds secrets, and an agent can read
	// the environment of its own user's processes. One P is enough to wait.
	cmd.Env = []string{"GOMAXPROCS=1"}
	// A session of its own: a Ctrl-C in the hub's terminal, or a signal to the
	// hub's process group, is for the hub, which then ends the tree in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		control.Close()
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return &tree{
		cmd:     cmd,
		control: control,
		reports: json.NewDecoder(control),
		mark:    markVariable + "=" + rand.Text(),
	}, nil
}

// handshake sends the order and waits for the agent's process id.
func (t *tree) handshake(ctx context.Context, spec Spec) (int, error) {
	// An end of ctx makes the reads and writes below fail at once.
	released := context.AfterFunc(ctx, func() { t.control.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if released() {
			t.control.SetDeadline(time.Time{})
		}
	}()
	err := json.NewEncoder(t.control).Encode(order{
		Path:  spec.Path,
		Args:  spec.Args,
		Env:   append(append([]string(nil), spec.Env...), t.mark),
		Dir:   spec.Dir,
		Grace: spec.Grace,
	})
	var r report
	if err == nil {
		err = t.reports.Decode(&r)
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, fmt.Errorf("wait for supervisor: %w", context.Cause(ctx))
	case err != nil:
		return 0, fmt.Errorf("supervisor ended before the agent ran: %w", err)
	case r.Errno == int(syscall.ENOENT):
		// The command itself was found before, so it is about its "#!" line or loader.
		return 0, fmt.Errorf("%s (is its interpreter there?): %w", r.Error, syscall.ENOENT)
	case r.Errno != 0:
		return 0, fmt.Errorf("%s: %w", r.Error, syscall.Errno(r.Errno))
	case r.Error != "":
		return 0, errors.New(r.Error)
	}
	return r.PID, nil
}

// guard owns the supervisor until it is gone: it passes on the request to stop,
// and kills the tree itself when the supervisor does not answer.
func (p *Process) guard(t *tree) {
	defer close(p.done)
	defer p.noteExit() // also when the supervisor could not say it
	var ended sync.WaitGroup
	defer ended.Wait()
	over := make(chan struct{})
	ended.Go(func() {
		defer close(over)
		p.exit, p.err = t.wait(func(left []Running) {
			p.noteLeft(left)
			p.noteExit()
		})
	})
	stopping := p.stopping
	var silent <-chan time.Time
	for {
		select {
		case <-over:
			return
		case <-stopping:
			stopping = nil
			t.control.CloseWrite()
			silent = time.After(p.grace + answerTime)
		case <-silent:
			silent = nil
			t.kill()
		}
	}
}

// wait reads reports until the supervisor is gone and has been waited for. It
// calls exited when the agent has ended, with what it has left running.
func (t *tree) wait(exited func(left []Running)) (Exit, error) {
	defer t.control.Close()
	var exit *Exit
	empty := false
	for {
		var r report
		if err := t.reports.Decode(&r); err != nil {
			// EOF says that the supervisor is gone. A deadline that the handshake
			// left behind (its ctx ended) stops reading too: clear it, try once more.
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.control.SetDeadline(time.Time{})
				t.reports = json.NewDecoder(t.control)
				continue
			}
			break
		}
		if r.Exit != nil {
			exit = r.Exit
			exited(r.Left)
		}
		empty = empty || r.Empty
	}
	t.mu.Lock()
	t.cmd.Wait() // its status says nothing that the report does not say better
	t.reaped = true
	t.mu.Unlock()
	var err error
	if !empty {
		err = sweep(t.mark, sweepTime)
	}
	if exit == nil {
		exit = &Exit{Code: -1, Lost: true}
	}
	return *exit, err
}

// kill ends a tree whose supervisor does not answer. While it is only frozen,
// orphans still become its children, so its descendants are all there is; only
// then the supervisor itself is killed. What is missed here, wait sweeps up.
func (t *tree) kill() {
	if !t.mu.TryLock() {
		// wait has seen its last report, so nothing is below it, but it hangs in its exit.
		t.cmd.Process.Kill()
		return
	}
	defer t.mu.Unlock()
	if t.reaped {
		return
	}
	deadline := time.Now().Add(killTime)
	// Twice none: an orphan can move up to the supervisor between the look at the
	// supervisor's children and the look at the parent that it lost.
	for none := 0; none < 2 && time.Now().Before(deadline); time.Sleep(killPause) {
		if signalDescendants(t.cmd.Process.Pid, nil, syscall.SIGKILL) > 0 {
			none = 0
		} else {
			none++
		}
	}
	t.cmd.Process.Kill()
}
