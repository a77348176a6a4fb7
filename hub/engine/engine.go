package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Engine decides: it takes inputs through the rules and stores the resulting changes. No
// other part appends with a state. All methods may be called concurrently.
type Engine struct {
	*Env
	Policy session.Policy
	store  store.Store
	armed  chan struct{} // holds one: a session is due sooner than before
}

// NewEngine returns an engine on a store.
func NewEngine(env *Env, p session.Policy, store store.Store) *Engine {
	return &Engine{Env: env, Policy: p, store: store, armed: make(chan struct{}, 1)}
}

// Armed has a value when a session of this node is due sooner than before.
func (e *Engine) Armed() <-chan struct{} { return e.armed }

// maxDecide bounds how often an input is decided again because the session changed
// meanwhile.
const maxDecide = 100

// Terms are the conditions under which an input is decided. The zero Terms set none.
type Terms struct {
	// Fence is the assignment and event number of a worker's input, or nil. If the event
	// was stored before, the answer is ErrRepeat.
	Fence *store.Fence

	// Judge, if set, checks each snapshot before the rules do. When the input is decided
	// again, it checks the new snapshot. Its error is the answer, and nothing is stored.
	// So its verdict holds for the very state that the input is decided on. With
	// ErrConflict, which says that the snapshot is outdated, the session is read again.
	Judge func(ctx context.Context, snap store.Snapshot, note store.Noted) error

	// Note is the key of the note that Judge gets, as of the snapshot.
	Note string

	// MaxOpen is the most sessions of the user that may count, for an input that can make
	// this session count: see store.Batch.
	MaxOpen int

	// Repeated says that the caller repeats the input until there is an answer, and calls
	// Again when it was stored already. So the due-index may be told of the session while
	// the change is stored, and not before.
	Repeated bool
}

// Decision is the result of an input.
type Decision struct {
	Snapshot store.Snapshot // the one decided on; after a stored state, with that state and the log's new end
	Appended store.Appended
	Result   session.Result
}

// Change is Decide with no terms but a fence, which may be nil.
func (e *Engine) Change(ctx context.Context, id string, in session.Input, fence *store.Fence) (store.Snapshot, store.Appended, error) {
	d, err := e.Decide(ctx, id, in, Terms{Fence: fence})
	return d.Snapshot, d.Appended, err
}

// Decide takes one input through the rules and stores the resulting change. When the
// session changes meanwhile, the input is decided again on the new state. The error is
// that of the rules, of Judge or of the store. The decision then has the snapshot, if
// there was one.
func (e *Engine) Decide(ctx context.Context, id string, in session.Input, terms Terms) (Decision, error) {
	fence := terms.Fence
	for range maxDecide {
		snap, note, err := e.load(ctx, id, terms.Note)
		if err != nil {
			return Decision{}, err
		}
		if terms.Judge != nil {
			err := terms.Judge(ctx, snap, note)
			if errors.Is(err, store.ErrConflict) {
				continue
			}
			if err != nil {
				return Decision{Snapshot: snap}, err
			}
		}
		if fence != nil && snap.State.Assignment == fence.Assignment && fence.N <= snap.N {
			return Decision{Snapshot: snap}, store.ErrRepeat // stored, and only the answer was lost
		}
		c, err := session.Step(snap.State, in, e.Policy, time.Now())
		if err != nil {
			return Decision{Snapshot: snap}, err
		}
		b := store.Batch{Fence: fence}
		if c.Stores() {
			b = store.Batch{
				State: c.State, Expect: snap.Version, Epoch: snap.Epoch(), Fence: fence,
				Events: c.Events, Commands: c.Commands, Drop: c.Drop, Notes: c.Notes, Parts: c.Parts, Dropped: c.Dropped,
				Forget: c.State.Forgotten && !snap.State.Forgotten, MaxOpen: terms.MaxOpen, Listed: session.Listed(snap.State, c.State),
			}
		} else if fence == nil {
			return Decision{Snapshot: snap, Result: c.Result}, nil
		}
		done, err := e.commit(ctx, snap, b, terms.Repeated)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err == nil && b.State != nil {
			snap.State, snap.Version = b.State, snap.Version+1
			snap = snap.After(done)
		}
		return Decision{Snapshot: snap, Appended: done, Result: c.Result}, err
	}
	return Decision{}, fmt.Errorf("session %s: %w: its state changes too fast", id, store.ErrUnavailable)
}

// load reads a session, and the note if one is named.
func (e *Engine) load(ctx context.Context, id, note string) (store.Snapshot, store.Noted, error) {
	if note != "" {
		return e.store.LoadNote(ctx, id, note)
	}
	snap, err := e.store.Load(ctx, id)
	return snap, store.Noted{}, err
}

// Again completes a change with Terms.Repeated that came a second time. The node that
// stored it may have died before it told the due-index or the queue. Or the change was
// stored so late that the due entry was served before it. So Again tells both now, if the
// session has something open.
func (e *Engine) Again(ctx context.Context, snap store.Snapshot) error {
	if !snap.State.Busy() || snap.State.Closed != "" {
		return nil
	}
	now := time.Now()
	if err := e.Arm(ctx, snap.State.Info.SessionID, snap.State.Due(snap.LastActivity, e.Policy, now, e.Timers.WorkerLease)); err != nil {
		return err
	}
	if snap.State.NeedsWorker() {
		e.Want(ctx, snap.State)
	}
	return nil
}

