// Package hub is the heart of sessionhub: it keeps sessions as two append-only
// logs (commands in, events out) with one set of rules between them, and lets
// any number of subscribers and workers read them from cursors.
//
// It knows neither HTTP nor a particular store: handlers calls it for clients,
// ServeWorker speaks to workers over any connection that carries frames, and a
// Store keeps everything.
//
// What holds, whoever calls and however things fail:
//   - A change of a session's state is stored together with its events, or not
//     at all (Step decides, Store.Append compares the version).
//   - An event that was acknowledged to a worker or a client is in the log.
//   - A subscriber gets the log's events in order, once, without a hole; what
//     cannot be given any more is named by a gap.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Timers are the hub's waiting times.
type Timers struct {
	SessionIdleTTL time.Duration // without activity, an idle session expires
	EndedRetention time.Duration // an expired or failed session stays readable
	DeletedLinger  time.Duration // open streams may read a deleted session's end
	WriteTimeout   time.Duration // a subscriber that takes nothing is cut
	Heartbeat      time.Duration // ping or comment on an idle stream
	PongTimeout    time.Duration // a WebSocket peer that answers no ping is dropped
	CloseGrace     time.Duration // a worker's place is free this long after a close
	WorkerLease    time.Duration // a worker that is gone for this long loses its sessions
	LinkHeartbeat  time.Duration // ping on a worker link
	NoActivity     time.Duration // a turn without an event for so long says so in its status
	ExpiringAhead  time.Duration // the warning before a token ends
	TailIdle       time.Duration // a tail's bytes go when nothing came for this long
}

// DefaultTimers are the contract's.
var DefaultTimers = Timers{
	SessionIdleTTL: 24 * time.Hour,
	EndedRetention: 24 * time.Hour,
	DeletedLinger:  time.Minute,
	WriteTimeout:   10 * time.Second,
	Heartbeat:      15 * time.Second,
	PongTimeout:    30 * time.Second,
	CloseGrace:     5 * time.Second,
	WorkerLease:    15 * time.Second,
	LinkHeartbeat:  5 * time.Second,
	NoActivity:     30 * time.Second,
	ExpiringAhead:  time.Minute,
	TailIdle:       5 * time.Second,
}

// Config is what a Hub needs. All fields but Providers are required.
type Config struct {
	Node                     string // this process, as clients see it
	Policy                   Policy
	Limits                   Limits
	Timers                   Timers
	MaxEventBytes            int // of an event's data
	MaxConnectionsPerSession int
	MaxConnections           int // of this node; 0: no limit
	DefaultProvider          string
	// Providers are those that a session may name although no worker offers
	// them now: built in or in the file.
	Providers []string
	// ResolveDirectory judges a working directory when this node's own worker
	// would run the provider; nil leaves it to the workers.
	ResolveDirectory func(dir string) (string, error)
	Metrics          *metrics.Set
	Log              *slog.Logger
}

// Hub serves sessions. All methods may be called concurrently. Run must run
// while it is used.
type Hub struct {
	cfg   Config
	store Store

	tails   tails
	workers *dispatcher
	due     *deadlines
	tokens  *tokenChecks

	drain    sync.Once
	draining chan struct{} // closed when the node drains
	open     atomic.Int64  // streams of this node that have a slot
}

// New returns a hub on a store.
func New(cfg Config, store Store) *Hub {
	h := &Hub{cfg: cfg, store: store, draining: make(chan struct{})}
	h.tails.init()
	h.workers = newDispatcher(h)
	h.due = newDeadlines(h)
	h.tokens = newTokenChecks(h)
	return h
}

// Run keeps time for the hub (deadlines, heartbeats, slow subscribers,
// assignments) until ctx ends, and waits for what it started. A panic in there is
// logged, and ends a round of the one that it came in.
func (h *Hub) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { h.keep(ctx, "the deadlines", h.due.run) })
	wg.Go(func() { h.keep(ctx, "the sweeper", h.sweep) })
	wg.Go(func() { h.keep(ctx, "the checks of tokens", h.tokens.run) })
	wg.Go(func() { h.keep(ctx, "the dispatcher", h.workers.run) })
	wg.Wait()
}

// maxDecide bounds how often a change is decided again because somebody else
// changed the session in between.
const maxDecide = 100

