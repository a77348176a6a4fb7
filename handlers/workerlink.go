package handlers

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"

	"sessionhub/handlers/wsconn"
	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

const (
	// leastLinkFrame and linkEnvelope bound a worker's frame: an event's data and the
	// fields around it. A worker does not know --max-event-bytes. The hub splits or cuts
	// data that exceeds it, up to the default to which workers keep.
	leastLinkFrame = 1 << 20
	linkEnvelope   = 64 << 10
	// cutGrace is how long a write may still wait when its context has ended.
	cutGrace = 100 * time.Millisecond
	// keyRecheck is how often the key of an open link is looked up again. A changed file is
	// noticed in less than 2 s altogether.
	keyRecheck = 500 * time.Millisecond
)

// workerLink serves GET /worker/link.
func (s *Server) workerLink(c *fiber.Ctx) error {
	who, err := s.admitWorker(c)
	if err == nil {
		opts := &websocket.AcceptOptions{
			Subprotocols:       []string{protocol.WorkerSubprotocol},
			InsecureSkipVerify: true, // admitWorker lets no Origin in
			CompressionMode:    websocket.CompressionDisabled,
		}
		remote := s.remote(c).String()
		most := int64(max(s.cfg.MaxEventBytes, leastLinkFrame) + linkEnvelope)
		err = s.bridge.Accept(c, opts, most,
			func(conn *wsconn.Conn) { s.serveWorker(conn, who, remote) },
			func(error) {}) // nothing was taken that must be given back
	}
	if err != nil {
		why := err
		var refused *wsconn.RefusedError
		if errors.As(err, &refused) {
			why = handshakeError(refused)
		}
		s.cfg.Metrics.StreamRejected(metrics.TransportWorker, toAnswer(why).code)
	}
	return err
}

// admitWorker makes every decision that is possible before the upgrade. Only a worker key
// opens the link, and it is read from one place.
func (s *Server) admitWorker(c *fiber.Ctx) (who auth.Identity, err error) {
	if incomingOf(c) != nil { // it would be read as the worker's first frames
		return who, refuse(protocol.CodeInvalidRequest, "the worker link is opened without a body")
	}
	if c.Get(fiber.HeaderOrigin) != "" {
		return who, deny(protocol.CodeOriginRefused, metrics.AuthOrigin, "the worker link is not for browsers")
	}
	key, err := auth.Bearer(c.Get(fiber.HeaderAuthorization))
	switch {
	case errors.Is(err, auth.ErrNoCredential):
		return who, deny(protocol.CodeUnauthorized, metrics.AuthMissing, "the worker link needs Authorization: Bearer <worker key>")
	case err != nil:
		return who, deny(protocol.CodeUnauthorized, metrics.AuthMalformed, "Authorization must be: Bearer <worker key>")
	}
	who, ok := s.cfg.WorkerKeys().Lookup(key)
	if !ok {
		return who, deny(protocol.CodeUnauthorized, metrics.AuthWorkerKey, "the worker key is not known")
	}
	if err := s.cfg.Hub.Ready(); err != nil {
		return who, err
	}
	// Without an upgrade the answer is Accept's 426.
	if c.Get(fiber.HeaderUpgrade) != "" && !offers(c.Get("Sec-WebSocket-Protocol"), protocol.WorkerSubprotocol) {
		return who, refuse(protocol.CodeInvalidRequest, "the worker link needs the subprotocol %s", protocol.WorkerSubprotocol)
	}
	return who, nil
}

// offers reports whether a Sec-WebSocket-Protocol header has the name.
func offers(header, name string) bool {
	for p := range strings.SplitSeq(header, ",") {
		if strings.Trim(p, " \t") == name {
			return true
		}
	}
	return false
}

// serveWorker serves a link. The link ends with the connection, with its key, or with
// Shutdown.
func (s *Server) serveWorker(conn *wsconn.Conn, who auth.Identity, remote string) {
	began := time.Now()
	s.cfg.Metrics.StreamOpened(metrics.TransportWorker)
	s.cfg.Log.Info("worker link opened", "key", who.Name, "remote", remote)
	ctx, end := context.WithCancelCause(s.links)
	defer s.recoverLink(end, who)
	var watch sync.WaitGroup
	watch.Go(func() { s.watchKey(ctx, end, who) })
	user := who.User
	if who.Service {
		user = "*"
	}
	err := s.cfg.Hub.ServeWorker(ctx, workerConn{conn}, hub.WorkerKey{Name: who.Name, User: user})
	end(nil)
	watch.Wait()
	reason := linkEnd(err)
	s.cfg.Metrics.StreamClosed(metrics.TransportWorker, reason, time.Since(began))
	s.cfg.Log.Info("worker link closed", "key", who.Name, "remote", remote, "reason", reason, "seconds", time.Since(began).Seconds(), "error", err)
}

