package bench

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options say what is measured.
type Options struct {
	Mode        string `json:"mode"` // presets the three below: see Preset
	Subscribers int    `json:"subscribers"`
	Sessions    int    `json:"sessions"`
	Events      int    `json:"events"`           // of each session; 0: none, only idle connections
	Bytes       int    `json:"bytes"`            // of text in each
	Rate        int    `json:"rate"`             // events a second of each session; 0: as fast as its subscribers take them
	Window      int    `json:"window"`           // with rate 0: events of a turn; two turns are under way
	Transport   string `json:"transport"`        // TransportWebSocket, TransportSSE or TransportMixed
	Shared      int    `json:"shared,omitempty"` // connections that the subscribers share; 0: each has its own
	Connecting  int    `json:"connecting"`
	Settle      time.Duration
	Timeout     time.Duration

	// Only of ModeRelay and ModeCluster: see there.
	Nodes  int           `json:"nodes,omitempty"`
	Both   bool          `json:"both,omitempty"`
	Valkey string        `json:"-"`                // URL of a server that runs, and has nothing else to do
	Active float64       `json:"active,omitempty"` // the share of the sessions that have events
	Hold   time.Duration `json:"hold,omitempty"`   // how long they have them
	Server string        `json:"-"`                // Valkey's program; it is started

	// Only of ModeHistory.
	Pieces       int           `json:"pieces,omitempty"`
	Tools        int           `json:"tools,omitempty"`
	ToolBytes    int           `json:"toolBytes,omitempty"` // in each, from its beginning to its end
	CompactAfter time.Duration `json:"compactAfter,omitempty"`
	Rounds       int           `json:"rounds,omitempty"` // of late joiners

	// DataDir is a directory in which the hub that is started gets one of its own, for
	// its sessions; empty: it keeps them in memory.
	DataDir string `json:"dataDir,omitempty"`
	Compare int    `json:"compare,omitempty"` // rounds of RunCompare

	// A hub that runs already; empty: one is started, with limits that fit.
	Hub    string `json:"hub,omitempty"`
	Admin  string `json:"admin,omitempty"` // its --admin-listen as a URL: for its goroutines and garbage collection
	PID    int    `json:"-"`               // its process on this machine: for CPU and memory
	APIKey string `json:"-"`

	// Profile is a directory for the started or administered hub's profiles;
	// empty: none are taken.
	Profile string `json:"-"`
}

// The values of Options.Transport.
const (
	TransportWebSocket = "websocket"
	TransportSSE       = "sse"
	TransportMixed     = "mixed" // every other one
)

// The modes.
const (
	ModeIdle     = "idle"     // connections that receive nothing, with a session each
	ModeFanout   = "fanout"   // one session, all subscribers
	ModeSessions = "sessions" // a session for each subscriber
	// Nodes on one Valkey: the worker is at the first one, the subscribers are at the
	// second one (with Both, each session has one at the first too), and nobody is at
	// the others.
	ModeRelay   = "relay"
	ModeCluster = "cluster" // many nodes on one Valkey, most sessions at rest: see RunCluster
	ModeHistory = "history" // one long session, and readers who join late: see RunHistory
	ModeRestart = "restart" // many sessions on disk, and a process that takes them over: see RunRestart
)

// modes are all of them.
var modes = []string{ModeIdle, ModeFanout, ModeSessions, ModeRelay, ModeCluster, ModeHistory, ModeRestart}

// Preset gives the options of a mode. Every one may be changed afterwards.
func Preset(mode string) (Options, error) {
	o := Options{
		Mode: mode, Subscribers: 1000, Sessions: 1, Events: 2000, Bytes: 200, Window: 500,
		Transport: TransportWebSocket, Connecting: 64, Settle: 5 * time.Second, Timeout: 10 * time.Minute,
	}
	switch mode {
	case ModeIdle:
		o.Subscribers, o.Sessions, o.Events = 10_000, 10_000, 0
	case ModeFanout:
	case ModeSessions:
		o.Sessions, o.Events = o.Subscribers, 200
	case ModeRelay:
		o.Subscribers, o.Sessions, o.Events, o.Nodes = 100, 100, 1000, 3
	case ModeCluster:
		o.Subscribers, o.Sessions, o.Events, o.Rate, o.Transport = 100_000, 100_000, 0, 1, TransportMixed
		o.Nodes, o.Active, o.Hold, o.Timeout = 6, .01, 10*time.Minute, 40*time.Minute
	case ModeHistory:
		o.Subscribers, o.Events, o.Bytes, o.Settle = 1, 0, 24, 0
		o.Pieces, o.Tools, o.ToolBytes, o.CompactAfter, o.Rounds = 200_000, 5_000, 1_024, time.Minute, 5
	case ModeRestart:
		o.Subscribers, o.Sessions, o.Events, o.Bytes, o.Settle = 1000, 1000, 1000, 1000, 0
	default:
		return Options{}, fmt.Errorf("--mode %q: want %s", mode, strings.Join(modes, ", "))
	}
	return o, nil
}

