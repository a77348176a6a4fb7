// Package config reads the program's settings: from flags, environment
// variables and a YAML file, in this order of strength, with defaults below
// them. It is the only place that reads the environment. Each setting is one
// line of a table; its flag --a-b, its variable SESSIONHUB_A_B, its key a-b in
// the file and its line in the help follow from its name. Whatever is wrong is
// named at once. Secrets have no flag and no key, and no way to be printed.
package config

import (
	"io"
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Serve is what `sessionhub serve` obeys. Sizes are in bytes.
type Serve struct {
	ConfigFile string

	Listen         string // host:port of API, streams and dashboard
	AdminListen    string // host:port of metrics, health and pprof
	AdminHosts     []string
	PublicURL      string // without a slash at its end; empty: from the request's Host
	AllowedOrigins []string
	TrustedProxies []string // addresses and CIDRs
	AllowAnonymous bool

	ValkeyURL     string // where sessions are kept, also if ValkeyURLFile says it; empty: in this process
	ValkeyURLFile string // a file that holds ValkeyURL: it may have a password in it
	DataDir       string // where this process keeps its sessions; empty: in memory

	DataMaxBytes    int64 // of all sessions in DataDir; 0: no bound
	DataMaxSessions int   // in DataDir; 0: no bound

	Worker          string // WorkerEmbedded or WorkerNone
	WorkerCapacity  int    // most running agents at once
	WorkerBuffer    int64  // for each session while the hub is out of reach
	WorkspaceRoot   string
	Worktrees       string // see Worker
	ProvidersFile   string
	DiscoverAgents  Toggle   // ToggleAuto: see Discovers
	LeaveOutAgents  []string // of those that are found
	DefaultProvider string
	AgentIdle       time.Duration

	ShareAgentSessions bool

	ChildrenIdle time.Duration
	TurnTimeout  time.Duration

	MaxSessionsPerUser       int // open ones
	MaxConnectionsPerUser    int
	RateMessages             Rate // of each user
	RateSessions             Rate // made by each user
	MaxConnections           int  // of this node; 0: no limit
	MaxConnectionsPerSession int
	MaxSubscriptions         int // of one connection for many sessions
	MaxQueuedMessages        int // of each session
	MaxMessageBytes          int
	MaxEventBytes            int
	MaxAttachmentBytes       int           // of one file that a user adds to a session
	MaxAttachmentsBytes      int64         // of all of a session together
	LogMaxEvents             int           // of each session's event log, as they are stored; 0: no bound
	LogMaxBytes              int64         // of each session's event log, as it is stored
	CompactAfter             time.Duration // 0: logs are not compacted
	WriteTimeout             time.Duration
	SSEMaxAge                time.Duration // 0: no bound
	SessionIdleTTL           time.Duration
	ApprovalTimeout          time.Duration
	TokenTTL                 time.Duration
	SignInTTL                time.Duration
	DrainTimeout             time.Duration
	DrainDelay               time.Duration // negative: see DrainWait
	WorkerLease              time.Duration

	DefaultProviderSaid bool // somebody named DefaultProvider: it is no default of this program

	LogFormat string // LogAuto, LogText or LogJSON
	LogLevel  slog.Level

	// From the environment alone.
	APIKey         Secret // one service key
	APIKeysFile    string
	TokenSecret    Secret // one or several, separated by commas
	WorkerKey      Secret // for a worker that serves all users
	WorkerKeysFile string
}

// The values of Worker.
const (
	WorkerEmbedded = "embedded"
	WorkerNone     = "none"
)

// The values of LogFormat.
const (
	LogAuto = "auto" // text on a terminal, JSON elsewhere
	LogText = "text"
	LogJSON = "json"
)

// Default is what holds where nothing is set.
func Default() Serve {
	return Serve{
		Listen:      "127.0.0.1:8080",
		AdminListen: "127.0.0.1:9464",

		DataMaxBytes:    10 * gib,
		DataMaxSessions: 10_000,

		Worker:          WorkerEmbedded,
		WorkerCapacity:  8,
		WorkerBuffer:    8 * mib,
		WorkspaceRoot:   ".",
		DefaultProvider: "demo",
		AgentIdle:       10 * time.Minute,
		ChildrenIdle:    8 * time.Hour,
		TurnTimeout:     30 * time.Minute,

		MaxSessionsPerUser:       100,
		MaxConnectionsPerUser:    100,
		RateMessages:             Rate{PerSecond: 5, Burst: 20},
		RateSessions:             Rate{PerSecond: 1, Burst: 10},
		MaxConnectionsPerSession: 20,
		MaxSubscriptions:         10_000,
		MaxQueuedMessages:        32,
		MaxMessageBytes:          1 * mib,
		MaxEventBytes:            1 * mib,
		MaxAttachmentBytes:       16 * mib,
		MaxAttachmentsBytes:      64 * mib,
		LogMaxBytes:              64 * mib,
		CompactAfter:             time.Minute,
		WriteTimeout:             10 * time.Second,
		SSEMaxAge:                15 * time.Minute,
		SessionIdleTTL:           day,
		ApprovalTimeout:          time.Hour,
		TokenTTL:                 24 * time.Hour,
		SignInTTL:                30 * day,
		DrainTimeout:             30 * time.Second,
		DrainDelay:               autoDuration,
		WorkerLease:              15 * time.Second,

		LogFormat: LogAuto,
		LogLevel:  slog.LevelInfo,
	}
}

const adminHostsHelp = "names by which --admin-listen may be addressed beside this machine's own and, where it reaches further, IP addresses: exact names, *.example.org"

// The groups of the help, in its order.
const (
	groupAddress = "Addresses and access"
	groupStore   = "Sessions"
	groupWorker  = "Agents"
	groupLimit   = "Limits"
	groupTime    = "Times"
	groupRun     = "Running"
)

const (
	day  = 24 * time.Hour
	year = 365 * day
	// tick is the least for a waiting time: below it timers are busy loops.
	tick = 100 * time.Millisecond
	// leastLease has room for the three heartbeats, in whole seconds, that a
	// worker link needs to tell a slow worker from a lost one.
	leastLease = 3 * time.Second
)

// settings is the table, bound to the fields of s. It holds what the program
// obeys, and nothing else.
func (s *Serve) settings() []setting {
	return []setting{
		{"listen", groupAddress, "API, streams, dashboard, /healthz and /readyz", address(&s.Listen)},
		{"admin-listen", groupAddress, "/metrics, /healthz, /readyz and /debug/pprof", address(&s.AdminListen)},
		{"admin-hosts", groupAddress, adminHostsHelp, list(&s.AdminHosts)},
		{"public-url", groupAddress, "what clients reach this hub at, for the URLs in answers; empty: the request's Host", webURL(&s.PublicURL)},
		{"allowed-origins", groupAddress, "pages that may speak to this hub beside its own: exact origins, https://*.example.org, chrome-extension://<id>", list(&s.AllowedOrigins)},
		{"trusted-proxies", groupAddress, "addresses or CIDRs of proxies whose X-Forwarded-For is believed, for where a request comes from in the log", list(&s.TrustedProxies)},
		{"allow-anonymous", groupAddress, "let everybody who reaches a listener beyond this machine create sessions, without a key; pages of other sites are refused", onOff(&s.AllowAnonymous)},

		{"valkey-url", groupStore, "redis:// or rediss:// of the Valkey that several nodes share (commas: a cluster; ?master_set=NAME: Sentinels); empty: this node keeps them itself", text(&s.ValkeyURL, "a URL")},
		{"valkey-url-file", groupStore, "file that holds the same: a password in a flag is in the list of processes, for all to read", text(&s.ValkeyURLFile, "a file")},
		{"data-dir", groupStore, "directory in which this node keeps sessions, also over a restart and a crash; empty: in memory, until the process ends", text(&s.DataDir, "a directory")},
		{"data-max-bytes", groupStore, "bytes of all sessions in --data-dir; when there are more, ended sessions go, and then those that have slept longest; 0: no limit", size(&s.DataMaxBytes, 0, 1<<20*gib)},
		{"data-max-sessions", groupStore, "the same for the number of sessions in --data-dir; 0: no limit", number(&s.DataMaxSessions, 0, 10_000_000)},

		{"worker", groupWorker, "run agents in this process, or leave them to workers that connect", choice(&s.Worker, WorkerEmbedded, WorkerNone)},
		{"worker-capacity", groupWorker, "most agents that run at once", number(&s.WorkerCapacity, 1, 100_000)},
		{"worker-buffer", groupWorker, "output kept for each session while the hub is out of reach; then the agent is held back", size(&s.WorkerBuffer, 64*kib, 4*gib)},
		{"share-agent-sessions", groupWorker, "let every user list and take up what the agents of a worker for everybody keep, whoever began it; a hub in local mode does so anyway", onOff(&s.ShareAgentSessions)},
		{"workspace-root", groupWorker, "every working directory lies in here", required(&s.WorkspaceRoot, "a directory")},
		{"worktrees", groupWorker, worktreesHelp, text(&s.Worktrees, "a directory")},
		{"providers-file", groupWorker, "YAML file with kinds of agents; demo is built in", text(&s.ProvidersFile, "a file")},
		{"discover-agents", groupWorker, "offer the agents that this program knows and finds in PATH, with this machine's logins; auto: in local mode, where nothing says that others share the hub", toggle(&s.DiscoverAgents)},
		{"leave-out-agents", groupWorker, leaveOutHelp, list(&s.LeaveOutAgents)},
		{"default-provider", groupWorker, "kind of agent of a session that names none", required(&s.DefaultProvider, "a provider's name")},
		{"turn-timeout", groupWorker, "a turn in which the agent says nothing for so long is ended", duration(&s.TurnTimeout, tick, year)},
		{"agent-idle", groupWorker, "an agent is stopped after so long without a message", duration(&s.AgentIdle, tick, year)},
		{"agent-children-idle", groupWorker, "the same for an agent that has started processes which still run, such as a server", duration(&s.ChildrenIdle, tick, year)},

		{"max-sessions-per-user", groupLimit, "open sessions of one user; ended and failed ones do not count, nor, with --data-dir, those without an agent and with nothing queued or asked", number(&s.MaxSessionsPerUser, 1, 10_000_000)},
		{"max-connections-per-user", groupLimit, "open streams of one user", number(&s.MaxConnectionsPerUser, 1, 10_000_000)},
		{"rate-messages", groupLimit, "messages of one user, as rate:burst", rate(&s.RateMessages)},
		{"rate-sessions", groupLimit, "sessions that one user makes, as rate:burst", rate(&s.RateSessions)},
		{"max-connections", groupLimit, "open streams of this node; 0: no limit", number(&s.MaxConnections, 0, 10_000_000)},
		{"max-connections-per-session", groupLimit, "open streams of one session", number(&s.MaxConnectionsPerSession, 1, 1_000_000)},
		{"max-subscriptions-per-connection", groupLimit, "sessions that one connection for many sessions is subscribed to", number(&s.MaxSubscriptions, 1, 1_000_000)},
		{"max-queued-messages", groupLimit, "messages of one session that wait for their turn", number(&s.MaxQueuedMessages, 1, 100_000)},
		{"max-message-bytes", groupLimit, "a request's body or a WebSocket message", size(&s.MaxMessageBytes, 256, 64*mib)},
		{"max-event-bytes", groupLimit, "an event's data; longer output is split or cut", size(&s.MaxEventBytes, 1*kib, 64*mib)},
		{"max-attachment-bytes", groupLimit, "a file that is added to a session", size(&s.MaxAttachmentBytes, 1*kib, 256*mib)},
		{"max-attachments-bytes", groupLimit, "all files that are added to one session, together; a session has at most 256", size(&s.MaxAttachmentsBytes, 1*kib, 16*gib)},
		{"log-max-events", groupLimit, "events kept of one session, as they are stored: a compacted one is one; 0: no limit", number(&s.LogMaxEvents, 0, 100_000_000)},
		{"log-max-bytes", groupLimit, "bytes of events kept of one session, as they are stored", size(&s.LogMaxBytes, 1*kib, 64*gib)},

		{"write-timeout", groupTime, "a subscriber that has taken nothing for so long is closed", duration(&s.WriteTimeout, tick, time.Hour)},
		{"sse-max-age", groupTime, "an event stream (SSE) ends after so long at most, and its client resumes; 0: no bound", duration(&s.SSEMaxAge, 0, year)},
		{"compact-after", groupTime, "small events that say more of the same become one event so long after the last of them; 0: never", duration(&s.CompactAfter, 0, year)},
		{"session-idle-ttl", groupTime, "a session without activity expires; with --data-dir after 720h, where nothing is said", duration(&s.SessionIdleTTL, tick, 10*year)},
		{"approval-timeout", groupTime, "an unanswered question expires, and the agent is told no", duration(&s.ApprovalTimeout, tick, year)},
		{"token-ttl", groupTime, "life of a session token or a user token", duration(&s.TokenTTL, time.Second, 10*year)},
		{"sign-in-ttl", groupTime, "a browser that is signed in stays so for this long after its last use", duration(&s.SignInTTL, time.Second, 10*year)},
		{"drain-timeout", groupTime, "on SIGTERM, time for running turns and for streams to leave", duration(&s.DrainTimeout, 0, day)},
		{"drain-delay", groupTime, "on SIGTERM, /readyz says no for so long before the drain begins, so that load balancers know; auto: 5s, or none on a loopback listener", orAuto(&s.DrainDelay, duration(&s.DrainDelay, 0, time.Hour))},
		{"worker-lease", groupTime, "a worker that is gone for so long loses its sessions", duration(&s.WorkerLease, leastLease, time.Hour)},

		{"log-format", groupRun, "auto: text on a terminal, json elsewhere", choice(&s.LogFormat, LogAuto, LogText, LogJSON)},
		{"log-level", groupRun, "least level that is logged", level(&s.LogLevel)},
		{configName, groupRun, "YAML file with any of these settings by their names", text(&s.ConfigFile, "a file")},
	}
}

// secrets is the table of what comes from the environment alone.
func (s *Serve) secrets() []secretSetting {
	return []secretSetting{
		{name: "api-key", help: "a service key: may create sessions for any user", secret: &s.APIKey, check: checkKey},
		{name: "api-keys-file", help: "file of name:user:sha256hex lines (user *: a service key), read again on SIGHUP and when it changes", path: &s.APIKeysFile},
		{name: "token-secret", help: "signs session tokens, at least 32 bytes; several with commas: the first signs, all verify", secret: &s.TokenSecret},
		{name: "worker-key", help: "the key of workers that serve all users", secret: &s.WorkerKey, check: checkKey},
		{name: "worker-keys-file", help: "file of name:user:sha256hex lines for workers, read again in the same way", path: &s.WorkerKeysFile},
	}
}

// Parse reads the settings of `sessionhub serve` from what follows that word
// on the command line, and from the environment (os.LookupEnv). It gives
// ErrHelp when help is asked for, and an *Error that names everything that is
// wrong. The settings that are right are filled in beside an Error too, so that
// the caller can add what only others can judge (the keys' files, the secrets,
// the origins) before it tells the user.
func Parse(args []string, environ func(string) (string, bool)) (Serve, error) {
	s := Default()
	p := parser{rows: s.settings(), secrets: s.secrets(), environ: environ}
	if err := p.parse(args); err != nil {
		return s, err
	}
	s.check(&p)
	return s, p.err()
}

// Usage prints every setting of `sessionhub serve` with its default.
func Usage(w io.Writer) error {
	s := Default()
	return usage(w, s.settings(), s.secrets())
}

// readValkeyURL takes the URL from its file, if there is one.
func (s *Serve) readValkeyURL(p *parser) {
	switch {
	case s.ValkeyURLFile == "":
	case s.ValkeyURL != "":
		p.wrong["valkey-url"] = true
		p.problem("--valkey-url-file", "--valkey-url is set too: want one of them")
	default:
		var err error
		if s.ValkeyURL, err = readSecretFile(s.ValkeyURLFile); err != nil {
			p.wrong["valkey-url"] = true
			p.problem("--valkey-url-file", "%w", err)
		}
	}
}

// check judges what lies between settings.
func (s *Serve) check(p *parser) {
	s.readValkeyURL(p)
	if p.right("listen") && p.right("api-key") && s.Anonymous() && !isLoopback(s.Listen) && !s.AllowAnonymous {
		p.problem("--listen", "%q can be reached from other machines and no key is configured: "+
			"set SESSIONHUB_API_KEY, SESSIONHUB_API_KEY_FILE or SESSIONHUB_API_KEYS_FILE, listen on 127.0.0.1, "+
			"or say --allow-anonymous", s.Listen)
	}
	if p.right("valkey-url") && p.right("token-secret") && s.ValkeyURL != "" && !s.TokenSecret.IsSet() {
		p.problem("SESSIONHUB_TOKEN_SECRET", "with --valkey-url all nodes must sign tokens with the same secret: "+
			"set SESSIONHUB_TOKEN_SECRET or SESSIONHUB_TOKEN_SECRET_FILE to at least 32 random bytes")
	}
	s.DefaultProviderSaid = p.said["default-provider"] && p.right("default-provider")
	if s.DataDir != "" && !p.said["session-idle-ttl"] {
		s.SessionIdleTTL = diskIdleTTL
	}
	if p.right("valkey-url") && p.right("data-dir") && s.ValkeyURL != "" && s.DataDir != "" {
		p.problem("--data-dir", "with --valkey-url sessions are kept there: want one of them")
	}
	if p.right("listen") && p.right("admin-listen") && s.Listen == s.AdminListen && !hasPortZero(s.Listen) {
		p.problem("--admin-listen", "%q is the address of --listen too: want another port", s.AdminListen)
	}
}

// Anonymous reports that no API key is configured: sessions are created
// without one. A configured key rules, whatever AllowAnonymous says.
func (s *Serve) Anonymous() bool { return !s.APIKey.IsSet() && s.APIKeysFile == "" }

// LocalMode reports that this machine's people alone are meant: no key, and a
// listener that no other machine reaches.
func (s *Serve) LocalMode() bool { return s.Anonymous() && isLoopback(s.Listen) }

// Discovers reports whether the agents on this machine are offered. Their logins are its
// user's, so nobody else may get them unasked. Behind a proxy, and with a store that other
// nodes share, a hub in local mode serves others too.
func (s *Serve) Discovers() bool {
	if s.Worker == WorkerNone || s.DiscoverAgents != ToggleAuto {
		return s.Worker != WorkerNone && s.DiscoverAgents == ToggleOn
	}
	return s.Personal()
}

// Personal reports whether the hub is in local mode, and nothing says that others share it.
func (s *Serve) Personal() bool {
	return s.LocalMode() && !s.AllowAnonymous && s.PublicURL == "" && len(s.TrustedProxies) == 0 && s.ValkeyURL == ""
}

// defaultDrainDelay is enough for a load balancer that asks every 2 s and believes the
// second answer.
const defaultDrainDelay = 5 * time.Second

// DrainWait is how long the node says that it is not ready before it drains. On a
// loopback listener there is no load balancer to tell, unless DrainDelay says so.
func (s *Serve) DrainWait() time.Duration {
	switch {
	case s.DrainDelay >= 0:
		return s.DrainDelay
	case isLoopback(s.Listen):
		return 0
	}
	return defaultDrainDelay
}

// diskIdleTTL is how long a session without activity stays on a disk. In memory and in
// Valkey each one costs memory.
const diskIdleTTL = 30 * day

// isLoopback judges a listener's host:port. A name other than localhost is
// taken to reach further: what it stands for can change.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func hasPortZero(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port == "0"
}
