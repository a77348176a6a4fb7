package app

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sessionhub/internal/config"
	"sessionhub/protocol"
	"sessionhub/worker"
	"sessionhub/worker/known"
)

// agentsLine names a worker's agents for the banner.
func agentsLine(names []string) string {
	if len(names) == 1 && names[0] == demoProvider {
		return demoProvider + "; `sessionhub agents` tells how to add more"
	}
	return strings.Join(names, ", ")
}

// discovery is what searches for the agents of this machine; nil: nothing does.
func discovery(on bool, root string, leaveOut []string) func() map[string]worker.Provider {
	if !on {
		return nil
	}
	if abs, err := filepath.Abs(root); err == nil {
		root = abs
	}
	return func() map[string]worker.Provider {
		found := known.Providers(known.Look(os.Environ(), root))
		maps.DeleteFunc(found, func(name string, _ worker.Provider) bool { return slices.Contains(leaveOut, name) })
		return found
	}
}

// checkLeftOut refuses names that no known agent has: a mistyped one would be offered.
func checkLeftOut(names []string) error {
	var all []string
	for _, a := range known.Agents() {
		all = append(all, a.Name)
	}
	for _, name := range names {
		if !slices.Contains(all, name) {
			return fmt.Errorf("%q is no agent that this program knows: there are %s", name, strings.Join(all, ", "))
		}
	}
	return nil
}

// AgentReport tells what is here of an agent. As JSON it is an element of the output of
// `sessionhub agents --json`.
type AgentReport struct {
	Name     string         `json:"name"`
	Title    string         `json:"title,omitempty"`
	Status   string         `json:"status"`  // AgentFound, AgentLeftOut, AgentMissing or AgentConfigured
	Program  string         `json:"program"` // what is looked up in PATH
	Path     string         `json:"path,omitempty"`
	Version  string         `json:"version,omitempty"`
	Login    protocol.Login `json:"login,omitempty"`
	LoginBy  string         `json:"loginBy,omitempty"` // the name of a variable or file, never what it holds
	LogIn    string         `json:"logIn,omitempty"`   // what a person can do to log in
	Install  string         `json:"install,omitempty"` // the command that installs it
	Homepage string         `json:"homepage,omitempty"`
	Note     string         `json:"note,omitempty"` // why a program is not used, or what is there instead
}

// What the status of an agent may be.
const (
	AgentFound      = "found"      // in PATH, and of use
	AgentLeftOut    = "left_out"   // in PATH, and not to be offered
	AgentMissing    = "missing"    // known, and not found
	AgentConfigured = "configured" // in the providers file, which counts
)

// Agents tells which agents this machine has, and which it lacks. It starts none. Its error
// wraps ErrConfig for a providers file that cannot be read.
func Agents(cfg config.Agents) ([]AgentReport, error) {
	var file map[string]worker.Provider
	if cfg.ProvidersFile != "" {
		var err error
		if file, err = worker.LoadProviders(cfg.ProvidersFile); err != nil {
			return nil, fmt.Errorf("%w:\n--providers-file: %w", ErrConfig, err)
		}
	}
	if err := checkLeftOut(cfg.LeaveOutAgents); err != nil {
		return nil, fmt.Errorf("%w:\n--leave-out-agents: %w", ErrConfig, err)
	}
	root, err := filepath.Abs(cfg.WorkspaceRoot)
	if err != nil {
		return nil, fmt.Errorf("--workspace-root: %w", err)
	}
	return reports(known.Look(os.Environ(), root), file, cfg.LeaveOutAgents), nil
}

// reports joins what was found with the providers file.
func reports(found []known.Found, file map[string]worker.Provider, leaveOut []string) []AgentReport {
	var all []AgentReport
	for _, f := range found {
		if _, configured := file[f.Name]; configured {
			continue
		}
		r := AgentReport{
			Name: f.Name, Title: f.Provider.Title, Status: AgentFound, Program: f.Provider.Command, Path: f.Path, Version: f.Version,
			Login: f.Login, LoginBy: f.LoginBy, LogIn: f.LogIn, Install: f.Install, Homepage: f.Homepage, Note: f.Refused,
		}
		if slices.Contains(leaveOut, f.Name) {
			r.Status = AgentLeftOut
		}
		if f.Path == "" {
			r.Status = AgentMissing
			if r.Note == "" && f.HasCLI != "" {
				r.Note = f.HasCLI + " is there; to speak ACP it needs " + f.Provider.Command + " beside it"
			}
		}
		all = append(all, r)
	}
	for _, name := range slices.Sorted(maps.Keys(file)) {
		all = append(all, AgentReport{Name: name, Title: file[name].Title, Status: AgentConfigured, Program: file[name].Command})
	}
	return all
}
