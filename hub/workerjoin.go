package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sessionhub/protocol"
)

// greet reads hello and answers it, within the time of a lease.
func (l *link) greet(ctx context.Context) error {
	limit, cancel := context.WithTimeoutCause(ctx, l.hub.cfg.Timers.WorkerLease,
		protocol.LinkError{Code: protocol.LinkInvalid, Detail: "no hello came in time"})
	defer cancel()
	// For the hello alone: what ends the link later is for the writer to tell.
	waits := context.AfterFunc(limit, func() { _ = l.conn.Close() })
	defer waits() // before cancel, which is no end of the time
	err := l.readHello(limit)
	if !waits() && err == nil {
		err = limit.Err()
	}
	if err == nil {
		welcome := protocol.Welcome{Node: l.hub.cfg.Node, HeartbeatSeconds: int(l.hub.cfg.Timers.LinkHeartbeat / time.Second)}
		err = l.conn.WriteFrame(limit, protocol.NewFrame(protocol.FrameWelcome, welcome))
	}
	if err != nil && limit.Err() != nil {
		return context.Cause(limit)
	}
	return err
}

func (l *link) readHello(ctx context.Context) error {
	raw, err := l.conn.ReadFrame(ctx)
	if err != nil {
		return err
	}
	invalid := func(format string, args ...any) error {
		return protocol.LinkError{Code: protocol.LinkInvalid, Detail: fmt.Sprintf(format, args...)}
	}
	var f protocol.Frame
	if err := protocol.Decode(raw, &f); err != nil || f.Type != protocol.FrameHello {
		return invalid("the first frame must be hello")
	}
	if err := protocol.Decode(f.Data, &l.hello); err != nil {
		return invalid("hello: %v", err)
	}
	if l.hello.Worker == "" || len(l.hello.Worker) > maxNameBytes || l.hello.Workspace == "" || len(l.hello.Workspace) > maxPathBytes {
		return invalid("hello needs a worker and a workspace of bounded length")
	}
	l.hello.Worker = l.key.worker(l.hello.Worker)
	return nil
}

// replace ends a link that the same worker has left without a word, so that
// nothing more is given to it. A worker has one link: of two with one name the
// newer counts.
func (l *link) replace(ctx context.Context) {
	d := l.hub.workers
	d.mu.Lock()
	var old []*link
	for o := range d.links {
		if o.hello.Worker == l.hello.Worker {
			old = append(old, o)
		}
	}
	d.mu.Unlock()
	for _, o := range old {
		o.end(protocol.LinkError{Code: protocol.LinkReplaced, Detail: "a worker of the same name has connected"})
		select {
		case <-o.left:
		case <-ctx.Done():
			return
		}
	}
}

// join takes the worker in: what it still runs and is still its own goes on,
// the rest is revoked; what it had and has forgotten is lost. While the store is
// away, the worker waits.
func (l *link) join(ctx context.Context) error {
	d := l.hub.workers
	l.replace(ctx)
	worker := l.hello.Worker
	if err := l.persist(ctx, func() error { return l.renew(ctx) }); err != nil {
		return err
	}
	var held []string
	if err := l.persist(ctx, func() (err error) { held, err = l.hub.store.Held(ctx, worker); return err }); err != nil {
		return err
	}
	for _, s := range l.hello.Sessions {
		if err := l.rejoin(ctx, s); err != nil {
			return err
		}
	}
	d.mu.Lock()
	held = slices.DeleteFunc(held, func(id string) bool { return l.sessions[id] != nil })
	d.mu.Unlock()
	for _, id := range held {
		if err := l.persist(ctx, func() error { return d.lose(ctx, worker, id) }); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.links[l] = struct{}{}
	d.mu.Unlock()
	d.kick()
	l.kick()
	return nil
}

// rejoin takes one session of a hello in.
func (l *link) rejoin(ctx context.Context, s protocol.HelloSession) error {
	snap, is, err := l.greeted(ctx, s, l.hub.store.Load)
	if err == nil && is != goesOn {
		snap, is, err = l.greeted(ctx, s, l.hub.store.Confirm)
	}
	switch {
	case err != nil:
		return err
	case is == notOurs:
		d := l.hub.workers
		d.mu.Lock()
		l.revokeLocked(s.SessionID, s.Assignment)
		d.mu.Unlock()
		return nil
	case is == wasLost:
		l.hub.cfg.Log.Warn("the store has lost what a worker said", "session", s.SessionID, "worker", l.hello.Worker)
		in := fromWorker{Assignment: s.Assignment, Input: InLost{}}
		err := l.persist(ctx, func() error { _, _, err := l.hub.change(ctx, s.SessionID, in, nil); return err })
		if err != nil && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrNotFound) {
			return err
		}
		l.hub.workers.mu.Lock()
		l.revokeLocked(s.SessionID, s.Assignment)
		l.hub.workers.mu.Unlock()
		return nil
	}
	x := &linkSession{
		id: s.SessionID, provider: snap.State.Info.Provider, assignment: s.Assignment, assigned: true, stored: snap.N, hello: s,
	}
	if s.Turn != nil {
		x.message, x.turn, x.event = s.Turn.Seq, s.Turn.MessageID, time.Now()
	}
	l.add(x)
	return l.finish(ctx, x)
}

// greeted reads a session of a hello, and judges it by what the worker knows.
func (l *link) greeted(ctx context.Context, s protocol.HelloSession, read func(context.Context, string) (Snapshot, error)) (snap Snapshot, is fate, err error) {
	err = l.persist(ctx, func() (err error) { snap, err = read(ctx, s.SessionID); return err })
	switch {
	case errors.Is(err, ErrNotFound):
		return snap, notOurs, nil
	case err != nil:
		return snap, goesOn, err
	case snap.State.Worker != l.hello.Worker || snap.State.Assignment != s.Assignment || !l.key.serves(snap.State.Info.UserID):
		return snap, notOurs, nil
	case snap.State.Closed != "": // behind it, what is acknowledged is not stored
		return snap, goesOn, nil
	}
	// A message that was finished and whose command was never made would have the
	// worker ignore the next one, which gets its number.
	lost := s.Acked > snap.N || s.Message > snap.State.NextCommand
	if s.Turn != nil {
		lost = lost || !snap.State.knows(OpenMessage{ID: s.Turn.MessageID, Command: s.Turn.Seq})
	}
	if lost {
		return snap, wasLost, nil
	}
	return snap, goesOn, nil
}

// finish makes up for a done that was lost with the last link: hello names the
// last message that the worker finished. Its complete can be among the events
// that are still to be sent again, so all of those come first.
func (l *link) finish(ctx context.Context, s *linkSession) error {
	d := l.hub.workers
	d.mu.Lock()
	message := s.hello.Message
	if s.stored < s.hello.Event {
		message = 0
	}
	if message != 0 {
		s.hello = protocol.HelloSession{}
	}
	d.mu.Unlock()
	if message == 0 {
		return nil
	}
	var is fate
	err := l.persist(ctx, func() (err error) { _, is, err = l.stand(ctx, s, known{finished: message}); return err })
	switch {
	case is == wasLost: // all its events are here, and its complete is not
		return l.lostByStore(ctx, s)
	case err != nil && !errors.Is(err, ErrNotFound):
		return err
	}
	return l.input(ctx, s.id, s.assignment, InDone{Message: message})
}
