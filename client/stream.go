package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"sessionhub/internal/backoff"
	"sessionhub/protocol"
)

// stableAfter is how long a connection must have lasted to reset the back-off.
const stableAfter = 10 * time.Second

// StreamOptions are a stream's settings. The zero value reads everything that the log has,
// by whatever transport gets through, and never gives up.
type StreamOptions struct {
	// After is where to start: a cursor, a seq, "latest", or empty for the log's beginning.
	After     string
	Transport Transport
	// Renew returns another token. Next and the commands call it a minute before the
	// present token expires, and when the hub refuses that token. There is one call at a
	// time. Without Renew, a refused token ends the stream.
	Renew func(context.Context) (string, error)
	// MaxAttempts is how many connections may fail in a row before Next returns the reason.
	// 0: no bound, only the context ends the attempts.
	MaxAttempts int
	Backoff     Backoff
	// OnRetry is called in the goroutine of Next. It gets the reason why a connection ended
	// or could not begin, and the wait until the next one. It is not called when an event
	// stream reaches its greatest age: nothing is wrong, and Next resumes at once.
	OnRetry func(reason error, wait time.Duration)
	// MaxFrameBytes bounds one frame; 16 MiB unless given.
	MaxFrameBytes int64
}

// Frame is an event of the log, or a control frame, whose Seq is 0.
type Frame struct {
	protocol.Event
	// Cursor is where a new stream must start to go on after this frame.
	Cursor protocol.Cursor
	// Raw is the frame's JSON as it came.
	Raw json.RawMessage
}

// Control is the type of a control frame, or empty for an event.
func (f Frame) Control() protocol.ControlType {
	if f.Seq != 0 {
		return ""
	}
	return protocol.ControlType(f.Type)
}

// Stream follows a session's log over as many connections as it takes. Next gives each
// event after the start once and in order, with the control frames in their places. A gap
// frame names events that the hub could not give. An event whose From is at or before the
// last given event replaces all events from there on.
//
// A Stream belongs to one goroutine and starts none: while nobody calls Next, nothing is
// read. A hub that waits longer than its time limits cuts the connection. No event is lost
// by this. Only Message, Approve and Cancel may be called from other goroutines.
type Stream struct {
	session  *Session
	opts     StreamOptions
	socket   socket     // what the commands go out on
	renewing sync.Mutex // held while a token is replaced

	// Owned by the goroutine of Next.
	route    route
	via      Transport  // of the present connection, or of the last one
	conn     connection // nil: none
	openedAt time.Time
	heardAt  time.Time // when the first frame came on this connection
	pos      position
	backoff  backoff.Backoff
	retryAt  time.Time
	comeBack time.Time // when a draining hub asked the stream to come back
	retired  bool      // the hub ends the event stream because of its age
	dialled  string    // the token that the connection has
	renewed  bool      // the token is new since a connection was accepted
	err      error     // why the stream has ended
}

// connection is one of a stream's connections, over either transport.
type connection interface {
	// read gives the next frame's JSON. The end of ctx ends the connection.
	read(ctx context.Context) ([]byte, error)
	// heartbeat sets how often the hub sends something. The connection ends when nothing
	// comes for longer.
	heartbeat(every time.Duration)
	// patience bounds the wait for the hub's first word.
	patience(d time.Duration)
	close()
}

// Stream makes a stream. The first Next connects, and returns the error of a bad After.
func (s *Session) Stream(o StreamOptions) *Stream {
	if o.MaxFrameBytes <= 0 {
		o.MaxFrameBytes = 16 << 20
	}
	st := &Stream{session: s, opts: o, backoff: o.Backoff.begin(), route: route{client: s.client, fixed: o.Transport}}
	st.pos.cursor, st.err = protocol.ParseCursor(o.After)
	return st
}

// Cursor is where a new stream must start to go on after this one.
func (s *Stream) Cursor() protocol.Cursor { return s.pos.cursor }

// Transport is the transport of the present connection, or of the last one. It is Auto
// before the first one.
func (s *Stream) Transport() Transport { return s.via }

// Close ends the connection. A later Next connects again.
func (s *Stream) Close() {
	if s.conn != nil {
		s.socket.detach()
		s.conn.close()
		s.conn = nil
	}
}

