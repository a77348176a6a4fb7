package config

import (
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"time"
)

// Worker is what `sessionhub worker` obeys. Sizes are in bytes.
type Worker struct {
	ConfigFile string

	Hub         *url.URL // of the hub's worker link
	Name        string   // empty: the host's name and a random part
	AdminListen string   // host:port of metrics and health; empty: none
	AdminHosts  []string

	WorkerCapacity int   // most running agents at once
	WorkerBuffer   int64 // for each session while the hub is out of reach
	WorkspaceRoot  string
	Worktrees      string // of sessions; empty: the user's own place for data; WorktreesNone: none are made
	Workspace      string // names the file system; empty: by machine and root
	ProvidersFile  string
	DiscoverAgents bool
	LeaveOutAgents []string // of those that are found
	AgentIdle      time.Duration
	ChildrenIdle   time.Duration
	TurnTimeout    time.Duration
	DrainTimeout   time.Duration

	LogFormat string // LogAuto, LogText or LogJSON
	LogLevel  slog.Level

	// From the environment alone.
	WorkerKey Secret
}

// DefaultWorker is what holds where nothing is set. There is no default for Hub
// and WorkerKey.
func DefaultWorker() Worker {
	s := Default()
	return Worker{
		WorkerCapacity: s.WorkerCapacity, WorkerBuffer: s.WorkerBuffer, WorkspaceRoot: s.WorkspaceRoot,
		AgentIdle: s.AgentIdle, ChildrenIdle: s.ChildrenIdle, TurnTimeout: s.TurnTimeout, DrainTimeout: s.DrainTimeout,
		LogFormat: s.LogFormat, LogLevel: s.LogLevel,
	}
}

// WorktreesNone as --worktrees: the worker makes no worktrees.
const WorktreesNone = "none"

const worktreesHelp = "sessions' git worktrees lie in here; empty: sessionhub/worktrees in $XDG_DATA_HOME or ~/.local/share; none: no session gets one"

// maxName bounds what a worker is called, as the hub does.
const maxName = 128

// settings is the table of `sessionhub worker`.
func (w *Worker) settings(parseHub func(string) (*url.URL, error)) []setting {
	return []setting{
		{"hub", groupAddress, "the hub's address: ws://, wss://, http:// or https:// with a host", hubURL(&w.Hub, parseHub)},
		{"name", groupAddress, "what the worker is called, alone among the workers of its hub; empty: the host's name and a random part", name(&w.Name)},
		{"admin-listen", groupAddress, "/metrics, /healthz, /readyz and /debug/pprof; empty: none", optional(address(&w.AdminListen), &w.AdminListen)},
		{"admin-hosts", groupAddress, adminHostsHelp, list(&w.AdminHosts)},

		{"worker-capacity", groupWorker, "most agents that run at once", number(&w.WorkerCapacity, 1, 100_000)},
		{"worker-buffer", groupWorker, "output kept for each session while the hub is out of reach; then the agent is held back", size(&w.WorkerBuffer, 64*kib, 4*gib)},
		{"workspace-root", groupWorker, "every working directory lies in here", required(&w.WorkspaceRoot, "a directory")},
		{"worktrees", groupWorker, worktreesHelp, text(&w.Worktrees, "a directory")},
		{"workspace", groupWorker, "names the files below the root: a session goes on where it has run; empty: the machine and the root", name(&w.Workspace)},
		{"providers-file", groupWorker, "YAML file with kinds of agents; demo is built in", text(&w.ProvidersFile, "a file")},
		{"discover-agents", groupWorker, "offer the agents that this program knows and finds in PATH, with this machine's logins, to the users of the hub", onOff(&w.DiscoverAgents)},
		{"leave-out-agents", groupWorker, leaveOutHelp, list(&w.LeaveOutAgents)},
		{"turn-timeout", groupWorker, "a turn in which the agent says nothing for so long is ended", duration(&w.TurnTimeout, tick, year)},
		{"agent-idle", groupWorker, "an agent is stopped after so long without a message", duration(&w.AgentIdle, tick, year)},
		{"agent-children-idle", groupWorker, "the same for an agent that has started processes which still run, such as a server", duration(&w.ChildrenIdle, tick, year)},

		{"drain-timeout", groupTime, "on SIGTERM, time for running turns", duration(&w.DrainTimeout, 0, day)},

		{"log-format", groupRun, "auto: text on a terminal, json elsewhere", choice(&w.LogFormat, LogAuto, LogText, LogJSON)},
		{"log-level", groupRun, "least level that is logged", level(&w.LogLevel)},
		{configName, groupRun, "YAML file with any of these settings by their names", text(&w.ConfigFile, "a file")},
	}
}

func (w *Worker) secrets() []secretSetting {
	return []secretSetting{
		{name: "worker-key", help: "the key that the hub knows this worker by", secret: &w.WorkerKey, check: checkKey},
	}
}

// ParseWorker reads the settings of `sessionhub worker` as Parse does those of
// serve. parseHub reads the hub's address.
func ParseWorker(args []string, environ func(string) (string, bool), parseHub func(string) (*url.URL, error)) (Worker, error) {
	w := DefaultWorker()
	p := parser{rows: w.settings(parseHub), secrets: w.secrets(), environ: environ}
	if err := p.parse(args); err != nil {
		return w, err
	}
	if w.Hub == nil && p.right("hub") {
		p.problem("--hub", "is not set: want the hub's address, such as wss://hub.example.org")
	}
	if !w.WorkerKey.IsSet() && p.right("worker-key") {
		p.problem("SESSIONHUB_WORKER_KEY", "is not set, nor is SESSIONHUB_WORKER_KEY_FILE: want the key that the hub knows this worker by")
	}
	return w, p.err()
}

// WorkerUsage prints every setting of `sessionhub worker` with its default.
func WorkerUsage(w io.Writer) error {
	d := DefaultWorker()
	return usage(w, d.settings(nil), d.secrets())
}

// hubURL is a hub's address.
func hubURL(p **url.URL, parse func(string) (*url.URL, error)) value {
	const want = "ws://, wss://, http:// or https:// with a host, and perhaps a path"
	return &simple{
		parse: func(t string) error {
			u, err := parse(t)
			if err != nil {
				return fmt.Errorf("%w: want %s", err, want) // without the text, which may hold a password
			}
			*p = u
			return nil
		},
		print: func() string {
			if *p == nil {
				return ""
			}
			return (*p).String()
		},
		wanted: want,
		holder: "URL",
	}
}

// name is a short text that can be printed, or nothing.
func name(p *string) value {
	const want = "at most 128 bytes that can be printed"
	return checked(p, want, "NAME", func(t string) string {
		if len(t) > maxName || !isPrintable(t) {
			return "is no name"
		}
		return ""
	})
}

// optional lets a value be nothing.
func optional(v value, p *string) value {
	s := v.(*simple)
	parse := s.parse
	s.parse = func(t string) error {
		if t == "" {
			*p = ""
			return nil
		}
		return parse(t)
	}
	return s
}