// Create stores a new session with its first event. maxOpen bounds the user's sessions
// that are not closed; 0: no bound. ErrExists, ErrSessionLimit.
func (e *Engine) Create(ctx context.Context, info session.Info, maxOpen int) error {
	c, err := session.NewState(info, e.Policy, info.CreatedAt)
	if err != nil {
		return err
	}
	// The entry comes first: one for a session that was never stored does no harm.
	if err := e.Arm(ctx, info.SessionID, c.State.Due(info.CreatedAt, e.Policy, info.CreatedAt, e.Timers.WorkerLease)); err != nil {
		return err
	}
	if _, err = e.store.Create(ctx, info.SessionID, store.Batch{State: c.State, Events: c.Events, Parts: c.Parts}, maxOpen); err != nil {
		return err
	}
	for _, ev := range c.Events {
		e.Metrics.EventAppended(ev.Type)
	}
	if c.State.NeedsWorker() {
		e.Want(ctx, c.State)
	}
	return nil
}

// commit stores the change that the rules made of a snapshot. If the session becomes due
// sooner, commit tells the due-index first. So a node that dies after the append leaves
// no session without a check. With Terms.Repeated the append does not wait for the
// due-index, but the answer does.
func (e *Engine) commit(ctx context.Context, before store.Snapshot, b store.Batch, repeated bool) (store.Appended, error) {
	id := before.State.Info.SessionID
	start := time.Now()
	arm := func() error { return nil }
	if b.State != nil {
		p, lease := e.Policy, e.Timers.WorkerLease
		if due := b.State.Due(start, p, start, lease); due.Before(before.State.Due(before.LastActivity, p, start, lease)) {
			arm = func() error { return e.Arm(ctx, id, due) }
		}
	}
	done, err := e.armAndAppend(ctx, id, b, arm, repeated)
	if err != nil || b.State == nil {
		return done, err
	}
	m := e.Metrics
	m.AppendSeconds.Observe(time.Since(start).Seconds())
	for _, ev := range b.Events {
		m.EventAppended(ev.Type)
	}
	e.countStep(before.State, b)
	if b.State.NeedsWorker() && !before.State.NeedsWorker() { // else it is queued already
		e.Want(ctx, b.State)
	}
	return done, nil
}

// armAndAppend calls arm and appends the batch, one after the other or side by side.
func (e *Engine) armAndAppend(ctx context.Context, id string, b store.Batch, arm func() error, sideBySide bool) (done store.Appended, err error) {
	if !sideBySide {
		if err := arm(); err != nil {
			return store.Appended{}, err
		}
		return e.store.Append(ctx, id, b)
	}
	var armed error
	var wg sync.WaitGroup
	defer func() { // also behind a panic of the append
		wg.Wait()
		if err == nil {
			err = armed
		}
	}()
	wg.Go(func() { armed = e.Guard("the due-index", arm, "session", id) })
	return e.store.Append(ctx, id, b)
}

// countStep counts turns, questions and endings from the events of a step.
func (e *Engine) countStep(before *session.State, b store.Batch) {
	m := e.Metrics
	provider := b.State.Info.Provider
	for _, ev := range b.Events {
		switch ev.Type {
		case protocol.EventComplete:
			var c protocol.CompleteData
			if protocol.Decode(ev.Data, &c) != nil {
				continue
			}
			if c.Replay {
				continue // it ran elsewhere
			}
			m.TurnEnded(provider, c.StopReason)
			m.Tokens(provider, protocol.ReadTokens(c.Usage))
			if open, ok := before.Turn(); ok && open.ID == c.MessageID {
				m.TurnSeconds(provider, time.Since(before.TurnStarted))
			}
		case protocol.EventUsage:
			m.Cost(provider, session.Spent(before, b.State))
		case protocol.EventApprovalResolved:
			var r protocol.ApprovalResolvedData
			if protocol.Decode(ev.Data, &r) != nil {
				continue
			}
			if r.By == protocol.ByLimit {
				m.LimitRejected(metrics.LimitApprovalBytes)
			}
			for _, a := range before.Approvals {
				if a.Data.InteractionID == r.InteractionID {
					m.ApprovalWait.Observe(time.Since(a.Asked).Seconds())
				}
			}
		case protocol.EventElicitationResolved:
			var r protocol.ElicitationResolvedData
			if protocol.Decode(ev.Data, &r) != nil {
				continue
			}
			if i := before.Elicitation(r.InteractionID); i >= 0 {
				m.ApprovalWait.Observe(time.Since(before.Elicitations[i].Asked).Seconds())
			}
		case protocol.EventClosed:
			m.SessionEnded(b.State.Closed)
		}
	}
}

// Arm has a session checked at the time due.
func (e *Engine) Arm(ctx context.Context, id string, due time.Time) error {
	if err := e.store.Arm(ctx, id, due); err != nil {
		return err
	}
	select {
	case e.armed <- struct{}{}:
	default:
	}
	return nil
}

// Want queues a session for a worker. If that fails, Want only logs it: the session's due
// entry has it queued again.
func (e *Engine) Want(ctx context.Context, s *session.State) {
	w := store.Waiting{ID: s.Info.SessionID, User: s.Info.UserID, Provider: s.Info.Provider, Workspace: s.Workspace}
	if err := e.store.Enqueue(ctx, w); err != nil {
		e.Log.Error("queue a session for a worker", "session", w.ID, "error", err)
	}
}
