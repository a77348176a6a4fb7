package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sessionhub/protocol"
)

// WorkerConn carries the frames of a worker link, one JSON text each: a
// WebSocket, or a pipe in this process. ReadFrame has one caller at a time, and
// so has WriteFrame; Close may come from anywhere and ends both.
type WorkerConn interface {
	ReadFrame(ctx context.Context) ([]byte, error)
	WriteFrame(ctx context.Context, frame []byte) error
	Close() error
}

// WorkerAccess is what a worker's key opens: the sessions of one user, or, with
// an empty User, of all.
type WorkerAccess struct{ User string }

func (a WorkerAccess) allows(user string) bool { return a.User == "" || a.User == user }

// link is the hub's end of one worker link.
//
// Three goroutines: the reader (ServeWorker itself) stores what the worker sends,
// one frame after the other, so a slow store holds the worker back; the writer
// sends what is due; the third keeps the worker's lease. The writer has no queue: a session is dirty or not, and
// what it lacks is read from its command log. It watches the sessions that its
// worker has, since their clients can be on any node.
type link struct {
	hub    *Hub
	conn   WorkerConn
	access WorkerAccess
	hello  protocol.Hello
	wake   chan struct{}

	// guarded by dispatcher.mu
	sessions   map[string]*linkSession
	dirty      map[string]struct{}
	reserved   int // places that are about to be taken
	closed     bool
	superseded bool                // the worker has come back over a newer link of this node
	draining   bool                // it has said so: it gets nothing new
	acks       []protocol.EventAck // to be sent: the last of sessions that are gone
	revoked    []protocol.Revoke   // to be sent
	problems   []protocol.LinkError

	heard time.Time // last frame, or the end of the work on it; guarded by dispatcher.mu
	busy  bool      // a frame is being worked on; guarded by dispatcher.mu
}

// linkSession is a session that the worker of a link has. All but the first
// three fields are guarded by dispatcher.mu.
type linkSession struct {
	id         string
	provider   string
	assignment uint64

	stop     func()                // of the watch; nil while there is none
	look     bool                  // its state or commands may have changed
	released bool                  // the worker has given it back: it hears no more of it
	assigned bool                  // the assign frame is out
	message  uint64                // last message command that was sent
	command  uint64                // last other command that was sent
	stored   uint64                // last event that is in the log
	acked    uint64                // last event that was acknowledged
	alive    uint64                // the message command whose turn has shown a sign of life
	event    time.Time             // when the last event or message went by
	silent   bool                  // that there was none for a while has been said
	evicted  bool                  // a close is out, to make its place free
	hello    protocol.HelloSession // finished before a reconnect, once all its events are here; or nothing
}

// maxPending bounds the answers that wait for the writer; a worker that sends
// more rubbish than it reads answers loses its link.
const maxPending = 1000

// ServeWorker serves one worker link until it breaks or ctx ends.
func (h *Hub) ServeWorker(ctx context.Context, conn WorkerConn, access WorkerAccess) error {
	l := &link{
		hub: h, conn: conn, access: access, wake: make(chan struct{}, 1),
		sessions: make(map[string]*linkSession), dirty: make(map[string]struct{}), heard: time.Now(),
	}
	if err := l.readHello(ctx); err != nil {
		_ = conn.Close()
		return fmt.Errorf("worker link: %w", err)
	}
	welcome := protocol.Welcome{Node: h.cfg.Node, HeartbeatSeconds: int(h.cfg.Timers.LinkHeartbeat / time.Second)}
	if err := conn.WriteFrame(ctx, protocol.NewFrame(protocol.FrameWelcome, welcome)); err != nil {
		_ = conn.Close()
		return fmt.Errorf("worker link: welcome: %w", err)
	}
	if err := l.join(ctx); err != nil {
		_ = conn.Close()
		l.leave()
		return fmt.Errorf("worker link: take the worker in: %w", err)
	}
	h.cfg.Log.Info("worker joined", "worker", l.hello.Worker, "version", l.hello.Version,
		"providers", l.hello.Providers, "capacity", l.hello.Capacity, "sessions", len(l.hello.Sessions))

	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		if err := l.write(ctx); err != nil && ctx.Err() == nil {
			h.cfg.Log.Warn("worker link: write", "worker", l.hello.Worker, "error", err)
		}
		_ = conn.Close() // ends the reader
	})
	wg.Go(func() { l.keepLease(ctx) })
	err := l.read(ctx)
	cancel()
	_ = conn.Close()
	wg.Wait()
	l.leave()
	h.cfg.Log.Info("worker left", "worker", l.hello.Worker, "reason", err)
	return err
}