// spareFiles are open files that both processes need beside the connections.
const spareFiles = 300

// Check names everything that is wrong.
func (o Options) Check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var limit unix.Rlimit
	most := 1 << 20
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < uint64(most) {
		most = int(limit.Cur)
	}
	processes := 1 // that share the connections, at the hub's end as at this one
	if o.Mode == ModeCluster {
		processes = max(1, o.Nodes)
	}
	if top := processes * (most - spareFiles); o.Subscribers < processes || o.Subscribers > top {
		bad("--subscribers %d: want %d to %d (a process here may open %d files)", o.Subscribers, processes, top, most)
	}
	if o.Sessions < 1 || o.Sessions > o.Subscribers {
		bad("--sessions %d: want 1 to the number of subscribers, %d", o.Sessions, o.Subscribers)
	}
	if o.Events < 0 || o.Events > 1_000_000 {
		bad("--events %d: want 0 to 1000000", o.Events)
	}
	if o.Bytes < 1 || o.Bytes > maxText {
		bad("--bytes %d: want 1 to %d", o.Bytes, maxText)
	}
	if o.Rate < 0 || o.Rate > 1_000_000 {
		bad("--rate %d: want 0 to 1000000", o.Rate)
	}
	if o.Window < 1 || o.Window > 100_000 {
		bad("--window %d: want 1 to 100000", o.Window)
	}
	if o.Connecting < 1 || o.Connecting > 4096 {
		bad("--connecting %d: want 1 to 4096", o.Connecting)
	}
	switch o.Transport {
	case TransportWebSocket, TransportSSE, TransportMixed:
	default:
		bad("--transport %q: want %s, %s or %s", o.Transport, TransportWebSocket, TransportSSE, TransportMixed)
	}
	if o.Shared != 0 && (o.Shared < 0 || o.Shared > o.Subscribers || o.Sessions != o.Subscribers || o.Mode != ModeIdle && o.Mode != ModeSessions) {
		bad("--shared %d: want 1 to the number of subscribers, with a session for each, and --mode %s or %s", o.Shared, ModeIdle, ModeSessions)
	}
	if o.Settle < 0 || o.Timeout <= 0 {
		bad("--settle and --timeout must not be negative")
	}
	errs = append(errs, o.checkNodes(), o.checkRelay(), o.checkCluster(), o.checkHistory(), o.checkDataDir())
	for name, v := range map[string]string{"--hub": o.Hub, "--admin": o.Admin} {
		if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != "http" || u.Port() == "") {
			bad("%s %q: want http://host:port (TLS would be measured with it)", name, v)
		}
	}
	if o.Hub == "" && (o.Admin != "" || o.PID != 0 || o.APIKey != "") {
		bad("--admin, --pid and a key belong to --hub")
	}
	return errors.Join(errs...)
}

// maxNodes bounds what one machine is asked to run.
const maxNodes = 64

// checkNodes names what is wrong with the number of nodes, or with its being there.
func (o Options) checkNodes() error {
	least := map[string]int{ModeRelay: 2, ModeCluster: 1}[o.Mode]
	switch {
	case least == 0 && o.Nodes != 0:
		return fmt.Errorf("--nodes belongs to --mode %s and %s", ModeRelay, ModeCluster)
	case least != 0 && (o.Nodes < least || o.Nodes > maxNodes):
		return fmt.Errorf("--nodes %d: want %d to %d", o.Nodes, least, maxNodes)
	}
	return nil
}

