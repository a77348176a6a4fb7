package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"

	"golang.org/x/sys/unix"
)

// person is somebody at a terminal in which a program runs.
type person struct {
	t      *testing.T
	master *os.File
	cmd    *exec.Cmd
	wg     sync.WaitGroup

	mu   sync.Mutex
	seen string // everything that the program wrote
	at   int    // up to where expect has read
}

// openPTY makes a pseudo-terminal (pty(7), ptmx(4)).
func openPTY(t *testing.T, columns, rows uint16) (master, terminal *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var n int
	control, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	cerr := control.Control(func(fd uintptr) {
		err = errors.Join(
			unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0),
			unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}))
		if err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
	})
	if err = errors.Join(cerr, err); err != nil {
		t.Fatal(err)
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	return master, terminal
}

// sit starts the program under test in a terminal.
func sit(t *testing.T, env []string, args ...string) *person {
	t.Helper()
	master, terminal := openPTY(t, 100, 30)
	p := &person{t: t, master: master, cmd: exec.Command(binary, args...)}
	p.cmd.Env = append(append(os.Environ(), "XDG_STATE_HOME="+t.TempDir(), "TERM=xterm-256color"), env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = terminal, terminal, terminal
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = terminal.Close()
	p.wg.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := master.Read(buf)
			p.mu.Lock()
			p.seen += string(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return // EIO: the program has ended
			}
		}
	})
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		p.wg.Wait()
		_ = master.Close()
		if t.Failed() {
			t.Logf("the terminal got at last:\n%q", p.seen[max(0, len(p.seen)-2000):])
		}
	})
	return p
}

func (p *person) press(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.master, keys); err != nil {
		p.t.Fatal(err)
	}
}

// expect waits for a text behind what was expected before. Styles are passed
// over.
func (p *person) expect(text string) {
	p.t.Helper()
	judge.Within(p.t, 20*time.Second, fmt.Sprintf("the terminal shows %q", text), func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		loc := loose(text).FindStringIndex(p.seen[p.at:])
		if loc != nil {
			p.at += loc[1]
		}
		return loc != nil
	})
}

// readQuestion reads a question to its end: it presses Space until what allows
// something is offered.
func (p *person) readQuestion() {
	p.t.Helper()
	const page = 300 * time.Millisecond // longer than between two repeats of a held key
	p.mu.Lock()
	from := p.at
	p.mu.Unlock()
	p.expect("[n/") // keys answer it: a Space is not for the line any more
	pressed := time.Now()
	judge.Within(p.t, 20*time.Second, "the end of the question is reached", func() bool {
		if strings.Contains(p.everything()[from:], "[y/") {
			return true
		}
		if time.Since(pressed) >= page {
			p.press(" ")
			pressed = time.Now()
		}
		return false
	})
}

// loose matches a text with control sequences between its words.
func loose(text string) *regexp.Regexp {
	words := strings.Fields(text)
	for i, w := range words {
		words[i] = regexp.QuoteMeta(w)
	}
	return regexp.MustCompile(strings.Join(words, `(?:\x1b\[[0-9;?]*[a-zA-Z]|\s)+`))
}

// everything is what the terminal got.
func (p *person) everything() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.seen
}

// left waits for the program's end and gives its exit code.
func (p *person) left() int {
	p.t.Helper()
	done := make(chan struct{})
	go func() {
		_ = p.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(judge.Patience):
		p.t.Fatal("the program does not end")
	}
	p.wg.Wait()
	return p.cmd.ProcessState.ExitCode()
}
