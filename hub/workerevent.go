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

// read takes the worker's frames, one after the other, until the link ends.
func (l *link) read(ctx context.Context) error {
	for {
		raw, err := l.conn.ReadFrame(ctx)
		if err != nil {
			return err
		}
		l.hear(true)
		err = l.take(ctx, raw)
		l.hear(false)
		if err != nil {
			return err
		}
	}
}

// hear notes a sign of life of the worker: the work on a frame of its begins, or
// is over.
func (l *link) hear(busy bool) {
	l.hub.workers.mu.Lock()
	defer l.hub.workers.mu.Unlock()
	l.heard, l.busy = time.Now(), busy
}

func (l *link) take(ctx context.Context, raw []byte) error {
	var f protocol.Frame
	if err := protocol.Decode(raw, &f); err != nil {
		l.problem(protocol.LinkInvalid, "a frame must be a JSON object: "+err.Error())
		return nil
	}
	return l.frame(ctx, f)
}

func (l *link) frame(ctx context.Context, f protocol.Frame) error {
	var err error
	switch f.Type {
	case protocol.FrameEvent:
		var ev protocol.WorkerEvent
		if err = protocol.DecodePart(f.Data, &ev); err == nil {
			return l.event(ctx, ev)
		}
	case protocol.FrameDone:
		var done protocol.Done
		if err = protocol.DecodePart(f.Data, &done); err == nil {
			s := l.session(done.SessionID, done.Assignment)
			if s == nil {
				return nil
			}
			err := l.input(ctx, s.id, s.assignment, InDone{Message: done.Message})
			l.hub.workers.mu.Lock()
			s.finished = max(s.finished, done.Message)
			l.hub.workers.mu.Unlock()
			l.hub.workers.kick() // an idle agent's place may be wanted
			return err
		}
	case protocol.FrameRelease:
		var r protocol.Release
		if err = protocol.DecodePart(f.Data, &r); err == nil {
			if r.Reason == protocol.ReleaseDraining {
				l.hub.workers.mu.Lock()
				l.draining = true
				l.hub.workers.mu.Unlock()
			}
			if s := l.session(r.SessionID, r.Assignment); s != nil {
				l.hub.workers.mu.Lock()
				s.released = true
				l.hub.workers.mu.Unlock()
				err := l.input(ctx, r.SessionID, r.Assignment, InRelease{Reason: clip(validUTF8(r.Reason)), Retry: r.Retry})
				l.drop(ctx, s, false)
				return err
			}
			return nil
		}
	case protocol.FramePong:
		return nil
	default:
		err = fmt.Errorf("unknown type %q", clip(string(f.Type)))
	}
	if err != nil {
		l.problem(protocol.LinkInvalid, fmt.Sprintf("%s: %v", clip(string(f.Type)), err))
	}
	return nil
}

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
		case err == nil, errors.Is(err, ErrRepeat), errors.Is(err, ErrFenced), errors.Is(err, ErrNotFound),
			errors.Is(err, ErrHole), errors.Is(err, ErrInvalid), errors.Is(err, errNoTurn), errors.Is(err, errKnownInteraction):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if !tried { // once, not four times a second for as long as it lasts
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
	case err == nil, errors.Is(err, ErrRepeat):
		d.mu.Lock()
		s.event, s.silent = time.Now(), false
		s.stored = max(s.stored, ev.N)
		delete(d.holes, s.id)
		if errors.Is(err, ErrRepeat) {
			s.acked = min(s.acked, ev.N-1) // it asks: answer again
		}
		l.dirty[s.id] = struct{}{}
		d.mu.Unlock()
		l.kick()
		return l.finish(ctx, s)
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
	default:
		return err
	}
	return nil
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
	data := protocol.CompactPart(ev.Data)
	if len(data) == 0 || data[0] != '{' {
		return &refusal{protocol.LinkInvalid, fmt.Sprintf("the data of %s must be a JSON object", ev.Type)}
	}
	if !ev.Type.ChangesState() {
		return l.append(ctx, s, ev.Type, data, fence)
	}
	in, err := l.stateInput(ev.Type, data)
	if err != nil {
		return err
	}
	_, _, err = l.hub.change(ctx, s.id, fromWorker{Assignment: ev.Assignment, Input: in}, fence)
	if _, starts := in.(InStarting); starts && err == nil {
		l.hub.workers.mu.Lock()
		s.alive = 0 // what comes next shows that the agent has started
		l.hub.workers.mu.Unlock()
	}
	return err
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

// append stores an event that changes no state. The first one of a turn shows
// that the agent has started.
func (l *link) append(ctx context.Context, s *linkSession, t protocol.EventType, data []byte, fence *Fence) error {
	d := l.hub.workers
	d.mu.Lock()
	fresh := s.alive != s.message
	message := s.message
	d.mu.Unlock()
	if fresh {
		_, _, err := l.hub.change(ctx, s.id, fromWorker{Assignment: s.assignment, Input: InActivity{}}, nil)
		if err != nil {
			return err
		}
		d.mu.Lock()
		s.alive = message
		d.mu.Unlock()
	}
	events, err := fit(t, data, l.hub.cfg.MaxEventBytes)
	if err != nil {
		return err
	}
	start := time.Now()
	if _, err := l.hub.store.Append(ctx, s.id, Batch{Events: events, Fence: fence}); err != nil {
		return err
	}
	m := l.hub.cfg.Metrics
	m.AppendSeconds.Observe(time.Since(start).Seconds())
	for _, e := range events {
		m.EventAppended(e.Type)
	}
	return nil
}
