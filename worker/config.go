package worker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"
)

// Config is what a worker needs to know. The zero value of a field that has a
// default takes it; New reports every bad field at once.
type Config struct {
	// Name is the worker's own: a hub takes the one that comes back with it for
	// the one that was lost. Default: the host's name and a random part.
	Name      string
	Version   string // of the program; told to the hub and to the agents
	Root      string // workspace root; default: the current directory
	Workspace string // names the file system that agents see; default: machine id and root

	Capacity  int                 // most agents at once; default 8
	Providers map[string]Provider // by name; at least one

	AgentIdle     time.Duration // an agent without a message for so long is stopped; default 10m
	StartTimeout  time.Duration // from the process to a usable session; default 60s
	TurnTimeout   time.Duration // a turn in which the agent says nothing for so long is ended; default 30m
	CancelGrace   time.Duration // how long an agent may take to obey a cancel; default 10s
	ReadGrace     time.Duration // how long an agent may leave a full stdin unread; default 10s
	StopGrace     time.Duration // between SIGTERM and SIGKILL; default 2s
	BufferBytes   int64         // events of one session that no node has acknowledged; default 8MiB
	MaxEventBytes int           // an event's data; longer text is split, other data is cut; default 1MiB

	Environ    []string     // what agents may inherit from; default: os.Environ()
	Supervisor []string     // argv of the process supervisor; default: this program's own
	Log        *slog.Logger // default: slog.Default()
}

// Defaults of Config.
const (
	DefaultCapacity      = 8
	DefaultAgentIdle     = 10 * time.Minute
	DefaultStartTimeout  = 60 * time.Second
	DefaultTurnTimeout   = 30 * time.Minute
	DefaultCancelGrace   = 10 * time.Second
	DefaultReadGrace     = 10 * time.Second
	DefaultStopGrace     = 2 * time.Second
	DefaultBufferBytes   = 8 << 20
	DefaultMaxEventBytes = 1 << 20
)

// minEventBytes is the smallest MaxEventBytes: below it, the parts of an event
// that are never cut (ids, options) would not fit.
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
	setDefault(&c.Capacity, DefaultCapacity)
	setDefault(&c.AgentIdle, DefaultAgentIdle)
	setDefault(&c.StartTimeout, DefaultStartTimeout)
	setDefault(&c.TurnTimeout, DefaultTurnTimeout)
	setDefault(&c.CancelGrace, DefaultCancelGrace)
	setDefault(&c.ReadGrace, DefaultReadGrace)
	setDefault(&c.StopGrace, DefaultStopGrace)
	setDefault(&c.BufferBytes, DefaultBufferBytes)
	setDefault(&c.MaxEventBytes, DefaultMaxEventBytes)
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
	if !utf8.ValidString(c.Name) || len(c.Name) > 128 {
		bad("worker name: must be UTF-8 and at most 128 bytes long")
	}
	if info, err := os.Stat(c.Root); err != nil {
		bad("workspace root: %w", err)
	} else if !info.IsDir() {
		bad("workspace root %q: not a directory", c.Root)
	}
	if c.Capacity < 1 {
		bad("worker capacity: %d is less than 1", c.Capacity)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"agent idle time", c.AgentIdle}, {"start timeout", c.StartTimeout},
		{"turn timeout", c.TurnTimeout}, {"cancel grace", c.CancelGrace}, {"read grace", c.ReadGrace}, {"stop grace", c.StopGrace},
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
	if len(c.Providers) == 0 {
		bad("providers: none")
	}
	for name, p := range c.Providers {
		errs = append(errs, p.validate(name)...)
	}
	return errors.Join(errs...)
}
