package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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

// link is the hub's end of one worker link.
//
// Four goroutines: the reader fills the intake, and stops when that is full, so a
// slow store holds the worker back; ServeWorker itself stores what is in there,
// with helpers; the writer sends what is due; the fourth keeps the worker's lease.
// The writer has no queue: a session is dirty or not; what it lacks is read from its
// command log. It watches the worker's sessions: their clients can be on any node.
type link struct {
	hub   *Hub
	conn  WorkerConn
	key   WorkerKey
	end   context.CancelCauseFunc // ends the link, and says why
	left  chan struct{}           // closed when the dispatcher has forgotten it
	hello protocol.Hello
	wake  chan struct{}

	// guarded by dispatcher.mu
	sessions map[string]*linkSession
	dirty    map[string]struct{}
	reserved int // places that are about to be taken
	closed   bool
	draining bool                // it has said so: it gets nothing new
	acks     []protocol.EventAck // to be sent: the last of sessions that are gone
	revoked  []protocol.Revoke   // to be sent
	problems []protocol.LinkError

	heard      time.Time   // last frame, or the end of the work on one; guarded by dispatcher.mu
	busy       bool        // frames are being worked on; guarded by dispatcher.mu
	complained atomic.Bool // that the store does not take the frames being worked on
}

// linkSession is a session that the worker of a link has. All but the first
// four fields are guarded by dispatcher.mu.
type linkSession struct {
	id         string
	provider   string
	assignment uint64

	seen protocol.Cursor // up to where the log told what was sent; owned by the writer

	stop     func()                // of the watch; nil while there is none
	look     bool                  // its state or commands may have changed
	released bool                  // the worker has given it back: it hears no more of it
	assigned bool                  // the assign frame is out
	message  uint64                // last message command that was sent
	turn     string                // the id of its message
	command  uint64                // last other command that was sent
	stored   uint64                // last event that is in the log
	acked    uint64                // last event that was acknowledged
	finished uint64                // last message whose done is in the state
	alive    uint64                // the message command whose turn has shown a sign of life
	event    time.Time             // when the last event or message went by
	silent   bool                  // that there was none for a while has been said
	evicted  bool                  // a close is out, to make its place free
	hello    protocol.HelloSession // finished before a reconnect, once all its events are here; or nothing
}

// maxPending bounds the answers that wait for the writer; a worker that sends
// more rubbish than it reads answers loses its link.
const maxPending = 1000

// ServeWorker serves one worker link until it breaks or ctx ends, and returns
// why it ended. A protocol.LinkError as the cause of ctx's end is told to the
// worker, as every other reason is that is one: in an error frame before the
// close. A conn with a method CloseFor(error) error is closed by that. A panic in
// what is done for the link is such a reason, and ends nothing else.
func (h *Hub) ServeWorker(ctx context.Context, conn WorkerConn, key WorkerKey) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	l := &link{
		hub: h, conn: conn, key: key, end: end, left: make(chan struct{}), wake: make(chan struct{}, 1),
		sessions: make(map[string]*linkSession), dirty: make(map[string]struct{}), heard: time.Now(),
	}
	if err := l.guard(func() error { return l.greet(ctx) }); err != nil {
		l.close(err)
		return fmt.Errorf("worker link: %w", err)
	}
	if err := l.guard(func() error { return l.join(ctx) }); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // which may be for the worker to know
		}
		l.close(err)
		l.quit()
		return fmt.Errorf("worker link: take the worker in: %w", err)
	}
	h.cfg.Log.Info("worker joined", "worker", l.hello.Worker, "key", key.Name, "user", key.User, "version", l.hello.Version,
		"providers", l.hello.Providers, "capacity", l.hello.Capacity, "sessions", len(l.hello.Sessions))

	var wg sync.WaitGroup
	wg.Go(func() {
		end(l.guard(func() error { return l.write(ctx) }))
		l.close(context.Cause(ctx)) // ends the reader
	})
	wg.Go(func() { _ = l.guard(func() error { l.keepLease(ctx); return nil }) })
	q := newIntake()
	wg.Go(func() { _ = l.guard(func() error { l.read(ctx, q); return nil }) })
	end(l.guard(func() error { return l.serve(ctx, q) }))
	wg.Wait()
	l.quit()
	err := context.Cause(ctx) // the first of the reasons
	h.cfg.Log.Info("worker left", "worker", l.hello.Worker, "reason", err)
	return err
}

