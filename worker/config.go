package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"sessionhub/protocol"
)

// Config holds a worker's settings. A field with a default takes it when its value is zero.
// New reports every bad field at once.
type Config struct {
	// Name is the worker's own. A hub takes a worker with this name for the lost one that
	// had it. Default: the host's name and a random part.
	Name      string
	Version   string // of the program; told to the hub and to the agents
	Root      string // workspace root; default: the current directory
	Workspace string // names the file system that agents see; default: machine id and root
	Worktrees string // where sessions' git worktrees lie, outside of every repository; empty: none are made

	Capacity  int                 // most agents at once; default 8
	Providers map[string]Provider // by name; at least one

	// Discover finds more providers. It is called by New and then every DiscoverEvery while
	// Run runs, by one goroutine. The hub hears of changes. Those of Providers count before
	// providers of the same name. Sessions of a provider that is found no more are not ended.
	Discover      func() map[string]Provider // default: none
	DiscoverEvery time.Duration              // default 10s

	// SessionMCP says which MCP servers a session may bring to a provider that does not say
	// so itself. Default: none. With any, a session may have its agent run every command.
	SessionMCP protocol.SessionMCP

	AgentIdle       time.Duration // an agent without a message for so long is stopped; default 10m
	ChildrenIdle    time.Duration // the same while processes that it has started still run; default 8h
	StartTimeout    time.Duration // from the process to a usable session; default 60s
	TurnTimeout     time.Duration // a turn in which the agent says nothing for so long is ended; default 30m
	BackgroundQuiet time.Duration // an agent that is silent for so long outside of a turn works no more; default 5s
	CancelGrace     time.Duration // how long an agent may take to obey a cancel; default 10s
	ReadGrace       time.Duration // how long an agent may leave a full stdin unread; default 10s
	StopGrace       time.Duration // between SIGTERM and SIGKILL; default 2s
	BufferBytes     int64         // events of one session that no node has acknowledged; default 8MiB
	MaxEventBytes   int           // an event's data; longer text is split, other data is cut; default 1MiB

	Environ    []string     // what agents may inherit from; default: os.Environ()
	Supervisor []string     // argv of the process supervisor; default: this program's own
	Log        *slog.Logger // default: slog.Default()
}

// Defaults of Config.
const (
	DefaultCapacity        = 8
	DefaultAgentIdle       = 10 * time.Minute
	DefaultChildrenIdle    = 8 * time.Hour
	DefaultStartTimeout    = 60 * time.Second
	DefaultTurnTimeout     = 30 * time.Minute
	DefaultBackgroundQuiet = 5 * time.Second
	DefaultCancelGrace     = 10 * time.Second
	DefaultReadGrace       = 10 * time.Second
	DefaultStopGrace       = 2 * time.Second
	DefaultBufferBytes     = 8 << 20
	DefaultMaxEventBytes   = 1 << 20
	DefaultDiscoverEvery   = 10 * time.Second
)

// minEventBytes is the smallest MaxEventBytes. Below it, the parts of an event that are
// never cut (ids, options) would not fit.
const minEventBytes = 64 << 10

// withDefaults returns c with every default filled in.
func (c Config) withDefaults() (Config, error) {
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		c.Name = host + "-" + rand.Text()[:8]
	}
	if c.Version == "" {
		c.Version = "unknown"
	}
	if c.Root == "" {
		dir, err := os.Getwd()
		if err != nil {
			return c, fmt.Errorf("find the current directory: %w", err)
		}
		c.Root = dir
	}
	root, err := filepath.Abs(c.Root)
	if err != nil {
		return c, fmt.Errorf("workspace root %q: %w", c.Root, err)
	}
	c.Root = root
	if c.Worktrees != "" {
		if c.Worktrees, err = realPath(c.Worktrees); err != nil {
			return c, fmt.Errorf("worktrees %q: %w", c.Worktrees, err)
		}
	}
	setDefault(&c.Capacity, DefaultCapacity)
	setDefault(&c.AgentIdle, DefaultAgentIdle)
	setDefault(&c.ChildrenIdle, DefaultChildrenIdle)
	setDefault(&c.StartTimeout, DefaultStartTimeout)
	setDefault(&c.TurnTimeout, DefaultTurnTimeout)
	setDefault(&c.BackgroundQuiet, DefaultBackgroundQuiet)
	setDefault(&c.CancelGrace, DefaultCancelGrace)
	setDefault(&c.ReadGrace, DefaultReadGrace)
	setDefault(&c.StopGrace, DefaultStopGrace)
	setDefault(&c.BufferBytes, DefaultBufferBytes)
	setDefault(&c.MaxEventBytes, DefaultMaxEventBytes)
	setDefault(&c.DiscoverEvery, DefaultDiscoverEvery)
	if c.Environ == nil {
		c.Environ = os.Environ()
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Workspace == "" {
		c.Workspace = workspaceID(c.Root)
	}
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate names every bad field.
func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	// The hub refuses a hello with a longer field, or with control characters.
	for _, f := range []struct {
		name, value string
		most        int
	}{{"worker name", c.Name, 128}, {"version", c.Version, protocol.MaxNameBytes}, {"workspace", c.Workspace, protocol.MaxWorkspaceBytes}} {
		if !utf8.ValidString(f.value) || len(f.value) > f.most || strings.ContainsFunc(f.value, unicode.IsControl) {
			bad("%s: must be UTF-8 without control characters and at most %d bytes long", f.name, f.most)
		}
	}
	if info, err := os.Stat(c.Root); err != nil {
		bad("workspace root: %w", err)
	} else if !info.IsDir() {
		bad("workspace root %q: not a directory", c.Root)
	}
	if c.Capacity < 1 || c.Capacity > protocol.MaxCapacity {
		bad("worker capacity: %d is not between 1 and %d", c.Capacity, protocol.MaxCapacity)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"agent idle time", c.AgentIdle}, {"agent children's idle time", c.ChildrenIdle}, {"start timeout", c.StartTimeout},
		{"turn timeout", c.TurnTimeout}, {"background quiet", c.BackgroundQuiet}, {"cancel grace", c.CancelGrace}, {"read grace", c.ReadGrace}, {"stop grace", c.StopGrace},
		{"time between two searches for agents", c.DiscoverEvery},
	} {
		if d.value < 0 {
			bad("%s: %s is negative", d.name, d.value)
		}
	}
	if c.BufferBytes < 0 {
		bad("buffer bytes: %d is negative", c.BufferBytes)
	}
	if c.MaxEventBytes < minEventBytes {
		bad("max event bytes: %d is less than %d", c.MaxEventBytes, minEventBytes)
	}
	if !c.SessionMCP.IsKnown() {
		bad("session MCP: %q is none of %s, %s, %s", c.SessionMCP, protocol.SessionMCPNone, protocol.SessionMCPHTTP, protocol.SessionMCPAny)
	}
	if len(c.Providers) == 0 {
		bad("providers: none")
	}
	if n := len(c.Providers); n > protocol.MaxProviders {
		bad("providers: %d are more than %d", n, protocol.MaxProviders)
	}
	for name, p := range c.Providers {
		errs = append(errs, p.validate(name)...)
	}
	return errors.Join(errs...)
}
