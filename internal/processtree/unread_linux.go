package processtree

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unread is how many of the bytes that were written to Stdin nobody has read.
// After Done it is final: what is unread then was never seen by the agent or by
// anything that it had started. 0 when it is not known, as after Stop, which
// closes Stdin.
func (p *Process) Unread() int {
	raw, err := p.Stdin.SyscallConn()
	if err != nil {
		return 0
	}
	n := 0
	// pipe(7): FIONREAD, which is TIOCINQ, works at either end. The bytes stay as
	// long as one end is open.
	if err := raw.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }); err != nil {
		return 0
	}
	return max(n, 0)
}

// Dying reports whether the agent is dead or about to die whatever it wants: a
// SIGKILL is on its way to it, or it is in its exit. What is written to it now can
// still leave the pipe, for the kernel ends a read that has data before it looks
// for the signal, but the agent never sees it.
func (p *Process) Dying() bool {
	select {
	case <-p.exited:
		return true
	default:
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		// Gone before the file was opened, or while it was read.
		return errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH)
	}
	return doomed(data)
}

// doomed reads /proc/<pid>/status (proc_pid_status(5)). A SIGKILL for the process
// stays among the shared pending signals until the process is gone; any other
// fatal signal, and an exit, are a pending SIGKILL for each other thread. For one
// that was waited for in the moment of the look, the kernel finds no signals and
// no threads.
func doomed(status []byte) bool {
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "State":
			if len(value) > 0 && (value[0] == 'Z' || value[0] == 'X') {
				return true
			}
		case "Threads":
			if string(value) == "0" {
				return true
			}
		case "SigPnd", "ShdPnd":
			pending, err := strconv.ParseUint(string(value), 16, 64)
			if err == nil && pending&(1<<(syscall.SIGKILL-1)) != 0 {
				return true
			}
		}
	}
	return false
}
