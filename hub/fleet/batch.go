package fleet

import (
	"context"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// Bounds of the events that are stored in one step. A store announces a batch up to
// 64 KiB with its bytes. Watchers of a longer one would have to read it.
const (
	maxRunEvents = 64
	maxRunBytes  = 56 << 10
	eventFrame   = 100 // bytes of an event beside its data: number, type, time
)

// run collects events of one assignment that follow each other and change no state, to be
// stored together. It belongs to one goroutine; the zero value is ready.
type run struct {
	events []protocol.WorkerEvent
	bytes  int
}

// add adds an event to the run. It refuses one that must be handled by itself, or cannot
// be stored in one step with the run.
func (r *run) add(ev protocol.WorkerEvent) bool {
	size := len(ev.Data) + eventFrame
	if ev.Type.ChangesState() || !ev.Type.WorkerMaySend() || size > maxRunBytes {
		return false
	}
	if n := len(r.events); n > 0 {
		last := r.events[n-1]
		if n == maxRunEvents || r.bytes+size > maxRunBytes || ev.N != last.N+1 || ev.Assignment != last.Assignment {
			return false
		}
	}
	r.events = append(r.events, ev)
	r.bytes += size
	return true
}

// cut takes out the waiting events, if any.
func (r *run) cut() []protocol.WorkerEvent {
	events := r.events
	*r = run{}
	return events
}

// events stores events of one session that follow each other and change no state, in one
// step. If that fails, it stores them one by one, and decides about each.
func (p publisher) events(ctx context.Context, evs []protocol.WorkerEvent) error {
	if len(evs) > 1 {
		if done, err := p.together(ctx, evs); done || err != nil {
			return err
		}
	}
	for _, ev := range evs {
		if err := p.event(ctx, ev); err != nil {
			return err
		}
	}
	return nil
}

// together stores events in one step and has them acknowledged. It reports whether it
// could. If not, either nothing was stored, or all events were stored before and event
// will find them.
func (p publisher) together(ctx context.Context, evs []protocol.WorkerEvent) (bool, error) {
	first, last := evs[0], evs[len(evs)-1]
	s := p.sessionOrRevoke(first.SessionID, first.Assignment)
	if s == nil {
		return true, nil // the worker is told that it is not its own
	}
	p.mu.Lock()
	next := s.stored + 1
	p.mu.Unlock()
	if first.N != next {
		return false, nil
	}
	b := store.Batch{
		Events: make([]session.NewEvent, 0, len(evs)),
		Fence:  &store.Fence{Assignment: first.Assignment, N: first.N, Count: len(evs)},
	}
	for i := range evs {
		data, err := dataOf(evs[i])
		if err != nil {
			return false, nil
		}
		fitting, err := session.Fit(evs[i].Type, data, p.fleet.cfg.MaxEventBytes)
		if err != nil {
			return false, nil
		}
		b.Events = append(b.Events, fitting...)
	}
	err := p.persistFor(ctx, s.id, func() error { return p.output(ctx, s, b) })
	switch {
	case err == nil:
		return true, p.accept(ctx, s, last.N)
	case store.Answered(err):
		return false, nil
	}
	return false, err
}
