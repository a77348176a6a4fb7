package hub

import (
	"context"
	"errors"

	"sessionhub/protocol"
)

// Bounds of the events that are stored in one step. A store announces a batch
// with its bytes up to 64 KiB; watchers of a longer one would have to read it.
const (
	maxRunEvents = 64
	maxRunBytes  = 56 << 10
	eventFrame   = 100 // bytes of an event beside its data: number, type, time
)

// run is events of one assignment that follow each other and change no state,
// which wait to be stored together. It belongs to one goroutine; the zero value is
// ready.
type run struct {
	events []protocol.WorkerEvent
	bytes  int
}

// add puts an event to those that wait, unless it must be handled by itself, or
// cannot be stored in one step with them.
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

// cut takes out what waits, which can be nothing.
func (r *run) cut() []protocol.WorkerEvent {
	events := r.events
	*r = run{}
	return events
}

// events stores events of one session that follow each other and change no
// state: in one step if nothing speaks against it, or else one by one, which
// tells what to do about each.
func (l *link) events(ctx context.Context, evs []protocol.WorkerEvent) error {
	if len(evs) > 1 {
		if done, err := l.together(ctx, evs); done || err != nil {
			return err
		}
	}
	for _, ev := range evs {
		if err := l.event(ctx, ev); err != nil {
			return err
		}
	}
	return nil
}

// together stores events in one step and has them acknowledged. It reports
// whether that could be done; nothing was stored otherwise, or all of it is
// stored already and will be found to be.
func (l *link) together(ctx context.Context, evs []protocol.WorkerEvent) (bool, error) {
	first, last := evs[0], evs[len(evs)-1]
	s := l.session(first.SessionID, first.Assignment)
	if s == nil {
		return true, nil // the worker is told that it is not its own
	}
	d := l.hub.workers
	d.mu.Lock()
	next := s.stored + 1
	d.mu.Unlock()
	if first.N != next {
		return false, nil
	}
	b := Batch{
		Events: make([]NewEvent, 0, len(evs)),
		Fence:  &Fence{Assignment: first.Assignment, N: first.N, Count: len(evs)},
	}
	for i := range evs {
		data, err := objectOf(evs[i])
		if err != nil {
			return false, nil
		}
		fitting, err := fit(evs[i].Type, data, l.hub.cfg.MaxEventBytes)
		if err != nil {
			return false, nil
		}
		b.Events = append(b.Events, fitting...)
	}
	err := l.persist(ctx, func() error { return l.output(ctx, s, b) })
	switch {
	case err == nil:
		return true, l.accept(ctx, s, last.N)
	case answered(err):
		return false, nil
	}
	return false, err
}

// answered reports whether an error is a store's or the rules' answer, so that to
// ask again would change nothing.
func answered(err error) bool {
	return errors.Is(err, ErrRepeat) || errors.Is(err, ErrFenced) || errors.Is(err, ErrNotFound) ||
		errors.Is(err, ErrHole) || errors.Is(err, ErrInvalid) || errors.Is(err, errLost) || errors.Is(err, errNoTurn) || errors.Is(err, errKnownInteraction)
}
