package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"sessionhub/hub/store"
	"sessionhub/metrics"
)

// Timers are the hub's waiting times.
type Timers struct {
	WriteTimeout  time.Duration // a subscriber that takes nothing is cut
	Heartbeat     time.Duration // ping or comment on an idle stream
	PongTimeout   time.Duration // a WebSocket peer that answers no ping is dropped
	CloseGrace    time.Duration // a closed session takes a worker's capacity for at most so long
	WorkerLease   time.Duration // a worker that is gone for this long loses its sessions
	LinkHeartbeat time.Duration // ping on a worker link
	NoActivity    time.Duration // a turn without an event for so long says so in its status
	ExpiringAhead time.Duration // the warning before a token ends
	TailIdle      time.Duration // a tail's bytes go when nothing came for this long
	SSEMaxAge     time.Duration // the greatest age of an event stream; 0: no bound. See Subscriber.retireLocked
}

// DefaultTimers are those of the contract.
var DefaultTimers = Timers{
	WriteTimeout:  10 * time.Second,
	Heartbeat:     15 * time.Second,
	PongTimeout:   30 * time.Second,
	CloseGrace:    5 * time.Second,
	WorkerLease:   15 * time.Second,
	LinkHeartbeat: 5 * time.Second,
	NoActivity:    30 * time.Second,
	ExpiringAhead: time.Minute,
	TailIdle:      5 * time.Second,
	SSEMaxAge:     15 * time.Minute,
}

// RenewEvery is how often a lease is renewed. A node that dies has reported signs of life
// up to so long ago. So the lease is longer by as much.
func (t Timers) RenewEvery() time.Duration { return min(2*time.Second, t.WorkerLease/4) }

// How far a fault of this program reaches. A panic ends the smallest unit that its
// goroutine works for, which then begins anew: a stream, a worker's link, the check
// of one session, one round of a loop. The log has each panic with its stack.
//
// Code that holds a lock without a defer only reads and writes fields, which does not
// panic. A lock that stayed locked would be worse than the end of the process.

// MostSilence is how long a worker may say nothing before its link is ended. The hub
// checks once in each heartbeat, so half a heartbeat is subtracted. A silent worker is
// then found when its lease ends, not a heartbeat later.
func (t Timers) MostSilence() time.Duration {
	return t.WorkerLease - min(t.LinkHeartbeat, t.WorkerLease)/2
}

// Env is the part of a node that every room of the hub needs. Its methods may be called
// concurrently; its fields do not change.
type Env struct {
	Node    string // this process, as clients see it
	Timers  Timers
	Metrics *metrics.Set
	Log     *slog.Logger

	available func(session string) error // of the store, or of the server of one session
	once      sync.Once
	draining  chan struct{} // closed when the node drains
}

// NewEnv makes the environment of a node. available says why the store, or the server of
// one session, cannot be reached now, or nil.
func NewEnv(node string, t Timers, m *metrics.Set, log *slog.Logger, available func(session string) error) *Env {
	return &Env{Node: node, Timers: t, Metrics: m, Log: log, available: available, draining: make(chan struct{})}
}

// BeginDrain makes the node take nothing new: it is not ready, starts no stream, accepts
// no message and gives no session to a worker. Streams and turns that run go on.
func (e *Env) BeginDrain() {
	e.once.Do(func() {
		close(e.draining)
		e.Metrics.Draining.Set(1)
	})
}

// Draining reports whether the node takes nothing new for good.
func (e *Env) Draining() bool {
	select {
	case <-e.draining:
		return true
	default:
		return false
	}
}

// DrainBegun is closed when the node drains.
func (e *Env) DrainBegun() <-chan struct{} { return e.draining }

// Ready says why the hub takes nothing new now, or nil. A hub that can serve some
// sessions is ready. If one server of a cluster is away, only requests for its sessions
// are refused.
func (e *Env) Ready() error { return e.ReadyFor("") }

// ReadyFor says why the hub takes nothing new for a session now, or nil.
func (e *Env) ReadyFor(id string) error {
	if e.Draining() {
		return fmt.Errorf("%w: the node is draining", store.ErrUnavailable)
	}
	if err := e.available(id); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// StoreCall bounds a call of the store that belongs to no request.
func (e *Env) StoreCall() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), e.Timers.WriteTimeout)
}

// StoreRetry is the pause before the next call of a store that was out of reach.
const StoreRetry = 250 * time.Millisecond

// ErrPanic is the error of Guard for a panic, which Guard has logged.
var ErrPanic = errors.New("a panic: see the log")

// Guard calls f. It logs a panic of f and returns ErrPanic for it. args are for the log.
func (e *Env) Guard(where string, f func() error, args ...any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			e.LogPanic(where, p, args...)
			err = ErrPanic
		}
	}()
	return f()
}

// LogPanic logs a panic with its stack. It must be called by the deferred function that
// has recovered, where the stack is still the one that panicked.
func (e *Env) LogPanic(where string, p any, args ...any) {
	e.Log.Error("panic in "+where, append(args, "panic", p, "stack", string(debug.Stack()))...)
}

// LoopPause is how long a loop of the hub pauses after a panic.
const LoopPause = time.Second

// Keep runs a loop until ctx ends, when the loop returns by itself. After a panic it
// starts the loop again: without the loop, sessions would wait for ever. Ending the
// process instead would drop every session of the node. The next node could meet the same
// panic.
func (e *Env) Keep(ctx context.Context, loop string, run func(context.Context)) {
	for e.Guard(loop, func() error { run(ctx); return nil }) != nil {
		select {
		case <-ctx.Done():
			return
		case <-time.After(LoopPause):
		}
	}
}
