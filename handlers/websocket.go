package handlers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/coder/websocket"
	"github.com/gofiber/fiber/v2"

	"sessionhub/handlers/wsconn"
	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// websocket serves GET /api/sessions/:id/ws.
func (s *Server) websocket(c *fiber.Ctx) error {
	who, stream, err := s.admit(c, metrics.TransportWebSocket, hub.WebSocket)
	if err != nil {
		return err
	}
	err = s.accept(c, func(conn *wsconn.Conn) {
		sub := s.start(stream, wsSink{conn}, &who)
		if sub == nil {
			return
		}
		cs := &commands{server: s, conn: conn, sub: sub, service: who.service, key: who.isKey(), remote: who.remote}
		cause := metrics.CloseInternal
		defer func() { s.stop(sub, cause, cs.remote) }()
		defer s.recoverStream(sub.Session())
		cause = cs.serve()
	}, func(error) { stream.Release() })
	if err != nil {
		stream.Release()
	}
	return err
}

// accept opens a client's WebSocket: see wsconn.Bridge.Accept.
func (s *Server) accept(c *fiber.Ctx, serve func(*wsconn.Conn), lost func(error)) error {
	opts := &websocket.AcceptOptions{
		Subprotocols:       []string{protocol.Subprotocol},
		InsecureSkipVerify: true, // guard has judged the Origin
		CompressionMode:    websocket.CompressionDisabled,
	}
	return s.bridge.Accept(c, opts, int64(s.cfg.MaxMessageBytes), func(conn *wsconn.Conn) {
		conn.Pace(paceMessages * max(s.cfg.MaxMessageBytes, leastPace))
		serve(conn)
	}, lost)
}

// The hub reads a client's bytes at paceMessages of the largest messages a second. A
// largest message of less than leastPace bytes counts as leastPace.
const (
	paceMessages = 4
	leastPace    = 1 << 20
)

// commands reads a WebSocket's commands and answers them one after the other. It reads no
// command from a client that does not read its answers. Owned by the connection's reader.
type commands struct {
	server  *Server
	conn    *wsconn.Conn
	sub     *hub.Subscriber
	channel *hub.Channel // nil: a session's stream
	service bool         // see caller
	key     bool         // opened with an API key's rights
	remote  net.Addr
	refused int // commands in a row that were refused for their rate
}

// who is the caller of the stream's present grant. It is made anew for each command, so
// that an idle connection holds little memory.
func (cs *commands) who() caller {
	g, session := cs.sub.Grant(), cs.sub.Session()
	if cs.key || g.Account {
		session = ""
	}
	c := byGrant(g, session)
	c.service, c.remote = cs.service, cs.remote
	return c
}

// serve reads until the connection ends, and returns how it ended. This goroutine's stack
// holds only the wait for the client.
func (cs *commands) serve() metrics.CloseReason {
	for {
		cs.conn.Await()
		cause, ok := onFreshStack(cs.server, cs.sub.Session(), cs.readOn)
		if !ok {
			return cs.close(protocol.CloseInternal, "internal", metrics.CloseInternal)
		}
		if cause != "" {
			return cause
		}
	}
}

// readOn handles everything that the client has sent. If the connection has ended, it
// returns the reason.
func (cs *commands) readOn() metrics.CloseReason {
	for {
		kind, raw, err := cs.conn.Next()
		if errors.Is(err, wsconn.ErrIdle) {
			return ""
		}
		if err != nil {
			return closeReason(err)
		}
		if problem := cs.handle(kind, raw); problem != "" {
			return cs.close(protocol.CloseBadFrame, problem, metrics.CloseBadFrame)
		}
		if cs.refused >= maxRefused {
			return cs.close(protocol.CloseRate, "too many commands, over and over: back off", metrics.CloseTooMany)
		}
	}
}

// maxRefused is how many commands in a row may be refused for their rate. A client that
// ignores retryAfter for longer loses its connection.
const maxRefused = 20

// closeTime bounds the end of a connection whose client did something wrong.
const closeTime = 2 * time.Second

// close ends the connection after the bytes that are being written to it. Meanwhile it
// takes no more commands.
func (cs *commands) close(code int, why string, cause metrics.CloseReason) metrics.CloseReason {
	timer := time.AfterFunc(closeTime, cs.conn.Cut)
	defer timer.Stop()
	cs.sub.End(code, why, cause)
	for {
		if _, _, err := cs.conn.Read(context.Background()); err != nil {
			return cause
		}
	}
}

func closeReason(err error) metrics.CloseReason {
	var violation *wsconn.ViolationError
	switch {
	case errors.As(err, &violation) && violation.Code == websocket.StatusMessageTooBig:
		return metrics.CloseTooBig
	case errors.As(err, &violation):
		return metrics.CloseBadFrame
	}
	return metrics.CloseClient
}

// readCommand reads one command. A problem closes the connection: the client does not speak
// the protocol.
func readCommand(kind websocket.MessageType, raw []byte, known []protocol.CommandType) (cmd protocol.Command, problem string) {
	if kind != websocket.MessageText {
		return cmd, "binary messages are not commands"
	}
	if err := protocol.Decode(raw, &cmd); err != nil {
		return cmd, "not a command: bad JSON"
	}
	if cmd.ID == "" || len(cmd.ID) > maxCommandID {
		return cmd, fmt.Sprintf("a command needs an id of 1 to %d bytes", maxCommandID)
	}
	if !slices.Contains(known, cmd.Type) {
		return cmd, "unknown command type"
	}
	return cmd, ""
}