// Next returns the next frame. It waits, and reconnects, until there is one. It returns
// io.EOF after the log's last event, and an *Error when coming back is of no use. When ctx
// ends it returns the context's error, and the next call resumes.
func (s *Stream) Next(ctx context.Context) (Frame, error) {
	for {
		if s.err != nil {
			return Frame{}, s.err
		}
		if s.pos.closed {
			s.Close()
			s.err = io.EOF
			continue
		}
		if s.conn == nil {
			if err := s.connect(ctx); err != nil {
				return Frame{}, err
			}
			continue
		}
		raw, err := s.conn.read(ctx)
		if err != nil {
			s.Close()
			if ctx.Err() != nil {
				return Frame{}, ctx.Err()
			}
			s.lost(ctx, err)
			continue
		}
		if f, ok := s.take(ctx, raw); ok {
			return f, nil
		}
	}
}

// connect waits until the next attempt is due, and makes it. It returns the context's error
// only: any other failure leads to s.err or to another attempt.
func (s *Stream) connect(ctx context.Context) error {
	if err := sleep(ctx, time.Until(s.retryAt)); err != nil {
		return err
	}
	conn, err := s.dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.lost(ctx, err)
		return nil
	}
	s.conn, s.openedAt, s.heardAt, s.renewed, s.comeBack = conn, time.Now(), time.Time{}, false, time.Time{}
	return nil
}

func (s *Stream) dial(ctx context.Context) (connection, error) {
	s.via, s.dialled = s.route.next(), s.session.bearer()
	if s.via == SSE {
		return s.session.dialSSE(ctx, s.pos.cursor, s.opts.MaxFrameBytes)
	}
	if s.opts.Transport != Auto {
		return s.session.dialWebSocket(ctx, s.pos.cursor, s.opts.MaxFrameBytes, dialTimeout)
	}
	began := time.Now()
	conn, err := s.session.dialWebSocket(ctx, s.pos.cursor, s.opts.MaxFrameBytes, socketPatience)
	if err == nil {
		conn.patience(max(time.Second, socketPatience-time.Since(began)))
	}
	return conn, err
}

// lost decides what follows the end of a connection, or a failed attempt.
func (s *Stream) lost(ctx context.Context, reason error) {
	var lasted time.Duration
	if !s.heardAt.IsZero() {
		lasted = max(1, time.Since(s.heardAt))
		s.heardAt = time.Time{}
	}
	another := s.route.lost(s.via, reason, lasted)
	if s.conn == nil && !s.openedAt.IsZero() {
		if time.Since(s.openedAt) >= stableAfter {
			s.backoff.Reset()
		}
		s.openedAt = time.Time{}
	}
	if errors.Is(reason, errEnded) {
		s.err = io.EOF
		return
	}
	if s.retired { // nothing is wrong
		s.backoff.Reset()
		s.retryAt, s.retired, s.comeBack = s.comeBack, false, time.Time{}
		return
	}
	var refused *Error
	if errors.As(reason, &refused) {
		switch {
		case refused.unauthorized():
			if !s.renew(ctx, reason) {
				return
			}
		case !refused.Temporary() && !another:
			s.err = reason
			return
		}
	}
	wait := s.backoff.Next()
	if s.opts.MaxAttempts > 0 && s.backoff.Failures() >= s.opts.MaxAttempts {
		s.err = reason
		return
	}
	if refused != nil {
		wait = max(wait, refused.RetryAfter)
	}
	if another {
		wait = 0
	}
	if !s.comeBack.IsZero() {
		// The hub spreads its clients itself: jitter would only add a delay.
		wait = max(0, time.Until(s.comeBack))
		s.comeBack = time.Time{}
	}
	s.retryAt = time.Now().Add(wait)
	if s.opts.OnRetry != nil {
		s.opts.OnRetry(reason, wait)
	}
}

// renew gets another token in place of a refused one. It returns false if it got none: the
// stream has ended.
func (s *Stream) renew(ctx context.Context, reason error) bool {
	if s.opts.Renew == nil || s.renewed { // the new token was refused too
		s.err = reason
		return false
	}
	err := s.renewToken(ctx, s.dialled)
	if ctx.Err() != nil {
		return true // the next call asks again
	}
	if err != nil {
		s.err = fmt.Errorf("renew the token: %w (it was refused: %w)", err, reason)
		return false
	}
	s.renewed = true
	return true
}