// tellTimeout bounds the last word to a worker.
const tellTimeout = time.Second

// close tells the worker why its link ends, if there is a word for it, and ends
// it. Called by the writer, or before there is one. That it fails matters to nobody:
// the worker may have gone, and a fault of the connection may be the reason.
func (l *link) close(reason error) {
	var why protocol.LinkError
	if errors.As(reason, &why) {
		ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
		defer cancel()
		_ = l.guard(func() error { return l.conn.WriteFrame(ctx, protocol.NewFrame(protocol.FrameError, why)) })
	}
	_ = l.guard(func() error {
		if c, ok := l.conn.(interface{ CloseFor(reason error) error }); ok {
			return c.CloseFor(reason)
		}
		return l.conn.Close()
	})
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
	revoke = revoke && !s.released // the worker has said itself that it is over
	stop := s.stop
	s.stop = nil
	delete(d.holes, s.id)
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
				return protocol.LinkError{Code: protocol.LinkSilent, Detail: fmt.Sprintf("nothing heard for %s", silent.Round(time.Second))}
			}
			if err := l.send(ctx, protocol.FramePing, protocol.Empty{}); err != nil {
				return err
			}
			l.tellSilent(ctx, now)
		case <-l.wake:
			if ctx.Err() != nil {
				return nil // a write now would cut the connection, and the last word with it
			}
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// silentLocked is for how long nothing came from the worker although the reader
// waited for it. While frames are worked on (a large one, or the store is away) it
// is this node that is slow, and the worker must not lose its sessions.
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
		// While frames are worked on, what would be a sign of life may be among them.
		if !l.busy && s.message != 0 && quiet > 0 && !s.silent && now.Sub(s.event) >= quiet {
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
	if err := ctx.Err(); err != nil {
		return err // as in write
	}
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
		if p.Code == protocol.LinkHole {
			return p // told as the reason of the end
		}
		if err := l.send(ctx, protocol.FrameError, p); err != nil {
			return err
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
	stored, finished, ack, assigned, look := s.stored, s.finished, s.stored > s.acked, s.assigned, s.look && !s.released
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
	snap, is, err := l.stand(ctx, s, known{stored: stored, finished: finished, seen: s.seen})
	switch is {
	case notOurs:
		l.drop(ctx, s, true)
		return nil
	case wasLost:
		return l.lostByStore(ctx, s)
	case doneLost: // the worker has no reason to say it again
		return l.input(ctx, s.id, s.assignment, InDone{Message: finished})
	}
	var commands []Command
	if err == nil {
		if snap.State.Closed == "" {
			s.seen = protocol.Cursor{Epoch: snap.Epoch(), Seq: snap.Last}
		}
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
		AgentSession: state.AgentSession,
	})
}

// takeDue reports whether a command is to be sent now, and notes that it is.
func (l *link) takeDue(s *linkSession, c Command, running uint64) bool {
	d := l.hub.workers
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Type != protocol.WorkerMessage {
		due := c.Seq > s.command
		s.command = max(s.command, c.Seq)
		return due
	}
	if c.Seq != running || c.Seq <= s.message {
		return false
	}
	s.message, s.turn, s.event, s.silent = c.Seq, messageOf(c), time.Now(), false
	return true
}

// sendCommand sends a command that has not been sent: a message only when it is
// its turn, everything else at once.
func (l *link) sendCommand(ctx context.Context, s *linkSession, c Command, running uint64) error {
	if !l.takeDue(s, c, running) {
		return nil
	}
	if c.Type == protocol.WorkerClose {
		// Its place is free when it answers, or after the grace.
		time.AfterFunc(l.hub.cfg.Timers.CloseGrace, func() { _ = l.guard(func() error { l.closeOverdue(s); return nil }) })
	}
	return l.send(ctx, protocol.FrameCommand, protocol.WorkerCommand{
		SessionID: s.id, Assignment: s.assignment, Seq: c.Seq, Type: c.Type, Data: c.Data,
	})
}
