package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"

	"golang.org/x/sys/unix"

	"sessionhub/protocol"
)

// A message that comes after the agent's death and before anybody has noticed was
// never seen by it: another agent gets it. Each round kills the agent between two
// turns, and sends at another moment of its end.
func TestMessageAfterTheAgentsDeathIsAnswered(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	const rounds = 25
	exits := 0
	for i := range rounds {
		id := fmt.Sprintf("m%d", i)
		s.message(id, "pid")
		if c := s.complete(id); c.StopReason != protocol.StopEndTurn {
			t.Fatalf("round %d: complete %+v %+v", i, c, c.Error)
		}
		if i == rounds-1 {
			break // its agent lives: when the news of a death comes is nothing to count on
		}
		pid, err := strconv.Atoi(s.text(id))
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for over := time.Now().Add(time.Duration(i%5) * 500 * time.Microsecond); time.Now().Before(over); {
		}
	}
	for _, e := range s.events() {
		if e.Type == protocol.EventNotice && decodeTo[protocol.NoticeData](t, e.Data).Kind == protocol.NoticeAgentExited {
			exits++
		}
	}
	if exits != rounds-1 {
		t.Errorf("%d of %d deaths are told", exits, rounds-1)
	}
}

// stdinHolds is how many bytes a process has not read yet of its stdin.
func stdinHolds(t *testing.T, pid int) int {
	t.Helper()
	pipe, err := os.OpenFile(fmt.Sprintf("/proc/%d/fd/0", pid), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	n, err := unix.IoctlGetInt(int(pipe.Fd()), unix.TIOCINQ)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stopped reports whether every thread of a process is.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("process %d has no threads: %v", pid, err)
	}
	for _, file := range threads {
		status, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(status), "State:\tT") {
			return false
		}
	}
	return true
}

// One that was stopped for ever before the message came has not read it either.
func TestUnreadMessageGoesToAnotherAgentOnce(t *testing.T) {
	h := start(t, nil)
	s := h.assign("plain")
	s.message("m1", "pid")
	s.complete("m1")
	pid, err := strconv.Atoi(s.text("m1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Until then the kernel may still take what comes out of the pipe.
	judge.Within(t, patience, "the agent is stopped", func() bool { return stopped(t, pid) })
	s.message("m2", "crash") // the next agent reads it, and dies of it
	judge.Within(t, patience, "the message is in the pipe", func() bool { return stdinHolds(t, pid) > 0 })
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if c := s.complete("m2"); c.Error == nil || c.Error.Code != protocol.TurnAgentCrashed {
		t.Errorf("complete %+v", c)
	}
	starts := 0
	for _, e := range s.events() {
		if e.Type == protocol.EventAgentStarted {
			starts++
		}
	}
	if starts != 2 {
		t.Errorf("%d agents were started", starts)
	}
}