// handle runs one command. A problem that it returns closes the connection.
func (cs *commands) handle(kind websocket.MessageType, raw []byte) (problem string) {
	known := protocol.CommandTypes
	if cs.channel != nil {
		known = protocol.ChannelCommandTypes
	}
	cmd, problem := readCommand(kind, raw, known)
	if problem != "" {
		return problem
	}
	switch cmd.Type {
	case protocol.CommandPing:
		cs.reply(cmd, protocol.Empty{}, nil)
	case protocol.CommandAuth:
		answer, err := cs.renew(cmd.Data)
		cs.reply(cmd, answer, err)
	default:
		ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
		defer cancel()
		answer, err := cs.carryOut(ctx, cmd)
		cs.reply(cmd, answer, err)
	}
	return ""
}

func (cs *commands) carryOut(ctx context.Context, cmd protocol.Command) (any, error) {
	if cs.channel != nil {
		return cs.obey(ctx, cmd)
	}
	if err := cs.stillValid(ctx); err != nil {
		return nil, err
	}
	return cs.server.run(ctx, cs.who(), cs.sub.Session(), cmd.Type, cmd.Data, hub.Admission{})
}

// stillValid checks the connection's credential for one command, as a request's credential
// is checked. The sweeper ends the stream itself a moment later.
func (cs *commands) stillValid(ctx context.Context) error {
	g := cs.sub.Grant()
	if g.OfAccount() {
		if err := cs.server.checkAccount(ctx, g); err != nil {
			return err
		}
	}
	snap, err := cs.server.cfg.Hub.Load(ctx, cs.sub.Session())
	if err != nil {
		return err
	}
	return cs.server.checkGrant(snap, g)
}

// maxCommandID bounds the id that the answer repeats to the client, in bytes.
const maxCommandID = 256

func (cs *commands) reply(cmd protocol.Command, answer any, err error) {
	cs.server.countCommand(cmd.Type, err)
	cs.refused++
	if err == nil || toAnswer(err).code != protocol.CodeRateLimited {
		cs.refused = 0
	}
	if err != nil {
		a := toAnswer(err)
		if a.auth != "" {
			cs.server.cfg.Metrics.AuthFailed(a.auth)
		}
		if a.internal {
			cs.server.cfg.Log.Error("command failed", "session", cs.sub.Session(), "type", cmd.Type, "error", err)
		}
	}
	// An error here is the connection's end, which the next Read reports.
	_ = cs.conn.WriteFrames(protocol.AppendFrame(nil, commandAnswer(cmd.ID, answer, err)))
}

// commandAnswer is the JSON of the answer to a command.
func commandAnswer(id string, answer any, err error) []byte {
	if err == nil {
		return protocol.NewAck(id, answer)
	}
	a := toAnswer(err)
	return protocol.NewCommandError(id, protocol.CommandErrorBody{
		Code: a.code, Detail: a.detail, Outcome: a.outcome, OptionID: a.optionID, Field: a.field, RetryAfter: a.retry,
	})
}

// renew replaces the connection's token by another one of the same user, for this session
// or for all of the user's.
func (cs *commands) renew(data []byte) (any, error) {
	var r protocol.AuthRequest
	if err := protocol.Decode(data, &r); err != nil || r.Token == "" {
		return nil, refuse(protocol.CodeInvalidRequest, "auth needs a token")
	}
	ctx, cancel := timeout()
	defer cancel()
	who, err := cs.server.byToken(ctx, r.Token)
	if err != nil {
		return nil, err
	}
	if who.opens(cs.sub.Session()) != nil || (who.user != cs.sub.Grant().User && !cs.service) {
		return nil, refuse(protocol.CodeForbidden, "the token is for another session or user")
	}
	if !who.scope.Contains(auth.ScopeRead) {
		return nil, deny(protocol.CodeScope, metrics.AuthScope, "the token has the scope %q; a stream needs %q", who.scope, auth.ScopeRead)
	}
	if cs.channel != nil { // byToken has judged the grant
		if !who.account {
			return nil, refuse(protocol.CodeForbidden, "this connection needs a user token")
		}
		cs.key, cs.service = false, false
		cs.sub.SetGrant(ctx, who.grant())
		return protocol.AuthResponse{ExpiresAt: who.token.ExpiresAt, Scope: who.scope.String()}, nil
	}
	snap, err := cs.server.cfg.Hub.Load(ctx, cs.sub.Session())
	if err != nil {
		return nil, err
	}
	if who.account && who.user != snap.State.Info.UserID {
		return nil, refuse(protocol.CodeForbidden, "the token is for another session or user")
	}
	if err := cs.server.checkGrant(snap, who.grant()); err != nil {
		return nil, err
	}
	cs.key, cs.service = false, false
	cs.sub.SetGrant(ctx, who.grant())
	return protocol.AuthResponse{ExpiresAt: who.token.ExpiresAt, Scope: who.scope.String()}, nil
}
