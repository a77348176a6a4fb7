package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"sessionhub/protocol"
)

// Errors of Run.
var (
	// ErrClosed says that the worker was closed.
	ErrClosed = errors.New("worker is closed")
	// ErrRefused is for dial functions to wrap: the hub will never accept this
	// worker (a wrong key), so Run returns and does not try again.
	ErrRefused = errors.New("the hub refuses this worker")
)

// Worker runs agents for a hub. All methods may be called concurrently. Its end
// has an order: Drain (optional), then the end of Run's context, then Close.
type Worker struct {
	cfg      Config        // immutable
	log      *slog.Logger  // immutable
	wake     chan struct{} // tells the link's writer that there is something
	places   chan struct{} // holds one token for each running agent
	draining chan struct{} // closed by Drain: nothing new
	handOver chan struct{} // closed by Drain: nothing goes on

	life    context.Context // ends with Close
	end     context.CancelFunc
	runners sync.WaitGroup
	linked  atomic.Bool // there is a link, and the hub has welcomed us
	links   atomic.Uint64

	mu       sync.Mutex // before every outbox's
	sessions map[string]*session
	order    []*session // what the writer goes round
	at       int        // where it goes on in order
	control  [][]byte   // frames of no session's stream, at most controlQueue
	pong     bool       // a ping waits for its answer
	drained  bool
	over     bool // handOver is closed
	closed   bool
	left     chan struct{} // closed and replaced when a session was forgotten
}

// New checks the configuration and returns a worker that does nothing yet. The
// caller closes it.
func New(cfg Config) (*Worker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.Providers = maps.Clone(cfg.Providers)
	life, end := context.WithCancel(context.Background())
	return &Worker{
		cfg: cfg, log: cfg.Log.With("worker", cfg.Name),
		wake: make(chan struct{}, 1), places: make(chan struct{}, cfg.Capacity),
		draining: make(chan struct{}), handOver: make(chan struct{}),
		life: life, end: end,
		sessions: make(map[string]*session), left: make(chan struct{}),
	}, nil
}

// Workspace names the file system that this worker's agents see.
func (w *Worker) Workspace() string { return w.cfg.Workspace }

// ProviderNames are the providers that the worker offers, sorted.
func (w *Worker) ProviderNames() []string { return slices.Sorted(maps.Keys(w.cfg.Providers)) }

// Stats is what a worker does at one moment.
type Stats struct {
	Linked        bool   // a hub has welcomed it
	Draining      bool   // it takes nothing new
	Links         uint64 // links since its start
	Sessions      int    // that it holds
	Agents        int    // places that are taken by agent processes
	BufferedBytes int64  // events that no hub has acknowledged
}

// Stats tells what the worker does now.
func (w *Worker) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := Stats{
		Linked: w.linked.Load(), Draining: w.drained, Links: w.links.Load(),
		Sessions: len(w.sessions), Agents: len(w.places),
	}
	for _, s := range w.order {
		st.BufferedBytes += s.out.size()
	}
	return st
}

// Close ends every agent and waits: when it returns, no process is left. What the
// hub had not acknowledged is lost; Drain first to hand it over.
func (w *Worker) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.end()
	w.runners.Wait()
	return nil
}

// Drain takes nothing new, gives idle sessions back and lets turns finish. When
// ctx ends, the turns that still run complete with a retryable error, and their
// sessions are given back, too. It returns when the hub has everything, or when
// that takes longer than drainFlush after ctx's end: then it says how many
// sessions were left. Run must go on meanwhile.
func (w *Worker) Drain(ctx context.Context) error {
	w.mu.Lock()
	if !w.drained {
		w.drained = true
		close(w.draining)
	}
	w.mu.Unlock()
	if w.waitEmpty(ctx) == nil {
		return nil
	}
	w.mu.Lock()
	if !w.over {
		w.over = true
		close(w.handOver)
	}
	w.mu.Unlock()
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.cfg.StopGrace+drainFlush)
	defer cancel()
	return w.waitEmpty(flush)
}

// waitEmpty waits until no session is left.
func (w *Worker) waitEmpty(ctx context.Context) error {
	for {
		w.mu.Lock()
		n, left := len(w.sessions), w.left
		w.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-left:
		case <-w.life.Done():
			return fmt.Errorf("drain with %d sessions left: %w", n, ErrClosed)
		case <-ctx.Done():
			return fmt.Errorf("drain with %d sessions left: %w", n, ctx.Err())
		}
	}
}

// assign takes a session, or gives it back at once.
func (w *Worker) assign(a protocol.Assign) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := w.sessions[a.SessionID]
	if old != nil && old.assignment >= a.Assignment {
		return // repeated, or overtaken
	}
	refuse := func(reason string, retry bool) {
		w.log.Warn("assignment refused", "session", a.SessionID, "reason", reason)
		w.sendLocked(protocol.NewFrame(protocol.FrameRelease, protocol.Release{
			SessionID: a.SessionID, Assignment: a.Assignment, Reason: reason, Retry: retry,
		}))
	}
	provider, known := w.cfg.Providers[a.Provider]
	switch {
	case w.closed || w.drained:
		refuse(protocol.ReleaseDrained, true)
		return
	case !known:
		refuse(fmt.Sprintf("%s: %q", protocol.ReleaseUnknownProvider, a.Provider), false)
		return
	case old == nil && w.busyLocked() >= w.cfg.Capacity:
		refuse(protocol.ReleaseOverCapacity, true)
		return
	}
	var before <-chan struct{}
	if old != nil {
		// The hub has given up on the older assignment. Two agents at once in
		// one directory would disturb each other, so the new one waits.
		old.revoke()
		w.forgetLocked(old)
		before = old.done
	}
	s := newSession(w, a, provider, before)
	w.sessions[s.id] = s
	w.order = append(w.order, s)
	w.runners.Go(func() {
		s.run()
		w.ended(s)
	})
	s.log.Info("session assigned", "resume", a.Resume)
}

// busyLocked counts the sessions that may need an agent. One that is on its way
// out holds its place among the agents itself until its process is gone.
func (w *Worker) busyLocked() int {
	n := 0
	for _, s := range w.sessions {
		select {
		case <-s.done:
		case <-s.revoked:
		default:
			n++
		}
	}
	return n
}

// ended is called when a runner has returned.
func (w *Worker) ended(s *session) {
	select {
	case <-s.revoked:
		w.forget(s)
	default:
		w.wakeWriter() // its release is on the way
	}
}

// forget drops a session that is over.
func (w *Worker) forget(s *session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetLocked(s)
}

func (w *Worker) forgetLocked(s *session) {
	i := slices.Index(w.order, s)
	if i < 0 {
		return
	}
	w.order = slices.Delete(w.order, i, i+1)
	if w.sessions[s.id] == s {
		delete(w.sessions, s.id)
	}
	close(w.left)
	w.left = make(chan struct{})
}

// find returns the session of an assignment, or nil.
func (w *Worker) find(id string, assignment uint64) *session {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s := w.sessions[id]; s != nil && s.assignment == assignment {
		return s
	}
	return nil
}

func (w *Worker) wakeWriter() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// controlQueue bounds the answers to a hub that assigns what cannot be taken; a
// hub that does so more often than it reads loses the answers, and finds out at
// the next hello that the sessions are not run here.
const controlQueue = 1024

// sendLocked queues a frame that belongs to no session's stream.
func (w *Worker) sendLocked(frame []byte) {
	if len(w.control) < controlQueue {
		w.control = append(w.control, frame)
	}
	w.wakeWriter()
}
