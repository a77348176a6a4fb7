package processtree

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Running lists what the agent has started and what still runs, at most 64, but for
// what ran when except was taken. The agent itself is not among them.
func (p *Process) Running(except Below) []Running {
	var all []Running
	p.tree.look(func(root int) { all = runningBelow(root, p.pid, except.known) })
	return all
}

func (b Below) has(r Running) bool { return b.known[incarnation{r.PID, r.Start}] }

// runningBelow lists what lives below root, but for the agent and what is known.
func runningBelow(root, agent int, known map[incarnation]bool) []Running {
	all := make(map[incarnation]bool)
	signalDescendants(root, all)
	var running []Running
	for id := range all {
		if id.pid == agent || known[id] {
			continue
		}
		if st, err := readStatus(id.pid); err == nil && st.start == id.start && !st.dead() {
			running = append(running, Running{PID: id.pid, Name: programName(id.pid), Start: id.start})
		}
	}
	return listed(running)
}

// programName is the file that a process runs. Its own name (comm) can be set by
// the process and often holds the beginning of its command line.
func programName(pid int) string {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return "unknown" // it has just ended, or is another user's
	}
	return strings.ToValidUTF8(filepath.Base(strings.TrimSuffix(target, " (deleted)")), "\uFFFD")
}
