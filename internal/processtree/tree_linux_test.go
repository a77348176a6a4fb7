package processtree

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// supervisorOf is the parent of an agent.
func supervisorOf(t *testing.T, p *Process) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	parent, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil {
		t.Fatal(err)
	}
	return parent
}

// TestStopEndsTheWholeFamily: a child that ignores SIGTERM and a daemon that
// forked twice and has a session of its own.
func TestStopEndsTheWholeFamily(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "family", dir))
	all := members(t, dir, 3)
	began := time.Now()
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	judge.AtMost(t, "the end", time.Since(began), 3*time.Second)
	allGone(t, all, 0)
}

// TestAgentExitEndsWhatItLeftBehind: and reports the agent's own exit code after it.
func TestAgentExitEndsWhatItLeftBehind(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "leaver", dir))
	if got := finished(t, p, 10*time.Second); got != (Exit{Code: 5}) {
		t.Errorf("exit is %+v", got)
	}
	allGone(t, members(t, dir, 2), 0)
}

// TestStopOvertakesAForkingTree: every process of the chain lives for one fork
// only, so its number is stale by the time it is read; the tree grows without end.
// They run as long as the file exists, so that a failure leaves nothing behind.
func TestStopOvertakesAForkingTree(t *testing.T) {
	for name, script := range map[string]string{
		// A function that calls itself would be shorter, but some shells end it at a depth of 1000.
		"chain": `trap "" TERM; export HOP='if [ -e "$0" ]; then printf . >>"$0.hops"; sh -c "$HOP" "$0" & fi'; sh -c "$HOP" "$0"; while [ -e "$0" ]; do sleep 0.1; done`,
		"tree":  `trap "" TERM; while [ -e "$0" ]; do printf . >>"$0.hops"; ( sleep 20 ) & done`,
	} {
		t.Run(name, func(t *testing.T) {
			fuel := filepath.Join(t.TempDir(), "fuel")
			if err := os.WriteFile(fuel, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.Remove(fuel) })
			spec := shellSpec(t, script)
			spec.Args = append(spec.Args, fuel)
			spec.Env = append(spec.Env, "FUEL="+fuel)
			p := run(t, spec)
			hops := func() int64 {
				info, err := os.Stat(fuel + ".hops")
				if err != nil {
					return 0
				}
				return info.Size()
			}
			judge.Within(t, 5*time.Second, "forks", func() bool { return hops() > 20 })
			if err := p.Stop(t.Context()); err != nil && judge.Load() { // it was not gone in time
				t.Error(err)
			}
			// It has a time in which to manage, and a busy machine can take that from it. Then
			// this process ends the tree: nothing of it runs either way.
			if p.Wait().Lost && judge.Load() {
				t.Error("the supervisor did not manage alone")
			}
			t.Logf("%d forks", hops())
			for _, pid := range allPIDs() {
				if env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); strings.Contains(string(env), "FUEL="+fuel) {
					t.Errorf("process %d still runs", pid)
				}
			}
		})
	}
}

// hubProcess starts another process that is a hub with one agent family.
func hubProcess(t *testing.T, args ...string) (*exec.Cmd, []member) {
	t.Helper()
	dir := t.TempDir()
	hub := exec.Command(self(t), append([]string{"hub", self(t), dir}, args...)...)
	if err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		hub.Process.Kill()
		hub.Wait()
	})
	family := members(t, dir, 3)
	for _, pid := range descendantsOf(hub.Process.Pid) {
		family = append(family, member{pid, startOf(pid)}) // the supervisor too
	}
	if len(family) < 4 {
		t.Fatalf("no supervisor in %v", family)
	}
	return hub, family
}

func descendantsOf(pid int) []int {
	var pids []int
	for _, child := range parents()[pid] {
		pids = append(append(pids, child), descendantsOf(child)...)
	}
	return pids
}

func TestKilledHubLeavesNothing(t *testing.T) {
	hub, family := hubProcess(t)
	hub.Process.Kill()
	hub.Wait()
	allGone(t, family, judge.Patience)
}

func TestTerminatedHubLeavesNothing(t *testing.T) {
	hub, family := hubProcess(t, "stop-on-term")
	hub.Process.Signal(syscall.SIGTERM)
	if err := hub.Wait(); err != nil {
		t.Error(err)
	}
	allGone(t, family, 0)
}

