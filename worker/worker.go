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
	// ErrRefused says that the hub will never accept this worker (a wrong key). Dial
	// functions wrap it. Run then returns and does not try again.
	ErrRefused = errors.New("the hub refuses this worker")
)

// Worker runs agents for a hub. All methods may be called concurrently. It ends in this
// order: Drain (optional), then the end of Run's context, then Close.
type Worker struct {
	cfg      Config        // immutable
	log      *slog.Logger  // immutable
	wake     chan struct{} // tells the link's writer that there is a frame
	running  chan struct{} // holds one token for each running agent
	draining chan struct{} // closed by Drain: no new session is taken
	handOver chan struct{} // closed by Drain: turns that run are ended

	life    context.Context // ends with Close
	end     context.CancelFunc
	runners sync.WaitGroup
	linked  atomic.Bool // there is a link, and the hub has welcomed us
	links   atomic.Uint64

	folders    *folders    // has its own lock
	worktrees  *worktrees  // has its own lock
	background atomic.Bool // the hub of the last link takes events of the background

	mu       sync.Mutex       // before every outbox's
	hub      protocol.Welcome // of the present link, or of the last one
	sessions map[string]*session
	order    []*session // the order in which the writer goes round
	at       int        // where it goes on in order
	control  [][]byte   // frames that belong to no session, at most controlQueue
	overrun  bool       // control was full: the link ends
	pong     bool       // a ping waits for its answer
	offers   offers
	requests requests
	swept    bool // Run was called: the worktrees are looked after
	replied  bool // the writer's last frame was a response
	drained  bool
	over     bool // handOver is closed
	closed   bool
	left     chan struct{} // closed and replaced when a session was forgotten
}

// New checks the configuration and returns a worker that does nothing yet. The caller must
// close it.
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
	w := &Worker{
		cfg: cfg, offers: newOffers(cfg), log: cfg.Log.With("worker", cfg.Name),
		wake: make(chan struct{}, 1), running: make(chan struct{}, cfg.Capacity),
		draining: make(chan struct{}), handOver: make(chan struct{}),
		life: life, end: end, folders: newFolders(cfg.Name),
		sessions: make(map[string]*session), left: make(chan struct{}),
		requests: requests{atWork: newPlaces(maxRequestsAtWork, maxRequestsPerUser), listers: make(chan struct{}, maxListers)},
	}
	w.worktrees = newWorktrees(w)
	return w, nil
}

// Workspace names the file system that this worker's agents see.
func (w *Worker) Workspace() string { return w.cfg.Workspace }

// ProviderNames are the providers that the worker offers now, sorted.
func (w *Worker) ProviderNames() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(maps.Keys(w.providersLocked()))
}

// Stats is the state of a worker at one moment.
type Stats struct {
	Linked        bool   // a hub has welcomed it
	Draining      bool   // it takes nothing new
	Links         uint64 // links since its start
	Sessions      int    // that it holds
	Agents        int    // agent processes that run
	BufferedBytes int64  // events that no hub has acknowledged
}

// Stats returns the worker's present state.
func (w *Worker) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := Stats{
		Linked: w.linked.Load(), Draining: w.drained, Links: w.links.Load(),
		Sessions: len(w.sessions), Agents: len(w.running),
	}
	for _, s := range w.order {
		st.BufferedBytes += s.out.size()
	}
	return st
}

// Close ends every agent and waits: when it returns, no process is left. Events that the
// hub had not acknowledged are lost; Drain hands them over first.
func (w *Worker) Close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.end()
	w.runners.Wait()
	return nil
}

// Drain takes no new session, gives idle sessions back and lets turns finish. When ctx
// ends, turns that still run complete with a retryable error, and their sessions are given
// back too.
//
// Drain returns when the hub has everything, or drainFlush (5 s) after the end of ctx. In
// the second case its error says how many sessions were left. Run must go on meanwhile.
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
		return // repeated, or older than another assignment
	}
	refuse := func(reason string, retry bool) {
		w.log.Warn("assignment refused", "session", a.SessionID, "reason", reason)
		w.sendLocked(protocol.NewFrame(protocol.FrameRelease, protocol.Release{
			SessionID: a.SessionID, Assignment: a.Assignment, Reason: reason, Retry: retry,
		}))
	}
	provider, known := w.offers.ever[a.Provider]
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
		// The hub has given up the older assignment. Two agents in one directory would
		// disturb each other, so the new one waits.
		old.revoke()
		w.forgetLocked(old)
		before = old.done
	}
	s := newSession(w, a, provider, before)
	s.out.meet(w.hub)
	w.sessions[s.id] = s
	w.order = append(w.order, s)
	w.runners.Go(func() {
		s.run()
		w.ended(s)
	})
	s.log.Info("session assigned", "resume", a.Resume)
}

// busyLocked counts the sessions that may need an agent. A session that is ending counts
// until its agent's process is gone.
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

// ended runs when a runner has returned.
func (w *Worker) ended(s *session) {
	select {
	case <-s.revoked:
		w.forget(s)
	default:
		w.wakeWriter() // its release is queued
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

// meet notes what the hub of a new link takes. It is called before anything is written to
// the link, apart from hello. A hub that takes other events than the last one is of another
// version, and the sessions learn that.
func (w *Worker) meet(hub protocol.Welcome) {
	w.mu.Lock()
	defer w.mu.Unlock()
	other := !slices.Equal(w.hub.Events, hub.Events)
	w.hub = hub
	w.background.Store(hub.TakesBackground())
	for _, s := range w.order {
		s.out.meet(hub)
		if other {
			select {
			case s.otherHub <- struct{}{}:
			default: // it has still to look at the last one
			}
		}
	}
}

// hubTakes reports whether the hub takes events of a type. Any goroutine may call it.
func (w *Worker) hubTakes(t protocol.EventType) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hub.Takes(t)
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

// controlQueue bounds the answers to assignments that the worker cannot take. If the hub
// leaves that many unread, the worker ends the link. Its next hello tells which sessions it
// runs, and the hub waits for no answer.
const controlQueue = 1024

// sendLocked queues a frame that belongs to no session's stream.
func (w *Worker) sendLocked(frame []byte) {
	if len(w.control) < controlQueue {
		w.control = append(w.control, frame)
	} else {
		w.overrun = true
	}
	w.wakeWriter()
}
