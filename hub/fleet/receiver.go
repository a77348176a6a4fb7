package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// receiver takes the worker's frames. A goroutine of its own reads them into the intake.
// The goroutine of ServeWorker works through the intake.
type receiver struct {
	*link
	joiner
	publisher
}

// read puts the worker's frames into the intake until the connection ends. After an
// ordinary end, the frames in the intake are still stored. A faulty frame ends the link
// at once, even if the store is away; the worker then resends everything that was not
// acknowledged.
func (r receiver) read(ctx context.Context, q *intake) {
	for {
		raw, err := r.conn.ReadFrame(ctx)
		if err == nil {
			r.hear()
			if isPong(raw) {
				r.pong()
				continue
			}
			response, is, fault := readResponse(raw)
			switch {
			case fault != nil:
				err = protocol.LinkError{Code: protocol.LinkInvalid, Detail: session.ClipTo(fmt.Sprintf("response: %v", fault), maxDetailBytes)}
			case is:
				r.asked.came(response)
				continue
			default:
				err = q.put(ctx, raw)
			}
		}
		if err != nil {
			var fault protocol.LinkError
			if errors.As(err, &fault) {
				r.end(err)
			}
			q.end(err)
			return
		}
	}
}

// serve stores the worker's frames until no more come. Frames that come during a store
// call are taken together after it. No frame waits in order to be taken with others.
func (r receiver) serve(ctx context.Context, q *intake) error {
	for {
		var again <-chan time.Time
		if r.later.any() {
			again = time.After(engine.StoreRetry)
		}
		var frames [][]byte
		if r.later.full() {
			<-again // meanwhile no frames are taken
		} else {
			var err error
			frames, err = q.take(ctx, again)
			if err != nil && (ctx.Err() != nil || !r.later.any()) {
				return err
			}
			if err != nil {
				<-again // frames that have come are still stored
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		// A retry without new frames is no sign of life of the worker.
		busy := len(frames) > 0 || r.later.full()
		if busy {
			r.setBusy(true)
		}
		r.complained.Store(false)
		err := r.takeAll(ctx, frames)
		if busy {
			r.setBusy(r.later.full())
		}
		if err != nil {
			return err
		}
	}
}

// hear notes a sign of life of the worker.
func (r receiver) hear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = time.Now()
	r.spoke = r.heard
}

// setBusy notes that the work on the worker's frames begins, or is over.
func (l *link) setBusy(busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.heard, l.busy = time.Now(), busy
}

// maxSideBySide is how many sessions of a link call the store at once. A network store
// takes several calls together for little more than the cost of one.
const maxSideBySide = 64

// takeAll works through frames that have come: those of one session in order, different
// sessions side by side.
func (r receiver) takeAll(ctx context.Context, frames [][]byte) error {
	work, index := r.later.take()
	for _, raw := range frames {
		if err := r.awaitRoom(ctx); err != nil {
			return err
		}
		id, st, ok := r.parse(raw)
		if !ok {
			continue
		}
		i, known := index[id]
		if !known {
			i = len(work)
			index[id] = i
			work = append(work, sessionWork{id: id})
		}
		st.size = len(raw)
		work[i].steps = append(work[i].steps, st)
	}
	if len(work) == 1 { // by far the most usual
		return r.takeOne(ctx, work[0])
	}
	return r.sideBySide(ctx, len(work), func(i int) error { return r.takeOne(ctx, work[i]) })
}

// sideBySide calls f with 0 to n-1, up to maxSideBySide calls at once. An error or a
// panic of one call ends the link, and so the other calls.
func (r receiver) sideBySide(ctx context.Context, n int, f func(i int) error) error {
	var wg sync.WaitGroup
	var next atomic.Int64
	for range min(n, maxSideBySide) {
		wg.Go(func() {
			err := r.guard(func() error {
				for ctx.Err() == nil {
					i := int(next.Add(1)) - 1
					if i >= n {
						break
					}
					if err := f(i); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				r.end(err)
			}
		})
	}
	wg.Wait()
	return ctx.Err()
}

// sent is one frame of a session, or one step of a hello.
type sent struct {
	kind    protocol.FrameType // says which of the fields below is set
	event   protocol.WorkerEvent
	done    protocol.Done
	release protocol.Release
	hello   protocol.HelloSession // of a rejoin
	size    int                   // bytes of the frame
}

// parse reads a frame and gives the id of its session. ok is false if the frame is
// invalid or belongs to no session.
func (r receiver) parse(raw []byte) (id string, st sent, ok bool) {
	if protocol.DecodeEvent(raw, &st.event) && checkSessionID(st.event.SessionID) == nil {
		st.kind, st.event = protocol.FrameEvent, renamed(st.event)
		return st.event.SessionID, st, true
	}
	st.event = protocol.WorkerEvent{} // it may have been read in part
	var f protocol.Frame
	if err := protocol.Decode(raw, &f); err != nil {
		r.problem(protocol.LinkInvalid, "a frame must be a JSON object: "+err.Error())
		return "", st, false
	}
	st.kind = f.Type
	var err error
	switch f.Type {
	case protocol.FrameEvent:
		err = protocol.DecodePart(f.Data, &st.event)
		st.event = renamed(st.event)
		id = st.event.SessionID
	case protocol.FrameDone:
		err = protocol.DecodePart(f.Data, &st.done)
		id = st.done.SessionID
	case protocol.FrameRelease:
		err = protocol.DecodePart(f.Data, &st.release)
		id = st.release.SessionID
	case protocol.FramePong: // a long one
		r.pong()
		return "", st, false
	case protocol.FrameProviders:
		if err := r.takeOffer(f.Data); err != nil {
			r.problem(protocol.LinkInvalid, session.ClipTo("providers: "+err.Error(), maxDetailBytes))
		}
		return "", st, false
	default:
		err = fmt.Errorf("unknown type %q", session.Clip(string(f.Type)))
	}
	if err == nil {
		err = checkSessionID(id) // answers repeat the id
	}
	if err != nil {
		r.problem(protocol.LinkInvalid, fmt.Sprintf("%s: %v", session.Clip(string(f.Type)), err))
	}
	return id, st, err == nil
}

// steps works through the steps of one session. Events that go straight into the log are
// collected; any other step first stores the collected ones. With an error it gives the
// steps that are left. It is safe to repeat a part of them.
func (r receiver) steps(ctx context.Context, steps []sent) (rest []sent, err error) {
	var waiting run
	from := 0 // the first step that waits
	for i, st := range steps {
		if st.kind != stepRejoin && st.kind != stepLose { // the writer sends no answers until the whole hello is taken in
			if err := r.awaitRoom(ctx); err != nil {
				return steps[from:], err
			}
		}
		if st.kind == protocol.FrameEvent && waiting.add(st.event) {
			continue
		}
		if err := r.events(ctx, waiting.cut()); err != nil {
			return steps[from:], err
		}
		from = i
		switch st.kind {
		case protocol.FrameEvent:
			if waiting.add(st.event) { // it fits into a new run, not into the last one
				continue
			}
			err = r.event(ctx, st.event)
		case protocol.FrameDone:
			err = r.done(ctx, st.done)
		case protocol.FrameRelease:
			err = r.release(ctx, st.release)
		case stepRejoin:
			err = r.rejoin(ctx, st.hello)
		case stepLose:
			err = r.lose(ctx, store.Holding{Session: st.hello.SessionID, Assignment: st.hello.Assignment})
		}
		if err != nil {
			return steps[from:], err
		}
		from = i + 1
	}
	return steps[from:], r.events(ctx, waiting.cut())
}

// done notes that the worker is ready for the next message.
func (r receiver) done(ctx context.Context, done protocol.Done) error {
	f := r.fleet
	s := r.sessionOrRevoke(done.SessionID, done.Assignment)
	if s == nil {
		return nil
	}
	err := lossFinder{r.link}.inputAfterEvents(ctx, s, session.InDone{Message: done.Message})
	if errors.Is(err, errAway) {
		return err
	}
	r.mu.Lock()
	s.finished = max(s.finished, done.Message)
	r.mu.Unlock()
	f.kickFor(r.link) // a waiting session may want the idle agent's capacity
	return err
}

// release takes back a session that the worker gives up.
func (r receiver) release(ctx context.Context, given protocol.Release) error {
	if given.Reason == protocol.ReleaseDraining || given.Reason == protocol.ReleaseDrained {
		r.mu.Lock()
		r.draining = true
		r.mu.Unlock()
	}
	s := r.sessionOrRevoke(given.SessionID, given.Assignment)
	if s == nil {
		return nil
	}
	r.mu.Lock()
	s.released = true
	r.mu.Unlock()
	err := lossFinder{r.link}.inputAfterEvents(ctx, s, session.InRelease{Reason: session.CutText(session.ValidUTF8(given.Reason), protocol.MaxReasonBytes), Retry: given.Retry})
	if err != nil {
		return err // the worker keeps the session until its lease ends
	}
	r.drop(ctx, s, false)
	return nil
}