// checkRelay names what is wrong with the options of ModeRelay, or with their
// being there.
func (o Options) checkRelay() error {
	if o.Mode != ModeRelay {
		if o.Both || o.Valkey != "" {
			return fmt.Errorf("--both and --valkey-url belong to --mode %s", ModeRelay)
		}
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if _, err := valkeyAddr(o.Valkey); err != nil {
		bad("--valkey-url %q: want redis://host:port of a server for the run alone", o.Valkey)
	}
	if o.Both && o.Subscribers != 2*o.Sessions {
		bad("--both: want two subscribers for each session")
	}
	if o.Bytes < stampBytes {
		bad("--bytes %d: want %d at least, for the time at which each was made", o.Bytes, stampBytes)
	}
	if o.Events < 1 {
		bad("--events %d: want some", o.Events)
	}
	if o.Hub != "" {
		bad("--hub: not with --mode %s, which starts its nodes", ModeRelay)
	}
	return errors.Join(errs...)
}

// checkCluster names what is wrong with the options of ModeCluster, or with
// their being there.
func (o Options) checkCluster() error {
	if o.Mode != ModeCluster {
		if o.Active != 0 || o.Hold != 0 {
			return fmt.Errorf("--active and --hold belong to --mode %s", ModeCluster)
		}
		if o.Server != "" && o.Mode != ModeHistory {
			return fmt.Errorf("--valkey belongs to --mode %s and %s", ModeCluster, ModeHistory)
		}
		return nil
	}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Sessions < o.Nodes {
		bad("--sessions %d: want one for each node at least", o.Sessions)
	}
	if o.Active < 0 || o.Active > 1 {
		bad("--active %g: want a share, 0 to 1", o.Active)
	}
	if o.Hold <= 0 {
		bad("--hold %s: want how long sessions are active", o.Hold)
	}
	if o.Server == "" {
		bad("--valkey: want the program of the server")
	}
	if o.Rate < 1 || o.Events != 0 {
		bad("--rate and --events: want a rate and no number of events, which --hold sets")
	}
	if o.Hub != "" || o.Profile != "" {
		bad("--hub and --profile: not with --mode %s, which starts its nodes", ModeCluster)
	}
	return errors.Join(errs...)
}

// checkHistory names what is wrong with the options of ModeHistory, or with their being
// there.
func (o Options) checkHistory() error {
	if o.Mode != ModeHistory {
		if o.Pieces != 0 || o.Tools != 0 || o.ToolBytes != 0 || o.CompactAfter != 0 || o.Rounds != 0 {
			return fmt.Errorf("--pieces, --tools, --tool-bytes, --compact-after and --rounds belong to --mode %s", ModeHistory)
		}
		return nil
	}
	errs := []error{o.script().check()}
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.CompactAfter < time.Second {
		bad("--compact-after %s: want 1s at least", o.CompactAfter)
	}
	if o.Rounds < 1 || o.Rounds > mostRounds {
		bad("--rounds %d: want 1 to %d", o.Rounds, mostRounds)
	}
	if o.Sessions != 1 || o.Subscribers != 1 || o.Events != 0 || o.Rate != 0 {
		bad("--sessions, --subscribers, --events and --rate: not with --mode %s, which has one session", ModeHistory)
	}
	if o.Hub != "" {
		bad("--hub: not with --mode %s, which starts its hub", ModeHistory)
	}
	return errors.Join(errs...)
}

// mostRounds bounds rounds of any kind.
const mostRounds = 1000

// checkDataDir names what is wrong with the place of the sessions.
func (o Options) checkDataDir() error {
	switch {
	case o.Compare != 0 && (o.Compare < 0 || o.Compare > mostRounds || o.DataDir == "" || o.Events == 0 || o.Mode != ModeFanout && o.Mode != ModeSessions):
		return fmt.Errorf("--compare %d: want 1 to %d, with --data-dir, events, and --mode %s or %s", o.Compare, mostRounds, ModeFanout, ModeSessions)
	case o.Mode == ModeRestart && (o.DataDir == "" || o.Hub != "" || o.Events == 0 || o.Sessions != o.Subscribers):
		return fmt.Errorf("--mode %s: want --data-dir, events, a subscriber for each session, and no --hub", ModeRestart)
	case o.DataDir == "":
		return nil
	case o.Hub != "" || o.Server != "" || o.Mode == ModeRelay || o.Mode == ModeCluster:
		return errors.New("--data-dir: only for one hub that is started here, without Valkey")
	}
	info, err := os.Stat(o.DataDir)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return fmt.Errorf("--data-dir %q: %w", o.DataDir, err)
	}
	return nil
}
