package processtree

import "golang.org/x/sys/unix"

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
