// Package hub is the heart of sessionhub. It keeps each session as two append-only
// logs: commands in, events out. One set of rules lies between them. Any number of
// subscribers and workers can read the logs from cursors.
//
// It knows neither HTTP nor a particular store. The handlers call it for clients.
// ServeWorker speaks to workers over any connection that carries frames. A Store
// keeps everything.
//
// Guarantees for every caller and under every failure:
//   - A change of a session's state is stored together with its events, or not
//     at all (Step decides, Store.Append compares the version).
//   - An event that was acknowledged to a worker or a client is in the log.
//   - A subscriber gets the log's events in order, once, without a hole. A gap frame
//     names the events that the log no longer has.
package hub

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sessionhub/hub/compact"
	"sessionhub/hub/engine"
	"sessionhub/hub/feed"
	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/hub/stream"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Config holds the settings of a Hub. All fields but Providers, Preselect, ResolveDirectory
// and KeyHolds are required.
type Config struct {
	Node                     string // this process, as clients see it
	Policy                   session.Policy
	Limits                   Limits
	Timers                   engine.Timers
	MaxEventBytes            int // of an event's data
	MaxAttachmentBytes       int
	MaxAttachmentsBytes      int64 // of one session, together
	MaxConnectionsPerSession int
	MaxConnections           int // of this node; 0: no limit
	MaxSubscriptions         int // of one channel; 0: no limit
	DefaultProvider          string
	// Providers may be named by a session although no worker offers them now. They are
	// built in, come from the providers file, or were found on this machine.
	Providers []string
	// Preselect is the provider that pages offer first; empty: an agent that a worker
	// offers, else DefaultProvider.
	Preselect string
	// ShareAgentSessions lets users take up what agents keep on workers for everybody: see
	// fleet.FleetConfig.
	ShareAgentSessions bool
	// ResolveDirectory checks a working directory when this node's own worker
	// would run the provider; nil leaves it to the workers.
	ResolveDirectory func(dir string) (string, error)
	// SignInTTL is the life of a sign-in that is not used.
	SignInTTL time.Duration
	// KeyHolds reports whether the API key that a grant names still opens the user's
	// sessions. Key or KeyID names it; the answer is true if neither is set. KeyHolds
	// is called with a lock held and must not block. Call RecheckKeys after each change
	// of the keys. nil: no key is ever taken away.
	KeyHolds func(user string, g session.Grant) bool
	Metrics  *metrics.Set
	Log      *slog.Logger
}

// Hub serves sessions. It is the door of its rooms: the commands of people, the work that
// is due by time, and nothing else. All methods may be called concurrently. Run must run
// while it is used.
type Hub struct {
	rooms
	*Commands
	Queues
	Settings
	Attachments
	Forks
	*Questions
	Files         Files
	AgentSessions AgentSessions
	Channels      *Channels
	Worktrees     Worktrees
	feeds         *feed.Feeds
	Accounts      Accounts
	Inbox         Inbox
	due           *deadlines
}

// rooms are the parts behind the door. Commands, deadlines and evictor share them.
type rooms struct {
	cfg     Config
	store   store.Store
	env     *engine.Env
	engine  *engine.Engine
	streams *stream.Streams
	fleet   *fleet.Fleet
	compact *compact.Compactor

	endedTrees chan *session.State // of sessions that ended, for Worktrees.tellEndedTrees; never closed
}

// New returns a hub on a store.
func New(cfg Config, st store.Store) *Hub {
	env := engine.NewEnv(cfg.Node, cfg.Timers, cfg.Metrics, cfg.Log, st.Available)
	eng := engine.NewEngine(env, cfg.Policy, st)
	in := rooms{
		cfg: cfg, store: st, env: env, engine: eng,
		streams: stream.NewStreams(env, st, stream.StreamLimits{PerNode: cfg.MaxConnections, PerSession: cfg.MaxConnectionsPerSession, PerUser: cfg.Limits.ConnectionsPerUser, PerChannel: cfg.MaxSubscriptions}, cfg.KeyHolds),
		fleet: fleet.NewFleet(env, eng, st, fleet.FleetConfig{
			MaxEventBytes: cfg.MaxEventBytes, Providers: cfg.Providers, DefaultProvider: cfg.DefaultProvider, Preselect: cfg.Preselect,
			ShareAgentSessions: cfg.ShareAgentSessions,
		}),
		compact: compact.NewCompactor(env, st, cfg.Policy.CompactAfter), endedTrees: make(chan *session.State, maxEndedTrees),
	}
	commands := &Commands{rooms: in}
	feeds := feed.NewFeeds(env, st, commands.Views)
	return &Hub{
		rooms: in, Commands: commands, Queues: Queues{commands}, Settings: Settings{commands}, Attachments: Attachments{commands},
		Forks: Forks{commands}, Questions: &Questions{in}, Files: Files{in}, AgentSessions: AgentSessions{commands},
		Inbox:     newInbox(commands),
		Worktrees: Worktrees{commands}, Channels: &Channels{rooms: in, feeds: feeds}, feeds: feeds, Accounts: Accounts{in},
		due: &deadlines{rooms: in},
	}
}

