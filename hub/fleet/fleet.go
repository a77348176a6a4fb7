package fleet

import (
	"context"
	"errors"
	"sync"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/store"
)

// Fleet serves the links of this node's workers, and gives them waiting sessions. Every
// node with a fitting worker reads the store's queue. Each session's state says which
// worker has it. So two nodes that want the same session cannot both have it.
//
// mu guards the fields below it. It is held for no call that blocks. Lock order: mu, then
// a link's mu.
type Fleet struct {
	*engine.Env
	engine *engine.Engine
	store  Store
	cfg    FleetConfig
	wake   chan struct{}
	alarms engine.Alarms // of the dispatcher; stopped by Run

	// Owned by dispatch.
	doubts map[string]doubt // assignments without an answer of the store: they may have been made
	served lane             // the lane that was served last

	holes    holes    // has its own lock
	requests requests // has its own lock

	mu    sync.Mutex
	due   map[lane]struct{} // lanes that the dispatcher must read
	all   bool              // all lanes are due
	empty map[lane]struct{} // lanes that were read and in which no session waits
	links map[*link]struct{}
}

// Store is the part of a store that the fleet needs.
type Store interface {
	store.Reader
	store.CommandLog
	store.Notes
	store.Parts
	store.WorkQueue
	store.WorkerRegistry
	store.Mail
	store.Availability

	// Append is that of store.Writer.
	Append(ctx context.Context, id string, b store.Batch) (store.Appended, error)
}

// FleetConfig holds the settings of a fleet.
type FleetConfig struct {
	MaxEventBytes int // of an event's data
	// Providers may be named by a session although no worker offers them now. They are
	// built in, or come from the providers file.
	Providers []string
	// DefaultProvider is that of a session which names none. Preselect is the one that pages
	// offer first; empty: an agent that a worker offers, else DefaultProvider.
	DefaultProvider, Preselect string
	// ShareAgentSessions lets users take up what agents keep on workers that are not for
	// one user alone. Otherwise they would see each other's sessions.
	ShareAgentSessions bool
}

// NewFleet returns the workers' room on a store.
func NewFleet(env *engine.Env, engine *engine.Engine, store Store, cfg FleetConfig) *Fleet {
	return &Fleet{
		Env: env, engine: engine, store: store, cfg: cfg, wake: make(chan struct{}, 1), doubts: make(map[string]doubt), due: make(map[lane]struct{}), empty: make(map[lane]struct{}),
		links: make(map[*link]struct{}),
	}
}

// Run gives sessions to workers, and passes requests of other nodes to them, until ctx
// ends.
func (f *Fleet) Run(ctx context.Context) {
	defer f.alarms.Stop()
	var wg sync.WaitGroup
	wg.Go(func() { f.Keep(ctx, "the mail", postman{f}.answerMail) })
	f.Keep(ctx, "the dispatcher", f.dispatch)
	wg.Wait()
}

// dispatch is Run until it panics.
func (f *Fleet) dispatch(ctx context.Context) {
	defer f.store.WatchQueue(f.noticeQueued)()
	f.kick() // for sessions queued before the watch, or left by a panic
	failing := false
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.wake:
		case <-again:
		}
		again = nil
		deep, err := dispatcher{f}.assignAll(ctx)
		if err != nil && ctx.Err() == nil {
			if !failing { // once, not four times a second for as long as it lasts
				f.Log.Error("give sessions to workers", "error", err)
			}
			f.alarms.After(engine.StoreRetry, f.kick)
		}
		failing = err != nil
		if f.Ready() != nil && !f.Draining() { // no notice comes when it is ready again
			again = time.After(engine.StoreRetry)
		}
		if deep {
			select {
			case <-ctx.Done():
			case <-time.After(deepPause):
			}
		}
	}
}

// ErrUnknownProvider says that no worker offers a provider, and no file names it.
var ErrUnknownProvider = errors.New("unknown provider")
