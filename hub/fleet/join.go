package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// joiner takes a worker in: it reads the hello, and adopts the sessions that the worker
// still runs.
type joiner struct{ *link }

// greet reads the hello and answers it, within the time of a lease.
func (j joiner) greet(ctx context.Context) error {
	limit, cancel := context.WithTimeoutCause(ctx, j.fleet.Timers.WorkerLease,
		protocol.LinkError{Code: protocol.LinkInvalid, Detail: "no hello came in time"})
	defer cancel()
	// Only for the hello: the writer tells the worker about every later end.
	waits := context.AfterFunc(limit, func() { _ = j.conn.Close() })
	defer waits() // before cancel, so that cancel does not close the connection
	err := j.readHello(limit)
	if !waits() && err == nil {
		err = limit.Err()
	}
	if err == nil {
		welcome := protocol.Welcome{
			Node: j.fleet.Node, HeartbeatSeconds: int(j.fleet.Timers.LinkHeartbeat / time.Second), Events: protocol.WorkerEvents(), Providers: true,
		}
		err = j.conn.WriteFrame(limit, protocol.NewFrame(protocol.FrameWelcome, welcome))
	}
	if err != nil && limit.Err() != nil {
		return context.Cause(limit)
	}
	return err
}

func (j joiner) readHello(ctx context.Context) error {
	raw, err := j.conn.ReadFrame(ctx)
	if err != nil {
		return err
	}
	invalid := func(format string, args ...any) error {
		return protocol.LinkError{Code: protocol.LinkInvalid, Detail: session.ClipTo(fmt.Sprintf(format, args...), maxDetailBytes)}
	}
	var f protocol.Frame
	if err := protocol.Decode(raw, &f); err != nil || f.Type != protocol.FrameHello {
		return invalid("the first frame must be hello")
	}
	if err := protocol.Decode(f.Data, &j.hello); err != nil {
		return invalid("hello: %v", err)
	}
	if err := checkHello(j.hello); err != nil {
		return invalid("hello: %v", err)
	}
	j.hello.Worker = j.key.worker(j.hello.Worker)
	j.offer.set(offer{j.hello.Providers, j.hello.Details})
	j.hello.Providers, j.hello.Details = nil, nil
	return nil
}

// replace ends older links of the same worker, and waits until they have left. A worker
// has one link: of two with one name the newer counts, also while the older one is still
// being taken in.
func (j joiner) replace(ctx context.Context) {
	f := j.fleet
	f.mu.Lock()
	var old []*link
	for o := range f.links {
		if o.hello.Worker == j.hello.Worker {
			old = append(old, o)
		}
	}
	f.links[j.link] = struct{}{}
	f.mu.Unlock()
	for _, o := range old {
		o.end(protocol.LinkError{Code: protocol.LinkReplaced, Detail: "a worker of the same name has connected"})
		select {
		case <-o.left:
		case <-ctx.Done():
			return
		}
	}
}

