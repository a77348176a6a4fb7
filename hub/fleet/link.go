package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// WorkerConn carries the frames of a worker link, one JSON text each: a WebSocket, or a
// pipe in this process. ReadFrame has one caller at a time, and so has WriteFrame. Close
// may be called from anywhere; it ends both.
type WorkerConn interface {
	ReadFrame(ctx context.Context) ([]byte, error)
	WriteFrame(ctx context.Context, frame []byte) error
	Close() error
}

// link is the hub's end of one worker link. It holds the fields that its roles share.
// Each role is a type of its own that embeds the link: joiner, receiver, publisher,
// writer, leaseKeeper and lossFinder.
//
// Six goroutines work for a link, and one for each session whose attachments are on their
// way to the worker. The reader fills the intake. It stops when the intake
// is full, so a slow store holds the worker back. ServeWorker itself takes the worker in,
// and then stores the frames of the intake, with helpers. The writer sends the frames
// that are due. From the welcome on, one goroutine pings, and one renews the lease. The
// last looks for strays.
//
// The writer has no queue. A session is dirty or not; the writer reads the commands that
// the worker lacks from the command log. The link watches the worker's sessions, since
// their clients can be on any node.
type link struct {
	fleet        *Fleet
	conn         WorkerConn
	key          WorkerKey
	end          context.CancelCauseFunc // ends the link, and says why
	left         chan struct{}           // closed when the fleet has forgotten it
	hello        protocol.Hello          // without its providers and details: see offer
	offer        offerPointer
	offerChanged chan struct{} // the lease's keeper is to tell the other nodes
	wake         chan struct{}
	pen          chan struct{} // holds a token while a goroutine writes a frame

	alarms     engine.Alarms // stopped before the link is left
	asked      asked         // has its own lock
	deliveries deliveries

	// mu guards the fields below it, and the sessions but for their first four fields. It
	// is held for no call that blocks. Lock order: a session's lock in the store, or
	// Fleet.mu, then mu.
	mu           sync.Mutex
	sessions     map[string]*heldSession
	dirty        map[string]struct{}
	reserved     int  // sessions that are about to be added: part of the capacity
	joined       bool // the worker's sessions are taken in: it can get new ones
	closed       bool
	broken       error               // of a write: nothing more can be sent; see writer.endFor
	checkSilence bool                // the writer is to look for silent turns
	draining     bool                // the worker has said so: it gets no new session
	acks         []protocol.EventAck // to be sent: the last of each session that is gone
	answers      *answers            // to be sent

	life       life
	later      later       // has its own lock
	heard      time.Time   // when the last frame came, or the work on one ended
	spoke      time.Time   // when the last frame came
	busy       bool        // frames are being worked on
	leaseArmed time.Time   // when the worker's entry in the due-index was armed
	complained atomic.Bool // the log has said that the store does not take the present frames
}

// heldSession is a session that the worker of a link holds. All but the first four fields
// are guarded by the link's mu.
type heldSession struct {
	id         string
	provider   string
	assignment uint64

	seen protocol.Cursor // the log's end when the writer last read the session; owned by the writer

	stop     func()                // of the watch; nil while there is none
	changed  bool                  // its state or commands may have changed
	released bool                  // the worker has given it back, and gets no more frames of it
	gone     bool                  // the link has forgotten it, by drop
	assigned bool                  // the assign frame is out
	handed   hand                  // the last message that was handed to this link
	asked    question              // the ping for the message that waits
	message  uint64                // last message command that was sent
	turn     string                // the id of its message
	command  uint64                // last other command that was sent
	stored   uint64                // last event that is in the log
	acked    uint64                // last event that was acknowledged
	finished uint64                // last message whose done is in the state
	alive    uint64                // the message command whose turn is known to have begun
	event    time.Time             // when the last event came or the last message went
	silent   bool                  // the status says that no event has come for a while
	evicted  bool                  // a close is out, to free its capacity
	hole     bool                  // its events have had a hole, on this link or the one before it
	files    attached              // those that its worker has
	hello    protocol.HelloSession // the worker's numbers in its hello, until replayDone is over; or zero
}

