package processtree

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openTerminal is openPipes with a pseudo terminal in place of the pipes. The agent's stderr is
// the terminal too, so the near end of stderr has no data. It is not the agent's controlling
// terminal: Ctrl-C is a byte for it, and no signal.
func openTerminal() (pipes, error) {
	var p pipes
	fail := func(what string, err error) (pipes, error) {
		p.close()
		return pipes{}, fmt.Errorf("open terminal: %s: %w", what, err)
	}
	// Non-blocking, so that Close ends a Read that waits.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail("/dev/ptmx", err)
	}
	p.near[0] = os.NewFile(uintptr(fd), "/dev/ptmx")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fail("unlock", err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return fail("number", err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: terminalRows, Col: terminalColumns}); err != nil {
		return fail("size", err)
	}
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fail("copy", err)
	}
	p.near[1] = os.NewFile(uintptr(again), "/dev/ptmx")
	name := "/dev/pts/" + strconv.Itoa(number)
	for i := range p.far {
		if p.far[i], err = os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
			return fail(name, err)
		}
	}
	empty, end, err := os.Pipe()
	if err != nil {
		return fail("pipe", err)
	}
	end.Close()
	p.near[2] = empty
	return p, nil
}
