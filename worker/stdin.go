package worker

import "sync"

// stdinBytes is how much may wait for an agent to read it. Beyond that, the worker does not
// read the agent either. It is far more than people and the hub send: most of it is answers
// to the agent's own requests.
const stdinBytes = 1 << 20

// stdin holds the lines for an agent in their order. The runner pushes them. The writer
// takes them, and waits for the agent to read.
//
// Its bound depends on the runner, as the outbox's does. A push never fails, and the runner
// does not read from an agent whose stdin is full. So an agent that asks faster than it
// reads is held by its own pipe. stdin holds at most its limit, the answers to one line,
// and the hub's commands.
//
// All methods may be called concurrently: one runner pushes, one writer takes.
type stdin struct {
	limit int           // immutable, bytes
	ready chan struct{} // signalled when there is something; never closed
	room  chan struct{} // signalled when a full queue has room again; never closed

	mu     sync.Mutex
	lines  [][]byte
	bytes  int   // of lines
	total  int64 // of all lines that were ever pushed
	closed bool  // no line is taken any more
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

// full reports whether the runner should stop reading from the agent. The line that is
// being written does not count.
func (q *stdin) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes >= q.limit
}

// offset is where the next line begins in all of the agent's input, in bytes.
func (q *stdin) offset() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total
}

// close drops the lines that wait, and those that are pushed later. The agent reads no
// more.
func (q *stdin) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.lines, q.bytes = true, nil, 0
	notify(q.room)
}

// notify wakes the goroutine that waits on a channel with room for one signal.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