// take judges a frame. It returns false if the caller does not get the frame.
func (s *Stream) take(ctx context.Context, raw []byte) (Frame, bool) {
	var e protocol.Event
	if err := json.Unmarshal(raw, &e); err != nil {
		s.breakOff(ctx, fmt.Errorf("read a frame: %w", err))
		return Frame{}, false
	}
	switch {
	case e.Seq != 0:
	case e.Type == frameAck || e.Type == frameError:
		s.takeAnswer(e.Type, raw)
		return Frame{}, false
	default:
		return s.takeControl(ctx, e, raw)
	}
	switch s.pos.event(e) {
	case repeat:
		return Frame{}, false
	case hole:
		s.breakOff(ctx, fmt.Errorf("%w: after %s came %d", ErrHole, s.pos.cursor, e.First()))
		return Frame{}, false
	}
	return Frame{Event: e, Cursor: s.pos.cursor, Raw: raw}, true
}

func (s *Stream) takeControl(ctx context.Context, e protocol.Event, raw []byte) (Frame, bool) {
	var err error
	switch protocol.ControlType(e.Type) {
	case protocol.ControlConnected:
		var c protocol.Connected
		if err = json.Unmarshal(e.Data, &c); err == nil {
			s.pos.announce(c)
			if !s.heardAt.IsZero() {
				break // the log has changed its epoch; the connection is the same
			}
			s.conn.heartbeat(time.Duration(c.HeartbeatSeconds) * time.Second)
			s.heardAt = time.Now()
			s.route.opened(s.via)
			s.socket.attach(s.conn)
		}
	case protocol.ControlCaughtUp:
		var c protocol.CaughtUp
		if err = json.Unmarshal(e.Data, &c); err == nil && !s.pos.caughtUp(c.Seq) {
			err = fmt.Errorf("%w: caught up with %d, but at %s", ErrHole, c.Seq, s.pos.cursor)
		}
	case protocol.ControlGap:
		var g protocol.Gap
		if err = json.Unmarshal(e.Data, &g); err == nil {
			s.pos.gap(g)
		}
	case protocol.ControlDraining:
		var d protocol.Draining
		if err = json.Unmarshal(e.Data, &d); err == nil {
			s.comeBack = time.Now().Add(time.Duration(d.ReconnectAfterMs) * time.Millisecond)
			s.retired = d.Reason == protocol.DrainMaxAge
		}
	case protocol.ControlExpiring:
		s.renewAhead(ctx)
	default:
		return Frame{}, false // a frame of a later version
	}
	if err != nil {
		s.breakOff(ctx, fmt.Errorf("read a frame: %w", err))
		return Frame{}, false
	}
	return Frame{Event: e, Cursor: s.pos.cursor, Raw: raw}, true
}

// renewAhead gets another token while the present one is valid. It sends the new token over
// a WebSocket, and begins an event stream again with it. A failure here does no harm: the
// end of the token asks again.
func (s *Stream) renewAhead(ctx context.Context) {
	if s.opts.Renew == nil || s.renewToken(ctx, s.dialled) != nil {
		return
	}
	if ws, ok := s.conn.(*wsConnection); ok && s.tell(ctx, ws) == nil {
		return
	}
	s.Close()
	s.lost(ctx, errRenewed)
}

// tell sends the new token to the hub over the connection. It does not wait for the answer.
// If the hub refuses the token, it ends the connection in a minute, as it would have done
// without.
func (s *Stream) tell(ctx context.Context, ws *wsConnection) error {
	token := s.session.bearer()
	data, err := json.Marshal(protocol.AuthRequest{Token: token})
	if err != nil {
		return err
	}
	raw, err := json.Marshal(protocol.Command{Type: protocol.CommandAuth, ID: "auth", Data: data})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	if err := ws.write(ctx, raw); err != nil {
		return err
	}
	s.dialled = token
	return nil
}

// breakOff gives up a connection that cannot be trusted any more.
func (s *Stream) breakOff(ctx context.Context, reason error) {
	s.Close()
	s.lost(ctx, reason)
}

// errEnded says that the session has ended and nothing is left to read.
var errEnded = errors.New("the session has ended")

// errRenewed is why a connection ends when its token was replaced.
var errRenewed = errors.New("the token was replaced before it expired")

// silence is how long nothing may come from the hub: two heartbeats and the delay of a bad
// line.
func silence(every time.Duration) time.Duration { return 2*every + 10*time.Second }

// firstHeartbeat is used until the hub has named its own heartbeat.
const firstHeartbeat = 15 * time.Second

// dialTimeout bounds the start of a connection.
const dialTimeout = 20 * time.Second

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// streamHeader is the header that both transports send.
func (s *Session) streamHeader() http.Header {
	h := http.Header{}
	s.client.authorize(h, s.bearer())
	return h
}
