package processtree

import (
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The control socket joins the hub and a supervisor. The hub writes one order and
// then nothing more; the end of its direction is the request to end the tree,
// whether it was closed or the hub is gone. The supervisor answers with one
// report when the agent runs (or cannot), with one when it has ended, and with
// one when nothing is left. Each is one JSON value. Both are the same binary, so there are no versions.

// controlFD is the supervisor's end: the first of exec.Cmd.ExtraFiles.
const controlFD = 3

// order tells the supervisor what to run. It goes over the socket and not over
// the command line, which every user of the machine can read.
type order struct {
	Path  string
	Args  []string
	Env   []string
	Dir   string
	Grace time.Duration
}

// report is one of: the agent runs (PID), it could not be started (Error, and
// Errno where the system gave one), it has ended (Exit) and what it has started
// still runs (Left), nothing is left (Empty).
type report struct {
	PID   int    `json:",omitempty"`
	Error string `json:",omitempty"`
	Errno int    `json:",omitempty"`
	Exit  *Exit  `json:",omitempty"`

	Left  []Running `json:",omitempty"`
	Empty bool      `json:",omitempty"`
}

// controlPair returns the hub's end and the file to pass to the supervisor. Both
// are close-on-exec from the start: an end that leaked into another child of the
// hub would keep the lifeline open after the hub is gone.
func controlPair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open control socket: %w", err)
	}
	far := os.NewFile(uintptr(fds[1]), "control")
	near, err := controlConn(os.NewFile(uintptr(fds[0]), "control"))
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	return near, far, nil
}

// controlConn takes the file over.
func controlConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close() // FileConn made a copy
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("open control socket: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, fmt.Errorf("control socket is a %T", c)
	}
	return u, nil
}
