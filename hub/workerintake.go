package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/protocol"
)

// Bounds of the frames of a worker that wait while those before them are stored.
// When they are reached, its connection is not read. As much again can be with
// the one who stores, and one frame can be over the bytes.
const (
	maxWaitingFrames = 1024
	maxWaitingBytes  = 1 << 20
)

// intake holds the frames that have come from a worker and have not been taken.
// One goroutine puts, another takes.
type intake struct {
	came chan struct{} // holds a token when there is something to take
	room chan struct{} // holds a token when something was taken

	mu     sync.Mutex
	frames [][]byte
	bytes  int
	err    error // why no more come
}

func newIntake() *intake {
	return &intake{came: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// put adds a frame, and returns when there is room for another one.
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

// end says that no more come, and why.
func (q *intake) end(err error) {
	q.mu.Lock()
	q.err = err
	q.mu.Unlock()
	signal(q.came)
}

// take waits for frames and gives all that wait; after the last of them, why no
// more come.
func (q *intake) take(ctx context.Context) ([][]byte, error) {
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
		case <-ctx.Done():
		}
	}
}

// signal leaves a token in a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// read puts the worker's frames into the intake until the connection ends. Behind
// an ordinary end what has come is still stored; a worker that is at fault hears so
// at once, even if the store is away, and resends what was not acknowledged.
func (l *link) read(ctx context.Context, q *intake) {
	for {
		raw, err := l.conn.ReadFrame(ctx)
		if err == nil {
			l.hear()
			err = q.put(ctx, raw)
		}
		if err != nil {
			var fault protocol.LinkError
			if errors.As(err, &fault) {
				l.end(err)
			}
			q.end(err)
			return
		}
	}
}

// serve stores what the worker sends until no more comes. What comes while the
// store is at work is taken together afterwards: nobody waits for company.
func (l *link) serve(ctx context.Context, q *intake) error {
	for {
		frames, err := q.take(ctx)
		if err != nil {
			return err
		}
		l.work(true)
		l.complained.Store(false)
		err = l.takeAll(ctx, frames)
		l.work(false)
		if err != nil {
			return err
		}
	}
}

// hear notes a sign of life of the worker.
func (l *link) hear() {
	l.hub.workers.mu.Lock()
	defer l.hub.workers.mu.Unlock()
	l.heard = time.Now()
}

// work notes that the work on frames of the worker's begins, or is over.
func (l *link) work(busy bool) {
	l.hub.workers.mu.Lock()
	defer l.hub.workers.mu.Unlock()
	l.heard, l.busy = time.Now(), busy
}

// maxSideBySide is how many sessions of a link are at the store at once. A store
// on a network takes what comes together for little more than one of them.
const maxSideBySide = 64

// takeAll works through frames that have come: those of one session in order,
// different sessions side by side.
func (l *link) takeAll(ctx context.Context, frames [][]byte) error {
	var work [][]sent
	place := make(map[string]int, len(frames))
	for _, raw := range frames {
		id, st, ok := l.parse(raw)
		if !ok {
			continue
		}
		i, known := place[id]
		if !known {
			i = len(work)
			place[id] = i
			work = append(work, nil)
		}
		work[i] = append(work[i], st)
	}
	if len(work) == 1 { // by far the most usual
		return l.steps(ctx, work[0])
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(len(work), maxSideBySide) {
		wg.Go(func() {
			err := l.guard(func() error {
				for ctx.Err() == nil {
					i := int(next.Add(1)) - 1
					if i >= len(work) {
						break
					}
					if err := l.steps(ctx, work[i]); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				l.end(err) // the others end with it
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// sent is one frame of a session.
type sent struct {
	kind    protocol.FrameType // says which of these it is
	event   protocol.WorkerEvent
	done    protocol.Done
	release protocol.Release
}

// parse reads a frame and says of which session it is; false if it is of none, or
// wrong.
func (l *link) parse(raw []byte) (id string, st sent, ok bool) {
	if protocol.DecodeEvent(raw, &st.event) {
		st.kind = protocol.FrameEvent
		return st.event.SessionID, st, true
	}
	st.event = protocol.WorkerEvent{} // it may have been read in part
	var f protocol.Frame
	if err := protocol.Decode(raw, &f); err != nil {
		l.problem(protocol.LinkInvalid, "a frame must be a JSON object: "+err.Error())
		return "", st, false
	}
	st.kind = f.Type
	var err error
	switch f.Type {
	case protocol.FrameEvent:
		err = protocol.DecodePart(f.Data, &st.event)
		id = st.event.SessionID
	case protocol.FrameDone:
		err = protocol.DecodePart(f.Data, &st.done)
		id = st.done.SessionID
	case protocol.FrameRelease:
		err = protocol.DecodePart(f.Data, &st.release)
		id = st.release.SessionID
	case protocol.FramePong:
		return "", st, false
	default:
		err = fmt.Errorf("unknown type %q", clip(string(f.Type)))
	}
	if err != nil {
		l.problem(protocol.LinkInvalid, fmt.Sprintf("%s: %v", clip(string(f.Type)), err))
	}
	return id, st, err == nil
}

// steps works through frames of one session: what goes straight into the log waits
// for more of it, everything else ends that wait.
func (l *link) steps(ctx context.Context, steps []sent) error {
	var waiting run
	for _, st := range steps {
		if st.kind == protocol.FrameEvent && waiting.add(st.event) {
			continue
		}
		if err := l.events(ctx, waiting.cut()); err != nil {
			return err
		}
		var err error
		switch st.kind {
		case protocol.FrameEvent:
			if !waiting.add(st.event) { // else the run before it was full, or did not lead to it
				err = l.event(ctx, st.event)
			}
		case protocol.FrameDone:
			err = l.done(ctx, st.done)
		case protocol.FrameRelease:
			err = l.release(ctx, st.release)
		}
		if err != nil {
			return err
		}
	}
	return l.events(ctx, waiting.cut())
}

// done notes that the worker is ready for the next message.
func (l *link) done(ctx context.Context, done protocol.Done) error {
	d := l.hub.workers
	s := l.session(done.SessionID, done.Assignment)
	if s == nil {
		return nil
	}
	err := l.input(ctx, s.id, s.assignment, InDone{Message: done.Message})
	d.mu.Lock()
	s.finished = max(s.finished, done.Message)
	d.mu.Unlock()
	d.kick() // an idle agent's place may be wanted
	return err
}

// release takes back what the worker gives back.
func (l *link) release(ctx context.Context, r protocol.Release) error {
	d := l.hub.workers
	if r.Reason == protocol.ReleaseDraining || r.Reason == protocol.ReleaseDrained {
		d.mu.Lock()
		l.draining = true
		d.mu.Unlock()
	}
	s := l.session(r.SessionID, r.Assignment)
	if s == nil {
		return nil
	}
	d.mu.Lock()
	s.released = true
	d.mu.Unlock()
	err := l.input(ctx, r.SessionID, r.Assignment, InRelease{Reason: clip(validUTF8(r.Reason)), Retry: r.Retry})
	l.drop(ctx, s, false)
	return err
}
