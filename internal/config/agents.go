package config

import "io"

// Agents is what `sessionhub agents` obeys.
type Agents struct {
	ProvidersFile  string
	WorkspaceRoot  string   // as of serve: programs in it are not used
	LeaveOutAgents []string // as of serve and worker
	JSON           bool
}

// leaveOutHelp tells what to write into leave-out-agents.
const leaveOutHelp = "names of agents that are not offered although they are found, with commas between them"

// DefaultAgents is what holds where nothing is set.
func DefaultAgents() Agents { return Agents{WorkspaceRoot: Default().WorkspaceRoot} }

func (a *Agents) settings() []setting {
	return []setting{
		{"providers-file", groupWorker, "the providers file of the hub or worker; its agents are listed too", text(&a.ProvidersFile, "a file")},
		{"workspace-root", groupWorker, "that of the hub or worker; programs in it are not offered", required(&a.WorkspaceRoot, "a directory")},
		{"leave-out-agents", groupWorker, leaveOutHelp, list(&a.LeaveOutAgents)},
		{"json", groupWorker, "print JSON", onOff(&a.JSON)},
	}
}

// ParseAgents reads the settings of `sessionhub agents` as Parse does those of serve.
func ParseAgents(args []string, environ func(string) (string, bool)) (Agents, error) {
	a := DefaultAgents()
	p := parser{rows: a.settings(), environ: environ}
	if err := p.parse(args); err != nil {
		return a, err
	}
	return a, p.err()
}

// AgentsUsage prints every setting of `sessionhub agents` with its default.
func AgentsUsage(w io.Writer) error {
	a := DefaultAgents()
	return usage(w, a.settings(), nil)
}
