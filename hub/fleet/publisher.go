package fleet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// input takes an input of the worker through the rules, and repeats it while the store is
// out of reach. Meanwhile nothing else is read from the worker. An input for a session
// that the link has forgotten is ignored.
func (l *link) input(ctx context.Context, s *heldSession, in session.Input) error {
	if l.forgotten(s) {
		return nil
	}
	err := l.persistFor(ctx, s.id, func() error {
		_, _, err := l.fleet.engine.Change(ctx, s.id, session.FromWorker{Assignment: s.assignment, Input: in}, nil)
		return err
	})
	switch {
	case errors.Is(err, session.ErrFenced) || errors.Is(err, session.ErrNotFound):
		l.drop(ctx, s, true)
		return nil
	case err != nil:
		return err
	}
	return nil
}

// persist calls f until the store answers it, with success or an error.
func (l *link) persist(ctx context.Context, f func() error) error {
	for tried := false; ; tried = true {
		err := f()
		switch {
		case err == nil, store.Answered(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		}
		// Logged once, not for each session four times a second while the store is away.
		if !tried && !l.complained.Swap(true) {
			l.fleet.Log.Error("store what a worker sent", "worker", l.hello.Worker, "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(engine.StoreRetry):
		}
	}
}

// publisher stores the worker's events.
type publisher struct{ *link }

// event stores one event of the worker and acknowledges it.
func (p publisher) event(ctx context.Context, ev protocol.WorkerEvent) error {
	s := p.sessionOrRevoke(ev.SessionID, ev.Assignment)
	if s == nil {
		return nil
	}
	// Only this link publishes for this assignment. So the number of the last stored event
	// shows repeats and holes before the rules see them.
	p.mu.Lock()
	stored := s.stored
	p.mu.Unlock()
	fence := &store.Fence{Assignment: ev.Assignment, N: ev.N}
	err := store.ErrRepeat
	switch {
	case ev.N > stored+1:
		err = store.ErrHole
	case ev.N == stored+1:
		err = p.persistFor(ctx, s.id, func() error { return p.publish(ctx, s, ev, fence) })
	}
	var refused *session.Refusal
	if errors.As(err, &refused) || errors.Is(err, session.ErrInvalid) || errors.Is(err, session.ErrNoTurn) || errors.Is(err, session.ErrKnownInteraction) {
		// Acknowledged, not stored: its number counts, so that the next event is no hole.
		code := protocol.LinkInvalid
		if refused != nil {
			code = refused.Code
		}
		p.problem(code, fmt.Sprintf("session %s, event %d: %v", ev.SessionID, ev.N, err))
		err = p.persistFor(ctx, s.id, func() error {
			_, err := p.fleet.store.Append(ctx, ev.SessionID, store.Batch{Fence: fence})
			return err
		})
	}
	switch {
	case err == nil:
		return p.accept(ctx, s, ev.N)
	case errors.Is(err, store.ErrRepeat):
		p.mu.Lock()
		s.acked = min(s.acked, ev.N-1) // the worker lacks the ack: send it again
		p.mu.Unlock()
		return p.accept(ctx, s, ev.N)
	case errors.Is(err, store.ErrHole) && p.storeLost(s):
		// After the first hole the worker has resent every event that it has, and the hole
		// is still there. So the store has lost acknowledged events (a failover).
		p.fleet.Log.Warn("the store has lost events of a worker", "session", ev.SessionID, "worker", p.hello.Worker, "event", ev.N)
		if err := p.input(ctx, s, session.InLost{Doubt: true}); err != nil {
			return err
		}
		p.drop(ctx, s, true)
	case errors.Is(err, store.ErrHole):
		// The hole ends the link. The waiting answers are sent first.
		if err := p.answers.await(ctx, 0); err != nil {
			return err
		}
		return protocol.LinkError{Code: protocol.LinkHole, Detail: fmt.Sprintf("session %s: event %d came before the one in front of it", ev.SessionID, ev.N)}
	case errors.Is(err, session.ErrFenced) && p.ending(ctx, s):
		// After closed no event is logged. The worker is about to read its close and answers
		// with release. Until then its events are acknowledged.
		p.mu.Lock()
		s.event, s.silent = time.Now(), false
		s.stored = max(s.stored, ev.N)
		p.dirty[s.id] = struct{}{}
		p.mu.Unlock()
		p.kick()
	case errors.Is(err, session.ErrFenced), errors.Is(err, session.ErrNotFound):
		p.drop(ctx, s, true)
	case errors.Is(err, session.ErrLost):
		return p.lostByStore(ctx, s)
	default:
		return err
	}
	return nil
}

// accept notes that the events up to n are stored, so that the writer acknowledges them.
func (p publisher) accept(ctx context.Context, s *heldSession, n uint64) error {
	p.mu.Lock()
	s.event, s.silent = time.Now(), false
	s.stored = max(s.stored, n)
	hole := s.hole
	s.hole = false
	p.dirty[s.id] = struct{}{}
	p.mu.Unlock()
	if hole {
		p.fleet.holes.forget(s.id)
	}
	p.kick()
	return p.replayDone(ctx, s)
}

// storeLost notes a hole in the worker's events of a session. It reports whether the link
// before this one ended with a hole of that assignment too.
func (p publisher) storeLost(s *heldSession) bool {
	p.mu.Lock()
	again := s.hole
	s.hole = !again
	p.mu.Unlock()
	if again {
		p.fleet.holes.forget(s.id)
	} else {
		p.fleet.holes.remember(s)
	}
	return again
}

// ending reports whether the session is closed and still belongs to the worker.
func (p publisher) ending(ctx context.Context, s *heldSession) bool {
	snap, err := p.fleet.store.Load(ctx, s.id)
	return err == nil && snap.State.Closed != "" && snap.State.Worker == p.hello.Worker && snap.State.Assignment == s.assignment
}

// publish stores one event. An event that changes the state goes through the rules; any
// other goes straight into the log.
func (p publisher) publish(ctx context.Context, s *heldSession, ev protocol.WorkerEvent, fence *store.Fence) error {
	if !ev.Type.WorkerMaySend() {
		return &session.Refusal{Code: protocol.LinkForbidden, Detail: fmt.Sprintf("a worker may not send %q", session.Clip(string(ev.Type)))}
	}
	data, err := dataOf(ev)
	if err != nil {
		return err
	}
	if !ev.Type.ChangesState() {
		return p.append(ctx, s, ev.Type, data, fence)
	}
	in, err := p.stateInput(ctx, s, ev.Type, data)
	if err != nil {
		return err
	}
	result, err := p.decide(ctx, s, in, p.lastSent(s), fence)
	if refused := result.Refused; refused != nil && err == nil {
		// The agent has its answer. The count and the error frame are for operators.
		p.fleet.Metrics.LimitRejected(metrics.LimitOpenApprovals)
		p.problem(refused.Code, fmt.Sprintf("session %s, event %d: %s", ev.SessionID, ev.N, refused.Detail))
	}
	if err != nil {
		return err
	}
	switch in := in.(type) {
	case session.InStarting:
		p.mu.Lock()
		s.alive = 0 // the next event shows that the agent has started
		p.mu.Unlock()
	case session.InBackground:
		if !in.Works {
			p.fleet.kickFor(p.link) // a waiting session may want the idle agent's capacity
		}
	case session.InReplay:
		if !in.Begins {
			p.fleet.kickFor(p.link)
		}
	}
	return err
}

// dataOf gives the data of an event as it goes into the log. It checks everything that
// the rules do not check.
func dataOf(ev protocol.WorkerEvent) ([]byte, error) {
	data := protocol.CompactPart(ev.Data)
	if len(data) == 0 || data[0] != '{' {
		return nil, &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("the data of %s must be a JSON object", ev.Type)}
	}
	if protocol.DeeperThan(data, protocol.MaxDataDepth) {
		return nil, &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("the data of %s is nested more than %d deep", ev.Type, protocol.MaxDataDepth)}
	}
	if err := checkData(ev.Type, data); err != nil {
		return nil, &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("%s: %v", ev.Type, err)}
	}
	return data, nil
}

