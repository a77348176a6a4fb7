package chat

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// tty is a terminal in raw mode: keys come one by one, and nothing is done by
// the terminal itself. read belongs to one goroutine, which stop ends; the rest
// belongs to another.
type tty struct {
	in, out *os.File
	saved   *term.State
	wake    [2]*os.File // a byte in it ends read
}

const (
	pasteOn, pasteOff = "\x1b[?2004h", "\x1b[?2004l"
	// escapeWait is how long the rest of a key's sequence may be on its way.
	escapeWait = 50 * time.Millisecond
)

func openTTY(in, out *os.File) (*tty, error) {
	t := &tty{in: in, out: out}
	var err error
	if t.wake[0], t.wake[1], err = os.Pipe(); err != nil {
		return nil, fmt.Errorf("open the terminal: %w", err)
	}
	if err := t.raw(); err != nil {
		_ = t.wake[0].Close()
		_ = t.wake[1].Close()
		return nil, err
	}
	return t, nil
}

func (t *tty) raw() error {
	saved, err := term.MakeRaw(int(t.in.Fd()))
	if err != nil {
		return fmt.Errorf("open the terminal: %w", err)
	}
	t.saved = saved
	_, err = t.out.WriteString(pasteOn)
	return err
}

func (t *tty) restore() error {
	_, err := t.out.WriteString(pasteOff)
	return errors.Join(err, term.Restore(int(t.in.Fd()), t.saved))
}

// suspend stops this program and its siblings, as Ctrl-Z does, and comes back
// when a shell brings it to the foreground.
func (t *tty) suspend() error {
	if err := t.restore(); err != nil {
		return err
	}
	if err := unix.Kill(0, unix.SIGTSTP); err != nil {
		return fmt.Errorf("suspend: %w", err)
	}
	return t.raw()
}

// size is the terminal's, or what most have.
func (t *tty) size() (columns, rows int) {
	columns, rows, err := term.GetSize(int(t.out.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return 80, 24
	}
	return columns, rows
}

// stop ends read.
func (t *tty) stop() { _, _ = t.wake[1].Write([]byte{0}) }

// close gives the terminal back. Nobody may be in read.
func (t *tty) close() error {
	return errors.Join(t.restore(), t.wake[0].Close(), t.wake[1].Close())
}

// read hands out keys until stop, or the end of the terminal: then it returns an
// error. A key that is not taken makes it wait.
func (t *tty) read(keys chan<- key, done <-chan struct{}) error {
	var typed []byte
	var at time.Time // when the last of it was read
	buf := make([]byte, 4096)
	for {
		for len(typed) > 0 {
			k, n := decodeKey(typed, false)
			if n == 0 && len(typed) <= maxPaste+len(buf) {
				break
			}
			typed = typed[max(n, 1):]
			k.at = at
			if !hand(keys, done, k) {
				return nil
			}
		}
		wait := time.Duration(-1)
		if len(typed) > 0 {
			wait = escapeWait
		}
		ready, err := t.ready(wait)
		switch {
		case err != nil:
			return err
		case ready == readyStop:
			return nil
		case ready == readyNone: // what is there is all
			k, n := decodeKey(typed, true)
			typed = typed[n:]
			k.at = at
			if n > 0 && !hand(keys, done, k) {
				return nil
			}
			if n == 0 { // the end of a paste is still to come
				if ready, err := t.ready(-1); err != nil || ready == readyStop {
					return err
				}
			}
			continue
		}
		n, err := t.in.Read(buf)
		if err != nil {
			return fmt.Errorf("read the terminal: %w", err)
		}
		typed, at = append(typed, buf[:n]...), time.Now()
	}
}

func hand(keys chan<- key, done <-chan struct{}, k key) bool {
	select {
	case keys <- k:
		return true
	case <-done:
		return false
	}
}

type readiness int

const (
	readyNone readiness = iota
	readyInput
	readyStop
)

// ready waits for input, for stop, or for the time to pass (negative: without
// end). select(2) it is, since poll(2) does not know terminals everywhere.
func (t *tty) ready(wait time.Duration) (readiness, error) {
	in, wake := int(t.in.Fd()), int(t.wake[0].Fd())
	for {
		var set unix.FdSet
		set.Set(in)
		set.Set(wake)
		var timeout *unix.Timeval
		if wait >= 0 {
			tv := unix.NsecToTimeval(wait.Nanoseconds())
			timeout = &tv
		}
		n, err := unix.Select(max(in, wake)+1, &set, nil, nil, timeout)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return readyNone, fmt.Errorf("wait for the terminal: %w", err)
		case n > 0 && set.IsSet(wake):
			return readyStop, nil
		case n > 0:
			return readyInput, nil
		default:
			return readyNone, nil
		}
	}
}
