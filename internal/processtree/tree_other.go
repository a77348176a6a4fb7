//go:build unix && !linux

package processtree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// SuperviseMain exists so that the program builds everywhere. There is no
// subreaper here, so there is nothing to supervise with.
func SuperviseMain([]string) int {
	fmt.Fprintln(os.Stderr, "supervise: not on this system")
	return 2
}

func start(ctx context.Context, spec Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	files, err := openFor(spec)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(spec.Path, spec.Args...)
	cmd.Dir = spec.Dir
	cmd.Env = append([]string{}, spec.Env...) // nil would be this process's
	cmd.Stdin, cmd.Stdout, cmd.Stderr = files.far[0], files.far[1], files.far[2]
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Start()
	files.closeFar()
	if err != nil {
		files.close()
		return nil, err
	}
	p := newProcess(files, spec.Grace)
	p.pid = cmd.Process.Pid
	go p.guard(cmd)
	return p, nil
}

// guard waits for the agent and signals its process group when it is to end.
func (p *Process) guard(cmd *exec.Cmd) {
	defer close(p.done)
	over := make(chan struct{})
	go func() {
		defer close(over)
		cmd.Wait()
	}()
	select {
	case <-over:
	case <-p.stopping:
		p.signalGroup(syscall.SIGTERM)
		select {
		case <-over:
		case <-time.After(p.grace):
			p.signalGroup(syscall.SIGKILL)
			<-over
		}
	}
	p.noteExit()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok {
		p.exit = exitOf(ws)
	}
	p.endGroup()
}

// endGroup ends what is left of the group after its leader. The group keeps its
// number from being used again as long as one member lives.
func (p *Process) endGroup() {
	if p.signalGroup(syscall.SIGTERM) {
		return
	}
	for over := time.Now().Add(min(p.grace, leftoverGrace)); time.Now().Before(over); time.Sleep(20 * time.Millisecond) {
		if p.signalGroup(0) {
			return
		}
	}
	p.signalGroup(syscall.SIGKILL)
}

// signalGroup reports whether the group is gone.
func (p *Process) signalGroup(sig syscall.Signal) (gone bool) {
	return errors.Is(syscall.Kill(-p.pid, sig), syscall.ESRCH)
}

// tree has nothing to remember here.
type tree struct{}

// Below is what ran below an agent at one moment; on this system it is not known.
type Below struct{}

// Below remembers nothing on this system.
func (p *Process) Below() Below { return Below{} }

func (b Below) has(Running) bool { return false }

// Running is not known on this system.
func (p *Process) Running(Below) []Running { return nil }

// EndNew ends nothing on this system: without a subreaper it is not known what an
// agent's turn has started. Stop ends the agent's process group as a whole.
func (p *Process) EndNew(context.Context, Below) (ended []Running, left int) { return nil, 0 }

// Dying is known only when the agent has ended.
func (p *Process) Dying() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Unread is not known on this system.
func (p *Process) Unread() int { return 0 }