func (p publisher) stateInput(ctx context.Context, s *heldSession, t protocol.EventType, data []byte) (session.Input, error) {
	most := p.fleet.cfg.MaxEventBytes
	invalid := func(err error) error {
		return &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("%s: %v", t, err)}
	}
	switch t {
	case protocol.EventToolApproval:
		var a protocol.ToolApprovalData
		if err := protocol.Decode(data, &a); err != nil {
			return nil, invalid(err)
		}
		if err := session.CheckName("interactionId", a.InteractionID, protocol.MaxNameBytes); err != nil {
			return nil, invalid(err)
		}
		ask := session.InToolApproval{Data: a}
		if err := checkQuestion(a); err != nil {
			ask.Unfit = &session.Refusal{Code: protocol.LinkInvalid, Detail: fmt.Sprintf("%s: %v", t, err)}
			return ask, nil
		}
		if a.Input == nil {
			a.Input = []byte("{}")
		}
		return p.question(ctx, s, a, most)
	case protocol.EventApprovalContent:
		var c protocol.ApprovalContentData
		if err := protocol.Decode(data, &c); err != nil {
			return nil, invalid(err)
		}
		if err := session.CheckName("interactionId", c.InteractionID, protocol.MaxNameBytes); err != nil {
			return nil, invalid(err)
		}
		if len(c.Data) == 0 || len(c.Data) > protocol.MaxContentPart {
			return nil, invalid(fmt.Errorf("it needs 1 to %d bytes of data", protocol.MaxContentPart))
		}
		return session.InContent{Data: c}, nil
	case protocol.EventApprovalResolved:
		var r protocol.ApprovalResolvedData
		if err := protocol.Decode(data, &r); err != nil {
			return nil, invalid(err)
		}
		if r.Outcome != protocol.OutcomeCancelled {
			return nil, &session.Refusal{Code: protocol.LinkForbidden, Detail: fmt.Sprintf("a worker may not resolve an approval as %q: it may only withdraw it, as %q", session.Clip(r.Outcome), protocol.OutcomeCancelled)}
		}
		if err := session.CheckName("interactionId", r.InteractionID, protocol.MaxNameBytes); err != nil {
			return nil, invalid(err)
		}
		return session.InWithdraw{InteractionID: r.InteractionID}, nil
	case protocol.EventUsage, protocol.EventSessionInfo, protocol.EventConfigOptions:
		read := usageInput
		switch t {
		case protocol.EventSessionInfo:
			read = titleInput
		case protocol.EventConfigOptions:
			read = optionsInput
		}
		in, err := read(data)
		if err != nil {
			return nil, invalid(err)
		}
		return in, nil
	case protocol.EventMessage:
		return replayMessage(data, most)
	case protocol.EventSteered, protocol.EventAgentStarted:
		return queueInput(t, data, most)
	case protocol.EventElicitation, protocol.EventPrivateElicitation:
		in, err := elicitation(t, data, most)
		if err != nil {
			return nil, invalid(err)
		}
		return in, nil
	case protocol.EventElicitationResolved:
		return endOfElicitation(data)
	case protocol.EventComplete:
		var c protocol.CompleteData
		if err := protocol.Decode(data, &c); err != nil {
			return nil, invalid(err)
		}
		if !isStopReason(c.StopReason) {
			return nil, invalid(fmt.Errorf("unknown stopReason %q", session.Clip(c.StopReason)))
		}
		if c.Error != nil {
			if err := session.CheckName("error.code", c.Error.Code, protocol.MaxNameBytes); err != nil {
				return nil, invalid(err)
			}
		}
		if len(data) > most {
			c.Usage = nil
			if c.Error != nil {
				c.Error.Message = session.CutText(c.Error.Message, most/8)
			}
		}
		return session.InComplete{Data: c}, nil
	default:
		var said protocol.WorkerStatusData
		if err := protocol.Decode(data, &said); err != nil {
			return nil, invalid(err)
		}
		if len(said.AgentSession) > protocol.MaxAgentSessionBytes || strings.ContainsFunc(said.AgentSession, unicode.IsControl) {
			return nil, invalid(errors.New("an agentSession has at most 256 bytes and no control characters"))
		}
		if _, _, ok := protocol.SplitGitBase(said.GitBase); said.GitBase != "" && !ok {
			return nil, invalid(errors.New("a gitBase is \"commit\", \":tree\" or \"commit:tree\""))
		}
		detail := session.CutText(said.Detail, protocol.MaxReasonBytes)
		switch said.Status {
		case protocol.StatusStarting:
			return session.InStarting{Detail: detail, AgentSession: said.AgentSession, GitBase: said.GitBase}, nil
		case protocol.StatusFailed:
			return session.InClose{Reason: protocol.ClosedFailed, Detail: detail}, nil
		case protocol.StatusRunning, protocol.StatusIdle:
			if said.Replay {
				return session.InReplay{Begins: said.Status == protocol.StatusRunning}, nil
			}
			if said.MessageID == "" {
				return session.InBackground{Works: said.Status == protocol.StatusRunning}, nil
			}
		}
		return nil, &session.Refusal{Code: protocol.LinkForbidden, Detail: fmt.Sprintf("a worker may not set the status %q", session.Clip(string(said.Status)))}
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

// append stores one event that changes no state.
func (p publisher) append(ctx context.Context, s *heldSession, t protocol.EventType, data []byte, fence *store.Fence) error {
	events, err := session.Fit(t, data, p.fleet.cfg.MaxEventBytes)
	if err != nil {
		return err
	}
	return p.output(ctx, s, store.Batch{Events: events, Fence: fence})
}

// output stores events that change no state. The first ones of a turn go through the
// rules in the same step. They show that the agent has started, and the rules check that
// the log has the turn. Later events are fenced by their numbers: a store that loses its
// end also loses these numbers.
func (p publisher) output(ctx context.Context, s *heldSession, b store.Batch) error {
	p.mu.Lock()
	fresh := s.alive != s.message
	sent := session.OpenMessage{ID: s.turn, Command: s.message}
	p.mu.Unlock()
	if !fresh {
		return p.store(ctx, s, b)
	}
	if _, err := p.decide(ctx, s, session.InActivity{Events: b.Events}, sent, b.Fence); err != nil {
		return err
	}
	p.mu.Lock()
	s.alive = sent.Command
	p.mu.Unlock()
	return nil
}

// store appends a batch of events that change no state, and counts them.
func (p publisher) store(ctx context.Context, s *heldSession, b store.Batch) error {
	start := time.Now()
	if _, err := p.fleet.store.Append(ctx, s.id, b); err != nil {
		if !store.Answered(err) {
			// Another server may answer next, one that lacks the turn. No number of a stored
			// event would show that, so the next events go through the rules.
			p.mu.Lock()
			s.alive = 0
			p.mu.Unlock()
		}
		return err
	}
	m := p.fleet.Metrics
	m.AppendSeconds.Observe(time.Since(start).Seconds())
	for _, e := range b.Events {
		m.EventAppended(e.Type)
	}
	return nil
}
