package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"sessionhub/protocol"
)

// input takes an input of the worker's through the rules, again and again while
// the store is out of reach: meanwhile nothing else is read from the worker.
func (l *link) input(ctx context.Context, id string, assignment uint64, in Input) error {
	s := l.session(id, assignment)
	if s == nil {
		return nil
	}
	err := l.persist(ctx, func() error {
		_, _, err := l.hub.change(ctx, id, fromWorker{Assignment: assignment, Input: in}, nil)
		return err
	})
	switch {
	case errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound):
		l.drop(ctx, s, true)
		return nil
	case err != nil:
		return err
	}
	return nil
}

// persist calls f until the store answers it one way or the other.
func (l *link) persist(ctx context.Context, f func() error) error {
	for tried := false; ; tried = true {
		err := f()
		switch {
		case err == nil, answered(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		// Once, not for each session four times a second as long as it lasts.
		if !tried && !l.complained.Swap(true) {
			l.hub.cfg.Log.Error("store what a worker sent", "worker", l.hello.Worker, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(storeRetry):
		}
	}
}

// event stores one event of the worker's and acknowledges it.
func (l *link) event(ctx context.Context, ev protocol.WorkerEvent) error {
	s := l.session(ev.SessionID, ev.Assignment)
	if s == nil {
		return nil
	}
	// This link is the only one that publishes for this assignment, so what it
	// has stored tells repeats and holes before the rules see them.
	d := l.hub.workers
	d.mu.Lock()
	stored := s.stored
	d.mu.Unlock()
	fence := &Fence{Assignment: ev.Assignment, N: ev.N}
	err := ErrRepeat
	switch {
	case ev.N > stored+1:
		err = ErrHole
	case ev.N == stored+1:
		err = l.persist(ctx, func() error { return l.publish(ctx, s, ev, fence) })
	}
	var refused *refusal
	if errors.As(err, &refused) || errors.Is(err, ErrInvalid) || errors.Is(err, errNoTurn) || errors.Is(err, errKnownInteraction) {
		// Acknowledged, not stored: it counts, so that the next one is no hole.
		code := protocol.LinkInvalid
		if refused != nil {
			code = refused.code
		}
		l.problem(code, fmt.Sprintf("session %s, event %d: %v", ev.SessionID, ev.N, err))
		err = l.persist(ctx, func() error {
			_, err := l.hub.store.Append(ctx, ev.SessionID, Batch{Fence: fence})
			return err
		})
	}
	switch {
	case err == nil:
		return l.accept(ctx, s, ev.N)
	case errors.Is(err, ErrRepeat):
		d.mu.Lock()
		s.acked = min(s.acked, ev.N-1) // it asks: answer again
		d.mu.Unlock()
		return l.accept(ctx, s, ev.N)
	case errors.Is(err, ErrHole) && l.storeLost(s):
		// Asked for everything after a first hole, the worker has no more than
		// this: the store has lost what it had acknowledged (a failover).
		l.hub.cfg.Log.Warn("the store has lost events of a worker", "session", ev.SessionID, "worker", l.hello.Worker, "event", ev.N)
		if err := l.input(ctx, s.id, s.assignment, InLost{}); err != nil {
			return err
		}
		l.drop(ctx, s, true)
	case errors.Is(err, ErrHole):
		l.problem(protocol.LinkHole, fmt.Sprintf("session %s: event %d came before the one in front of it", ev.SessionID, ev.N))
		<-ctx.Done() // the writer says it and closes the link
		return err
	case errors.Is(err, ErrFenced) && l.ending(ctx, s):
		// Behind closed nothing is logged. The worker is about to read its close
		// and answers with release: until then it hears what it expects.
		d.mu.Lock()
		s.event, s.silent = time.Now(), false
		s.stored = max(s.stored, ev.N)
		l.dirty[s.id] = struct{}{}
		d.mu.Unlock()
		l.kick()
	case errors.Is(err, ErrFenced), errors.Is(err, ErrNotFound):
		l.drop(ctx, s, true)
	case errors.Is(err, errLost):
		return l.lostByStore(ctx, s)
	default:
		return err
	}
	return nil
}

// accept notes that the events up to n are stored, so that they are acknowledged.
func (l *link) accept(ctx context.Context, s *linkSession, n uint64) error {
	d := l.hub.workers
	d.mu.Lock()
	s.event, s.silent = time.Now(), false
	s.stored = max(s.stored, n)
	delete(d.holes, s.id)
	l.dirty[s.id] = struct{}{}
	d.mu.Unlock()
	l.kick()
	return l.finish(ctx, s)
}

// storeLost notes a hole in what the worker sends of a session, and reports whether
// there was one on the link before this one too.
func (l *link) storeLost(s *linkSession) bool {
	d := l.hub.workers
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.holes[s.id] == s.assignment {
		delete(d.holes, s.id)
		return true
	}
	d.holes[s.id] = s.assignment
	return false
}

// ending reports whether the worker has a session that has closed.
func (l *link) ending(ctx context.Context, s *linkSession) bool {
	snap, err := l.hub.store.Load(ctx, s.id)
	return err == nil && snap.State.Closed != "" && snap.State.Worker == l.hello.Worker && snap.State.Assignment == s.assignment
}

// refusal is an event that a worker may not send.
type refusal struct{ code, detail string }

func (r *refusal) Error() string { return r.detail }
func (r *refusal) Unwrap() error { return ErrInvalid }

// publish takes one event through the rules, or, if it changes no state,
// straight into the log.
func (l *link) publish(ctx context.Context, s *linkSession, ev protocol.WorkerEvent, fence *Fence) error {
	if !ev.Type.WorkerMaySend() {
		return &refusal{protocol.LinkForbidden, fmt.Sprintf("a worker may not send %q", clip(string(ev.Type)))}
	}
	data, err := objectOf(ev)
	if err != nil {
		return err
	}
	if !ev.Type.ChangesState() {
		return l.append(ctx, s, ev.Type, data, fence)
	}
	in, err := l.stateInput(ev.Type, data)
	if err != nil {
		return err
	}
	err = l.tell(ctx, s, in, l.lastSent(s), fence)
	if _, starts := in.(InStarting); starts && err == nil {
		l.hub.workers.mu.Lock()
		s.alive = 0 // what comes next shows that the agent has started
		l.hub.workers.mu.Unlock()
	}
	return err
}

// objectOf gives the data of an event as it goes into the log.
func objectOf(ev protocol.WorkerEvent) ([]byte, error) {
	data := protocol.CompactPart(ev.Data)
	if len(data) == 0 || data[0] != '{' {
		return nil, &refusal{protocol.LinkInvalid, fmt.Sprintf("the data of %s must be a JSON object", ev.Type)}
	}
	return data, nil
}

func (l *link) stateInput(t protocol.EventType, data []byte) (Input, error) {
	most := l.hub.cfg.MaxEventBytes
	invalid := func(err error) error {
		return &refusal{protocol.LinkInvalid, fmt.Sprintf("%s: %v", t, err)}
	}
	switch t {
	case protocol.EventToolApproval:
		var a protocol.ToolApprovalData
		if err := protocol.Decode(data, &a); err != nil {
			return nil, invalid(err)
		}
		if a.InteractionID == "" || len(a.InteractionID) > maxNameBytes || len(a.Options) == 0 {
			return nil, invalid(errors.New("it needs an interactionId and options"))
		}
		if a.Input == nil {
			a.Input = []byte("{}")
		}
		if len(data) > most {
			a = cutApproval(a, most)
		}
		if len(protocol.Marshal(a)) > most {
			return nil, &refusal{protocol.LinkTooLarge, fmt.Sprintf("%d bytes of tool_approval data are over --max-event-bytes %d", len(data), most)}
		}
		return InToolApproval{Data: a}, nil
	case protocol.EventComplete:
		var c protocol.CompleteData
		if err := protocol.Decode(data, &c); err != nil {
			return nil, invalid(err)
		}
		if !isStopReason(c.StopReason) {
			return nil, invalid(fmt.Errorf("unknown stopReason %q", clip(c.StopReason)))
		}
		if len(data) > most {
			c.Usage = nil
			if c.Error != nil {
				c.Error.Message = cutText(c.Error.Message, most/8)
			}
		}
		return InComplete{Data: c}, nil
	default:
		var s protocol.WorkerStatusData
		if err := protocol.Decode(data, &s); err != nil {
			return nil, invalid(err)
		}
		if len(s.AgentSession) > protocol.MaxAgentSessionBytes || strings.ContainsFunc(s.AgentSession, unicode.IsControl) {
			return nil, invalid(errors.New("an agentSession has at most 256 bytes and no control characters"))
		}
		detail := cutText(s.Detail, maxReasonBytes)
		switch s.Status {
		case protocol.StatusStarting:
			return InStarting{Detail: detail, AgentSession: s.AgentSession}, nil
		case protocol.StatusFailed:
			return InClose{Reason: protocol.ClosedFailed, Detail: detail}, nil
		}
		return nil, &refusal{protocol.LinkForbidden, fmt.Sprintf("a worker may not set the status %q", clip(string(s.Status)))}
	}
}

func isStopReason(s string) bool {
	for _, r := range protocol.StopReasons {
		if r == s {
			return true
		}
	}
	return false
}

// append stores an event that changes no state.
func (l *link) append(ctx context.Context, s *linkSession, t protocol.EventType, data []byte, fence *Fence) error {
	events, err := fit(t, data, l.hub.cfg.MaxEventBytes)
	if err != nil {
		return err
	}
	return l.output(ctx, s, Batch{Events: events, Fence: fence})
}

// output stores events that change no state. The first ones of a turn go through the
// rules all the same, in one step with them: they show that the agent has started,
// and that the log has the turn. What is stored behind them is fenced by its numbers,
// which a store that loses its end takes back.
func (l *link) output(ctx context.Context, s *linkSession, b Batch) error {
	d := l.hub.workers
	d.mu.Lock()
	fresh := s.alive != s.message
	sent := OpenMessage{ID: s.turn, Command: s.message}
	d.mu.Unlock()
	if !fresh {
		return l.store(ctx, s, b)
	}
	if err := l.tell(ctx, s, InActivity{Events: b.Events}, sent, b.Fence); err != nil {
		return err
	}
	d.mu.Lock()
	s.alive = sent.Command
	d.mu.Unlock()
	return nil
}

// store appends a batch of events that change no state, and counts them.
func (l *link) store(ctx context.Context, s *linkSession, b Batch) error {
	start := time.Now()
	if _, err := l.hub.store.Append(ctx, s.id, b); err != nil {
		if !answered(err) {
			// It may be another server that is asked next, one that has not got the
			// turn: no number of its events has been stored that would tell.
			l.hub.workers.mu.Lock()
			s.alive = 0
			l.hub.workers.mu.Unlock()
		}
		return err
	}
	m := l.hub.cfg.Metrics
	m.AppendSeconds.Observe(time.Since(start).Seconds())
	for _, e := range b.Events {
		m.EventAppended(e.Type)
	}
	return nil
}