func (l *link) readHello(ctx context.Context) error {
	raw, err := l.conn.ReadFrame(ctx)
	if err != nil {
		return err
	}
	var f protocol.Frame
	if err := protocol.Decode(raw, &f); err != nil || f.Type != protocol.FrameHello {
		return fmt.Errorf("%w: the first frame must be hello", ErrInvalid)
	}
	if err := protocol.Decode(f.Data, &l.hello); err != nil {
		return fmt.Errorf("%w: hello: %w", ErrInvalid, err)
	}
	if l.hello.Worker == "" || len(l.hello.Worker) > maxNameBytes || l.hello.Workspace == "" || len(l.hello.Workspace) > maxPathBytes {
		return fmt.Errorf("%w: hello needs a worker and a workspace of bounded length", ErrInvalid)
	}
	return nil
}

// join takes the worker in: what it still runs and is still its own goes on,
// the rest is revoked; what it had and has forgotten is lost. While the store is
// away, the worker waits.
func (l *link) join(ctx context.Context) error {
	d := l.hub.workers
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
	for o := range d.links {
		o.superseded = o.superseded || o.hello.Worker == worker
	}
	d.links[l] = struct{}{}
	d.mu.Unlock()
	d.kick()
	l.kick()
	return nil
}

// rejoin takes one session of a hello in.
func (l *link) rejoin(ctx context.Context, s protocol.HelloSession) error {
	var snap Snapshot
	err := l.persist(ctx, func() (err error) { snap, err = l.hub.store.Load(ctx, s.SessionID); return err })
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if err != nil || snap.State.Worker != l.hello.Worker || snap.State.Assignment != s.Assignment || !l.access.allows(snap.State.Info.UserID) {
		d := l.hub.workers
		d.mu.Lock()
		l.revokeLocked(s.SessionID, s.Assignment)
		d.mu.Unlock()
		return nil
	}
	x := &linkSession{
		id: s.SessionID, provider: snap.State.Info.Provider, assignment: s.Assignment, assigned: true, stored: snap.N, hello: s,
	}
	l.add(x)
	return l.finish(ctx, x)
}

// add gives the link a session, and watches it.
func (l *link) add(s *linkSession) {
	d := l.hub.workers
	d.mu.Lock()
	if l.closed { // it broke in between: its lease runs, with this session in it
		d.mu.Unlock()
		return
	}
	l.sessions[s.id] = s
	d.owner[s.id] = l
	d.mu.Unlock()
	stop := l.hub.store.Watch(s.id, func(n Notice) {
		if n.Changed {
			l.look(s)
		}
	})
	d.mu.Lock()
	if l.sessions[s.id] == s && !l.closed {
		s.stop, stop = stop, nil
	}
	d.mu.Unlock()
	if stop != nil {
		stop()
	}
	l.look(s) // at what came before the watch
}

// look has the writer read what a session has for the worker.
func (l *link) look(s *linkSession) {
	d := l.hub.workers
	d.mu.Lock()
	s.look = true
	l.dirty[s.id] = struct{}{}
	d.mu.Unlock()
	l.kick()
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
	return l.input(ctx, s.id, s.assignment, InDone{Message: message})
}

func (l *link) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *link) freeLocked() int { return l.hello.Capacity - len(l.sessions) - l.reserved }

// session finds what the worker has, if the frame's assignment is its present
// one. A stale or foreign one is answered with revoke.
func (l *link) session(id string, assignment uint64) *linkSession {
	d := l.hub.workers
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := l.sessions[id]; s != nil && s.assignment == assignment {
		return s
	}
	l.revokeLocked(id, assignment)
	return nil
}

func (l *link) revokeLocked(id string, assignment uint64) {
	r := protocol.Revoke{SessionID: id, Assignment: assignment}
	if !slices.Contains(l.revoked, r) && len(l.revoked) < maxPending {
		l.revoked = append(l.revoked, r)
	}
	l.kick()
}