// holding names the session in the store's list of the worker's sessions.
func (s *heldSession) holding() store.Holding {
	return store.Holding{Session: s.id, Assignment: s.assignment}
}

// ServeWorker serves one worker link until it breaks or ctx ends, and returns why it
// ended. A reason that is a protocol.LinkError, also as the cause of ctx's end, is sent
// to the worker in an error frame before the close. If conn has a method CloseFor(error)
// error, that closes the connection. A panic in the work for the link ends this link
// only.
func (f *Fleet) ServeWorker(ctx context.Context, conn WorkerConn, key WorkerKey) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	l := &link{
		fleet: f, conn: conn, key: key, end: end, left: make(chan struct{}), wake: make(chan struct{}, 1), pen: make(chan struct{}, 1), offerChanged: make(chan struct{}, 1),
		sessions: make(map[string]*heldSession), dirty: make(map[string]struct{}), heard: time.Now(),
		answers: newAnswers(), deliveries: newDeliveries(), life: life{came: make(chan struct{}, 1)},
	}
	join := joiner{l}
	in := receiver{link: l, joiner: join, publisher: publisher{l}}
	out := writer{l}
	lease := leaseKeeper{l}
	if err := l.guard(func() error { return join.greet(ctx) }); err != nil {
		l.close(err)
		return fmt.Errorf("worker link: %w", err)
	}
	var wg sync.WaitGroup
	q := newIntake()
	l.setBusy(true)                 // until frames are taken from the intake
	heardAll := make(chan struct{}) // closed when the reader has ended
	wg.Go(func() { out.endFor(ctx, l.guard(func() error { return out.beat(ctx) }), heardAll) })
	wg.Go(func() { _ = l.guard(func() error { lease.keepLease(ctx); return nil }) })
	hearing, deaf := context.WithCancel(ctx)
	wg.Go(func() {
		defer deaf()
		defer close(heardAll)
		_ = l.guard(func() error { in.read(ctx, q); return nil })
		if !l.isJoined() {
			end(errors.New("the connection ended before the worker was taken in"))
		}
	})
	if err := l.guard(func() error { return in.join(ctx) }); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause // it may be a LinkError, which the worker gets
		}
		end(err)
		l.close(err)
		wg.Wait()
		l.alarms.Stop()
		lease.quit()
		return fmt.Errorf("worker link: take the worker in: %w", err)
	}
	f.Log.Info("worker joined", "worker", l.hello.Worker, "key", key.Name, "user", key.User, "version", l.hello.Version,
		"providers", someOf(l.offer.now().providers), "capacity", l.hello.Capacity, "sessions", len(l.hello.Sessions))

	wg.Go(func() {
		out.endFor(ctx, l.guard(func() error { return out.write(ctx) }), heardAll)
		l.close(context.Cause(ctx)) // ends the reader
	})
	wg.Go(func() { _ = l.guard(func() error { newStrays(l).run(hearing); return nil }) })
	err := l.guard(func() error { return in.serve(ctx, q) })
	l.asked.end()
	if broken := out.brokenBy(); broken != nil {
		err = broken // it came first
	}
	end(err)
	wg.Wait()
	l.deliveries.wg.Wait()
	l.alarms.Stop()
	lease.quit()
	err = context.Cause(ctx) // the first of the reasons
	f.Log.Info("worker left", "worker", l.hello.Worker, "reason", err)
	return err
}

// tellTimeout bounds the last word to a worker.
const tellTimeout = time.Second