// change takes one input through the rules and stores what they make of it.
// fence is a worker's place, or nil. The returned snapshot is the one that was
// decided on, with the new state.
func (h *Hub) change(ctx context.Context, id string, in Input, fence *Fence) (Snapshot, Appended, error) {
	for range maxDecide {
		snap, err := h.store.Load(ctx, id)
		if err != nil {
			return Snapshot{}, Appended{}, err
		}
		if fence != nil && snap.State.Assignment == fence.Assignment && fence.N <= snap.N {
			return snap, Appended{}, ErrRepeat // stored, and only the answer was lost
		}
		c, err := Step(snap.State, in, h.cfg.Policy, time.Now())
		if err != nil {
			return snap, Appended{}, err
		}
		b := Batch{Events: c.Events, Commands: c.Commands, Drop: c.Drop, Notes: c.Notes, Fence: fence, Forget: c.State.Forgotten && !snap.State.Forgotten}
		if len(c.Events)+len(c.Commands)+len(c.Drop) > 0 || !c.State.same(snap.State) {
			b.State, b.Expect, b.Epoch = c.State, snap.Version, snap.Epoch()
		} else if fence == nil {
			return snap, Appended{}, nil
		}
		done, err := h.commit(ctx, snap, b)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err == nil && b.State != nil {
			snap.State, snap.Version = b.State, snap.Version+1
		}
		return snap, done, err
	}
	return Snapshot{}, Appended{}, fmt.Errorf("session %s: %w: its state changes too fast", id, ErrUnavailable)
}

// same reports whether two states need no write between them: what an input
// can change without an event or a command.
func (s *State) same(o *State) bool {
	return s.Running == o.Running && s.Finished == o.Finished && s.Worker == o.Worker && s.Assignment == o.Assignment &&
		s.AgentSession == o.AgentSession && s.Closed == o.Closed && s.Forgotten == o.Forgotten && s.Generation == o.Generation &&
		slices.Equal(s.Revoked, o.Revoked) && slices.Equal(s.Tickets, o.Tickets)
}

// commit stores what the rules made of a snapshot. When the change makes the
// session due sooner than before, the due-index is told first: a node that dies
// behind the append leaves nothing that nobody looks at.
func (h *Hub) commit(ctx context.Context, before Snapshot, b Batch) (Appended, error) {
	id := before.State.Info.SessionID
	start := time.Now()
	if b.State != nil {
		t, lease := h.cfg.Timers, h.cfg.Timers.WorkerLease
		due := b.State.due(start, t, start, lease)
		if due.Before(before.State.due(before.LastActivity, t, start, lease)) {
			if err := h.due.arm(ctx, id, due); err != nil {
				return Appended{}, err
			}
		}
	}
	done, err := h.store.Append(ctx, id, b)
	if err != nil || b.State == nil {
		return done, err
	}
	m := h.cfg.Metrics
	m.AppendSeconds.Observe(time.Since(start).Seconds())
	for _, e := range b.Events {
		m.EventAppended(e.Type)
	}
	h.countStep(before.State, b)
	if b.State.NeedsWorker() {
		h.workers.want(ctx, b.State)
	}
	return done, nil
}

// countStep counts turns, approvals and endings from the events of a step.
func (h *Hub) countStep(before *State, b Batch) {
	m := h.cfg.Metrics
	provider := b.State.Info.Provider
	for _, e := range b.Events {
		switch e.Type {
		case protocol.EventComplete:
			var c protocol.CompleteData
			if protocol.Decode(e.Data, &c) != nil {
				continue
			}
			m.TurnEnded(provider, c.StopReason)
			if open, ok := before.Turn(); ok && open.ID == c.MessageID {
				m.TurnSeconds(provider, time.Since(before.TurnStarted))
			}
		case protocol.EventApprovalResolved:
			var r protocol.ApprovalResolvedData
			if protocol.Decode(e.Data, &r) != nil {
				continue
			}
			for _, a := range before.Approvals {
				if a.Data.InteractionID == r.InteractionID {
					m.ApprovalWait.Observe(time.Since(a.Asked).Seconds())
				}
			}
		case protocol.EventClosed:
			m.SessionEnded(b.State.Closed)
		}
	}
}

// storeCall bounds a call of the store that no request waits for.
func (h *Hub) storeCall() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), h.cfg.Timers.WriteTimeout)
}

// Draining reports whether the node takes nothing new for good.
func (h *Hub) Draining() bool {
	select {
	case <-h.draining:
		return true
	default:
		return false
	}
}

// Ready says why the hub takes nothing new now, or nil.
func (h *Hub) Ready() error {
	if h.Draining() {
		return fmt.Errorf("%w: the node is draining", ErrUnavailable)
	}
	if err := h.store.Available(); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

// Providers lists the kinds of agent that a session may name.
func (h *Hub) Providers(ctx context.Context) ([]protocol.Provider, error) {
	return h.workers.providers(ctx)
}