// recoverLink must be deferred first in each goroutine that works for a link. A panic ends
// the link, and the worker reconnects.
func (s *Server) recoverLink(end context.CancelCauseFunc, who auth.Identity) {
	if p := recover(); p != nil {
		s.cfg.Log.Error("panic in a worker link", "key", who.Name, "panic", p, "stack", stack())
		end(protocol.LinkError{Code: protocol.LinkInternal, Detail: "a fault of the node: come back"})
	}
}

// watchKey ends a link whose key was taken away, or given to another user.
func (s *Server) watchKey(ctx context.Context, end context.CancelCauseFunc, who auth.Identity) {
	defer s.recoverLink(end, who)
	tick := time.NewTicker(keyRecheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !s.cfg.WorkerKeys().Has(who.ID) {
				end(protocol.LinkError{Code: protocol.LinkUnauthorized, Detail: "the worker key was taken away"})
				return
			}
		}
	}
}

// EndWorkerLinks tells the workers to reconnect, to another node if there is one. Their
// agents keep running.
func (s *Server) EndWorkerLinks() {
	s.stopLinks(protocol.LinkError{Code: protocol.LinkDraining, Detail: "the node stops"})
}

// linkEnd is the close reason that counts a link's end.
func linkEnd(err error) metrics.CloseReason {
	var why protocol.LinkError
	if !errors.As(err, &why) {
		if errors.Is(err, context.DeadlineExceeded) {
			return metrics.CloseSlow
		}
		return metrics.CloseClient
	}
	switch why.Code {
	case protocol.LinkSilent:
		return metrics.CloseVanished
	case protocol.LinkReplaced:
		return metrics.CloseReplaced
	case protocol.LinkUnauthorized:
		return metrics.CloseToken
	case protocol.LinkDraining:
		return metrics.CloseDraining
	case protocol.LinkTooLarge:
		return metrics.CloseTooBig
	case protocol.LinkInternal:
		return metrics.CloseInternal
	}
	return metrics.CloseWorkerInvalid
}

// linkClose holds the close codes of reasons that have their own.
var linkClose = map[string]int{
	protocol.LinkDraining:     protocol.CloseGoingAway,
	protocol.LinkUnauthorized: protocol.CloseToken,
	protocol.LinkReplaced:     protocol.CloseReplaced,
	protocol.LinkInvalid:      protocol.CloseBadFrame,
	protocol.LinkHole:         protocol.CloseBadFrame,
	protocol.LinkTooLarge:     protocol.CloseTooBig,
	protocol.LinkInternal:     protocol.CloseInternal,
}

// workerConn carries the frames of a worker link on a WebSocket: see hub.WorkerConn. Links
// are few, so each frame is a write of its own.
type workerConn struct{ conn *wsconn.Conn }

// ReadFrame ignores its context and ends with the connection. Giving up a read would end
// the connection, and the last frame to the worker would be lost.
func (w workerConn) ReadFrame(context.Context) ([]byte, error) {
	kind, raw, err := w.conn.Read(context.Background())
	var violation *wsconn.ViolationError
	switch {
	case errors.As(err, &violation) && violation.Code == websocket.StatusMessageTooBig:
		return nil, protocol.LinkError{Code: protocol.LinkTooLarge, Detail: err.Error()}
	case errors.As(err, &violation):
		return nil, protocol.LinkError{Code: protocol.LinkInvalid, Detail: err.Error()}
	case err != nil:
		return nil, err
	case kind != websocket.MessageText:
		return nil, protocol.LinkError{Code: protocol.LinkInvalid, Detail: "a frame must be text"}
	}
	return raw, nil
}

// WriteFrame cuts the connection when ctx ends while the worker takes nothing.
func (w workerConn) WriteFrame(ctx context.Context, frame []byte) error {
	written := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		select {
		case <-written: // ctx has ended in its last moment: the link has more to say
		case <-time.After(cutGrace):
			w.conn.Cut()
		}
	})()
	err := w.conn.WriteFrames(protocol.AppendFrame(nil, frame))
	close(written)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// CloseFor closes with the reason's code.
func (w workerConn) CloseFor(reason error) error {
	var why protocol.LinkError
	errors.As(reason, &why)
	if why.Code == protocol.LinkSilent {
		w.conn.Cut()
		return nil
	}
	if code, ok := linkClose[why.Code]; ok {
		return w.conn.Close(websocket.StatusCode(code), why.Detail)
	}
	return w.conn.Close(websocket.StatusNormalClosure, "")
}

func (w workerConn) Close() error { return w.CloseFor(nil) }