// Run keeps time for the hub (deadlines, heartbeats, slow subscribers, assignments) until
// ctx ends, and waits for the goroutines that it started. A panic in one of them is
// logged and ends one round of that loop only.
func (h *Hub) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { h.env.Keep(ctx, "the deadlines", h.due.run) })
	wg.Go(func() { h.streams.Run(ctx) })
	wg.Go(func() { h.fleet.Run(ctx) })
	wg.Go(func() { h.env.Keep(ctx, "the letters about channels", h.Channels.run) })
	wg.Go(func() { h.env.Keep(ctx, "the ended worktrees", h.Worktrees.tellEndedTrees) })
	wg.Go(func() { h.feeds.Run(ctx) })
	wg.Go(func() { h.env.Keep(ctx, "the compactor", h.compact.Run) })
	if bounded, ok := h.store.(store.Bounded); ok {
		e := &roomKeeper{rooms: h.rooms, Bounded: bounded}
		wg.Go(func() { h.env.Keep(ctx, "the room keeper", e.run) })
	}
	wg.Wait()
}

// Ready says why the hub takes nothing new now, or nil.
func (h *Hub) Ready() error { return h.env.Ready() }

// Draining reports whether the node takes nothing new for good.
func (h *Hub) Draining() bool { return h.env.Draining() }

// BeginDrain makes the node take nothing new: it is not ready, starts no stream, accepts
// no message and gives no session to a worker. Streams and turns that run go on.
func (h *Hub) BeginDrain() { h.env.BeginDrain() }

// DrainStreams tells every stream when to come back, each at its own moment within
// spread, and ends it at that moment. It returns when all streams have ended. When ctx
// ends first, it cuts the streams that are left. Call BeginDrain before it.
func (h *Hub) DrainStreams(ctx context.Context, spread time.Duration) error {
	return h.streams.Drain(ctx, spread)
}

// Streams is how many streams this node serves.
func (h *Hub) Streams() int { return h.streams.Count() }

// Open decides whether a stream may start, before its first byte. With Latest, the stream
// starts after the last event at this moment.
func (h *Hub) Open(ctx context.Context, id string, c protocol.Cursor, enc protocol.Encoding) (*stream.Stream, error) {
	return h.streams.Open(ctx, id, c, enc)
}

// History reads a piece of a session's event log.
func (h *Hub) History(ctx context.Context, id string, c protocol.Cursor, limit int) (protocol.History, error) {
	return h.streams.History(ctx, id, c, limit)
}

// ServeWorker serves one worker link until it breaks or ctx ends, and returns why it
// ended. See Fleet.ServeWorker for the whole contract.
func (h *Hub) ServeWorker(ctx context.Context, conn fleet.WorkerConn, key fleet.WorkerKey) error {
	return h.fleet.ServeWorker(ctx, conn, key)
}

// Providers lists the kinds of agent that a session of the user may name. Without a user,
// it lists those of all users.
func (h *Hub) Providers(ctx context.Context, user string) (protocol.Providers, error) {
	return h.fleet.Providers(ctx, user)
}

// CheckGrant says why a grant no longer opens its session, or nil. s is the session's
// state as it was just read.
func (h *Hub) CheckGrant(s *session.State, g session.Grant) error { return h.streams.CheckGrant(s, g) }

// RecheckKeys has every open stream of this node checked against the API keys. It
// does not wait, and may be called at any time.
func (h *Hub) RecheckKeys() { h.streams.RecheckKeys() }