// close sends the worker the reason for the end of its link, if that is a LinkError, and
// closes the connection. Failures are ignored: the worker may have gone, or the
// connection has a fault.
func (l *link) close(reason error) {
	var why protocol.LinkError
	if errors.As(reason, &why) {
		ctx, cancel := context.WithTimeout(context.Background(), tellTimeout)
		defer cancel()
		_ = l.guard(func() error { return writer{l}.writeFrame(ctx, protocol.FrameError, why) })
	}
	_ = l.guard(func() error {
		if c, ok := l.conn.(interface{ CloseFor(reason error) error }); ok {
			return c.CloseFor(reason)
		}
		return l.conn.Close()
	})
}

// add gives the link a session, and watches it. false: the link has ended, so the session
// stays with its worker's lease.
func (l *link) add(s *heldSession) bool {
	s.hole = l.fleet.holes.has(s)
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	var over func()
	if old := l.sessions[s.id]; old != nil { // of an assignment that is over
		over, old.stop, old.gone = old.stop, nil, true
	}
	l.sessions[s.id] = s
	l.mu.Unlock()
	if over != nil {
		over()
	}
	stop := l.fleet.store.Watch(s.id, func(n store.Notice) {
		if n.Changed {
			l.markChanged(s)
		}
	})
	l.mu.Lock()
	if l.sessions[s.id] == s && !l.closed {
		s.stop, stop = stop, nil
	}
	l.mu.Unlock()
	if stop != nil {
		stop()
	}
	l.markChanged(s) // for changes before the watch
	return true
}

// markChanged makes the writer read a session's state and commands.
func (l *link) markChanged(s *heldSession) {
	l.mu.Lock()
	s.changed = true
	l.dirty[s.id] = struct{}{}
	l.mu.Unlock()
	l.kick()
}

func (l *link) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// sessionOrRevoke finds a session of the worker, if the frame's assignment is the present
// one. Otherwise it sends a revoke for that assignment and gives nil.
func (l *link) sessionOrRevoke(id string, assignment uint64) *heldSession {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.sessions[id]; s != nil && s.assignment == assignment {
		return s
	}
	l.revokeLocked(protocol.Revoke{SessionID: id, Assignment: assignment})
	return nil
}

// drop forgets a session of this link, and frees its capacity. The storer, the writer and
// a timer can each find that the session has ended: only the first call has an effect.
func (l *link) drop(ctx context.Context, s *heldSession, revoke bool) {
	l.mu.Lock()
	if s.gone {
		l.mu.Unlock()
		return
	}
	s.gone = true
	revoke = revoke && !s.released // a released assignment needs no revoke
	stop := s.stop
	s.stop = nil
	hole := s.hole
	delete(l.sessions, s.id)
	if s.stored > s.acked && !revoke {
		// The worker keeps its events until it has this.
		l.acks = append(l.acks, protocol.EventAck{SessionID: s.id, Assignment: s.assignment, N: s.stored})
		l.kick()
	}
	if revoke {
		l.revokeLocked(protocol.Revoke{SessionID: s.id, Assignment: s.assignment})
	}
	l.mu.Unlock()
	if hole {
		l.fleet.holes.forget(s.id)
	}
	if stop != nil {
		stop()
	}
	// A session that stays in the list is lost once more when the worker's lease
	// ends, which changes nothing.
	if err := l.fleet.store.Unhold(ctx, l.hello.Worker, s.holding()); err != nil && ctx.Err() == nil {
		l.fleet.Log.Warn("take a session off its worker's list", "session", s.id, "error", err)
	}
	l.fleet.kickFor(l)
}

// forgotten reports whether drop was called for the session.
func (l *link) forgotten(s *heldSession) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return s.gone
}

// guard calls f, which works for the link. A panic of f ends this link only; the error is
// then the LinkError of that end.
func (l *link) guard(f func() error) error {
	err := l.fleet.Guard("a worker link", f, "worker", l.hello.Worker, "key", l.key.Name)
	if errors.Is(err, engine.ErrPanic) {
		err = protocol.LinkError{Code: protocol.LinkInternal, Detail: "a fault of the node: come back"}
		l.end(err)
	}
	return err
}
