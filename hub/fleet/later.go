package fleet

import (
	"context"
	"errors"
	"sync"

	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// later holds frames of sessions whose server of the store is away while other servers
// are there. So the worker's other sessions go on. It has the bounds of the intake. When
// it is full, the hub takes no more frames from the worker.
type later struct {
	mu    sync.Mutex
	work  map[string][]sent // by session, in order
	count int               // frames
	bytes int
}

// sessionWork is the work for one session, in order.
type sessionWork struct {
	id    string
	steps []sent
}

// Steps that are no frames: requests of a hello that wait for their server.
const (
	stepRejoin protocol.FrameType = "(rejoin)"
	stepLose   protocol.FrameType = "(lose)"
)

// errAway says that a session's server is away while others are there.
var errAway = errors.New("the server of the session is away")

func (l *later) any() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.work) > 0
}

func (l *later) full() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count >= maxWaitingFrames || l.bytes >= maxWaitingBytes
}

func (l *later) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.work[id] != nil
}

// put adds steps of a session after those that it holds already.
func (l *later) put(w sessionWork) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.work == nil {
		l.work = make(map[string][]sent)
	}
	l.work[w.id] = append(l.work[w.id], w.steps...)
	l.count += len(w.steps)
	for _, st := range w.steps {
		l.bytes += st.size
	}
}

// take gives all steps, and the index in work of each session.
func (l *later) take() (work []sessionWork, index map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index = make(map[string]int, len(l.work))
	for id, steps := range l.work {
		index[id] = len(work)
		work = append(work, sessionWork{id, steps})
	}
	l.work, l.count, l.bytes = nil, 0, 0
	return work, index
}

// takeOne does the work for a session, or keeps it in later if the session's server is
// away.
func (r receiver) takeOne(ctx context.Context, todo sessionWork) error {
	if store.Away(r.fleet.store, todo.id) {
		r.later.put(todo)
		return nil
	}
	rest, err := r.steps(ctx, todo.steps)
	if errors.Is(err, errAway) {
		r.later.put(sessionWork{todo.id, rest})
		return nil
	}
	return err
}

// persistFor is persist for one session. It returns errAway when only the session's
// server is away.
func (l *link) persistFor(ctx context.Context, id string, f func() error) error {
	var gone error
	err := l.persist(ctx, func() error {
		err := f()
		if err != nil && !store.Answered(err) && store.Away(l.fleet.store, id) {
			gone = errAway
			return nil
		}
		return err
	})
	return errors.Join(err, gone)
}

// lose takes a session away from the link's worker, whose hello does not name it.
func (j joiner) lose(ctx context.Context, h store.Holding) error {
	return j.persistFor(ctx, h.Session, func() error { return j.fleet.lose(ctx, j.hello.Worker, h) })
}