// join takes the worker in. A session that the worker still runs and still owns goes on.
// Any other session in its hello is revoked. A session that the store lists for the
// worker, and that the hello does not name, is lost. While the store is away, the worker
// waits.
func (r receiver) join(ctx context.Context) error {
	r.replace(ctx)
	worker := r.hello.Worker
	if err := r.persist(ctx, func() error { return leaseKeeper{r.link}.renew(ctx) }); err != nil {
		return err
	}
	var held []store.Holding
	if err := r.persist(ctx, func() (err error) { held, err = r.fleet.store.Held(ctx, worker); return err }); err != nil {
		return err
	}
	err := r.sideBySide(ctx, len(r.hello.Sessions), func(i int) error {
		s := r.hello.Sessions[i]
		return r.takeOne(ctx, sessionWork{s.SessionID, []sent{{kind: stepRejoin, hello: s}}})
	})
	if err != nil {
		return err
	}
	held = slices.DeleteFunc(held, func(h store.Holding) bool { return r.has(h) || r.later.has(h.Session) })
	err = r.sideBySide(ctx, len(held), func(i int) error {
		lost := protocol.HelloSession{SessionID: held[i].Session, Assignment: held[i].Assignment}
		return r.takeOne(ctx, sessionWork{lost.SessionID, []sent{{kind: stepLose, hello: lost}}})
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.joined = true
	r.mu.Unlock()
	r.fleet.kickFor(r.link)
	r.kick()
	return nil
}

func (l *link) isJoined() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joined
}

// rejoin takes in one session of a hello.
func (j joiner) rejoin(ctx context.Context, s protocol.HelloSession) error {
	snap, is, err := j.helloFate(ctx, s, j.fleet.store.Load)
	if err == nil && is != goesOn {
		snap, is, err = j.helloFate(ctx, s, j.fleet.store.Confirm)
	}
	switch {
	case err != nil:
		return err
	case is == notOurs:
		j.mu.Lock()
		j.revokeLocked(protocol.Revoke{SessionID: s.SessionID, Assignment: s.Assignment})
		j.mu.Unlock()
		return nil
	case is == wasLost:
		j.fleet.Log.Warn("the store has lost what a worker said", "session", s.SessionID, "worker", j.hello.Worker)
		in := session.FromWorker{Assignment: s.Assignment, Input: session.InLost{Doubt: true}}
		err := j.persistFor(ctx, s.SessionID, func() error { _, _, err := j.fleet.engine.Change(ctx, s.SessionID, in, nil); return err })
		if err != nil && !errors.Is(err, session.ErrFenced) && !errors.Is(err, session.ErrNotFound) {
			return err
		}
		j.mu.Lock()
		j.revokeLocked(protocol.Revoke{SessionID: s.SessionID, Assignment: s.Assignment})
		j.mu.Unlock()
		return nil
	}

	if takes := j.hello.Takes(protocol.WorkerSetOption); snap.State.Closed == "" && snap.State.Options.Takes != takes {
		in := session.FromWorker{Assignment: s.Assignment, Input: session.InRejoin{Options: takes}}
		err := j.persistFor(ctx, s.SessionID, func() error { _, _, err := j.fleet.engine.Change(ctx, s.SessionID, in, nil); return err })
		if err != nil && !errors.Is(err, session.ErrFenced) && !errors.Is(err, session.ErrNotFound) { // then the writer finds out
			return err
		}
	}
	j.mu.Lock()
	again := j.sessions[s.SessionID] // set if its server went away during an earlier rejoin
	if again != nil && again.assignment == s.Assignment {
		again.hello = s
		j.mu.Unlock()
		return j.replayDone(ctx, again)
	}
	j.mu.Unlock()
	x := &heldSession{
		id: s.SessionID, provider: snap.State.Info.Provider, assignment: s.Assignment, assigned: true, stored: snap.N, hello: s,
	}
	if s.Turn != nil {
		x.message, x.turn, x.event = s.Turn.Seq, s.Turn.MessageID, time.Now()
	}
	j.add(x)
	return j.replayDone(ctx, x)
}

// helloFate reads a session of a hello, and compares it with the worker's numbers.
func (j joiner) helloFate(ctx context.Context, s protocol.HelloSession, read func(context.Context, string) (store.Snapshot, error)) (snap store.Snapshot, is fate, err error) {
	err = j.persistFor(ctx, s.SessionID, func() (err error) { snap, err = read(ctx, s.SessionID); return err })
	switch {
	case errors.Is(err, session.ErrNotFound):
		return snap, notOurs, nil
	case err != nil:
		return snap, goesOn, err
	case snap.State.Worker != j.hello.Worker || snap.State.Assignment != s.Assignment || !j.key.serves(snap.State.Info.UserID):
		return snap, notOurs, nil
	case snap.State.Closed != "": // after closed, events are acknowledged without being stored
		return snap, goesOn, nil
	}
	// If the store lost the command of a finished message, the next command gets its
	// number, and the worker would ignore it.
	lost := s.Acked > snap.N || s.Message > snap.State.NextCommand
	if s.Turn != nil {
		lost = lost || !snap.State.Knows(session.OpenMessage{ID: s.Turn.MessageID, Command: s.Turn.Seq})
	}
	if lost {
		return snap, wasLost, nil
	}
	return snap, goesOn, nil
}

// replayDone makes up for a done that was lost with the last link. The hello names the
// last message that the worker finished. Its complete can be among the events that the
// worker sends again, so replayDone waits until all of those are stored.
func (l *link) replayDone(ctx context.Context, s *heldSession) error {
	l.mu.Lock()
	message := s.hello.Message
	due := message != 0 && s.stored >= s.hello.Event
	l.mu.Unlock()
	if !due {
		return nil
	}
	loss := lossFinder{l}
	var is fate
	err := l.persistFor(ctx, s.id, func() (err error) { _, is, err = loss.readFate(ctx, s, known{finished: message}); return err })
	switch {
	case is == wasLost: // all its events are stored, and the complete is not among them
		return l.lostByStore(ctx, s)
	case err != nil && !errors.Is(err, session.ErrNotFound):
		return err
	}
	if err := loss.inputAfterEvents(ctx, s, session.InDone{Message: message}); err != nil {
		return err
	}
	l.mu.Lock()
	s.hello = protocol.HelloSession{} // not earlier: until here a retry needs it
	l.mu.Unlock()
	return nil
}
