package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"sessionhub/internal/backoff"
	"sessionhub/protocol"
)

// Conn is one link to a hub. It carries one JSON frame at a time. One goroutine reads,
// another one writes. Any goroutine may call Close, more than once. Close ends reads and
// writes, as does the end of their context. WriteFrame neither changes nor keeps a frame:
// the worker may send it again over another link.
type Conn interface {
	ReadFrame(ctx context.Context) ([]byte, error)
	WriteFrame(ctx context.Context, frame []byte) error
	Close() error
}

const (
	// helloTimeout is how long a hub may take to answer hello.
	helloTimeout = 10 * time.Second
	// firstRetry and lastRetry bound the wait before a new link. lastRetry must be well
	// below the hub's lease of 15 s, so that a short outage loses nothing.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 3 * time.Second
	// missedBeats is how many heartbeats a hub may leave out.
	missedBeats = 3
	// writeBatch is how many bytes of one session are written before another session has
	// its turn.
	writeBatch = 64 << 10
	// drainFlush is how long the hub may take to store the last events of a drain.
	drainFlush = 5 * time.Second
)

// Run keeps a link to the hub until ctx ends or the worker is closed. It connects, serves
// the link, and connects again after a growing wait. Agents run on while there is no link.
// Run returns nil when ctx ends. It returns an error only if another attempt is of no use.
func (w *Worker) Run(ctx context.Context, dial func(context.Context) (Conn, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.life, cancel)()
	if w.cfg.Discover != nil {
		var looks sync.WaitGroup
		defer looks.Wait()
		defer cancel()
		looks.Go(func() { w.look(ctx) })
	}
	w.mu.Lock()
	if !w.swept && !w.closed {
		w.swept = true
		w.worktrees.begin()
	}
	w.mu.Unlock()
	waits := backoff.Backoff{Base: firstRetry, Max: lastRetry} // workers that lost one hub come back apart
	for {
		welcomed, err := w.connect(ctx, dial)
		switch {
		case w.life.Err() != nil:
			return ErrClosed
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrRefused):
			return fmt.Errorf("connect worker %s: %w", w.cfg.Name, err)
		}
		if welcomed {
			waits.Reset()
		}
		pause := waits.Next()
		w.log.Warn("no link to the hub", "error", err, "retry", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// connect serves one link to its end.
func (w *Worker) connect(ctx context.Context, dial func(context.Context) (Conn, error)) (welcomed bool, err error) {
	conn, err := dial(ctx)
	if err != nil {
		return false, fmt.Errorf("dial: %w", err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	welcome, err := w.greet(ctx, conn)
	if err != nil {
		return false, err
	}
	w.meet(welcome)
	w.log.Info("linked to the hub", "node", welcome.Node)
	w.linked.Store(true)
	w.links.Add(1)
	defer w.linked.Store(false)

	var writer sync.WaitGroup
	defer writer.Wait()
	defer conn.Close() // before the wait: it ends a write that hangs
	defer cancel(nil)
	writer.Go(func() {
		if err := w.writeFrames(ctx, conn); err != nil {
			cancel(fmt.Errorf("write to the hub: %w", err))
			_ = conn.Close()
		}
	})
	err = w.readFrames(ctx, cancel, conn, time.Duration(welcome.HeartbeatSeconds)*time.Second)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return true, err
}

// greet sends hello with everything that still runs here. It marks all unacknowledged
// frames to be sent again.
func (w *Worker) greet(ctx context.Context, conn Conn) (protocol.Welcome, error) {
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	var welcome protocol.Welcome
	if err := conn.WriteFrame(ctx, protocol.NewFrame(protocol.FrameHello, w.hello())); err != nil {
		return welcome, fmt.Errorf("say hello: %w", err)
	}
	raw, err := conn.ReadFrame(ctx)
	if err != nil {
		return welcome, fmt.Errorf("wait for welcome: %w", err)
	}
	var frame protocol.Frame
	if err := protocol.Decode(raw, &frame); err != nil {
		return welcome, fmt.Errorf("read welcome: %w", err)
	}
	if frame.Type == protocol.FrameError {
		var refused protocol.LinkError
		_ = protocol.Decode(frame.Data, &refused)
		return welcome, fmt.Errorf("the hub answered hello with an error: %s", clip(refused.Error(), 512))
	}
	if frame.Type != protocol.FrameWelcome {
		return welcome, fmt.Errorf("the hub answered hello with %q", clip(string(frame.Type), 64))
	}
	if err := protocol.Decode(frame.Data, &welcome); err != nil {
		return welcome, fmt.Errorf("read welcome: %w", err)
	}
	return welcome, nil
}

func (w *Worker) hello() protocol.Hello {
	w.mu.Lock()
	defer w.mu.Unlock()
	offer := w.offerLocked()
	w.offers.due = false
	h := protocol.Hello{
		Worker: w.cfg.Name, Version: w.cfg.Version, Workspace: w.cfg.Workspace,
		Capacity: w.cfg.Capacity, Providers: offer.Providers,
		Commands: []protocol.WorkerCommandType{protocol.WorkerSetOption}, Requests: w.requestMethods(),
		Details:     offer.Details,
		Attachments: true,
	}
	for _, s := range w.order {
		if entry, alive := s.out.hello(); alive {
			h.Sessions = append(h.Sessions, entry)
		}
		s.out.resend()
	}
	// Answers to the last link's frames mean nothing on this one.
	w.control, w.overrun, w.pong = nil, false, false
	w.requests.open -= len(w.requests.replies)
	w.requests.replies = nil
	return h
}

// readFrames handles the hub's frames until the link ends. No other goroutine takes
// assignments and acknowledgements.
func (w *Worker) readFrames(ctx context.Context, cancel context.CancelCauseFunc, conn Conn, heartbeat time.Duration) error {
	silence := missedBeats * heartbeat
	var watch *time.Timer
	if silence > 0 {
		watch = time.AfterFunc(silence, func() {
			cancel(fmt.Errorf("the hub was silent for %s", silence))
			_ = conn.Close()
		})
		defer watch.Stop()
	}
	for {
		raw, err := conn.ReadFrame(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("the hub closed the link")
			}
			return fmt.Errorf("read from the hub: %w", err)
		}
		if watch != nil {
			watch.Reset(silence)
		}
		if err := w.onFrame(raw); err != nil {
			return err
		}
	}
}

// onFrame handles one frame; an error ends the link.
func (w *Worker) onFrame(raw []byte) error {
	var frame protocol.Frame
	if err := protocol.Decode(raw, &frame); err != nil {
		return fmt.Errorf("the hub sent a frame that cannot be read: %w", err)
	}
	var err error
	switch frame.Type {
	case protocol.FramePing:
		w.mu.Lock()
		w.pong = true
		w.mu.Unlock()
		w.wakeWriter()
	case protocol.FrameAssign:
		var a protocol.Assign
		if err = protocol.Decode(frame.Data, &a); err == nil {
			w.assign(a)
		}
	case protocol.FrameCommand:
		var c protocol.WorkerCommand
		if err = protocol.Decode(frame.Data, &c); err == nil {
			w.onCommand(c)
		}
	case protocol.FrameRequest:
		var r protocol.WorkerRequest
		if err = protocol.Decode(frame.Data, &r); err == nil {
			w.onRequest(r)
		}
	case protocol.FrameAttachment:
		var a protocol.WorkerAttachment
		if err = protocol.Decode(frame.Data, &a); err == nil {
			w.onAttachment(a)
		}
	case protocol.FrameAck:
		var ack protocol.EventAck
		if err = protocol.Decode(frame.Data, &ack); err == nil {
			if s := w.find(ack.SessionID, ack.Assignment); s != nil {
				s.out.ack(ack.N)
				w.forgetIfOver(s)
			}
		}
	case protocol.FrameRevoke:
		var r protocol.Revoke
		if err = protocol.Decode(frame.Data, &r); err == nil {
			w.onRevoke(r)
		}
	case protocol.FrameError:
		return w.onError(frame)
	default:
		w.log.Debug("hub sent a frame without a meaning here", "type", clip(string(frame.Type), 64))
	}
	if err != nil {
		return fmt.Errorf("the hub sent data of %s that cannot be read: %w", frame.Type, err)
	}
	return nil
}

func (w *Worker) onCommand(c protocol.WorkerCommand) {
	if s := w.find(c.SessionID, c.Assignment); s != nil {
		s.command(c)
		return
	}
	// The hub assumes that the session runs here. Its command crossed our release, or we
	// lost the session.
	w.log.Debug("command for a session that is not run here", "session", c.SessionID, "type", c.Type)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sendLocked(protocol.NewFrame(protocol.FrameRelease, protocol.Release{
		SessionID: c.SessionID, Assignment: c.Assignment, Reason: protocol.ReleaseNotRun, Retry: true,
	}))
}

// onAttachment writes a part of an attachment to the disk. The session's message comes behind
// it, and fails if the attachment is not whole.
func (w *Worker) onAttachment(a protocol.WorkerAttachment) {
	if s := w.find(a.SessionID, a.Assignment); s != nil {
		if err := s.receive(a); err != nil {
			s.log.Error("keep an attachment", "attachment", clip(a.AttachmentID, 64), "error", err)
		}
	}
}

func (w *Worker) onRevoke(r protocol.Revoke) {
	s := w.find(r.SessionID, r.Assignment)
	if s == nil {
		return
	}
	s.log.Info("session revoked")
	s.revoke()
	select {
	case <-s.done: // nobody else would forget it
		w.forget(s)
	default:
	}
}

func (w *Worker) onError(frame protocol.Frame) error {
	var e protocol.LinkError
	if err := protocol.Decode(frame.Data, &e); err != nil {
		return fmt.Errorf("the hub sent an error that cannot be read: %w", err)
	}
	switch e.Code {
	case protocol.LinkHole:
		return fmt.Errorf("the hub misses an event: %s", clip(e.Detail, 512))
	case protocol.LinkReplaced:
		// Another process has taken the worker's name. Coming back would take the name from
		// it again. A worker that left this link for a new one does not read this frame.
		return fmt.Errorf("%w: another worker is called %s too", ErrRefused, w.cfg.Name)
	case protocol.LinkDraining, protocol.LinkUnauthorized, protocol.LinkSilent, protocol.LinkInternal:
		return fmt.Errorf("the hub ends the link: %s", clip(e.Error(), 512))
	}
	w.log.Error("hub refused a frame", "code", clip(e.Code, 64), "detail", clip(e.Detail, 512))
	return nil
}

// writeFrames is the link's writer. It goes round the sessions, so that a session with much
// to send does not hold up the others.
func (w *Worker) writeFrames(ctx context.Context, conn Conn) error {
	var batch [][]byte
	for {
		var s *session
		var err error
		if batch, s, err = w.nextBatch(batch[:0]); err != nil {
			return err
		}
		if len(batch) == 0 {
			select {
			case <-w.wake:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		for _, frame := range batch {
			if err := conn.WriteFrame(ctx, frame); err != nil {
				return err
			}
		}
		if s != nil {
			s.out.wrote(len(batch))
			w.forgetIfOver(s)
		}
		clear(batch)
	}
}

// nextBatch takes the frames to write next: first those of no session, then those of the
// next session that has some.
func (w *Worker) nextBatch(batch [][]byte) ([][]byte, *session, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.overrun {
		return nil, nil, errors.New("the hub asks more than it takes answers to")
	}
	if w.pong {
		w.pong = false
		batch = append(batch, protocol.NewFrame(protocol.FramePong, struct{}{}))
	}
	if w.offers.due && w.hub.Providers { // any other hub hears it with the next hello
		w.offers.due = false
		batch = append(batch, protocol.NewFrame(protocol.FrameProviders, w.offerLocked()))
	}
	if batch = append(batch, w.control...); len(batch) > 0 {
		w.control = nil
		return batch, nil, nil
	}
	// In turn with the sessions: a response is long, and events matter more.
	if len(w.requests.replies) > 0 && !w.replied {
		return w.nextReplyLocked(batch), nil, nil
	}
	w.replied = false
	for i := range w.order {
		k := (w.at + i) % len(w.order)
		s := w.order[k]
		if batch = s.out.take(batch, writeBatch); len(batch) > 0 {
			w.at = k + 1
			return batch, s, nil
		}
	}
	if len(w.requests.replies) > 0 {
		return w.nextReplyLocked(batch), nil, nil
	}
	return batch, nil, nil
}

// forgetIfOver forgets a session whose last frame was sent.
func (w *Worker) forgetIfOver(s *session) {
	if s.out.over() {
		w.forget(s)
	}
}
