package app

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// processScenarios are about the agent's process and what it starts. The last one
// deletes the session.
var processScenarios = []scenario{
	{"history after a crash", func(_ *testing.T, c *conversation) {
		c.answers("the word is periwinkle")
		c.kill()
		for len(c.notices(protocol.NoticeAgentExited)) == 0 {
			c.expect(protocol.EventNotice)
		}
		c.remembers("the word is periwinkle", !c.agent.forgets)
	}},
	{"a message at the moment of the agent's death", func(_ *testing.T, c *conversation) {
		c.kill()
		c.answers("still somebody there")
	}},
	{"killed in mid-turn", func(_ *testing.T, c *conversation) {
		m := c.sayAndHear("slow")
		c.kill()
		c.crashed(m)
		c.answers("back after the crash")
	}},
	{"killed with an approval pending", func(t *testing.T, c *conversation) {
		m := c.say("shell echo one > pending.txt")
		a := c.asked("execute", "pending.txt")
		c.kill()
		c.crashed(m)
		if got := c.resolved(); len(got) != 1 || got[0].InteractionID != a.InteractionID || got[0].Outcome != protocol.OutcomeCancelled {
			t.Errorf("the approval ended with %+v", got)
		}
		c.answers("back after the crash")
		if c.content("pending.txt") != "" {
			t.Error("the command ran without an answer")
		}
	}},
	{"cancel of a running command", func(_ *testing.T, c *conversation) {
		m, pids := c.working()
		c.cancel(m)
		c.gone(pids...)
		c.answers("still here after the command")
	}},
	{"delete with a running command", func(_ *testing.T, c *conversation) {
		_, pids := c.working()
		pids = append(pids, c.agentPID())
		c.remove()
		c.gone(pids...)
	}},
}

// An agent that was stopped because nobody spoke to it knows what was before.
func TestRealAgentRemembersAfterIdleStop(t *testing.T) {
	t.Parallel()
	for _, agent := range realAgents {
		t.Run(agent.name, func(t *testing.T) { remembersAfterIdleStop(t, agent) })
	}
}

func remembersAfterIdleStop(t *testing.T, agent realAgent) {
	c := startBench(t, agent, "--agent-idle", "100ms").converse(t, "idle").in(t)
	c.answers("the word is marigold")
	c.gone(agentProcesses(t, c.dir)...)
	c.remembers("the word is marigold", !agent.forgets)
	c.remove()
}

// remembers checks that the agent, which was started again, tells its model what
// was said before; or, if it cannot know it, that the log says so.
func (c *conversation) remembers(what string, can bool) {
	c.t.Helper()
	question := "say do you remember " + what[len(what)-4:]
	c.complete(c.say(question), protocol.StopEndTurn)
	if n := len(c.starts()); n != 1 {
		c.t.Fatalf("the agent started %d times: %s", n, c.record())
	}
	told := c.inModelRequests(question, what) > 0
	if lost := c.notices(protocol.NoticeHistoryLost); told != can || (len(lost) == 0) != can {
		c.t.Errorf("the agent told its model of %q: %v; history lost: %+v; how it started: %+v", what, told, lost, c.starts())
	}
	if got := text(c.t, c.seen); strings.Contains(got, what) {
		c.t.Errorf("the answer repeats what was said before: %q", got)
	}
}

// crashed reads up to the end of a turn that the agent's death ended.
func (c *conversation) crashed(m protocol.MessageResponse) {
	c.t.Helper()
	done := c.complete(m, protocol.StopError)
	if done.Error == nil || done.Error.Code != protocol.TurnAgentCrashed || !done.Error.Retryable || !strings.Contains(done.Error.Message, "killed") {
		c.t.Errorf("the crash is told as %s", protocol.Marshal(done))
	}
}

// work is a command that does not end, with two processes that tell their
// numbers: a plain child, and one that has left the command's tree and session
// and takes no notice of SIGTERM, as build servers do.
const work = `trap '' TERM HUP
(setsid sh -c 'echo $$ > detached.pid; exec tail -f /dev/null' >/dev/null 2>&1 &)
sh -c 'echo $$ > child.pid; exec tail -f /dev/null'
`

// working has the agent run the work, and gives the processes.
func (c *conversation) working() (m protocol.MessageResponse, pids []int) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, "work.sh"), []byte(work), 0o600); err != nil {
		c.t.Fatal(err)
	}
	m = c.say("shell sh work.sh")
	c.decide(c.asked("execute", "sh work.sh"), protocol.AllowOnce)
	for _, file := range []string{"child.pid", "detached.pid"} {
		judge.Within(c.t, 30*time.Second, "the command runs", func() bool {
			pid, err := strconv.Atoi(strings.TrimSpace(c.content(file)))
			if err != nil || processComm(pid) != "tail" {
				return false
			}
			pids = append(pids, pid)
			return true
		})
	}
	return m, pids
}

// kill ends the agent's process as the kernel does when memory is short.
func (c *conversation) kill() {
	c.t.Helper()
	pids := []int{c.agentPID()}
	if c.agent.wrapped {
		pids = processesIn(c.t, c.dir)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			c.t.Fatal(err)
		}
	}
}

// gone waits for the end of processes. What is left is killed, for the sake of
// the tests that follow.
func (c *conversation) gone(pids ...int) {
	c.t.Helper()
	deadline := time.Now().Add(patience) // an agent that goes on behind its turn is idle some seconds later
	for _, pid := range pids {
		for processComm(pid) != "" && time.Now().Before(deadline) {
			time.Sleep(20 * time.Millisecond)
		}
		if comm := processComm(pid); comm != "" {
			c.t.Errorf("process %d (%s) is still there after %s", pid, comm, patience)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// agentPID is the session's agent: the oldest child of its supervisor. Younger
// ones are what lost its parent.
func (c *conversation) agentPID() int {
	c.t.Helper()
	all := agentProcesses(c.t, c.dir)
	if len(all) == 0 {
		c.t.Fatal("the session has no agent")
	}
	return slices.MinFunc(all, func(a, b int) int { return cmp.Compare(processStart(a), processStart(b)) })
}

// agentProcesses are the children of supervisors that work in a directory.
func agentProcesses(t *testing.T, dir string) []int {
	t.Helper()
	return slices.DeleteFunc(processesIn(t, dir), func(pid int) bool {
		fields := processStat(pid)
		if len(fields) < 2 {
			return true // it has ended meanwhile
		}
		parent, err := strconv.Atoi(fields[1])
		return err != nil || processComm(parent) != "agentsupervisor"
	})
}

// processesIn are the processes that work in a directory.
func processesIn(t *testing.T, dir string) []int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil || len(links) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	var found []int
	for _, link := range links {
		if cwd, err := os.Readlink(link); err != nil || cwd != dir {
			continue // also one that has ended meanwhile
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// processComm is the short name of a living process, or "".
func processComm(pid int) string {
	fields := processStat(pid)
	if len(fields) == 0 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(comm))
}

// processStart is when a process was started, in clock ticks since boot.
func processStart(pid int) uint64 {
	fields := processStat(pid)
	if len(fields) < 20 {
		return 0
	}
	ticks, _ := strconv.ParseUint(fields[19], 10, 64) // it is a number
	return ticks
}

// processStat are the fields of /proc/PID/stat after the name (proc(5)): the
// state, the parent, ...
func processStat(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	_, after, _ := strings.Cut(string(stat[strings.LastIndexByte(string(stat), ')'):]), " ")
	return strings.Fields(after)
}
