package worker

import "sync"

// stdinBytes is how much may wait for an agent to read it before the agent is
// not read either. It is far more than people and the hub can make of it: most of
// it is answers to the agent's own requests.
const stdinBytes = 1 << 20

// stdin is what an agent is told, in its order, from the runner that makes it to
// the writer that waits for the agent to read.
//
// It is bounded by its reader's restraint, as the outbox is: push always takes,
// and the runner reads nothing more from an agent whose stdin is full, so that an
// agent which asks faster than it reads is held by its own pipe. It so holds at
// most its limit, the answers to one line, and what the hub commands.
//
// Safe for concurrent use: one runner pushes, one writer takes.
type stdin struct {
	limit int           // immutable, bytes
	ready chan struct{} // signalled when there is something; never closed
	room  chan struct{} // signalled when a full queue has room again; never closed

	mu     sync.Mutex
	lines  [][]byte
	bytes  int   // of lines
	total  int64 // of all that was ever pushed
	closed bool  // nobody takes any more
}

func newStdin(limit int) *stdin {
	return &stdin{limit: limit, ready: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func (q *stdin) push(line []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total += int64(len(line))
	if q.closed {
		return
	}
	q.lines = append(q.lines, line)
	q.bytes += len(line)
	notify(q.ready)
}

// take returns the next line, or nil if there is none.
func (q *stdin) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines) == 0 {
		return nil
	}
	line := q.lines[0]
	q.lines[0] = nil
	if q.lines = q.lines[1:]; len(q.lines) == 0 {
		q.lines = nil
	}
	wasFull := q.bytes >= q.limit
	if q.bytes -= len(line); wasFull && q.bytes < q.limit {
		notify(q.room)
	}
	return line
}

// full reports whether the runner should stop reading from the agent. The line
// that is being written does not count.
func (q *stdin) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes >= q.limit
}

// offset is where the next line begins in all that the agent is told, in bytes.
func (q *stdin) offset() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

// close throws away what waits, and what is still pushed: the agent reads no more.
func (q *stdin) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.lines, q.bytes = true, nil, 0
	notify(q.room)
}

// notify wakes the one that waits on a channel with room for one signal.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