// drop forgets a session of this link; its place is free.
func (l *link) drop(ctx context.Context, s *linkSession, revoke bool) {
	d := l.hub.workers
	d.mu.Lock()
	stop := s.stop
	s.stop = nil
	if l.sessions[s.id] == s { // else it was given to this worker again
		delete(l.sessions, s.id)
		if d.owner[s.id] == l {
			delete(d.owner, s.id)
		}
		if s.stored > s.acked && !revoke {
			// The worker keeps its events until it has this.
			l.acks = append(l.acks, protocol.EventAck{SessionID: s.id, Assignment: s.assignment, N: s.stored})
			l.kick()
		}
	}
	if revoke {
		l.revokeLocked(s.id, s.assignment)
	}
	d.mu.Unlock()
	if stop != nil {
		stop()
	}
	// A session that stays in the list is lost once more when the worker's lease
	// ends, which changes nothing.
	if err := l.hub.store.Unhold(ctx, l.hello.Worker, s.id); err != nil && ctx.Err() == nil {
		l.hub.cfg.Log.Warn("take a session off its worker's list", "session", s.id, "error", err)
	}
	d.kick()
}

// closeOverdue frees the place of a session whose worker has not answered a close.
func (l *link) closeOverdue(s *linkSession) {
	d := l.hub.workers
	d.mu.Lock()
	gone := l.sessions[s.id] != s
	d.mu.Unlock()
	if gone {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), l.hub.cfg.Timers.WorkerLease)
	defer cancel()
	// Lost, not released: a message that crossed the close may have begun there.
	in := fromWorker{Assignment: s.assignment, Input: InLost{}}
	if _, _, err := l.hub.change(ctx, s.id, in, nil); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrFenced) {
		l.hub.cfg.Log.Error("free the place of a closed session", "session", s.id, "error", err)
	}
	l.drop(ctx, s, true)
}

func (l *link) problem(code, detail string) {
	d := l.hub.workers
	d.mu.Lock()
	if len(l.problems) < maxPending {
		l.problems = append(l.problems, protocol.LinkError{Code: code, Detail: detail})
	}
	d.mu.Unlock()
	l.kick()
}