// TestFrozenSupervisorIsKilledWithItsTree: it never answers, so Stop does it all.
func TestFrozenSupervisorIsKilledWithItsTree(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "family", dir))
	all := members(t, dir, 3)
	supervisor := supervisorOf(t, p)
	all = append(all, member{supervisor, startOf(supervisor)})
	if err := syscall.Kill(supervisor, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	judge.AtMost(t, "the end", time.Since(began), p.grace+stopTime)
	if !p.Wait().Lost {
		t.Errorf("exit is %v", p.Wait())
	}
	allGone(t, all, 0)
}

// TestKilledSupervisorIsNoticed: without anybody calling Stop. The agent goes with
// its supervisor, and the rest, by then children of somebody else, by its mark.
func TestKilledSupervisorIsNoticed(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "family", dir))
	all := members(t, dir, 3)
	if err := syscall.Kill(supervisorOf(t, p), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := finished(t, p, 5*time.Second); !got.Lost {
		t.Errorf("exit is %v", got)
	}
	allGone(t, all, 0)
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTerminatedSupervisorEndsItsTree(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "family", dir))
	all := members(t, dir, 3)
	supervisor := supervisorOf(t, p)
	// These are for the hub, and must not reach the tree.
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		if err := syscall.Kill(supervisor, sig); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-p.Done():
		t.Fatalf("the supervisor took a signal that is for the hub: %v", p.Wait())
	case <-time.After(100 * time.Millisecond):
	}
	if err := syscall.Kill(supervisor, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := finished(t, p, 5*time.Second); got != (Exit{Code: -1, Signal: "terminated"}) {
		t.Errorf("exit is %+v", got)
	}
	allGone(t, all, 0)
}

