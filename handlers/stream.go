package handlers

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"

	"sessionhub/handlers/wsconn"
	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// sseRetry is how long an EventSource waits before it reconnects.
const sseRetry = time.Second

// admit is the common beginning of both kinds of stream, before their first byte. It finds
// the caller, the session and the cursor, and takes a slot.
func (s *Server) admit(c *fiber.Ctx, transport metrics.Transport, enc hub.Encoding) (caller, *hub.Stream, error) {
	who, stream, err := s.open(c, enc)
	if err != nil {
		s.cfg.Metrics.StreamRejected(transport, toAnswer(err).code)
	}
	return who, stream, err
}

func (s *Server) open(c *fiber.Ctx, enc hub.Encoding) (caller, *hub.Stream, error) {
	if incomingOf(c) != nil { // it would be read as the client's first frames
		return caller{}, nil, refuse(protocol.CodeInvalidRequest, "a stream is opened without a body")
	}
	ctx, cancel := timeout()
	defer cancel()
	who, err := s.authenticateStream(ctx, c)
	if err != nil {
		return caller{}, nil, err
	}
	who, snap, err := s.admitTo(ctx, c, who, auth.ScopeRead)
	if err != nil {
		return caller{}, nil, err
	}
	cursor, err := cursorOf(c)
	if err != nil {
		return caller{}, nil, err
	}
	stream, err := s.cfg.Hub.Open(ctx, snap.State.Info.SessionID, cursor, enc)
	return who, stream, err
}

// cursorOf reads a client's cursor, under the names that clients in the field use. The
// header wins: it is newer than the URL that an EventSource opens again. A polyfill cannot
// set that header without a preflight, so it adds lastEventId to the URL. Therefore
// lastEventId wins over after. If a parameter is repeated, the last one counts: it was
// added later. An empty one counts as absent.
func cursorOf(c *fiber.Ctx) (protocol.Cursor, error) {
	for _, from := range []string{
		last(c.Request().Header.PeekAll("Last-Event-ID")),
		last(c.Context().QueryArgs().PeekMulti("lastEventId")),
		last(c.Context().QueryArgs().PeekMulti("after")),
	} {
		if from != "" {
			return protocol.ParseCursor(from)
		}
	}
	return protocol.Cursor{}, nil
}

func last(values [][]byte) string {
	if len(values) == 0 {
		return ""
	}
	return string(values[len(values)-1])
}

// events serves GET /api/sessions/:id/events.
func (s *Server) events(c *fiber.Ctx) error {
	who, stream, err := s.admit(c, metrics.TransportSSE, hub.SSE)
	if err != nil {
		return err
	}
	if stream.Ended { // 204 ends an EventSource (WHATWG HTML, section 9.2.3)
		stream.Release()
		return c.SendStatus(fiber.StatusNoContent)
	}
	head := s.sseHead(c)
	remote := who.remote // copied, so that the rest of who can be freed before the stream ends
	err = s.bridge.Hijack(c, head, func(sock *wsconn.Socket) {
		sub := s.start(stream, sseSink{sock}, &who)
		if sub == nil {
			return
		}
		cause := metrics.CloseInternal
		defer func() { s.stop(sub, cause, remote) }()
		defer s.recoverStream(sub.Session())
		// The client must send nothing. Any byte ends the stream: reading on would cost the
		// hub as much as the client likes.
		var buf [1]byte
		cause = metrics.CloseClient
		if n, _ := sock.Read(buf[:]); n > 0 {
			cause = metrics.CloseBadFrame
		}
	}, func(error) { stream.Release() })
	if err != nil {
		stream.Release()
	}
	return err
}

// onFreshStack runs f in a goroutine of its own and waits for it. A stack stays as large as
// the deepest call that was ever made on it. After one deep call, the goroutine that reads
// an idle connection would keep 8 KB instead of 2 KB.
//
// A panic of f ends this connection and not the process. It is logged, and ok is false.
func onFreshStack[T any](s *Server, session string, f func() T) (result T, ok bool) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer s.recoverStream(session)
		result = f()
		ok = true
	}()
	<-done
	return result, ok
}

// recoverStream must be deferred first in each goroutine that works for one stream.
func (s *Server) recoverStream(session string) {
	if p := recover(); p != nil {
		s.cfg.Log.Error("panic in a stream", "session", session, "panic", p, "stack", stack())
	}
}

func (s *Server) sseHead(c *fiber.Ctx) []byte {
	head := []byte("HTTP/1.1 200 OK\r\n" +
		"Content-Type: text/event-stream\r\n" +
		"Cache-Control: no-cache, no-transform\r\n" +
		"X-Accel-Buffering: no\r\n" +
		"X-Content-Type-Options: nosniff\r\n" +
		"Connection: close\r\n")
	for _, name := range []string{fiber.HeaderAccessControlAllowOrigin, fiber.HeaderVary} {
		if v := c.GetRespHeader(name); v != "" {
			head = append(head, name+": "+v+"\r\n"...)
		}
	}
	return protocol.AppendSSERetry(append(head, "\r\n"...), sseRetry)
}

// start begins the stream on an open connection. It returns nil if it could not.
func (s *Server) start(stream *hub.Stream, sink hub.Sink, who *caller) *hub.Subscriber {
	id := stream.Session()
	sub, ok := onFreshStack(s, id, func() *hub.Subscriber {
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		sub, err := stream.Start(ctx, sink, who.grant())
		if err != nil {
			code := protocol.CloseUnavailable
			if errors.Is(err, hub.ErrNotFound) {
				code = protocol.CloseNotFound
			}
			sink.End(code, string(toAnswer(err).code))
			return nil
		}
		s.cfg.Log.Info("stream opened", "session", id, "transport", sub.Transport().String(), "user", who.user, "remote", who.remote.String())
		return sub
	})
	if !ok {
		sink.End(protocol.CloseInternal, "internal")
	}
	return sub
}

// stop ends the stream after its connection has ended. cause is the end that the reader
// saw. It counts unless the hub had a reason before.
func (s *Server) stop(sub *hub.Subscriber, cause metrics.CloseReason, remote net.Addr) {
	sub.Stop(0, "", cause)
	_, reason := sub.Ended()
	events, bytes := sub.Delivered()
	s.cfg.Log.Info("stream closed", "session", sub.Session(), "transport", sub.Transport().String(), "user", sub.Grant().User,
		"remote", remote.String(), "reason", reason, "seconds", sub.Age().Seconds(), "events", events, "bytes", bytes)
}

// sseSink writes a hijacked response without a length: the response ends with the
// connection.
type sseSink struct{ *wsconn.Socket }

func (k sseSink) Write(p []byte) error {
	_, err := k.Socket.Write(p)
	return err
}
func (k sseSink) LastHeard() int64 { return 0 } // an EventSource never speaks
func (k sseSink) End(int, string)  { _ = k.Close() }

// wsSink writes pre-encoded frames.
type wsSink struct{ *wsconn.Conn }

func (k wsSink) Write(p []byte) error {
	err := k.WriteFrames(p)
	if errors.Is(err, wsconn.ErrClosing) {
		return hub.ErrStreamEnded
	}
	return err
}
func (k wsSink) End(code int, reason string) { _ = k.Close(websocket.StatusCode(code), reason) }
