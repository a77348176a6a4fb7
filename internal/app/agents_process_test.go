package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/protocol"
)

// processScenarios are about the agent's process and what it starts. Each has a
// session of its own.
var processScenarios = []scenario{
	{"killed in mid-turn", func(_ *testing.T, c *conversation) {
		m := c.say("slow")
		c.expect(protocol.EventOutput)
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
	{"history after a crash", func(_ *testing.T, c *conversation) {
		c.answers("the word is periwinkle")
		c.kill()
		c.remembers("the word is periwinkle")
	}},
	{"cancel of a running command", func(_ *testing.T, c *conversation) {
		m, pid := c.running()
		c.cancel(m)
		c.gone(pid)
		c.answers("still here after the command")
	}},
	{"delete with a running command", func(_ *testing.T, c *conversation) {
		_, pid := c.running()
		agent := c.agentPID()
		c.remove()
		c.gone(pid)
		c.gone(agent)
	}},
}

// An agent that was stopped because nobody spoke to it knows what was before.
func TestRealAgentRemembersAfterIdleStop(t *testing.T) {
	for _, agent := range realAgents {
		t.Run(agent.name, func(t *testing.T) {
			c := startBench(t, agent, "--agent-idle", "100ms").converse(t, "idle")
			c.answers("the word is marigold")
			for _, p := range agentProcesses(t, c.dir) {
				c.gone(p)
			}
			c.remembers("the word is marigold")
			c.remove()
		})
	}
}

// remembers checks that the agent, which was started again, tells its model what
// was said before.
func (c *conversation) remembers(text string) {
	c.t.Helper()
	question := "say do you remember " + text[len(text)-4:]
	c.complete(c.say(question), protocol.StopEndTurn)
	if n := len(c.updates("agent_started")); n != 1 {
		c.t.Fatalf("the agent started %d times: %s", n, c.record())
	}
	for _, lost := range c.updates("history_lost") {
		c.t.Errorf("the agent has lost its history: %s", lost)
	}
	if c.inModelRequests(question, text) == 0 {
		c.t.Errorf("the agent did not tell its model of %q; how it started: %s", text, c.updates("agent_started"))
	}
	if got := strings.Count(c.record(), text); got > 0 {
		c.t.Errorf("what was said before is repeated in the log %d times: %s", got, c.record())
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

// running has the agent run a command that does not end, and gives its process.
func (c *conversation) running() (protocol.MessageResponse, int) {
	c.t.Helper()
	m := c.say("shell echo $$ > pid.txt; exec tail -f /dev/null")
	c.decide(c.asked("execute", "tail -f"), protocol.AllowOnce)
	var pid int
	waitFor(c.t, 30*time.Second, "the command runs", func() bool {
		number, err := strconv.Atoi(strings.TrimSpace(c.content("pid.txt")))
		pid = number
		return err == nil && processComm(number) == "tail"
	})
	return m, pid
}

// kill ends the agent's process as the kernel does when memory is short.
func (c *conversation) kill() {
	c.t.Helper()
	if err := syscall.Kill(c.agentPID(), syscall.SIGKILL); err != nil {
		c.t.Fatal(err)
	}
}

// gone waits for the end of a process.
func (c *conversation) gone(pid int) {
	c.t.Helper()
	waitFor(c.t, 5*time.Second, fmt.Sprintf("process %d (%s) is gone", pid, processComm(pid)), func() bool { return processComm(pid) == "" })
}

// agentPID is the session's agent: the one that its supervisor has started.
func (c *conversation) agentPID() int {
	c.t.Helper()
	all := agentProcesses(c.t, c.dir)
	if len(all) != 1 {
		c.t.Fatalf("the session has the agents %v, want one", all)
	}
	return all[0]
}

// agentProcesses are the children of supervisors that work in a directory.
func agentProcesses(t *testing.T, dir string) []int {
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
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			t.Fatal(err)
		}
		if fields := processStat(pid); len(fields) > 1 {
			if parent, err := strconv.Atoi(fields[1]); err == nil && processComm(parent) == "agentsupervisor" {
				found = append(found, pid)
			}
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