// write sends what is due until the link ends.
func (l *link) write(ctx context.Context) error {
	beat := time.NewTicker(l.hub.cfg.Timers.LinkHeartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-beat.C:
			l.hub.workers.mu.Lock()
			silent := l.silentLocked(now)
			l.hub.workers.mu.Unlock()
			if silent >= l.mostSilence() {
				return fmt.Errorf("nothing heard for %s", silent.Round(time.Second))
			}
			if err := l.send(ctx, protocol.FramePing, protocol.Empty{}); err != nil {
				return err
			}
			l.tellSilent(ctx, now)
		case <-l.wake:
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// silentLocked is for how long nothing came from the worker although the reader
// waited for it. While the reader works on a frame (a large one, or the store is
// away) it is this node that is slow, and the worker must not lose its sessions.
func (l *link) silentLocked(now time.Time) time.Duration {
	if l.busy {
		return 0
	}
	return now.Sub(l.heard)
}

// mostSilence is how long a worker may say nothing before its link is ended. It
// is looked at once in a heartbeat, so half of one is given up: a silent worker
// is found out when its lease ends, not a heartbeat later.
func (l *link) mostSilence() time.Duration {
	t := l.hub.cfg.Timers
	return t.WorkerLease - min(t.LinkHeartbeat, t.WorkerLease)/2
}

// tellSilent has the status of turns without a sign of life say so. The next
// event is then a sign of life again.
func (l *link) tellSilent(ctx context.Context, now time.Time) {
	quiet := l.hub.cfg.Timers.NoActivity
	d := l.hub.workers
	d.mu.Lock()
	var silent []*linkSession
	for _, s := range l.sessions {
		if s.message != 0 && quiet > 0 && !s.silent && now.Sub(s.event) >= quiet {
			s.alive, s.silent = 0, true
			silent = append(silent, s)
		}
	}
	d.mu.Unlock()
	for _, s := range silent {
		_, _, err := l.hub.change(ctx, s.id, fromWorker{Assignment: s.assignment, Input: InSilent{For: quiet}}, nil)
		if err != nil && ctx.Err() == nil {
			l.hub.cfg.Log.Error("say that a turn is silent", "session", s.id, "error", err)
		}
	}
}

// send gives a worker that does not read as long as one that does not speak.
func (l *link) send(ctx context.Context, t protocol.FrameType, data any) error {
	ctx, cancel := context.WithTimeout(ctx, l.mostSilence())
	defer cancel()
	return l.conn.WriteFrame(ctx, protocol.NewFrame(t, data))
}

// flush sends answers, then for each dirty session its acknowledgement and the
// commands that it lacks.
func (l *link) flush(ctx context.Context) error {
	d := l.hub.workers
	d.mu.Lock()
	acks, revoked, problems := l.acks, l.revoked, l.problems
	l.acks, l.revoked, l.problems = nil, nil, nil
	dirty := make([]*linkSession, 0, len(l.dirty))
	for id := range l.dirty {
		if s := l.sessions[id]; s != nil {
			dirty = append(dirty, s)
		}
	}
	clear(l.dirty)
	d.mu.Unlock()

	for _, a := range acks {
		if err := l.send(ctx, protocol.FrameAck, a); err != nil {
			return err
		}
	}
	for _, r := range revoked {
		if err := l.send(ctx, protocol.FrameRevoke, r); err != nil {
			return err
		}
	}
	for _, p := range problems {
		if err := l.send(ctx, protocol.FrameError, p); err != nil {
			return err
		}
		if p.Code == protocol.LinkHole {
			return errors.New("the worker left an event out")
		}
	}
	for _, s := range dirty {
		if err := l.flushSession(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (l *link) flushSession(ctx context.Context, s *linkSession) error {
	d := l.hub.workers
	d.mu.Lock()
	stored, ack, assigned, look := s.stored, s.stored > s.acked, s.assigned, s.look && !s.released
	after := min(s.message, s.command)
	s.acked, s.look = s.stored, false
	d.mu.Unlock()
	if ack {
		if err := l.send(ctx, protocol.FrameAck, protocol.EventAck{SessionID: s.id, Assignment: s.assignment, N: stored}); err != nil {
			return err
		}
	}
	if !look {
		return nil
	}
	snap, err := l.hub.store.Load(ctx, s.id)
	if err == nil && (snap.State.Worker != l.hello.Worker || snap.State.Assignment != s.assignment) {
		err = ErrFenced
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrFenced) {
		l.drop(ctx, s, true)
		return nil
	}
	var commands []Command
	if err == nil {
		commands, err = l.hub.store.Commands(ctx, s.id, after)
	}
	if err != nil {
		l.retry(s)
		return nil
	}
	if !assigned {
		if err := l.sendAssign(ctx, s, snap.State); err != nil {
			return err
		}
	}
	for _, c := range commands {
		if err := l.sendCommand(ctx, s, c, snap.State.Running); err != nil {
			return err
		}
	}
	return nil
}

// storeRetry is how long a link waits before it asks a store again that was
// out of reach.
const storeRetry = 250 * time.Millisecond

func (l *link) retry(s *linkSession) { time.AfterFunc(storeRetry, func() { l.look(s) }) }

func (l *link) sendAssign(ctx context.Context, s *linkSession, state *State) error {
	l.hub.workers.mu.Lock()
	s.assigned = true
	l.hub.workers.mu.Unlock()
	i := state.Info
	return l.send(ctx, protocol.FrameAssign, protocol.Assign{
		SessionID: s.id, Assignment: s.assignment, Provider: i.Provider, WorkingDirectory: i.WorkingDirectory,
		AgentOptions: i.AgentOptions, UserID: i.UserID, Message: state.Finished, Resume: s.assignment > 1,
	})
}

// sendCommand sends a command that has not been sent: a message only when it is
// its turn, everything else at once.
func (l *link) sendCommand(ctx context.Context, s *linkSession, c Command, running uint64) error {
	d := l.hub.workers
	d.mu.Lock()
	due := c.Seq > s.command
	if c.Type == protocol.WorkerMessage {
		if due = c.Seq == running && c.Seq > s.message; due {
			s.message, s.event, s.silent = c.Seq, time.Now(), false
		}
	} else if due {
		s.command = c.Seq
	}
	d.mu.Unlock()
	if !due {
		return nil
	}
	if c.Type == protocol.WorkerClose {
		// Its place is free when it answers, or after the grace.
		time.AfterFunc(l.hub.cfg.Timers.CloseGrace, func() { l.closeOverdue(s) })
	}
	return l.send(ctx, protocol.FrameCommand, protocol.WorkerCommand{
		SessionID: s.id, Assignment: s.assignment, Seq: c.Seq, Type: c.Type, Data: c.Data,
	})
}
