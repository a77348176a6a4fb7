package fleet

import (
	"context"
	"errors"
	"slices"
	"time"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// hand is the fact that a message was handed to a link, to be written to its worker. It
// holds State.Running and State.Handed as of then.
type hand struct{ message, count uint64 }

func handOf(s *session.State) hand { return hand{s.Running, s.Handed} }

// life says whether the worker of a link is awake. An open connection does not show it: a
// sleeping laptop keeps its connections, and reads old frames when it wakes. So a message
// is handed only to a worker that has just answered a ping. The link's mu guards all
// fields but came.
type life struct {
	ping     bool          // the writer is to send one
	answers  int           // to pings over this link
	answered time.Time     // when the last one came
	wanted   question      // the dispatcher's
	came     chan struct{} // holds a token when an answer has come
}

// question is a ping whose answer is awaited; zero: there is none.
type question struct {
	asked time.Time
	after int // answers that had come before
}

const (
	// lifeGrace is how long the dispatcher waits for an answer. A worker that has
	// never answered a ping over its link gets its messages after this time anyway.
	lifeGrace = 500 * time.Millisecond
	// lifeLasts is how long one answer counts for the dispatcher.
	lifeLasts = 2 * time.Second
)

// isPong reports whether a frame is the answer to a ping. It decodes short frames only.
func isPong(raw []byte) bool {
	var f protocol.Frame
	return len(raw) <= 64 && protocol.Decode(raw, &f) == nil && f.Type == protocol.FramePong
}

// pong notes an answer to a ping, and wakes the messages that wait for one.
func (r receiver) pong() {
	f := r.fleet
	r.mu.Lock()
	now := time.Now()
	woke := r.life.sleeps(now) // a dispatcher that still waits needs no kick
	r.life.answers++
	r.life.answered = now
	var waiting []*heldSession
	for _, s := range r.sessions {
		if s.asked != (question{}) {
			waiting = append(waiting, s)
		}
	}
	r.mu.Unlock()
	signal(r.life.came)
	for _, s := range waiting {
		r.markChanged(s)
	}
	if woke {
		f.kick()
	}
}

// ask requests a ping and gives the question that its answer settles. The caller kicks
// the writer.
func (x *life) ask(now time.Time) question {
	x.ping = true
	return question{now, x.answers}
}

// answeredTo reports whether the worker has answered a question. A worker that has never
// answered a ping counts as awake after lifeGrace.
func (x *life) answeredTo(q question, now time.Time) bool {
	return x.answers > q.after || x.answers == 0 && now.Sub(q.asked) >= lifeGrace
}

// sleeps reports whether the worker has not answered the dispatcher within lifeGrace.
func (x *life) sleeps(now time.Time) bool {
	return x.wanted != question{} && now.Sub(x.wanted.asked) >= lifeGrace && !x.answeredTo(x.wanted, now)
}

// askFor has the worker pinged for a message that waits in a session. It reports whether
// the worker has answered.
func (w writer) askFor(s *heldSession) bool {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.asked == (question{}) {
		s.asked = w.life.ask(now)
		w.kick()
		if w.life.answers == 0 {
			w.alarms.After(lifeGrace, func() { w.markChanged(s) })
		}
		return false
	}
	if !w.life.answeredTo(s.asked, now) {
		return false
	}
	s.asked = question{}
	return true
}

// awake makes the dispatcher wait for an answer of the worker, unless the worker has
// answered in the present round. It reports whether the worker is awake.
func (l *link) awake(ctx context.Context) bool {
	grace := time.NewTimer(lifeGrace)
	defer grace.Stop()
	for {
		now := time.Now()
		l.mu.Lock()
		asked := l.life.wanted != question{}
		answered := asked && l.life.answeredTo(l.life.wanted, now)
		fresh := answered && (l.life.answers == 0 || now.Sub(l.life.answered) < lifeLasts)
		sleeps := l.closed || l.broken != nil || l.life.sleeps(now)
		if !sleeps && !fresh && (!asked || answered) {
			l.life.wanted = l.life.ask(now)
			l.kick()
		}
		l.mu.Unlock()
		if fresh || sleeps {
			return fresh && !sleeps
		}
		select {
		case <-l.life.came:
		case <-grace.C:
			// The next turn of the loop finds that it sleeps, or that it answers no pings.
			grace.Reset(lifeGrace)
		case <-l.left:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// endRound makes the next round of assignments ask each worker again.
func (d dispatcher) endRound() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.links {
		l.mu.Lock()
		if l.life.answeredTo(l.life.wanted, time.Now()) {
			l.life.wanted = question{}
		}
		l.mu.Unlock()
	}
}

// hand stores that the link is about to write the due message. A waiting message first
// needs an answer of the worker to a ping. A message that an earlier link has handed, and
// that this worker has not received, is handed again. ErrNotDue, ErrFenced or
// ErrNotFound: the session has moved on meanwhile.
func (w writer) hand(ctx context.Context, s *heldSession, snap store.Snapshot) (store.Snapshot, error) {
	w.mu.Lock()
	has, received := s.handed, s.message
	w.mu.Unlock()
	message, waits := snap.State.Waiting()
	if !waits {
		w.mu.Lock()
		s.asked = question{}
		w.mu.Unlock()
		var runs bool
		if message, runs = snap.State.Turn(); !runs || message.Command <= received || has == handOf(snap.State) {
			return snap, nil
		}
	} else if !w.askFor(s) {
		return snap, nil
	}
	after, _, err := w.fleet.engine.Change(ctx, s.id, session.FromWorker{Assignment: s.assignment, Input: session.InHand{Command: message.Command}}, nil)
	if err != nil {
		return snap, err
	}
	w.mu.Lock()
	s.handed = handOf(after.State)
	w.mu.Unlock()
	return after, nil
}

// lacksCommands reports whether the command log can hold a command that the worker lacks.
// The commands of a turn have higher numbers than its message.
func (w writer) lacksCommands(s *heldSession, state *session.State) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return state.Running > s.message || state.NextCommand > max(s.message, s.command)
}

// unsentLocked lists the sessions with a message that was handed to the link, and that
// the link has not begun to write. It lists those too of which the worker has not heard.
func (k leaseKeeper) unsentLocked() []*heldSession {
	var unsent []*heldSession
	for _, s := range k.sessions {
		if s.handed.message > s.message || !s.assigned {
			unsent = append(unsent, s)
		}
	}
	return unsent
}

// takeBack takes back messages that were handed to the link and that it never began to
// write. If the store does not take that, the messages count as received.
func (k leaseKeeper) takeBack(ctx context.Context, unsent []*heldSession) {
	for _, s := range unsent {
		in := session.InTakeBack{Handed: s.handed.count, Unassign: !s.assigned}
		_, _, err := k.fleet.engine.Change(ctx, s.id, session.FromWorker{Assignment: s.assignment, Input: in}, nil)
		if err == nil && in.Unassign {
			err = k.fleet.store.Unhold(ctx, k.hello.Worker, s.holding())
		}
		if err != nil && !slices.ContainsFunc([]error{session.ErrFenced, session.ErrNotFound}, func(e error) bool { return errors.Is(err, e) }) {
			k.fleet.Log.Error("take back a message that was not sent", "session", s.id, "worker", k.hello.Worker, "error", err)
		}
	}
}