// TestStoppedAgentStillGetsItsSIGTERM: SIGTERM alone would wait for SIGCONT.
func TestStoppedAgentStillGetsItsSIGTERM(t *testing.T) {
	p := run(t, shellSpec(t, `trap "exit 4" TERM; echo ready; while :; do sleep 0.02; done`))
	if _, err := io.ReadFull(p.Stdout, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := p.Wait(); got != (Exit{Code: 4}) {
		t.Errorf("exit is %+v", got)
	}
}

// TestAgentSeesItsThreeDescriptorsOnly, although the supervisor was given others,
// as a hub that inherited some would give them.
func TestAgentSeesItsThreeDescriptorsOnly(t *testing.T) {
	leak, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer leak.Close()
	// Dup without close-on-exec is what an inherited descriptor looks like.
	inherited, err := syscall.Dup(int(leak.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	// A shell, because a Go program opens files of its own; and not alone, for else
	// it becomes ls, which has the directory open.
	p := run(t, shellSpec(t, `ls -l /proc/$$/fd; :`))
	out, err := io.ReadAll(p.Stdout)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		name, target, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		if !ok {
			continue // the total
		}
		name = name[strings.LastIndex(name, " ")+1:]
		if !strings.HasPrefix(target, "pipe:") {
			t.Errorf("descriptor %s is %s", name, target)
		}
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "0 1 2" {
		t.Errorf("agent has descriptors %q", got)
	}
}

// TestOutputEndsWhenTheAgentClosesIt: the supervisor keeps no copy of the pipes.
func TestOutputEndsWhenTheAgentClosesIt(t *testing.T) {
	p := run(t, shellSpec(t, `echo last; exec >&- 2>&-; sleep 30`))
	p.Stdout.SetReadDeadline(time.Now().Add(judge.Patience))
	if out, err := io.ReadAll(p.Stdout); err != nil || string(out) != "last\n" {
		t.Errorf("read %q, %v", out, err)
	}
	select {
	case <-p.Done():
		t.Error("the agent has ended")
	default:
	}
}

// TestSupervisorIsNotFoundByTheHubsName: a kill by name must not take the hub
// and those who clean up after it at once.
func TestSupervisorIsNotFoundByTheHubsName(t *testing.T) {
	p := run(t, agentSpec(t, "echo"))
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", supervisorOf(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(name)); got != processName {
		t.Errorf("the supervisor is called %q", got)
	}
}

func TestStartFailsWithItsSupervisor(t *testing.T) {
	frozen := filepath.Join(t.TempDir(), "frozen")
	if err := os.WriteFile(frozen, []byte("#!/bin/sh\nexec sleep 30\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, supervisor := range map[string][]string{
		"missing":       {"/nonexistent/supervisor"},
		"another":       {"/bin/true"},
		"never answers": {frozen},
	} {
		t.Run(name, func(t *testing.T) {
			spec := agentSpec(t, "exit", "0")
			spec.Grace = 50 * time.Millisecond
			spec.Supervisor = supervisor
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			began := time.Now()
			p, err := Start(ctx, spec)
			if err == nil {
				p.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), "supervisor") {
				t.Errorf("%q does not name the supervisor", err)
			}
			if name == "never answers" && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v is no timeout", err)
			}
			judge.AtMost(t, "the end", time.Since(began), 4*time.Second)
		})
	}
}

func TestSuperviseByHandIsRefused(t *testing.T) {
	out, err := exec.Command(self(t), "supervise").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(string(out), "by the hub") {
		t.Errorf("said %q", out)
	}
}

func TestStatusIsReadBehindAnyName(t *testing.T) {
	for _, name := range []string{"sh", "a b", ") R 1 (", "((", "x) Z 7"} {
		line := fmt.Sprintf("12 (%s) S 34 12 12 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 5678 0 0\n", name)
		got, err := parseStatus([]byte(line))
		if want := (status{state: 'S', parent: 34, start: 5678}); err != nil || got != want {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
	if _, err := parseStatus([]byte("12 (sh) S 34")); err == nil {
		t.Error("half a line is accepted")
	}
}

// TestBothWaysFindTheSameChildren: by the tasks' lists, and by the whole table
// where the kernel has no lists.
func TestBothWaysFindTheSameChildren(t *testing.T) {
	dir := t.TempDir()
	p := run(t, agentSpec(t, "family", dir))
	members(t, dir, 3)
	supervisor := supervisorOf(t, p)
	judge.Within(t, 5*time.Second, "equal lists", func() bool {
		byList, byTable := childrenFromTasks(supervisor), parents()[supervisor]
		return len(byList) == 2 && len(byTable) == 2 // the agent and the adopted daemon
	})
}

// The agent's own exit is told while what it left behind still takes its time.
func TestExitIsToldBeforeTheTreeIsGone(t *testing.T) {
	p := run(t, shellSpec(t, "(trap '' TERM; exec sleep 300) & sleep 0.1; exit 3"))
	select {
	case <-p.Exited():
	case <-time.After(judge.Patience):
		t.Fatal("the exit was not told")
	}
	select {
	case <-p.Done():
		t.Error("the tree is gone already: a child that takes no notice of SIGTERM has the grace time")
	default:
	}
	if got := finished(t, p, 10*time.Second).String(); got != "exit status 3" {
		t.Errorf("exit is %q", got)
	}
}

// A supervisor that is killed between the agent's exit and the tree's end leaves
// a tree that is not proven to be gone.
func TestKilledSupervisorAfterTheExitLeavesNothing(t *testing.T) {
	spec := shellSpec(t, "(trap '' TERM; exec sleep 300) & sleep 0.1; exit 3")
	spec.Grace = 10 * time.Second
	p := run(t, spec)
	<-p.Exited()
	if err := p.tree.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if got := finished(t, p, 10*time.Second).String(); got != "exit status 3" {
		t.Errorf("exit is %q", got)
	}
	if left := markedProcesses(t, p.tree.mark); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// markedProcesses are the living processes that carry a tree's mark.
func markedProcesses(t *testing.T, mark string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil || len(files) == 0 {
		t.Fatalf("cannot list processes: %v", err)
	}
	for _, file := range files {
		if environ, err := os.ReadFile(file); err == nil && strings.Contains(string(environ), mark) {
			found = append(found, filepath.Dir(file))
		}
	}
	return found
}

// What a dead agent has not read is known to the byte.
func TestUnread(t *testing.T) {
	p := run(t, shellSpec(t, "read line; echo $line; exec sleep 300"))
	if _, err := io.WriteString(p.Stdin, "first\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(p.Stdout).ReadString('\n'); err != nil || line != "first\n" {
		t.Fatalf("it read %q, %v", line, err)
	}
	if n := p.Unread(); n != 0 {
		t.Errorf("%d bytes unread before the second line", n)
	}
	if _, err := io.WriteString(p.Stdin, "second\n"); err != nil {
		t.Fatal(err)
	}
	if n := p.Unread(); n != len("second\n") {
		t.Errorf("%d bytes unread while it lives", n)
	}
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	finished(t, p, 10*time.Second)
	if n := p.Unread(); n != len("second\n") {
		t.Errorf("%d bytes unread after its death", n)
	}
	if _, err := io.WriteString(p.Stdin, "third\n"); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a dead agent: %v", err)
	}
}

// An agent is known to die from the moment at which it is killed, however late the
// kernel gets to it.
func TestKilledAgentIsKnownToDie(t *testing.T) {
	for range 20 {
		p := run(t, agentSpec(t, "echo"))
		if p.Dying() {
			t.Fatal("dying before it was killed")
		}
		if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for !isDone(p) {
			if !p.Dying() {
				t.Fatal("not dying after it was killed")
			}
		}
	}
}

func isDone(p *Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}
