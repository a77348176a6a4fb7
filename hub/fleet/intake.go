package fleet

import (
	"context"
	"sync"
	"time"
)

// Bounds of the frames that wait while earlier ones are stored. At the bounds, the
// worker's connection is not read. The storer can hold as much again. One frame can
// exceed the bytes. The more frames of a session come together, the fewer appends they
// make: while a disk syncs, a thousand busy sessions send several each.
const (
	maxWaitingFrames = 4096
	maxWaitingBytes  = 1 << 20
)

// intake holds frames of a worker that the storer has not taken. One goroutine puts,
// another takes.
type intake struct {
	came chan struct{} // holds a token when there are frames, or err is set
	room chan struct{} // holds a token when frames were taken

	mu     sync.Mutex
	frames [][]byte
	bytes  int
	err    error // why no more frames come
}

func newIntake() *intake {
	return &intake{came: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a frame, and returns when there is room for another.
func (q *intake) put(ctx context.Context, raw []byte) error {
	q.mu.Lock()
	q.frames = append(q.frames, raw)
	q.bytes += len(raw)
	q.mu.Unlock()
	signal(q.came)
	for q.full() {
		select {
		case <-q.room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (q *intake) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.frames) >= maxWaitingFrames || q.bytes >= maxWaitingBytes
}

// end says that no more frames come, and why.
func (q *intake) end(err error) {
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
	signal(q.came)
}

// take waits for frames and gives all that are there. After the last frame it gives the
// reason why no more come. again ends the wait without frames.
func (q *intake) take(ctx context.Context, again <-chan time.Time) ([][]byte, error) {
	for {
		q.mu.Lock()
		frames, err := q.frames, q.err
		q.frames, q.bytes = nil, 0
		q.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case len(frames) > 0:
			signal(q.room)
			return frames, nil
		case err != nil:
			return nil, err
		}
		select {
		case <-q.came:
		case <-again:
			return nil, nil
		case <-ctx.Done():
		}
	}
}

// signal leaves a token in a channel of capacity one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
