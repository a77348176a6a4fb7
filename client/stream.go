package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"sessionhub/protocol"
)

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
	line
	session *Session
	pos     position // owned by the goroutine of Next
}

// Stream makes a stream. The first Next connects, and returns the error of a bad After.
func (s *Session) Stream(o StreamOptions) *Stream {
	st := &Stream{session: s}
	st.open(s.client, &s.credential, o, st)
	st.pos.cursor, st.err = protocol.ParseCursor(o.After)
	return st
}

// Cursor is where a new stream must start to go on after this one.
func (s *Stream) Cursor() protocol.Cursor { return s.pos.cursor }

func (s *Stream) webSocket() (string, url.Values) {
	return s.session.path("/ws"), url.Values{"after": {s.pos.cursor.String()}}
}

func (s *Stream) closed() {}

func (s *Stream) events(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.client.endpoint(s.session.path("/events"), nil), nil)
	if err == nil {
		req.Header.Set("Last-Event-ID", s.pos.cursor.String())
	}
	return req, err
}

// Next returns the next frame. It waits, and reconnects, until there is one. It returns
// io.EOF after the log's last event, and an *Error when coming back is of no use. When ctx
// ends it returns the context's error, and the next call resumes.
func (s *Stream) Next(ctx context.Context) (Frame, error) {
	for {
		if s.pos.closed && s.err == nil {
			s.Close()
			s.err = io.EOF
		}
		raw, err := s.read(ctx)
		if err != nil {
			return Frame{}, err
		}
		if f, ok := s.take(ctx, raw); ok {
			return f, nil
		}
	}
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
			s.opened(c.HeartbeatSeconds) // or the log has changed its epoch; the connection is the same
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
	case protocol.ControlDraining, protocol.ControlExpiring:
		err = s.line.takeControl(ctx, e)
	default:
		return Frame{}, false // a frame of a later version
	}
	if err != nil {
		s.breakOff(ctx, fmt.Errorf("read a frame: %w", err))
		return Frame{}, false
	}
	return Frame{Event: e, Cursor: s.pos.cursor, Raw: raw}, true
}
