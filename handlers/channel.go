package handlers

import (
	"context"
	"errors"
	"sync"

	"github.com/gofiber/fiber/v2"

	"sessionhub/handlers/wsconn"
	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// subscribesAtOnce is how many sessions of one request are opened at a time.
const subscribesAtOnce = 16

// admitChannel is the common beginning of both kinds of channel, before their first byte.
func (s *Server) admitChannel(c *fiber.Ctx, transport metrics.Transport, enc hub.Encoding) (caller, *hub.Channel, error) {
	who, ch, err := s.openChannel(c, enc)
	if err != nil {
		s.cfg.Metrics.StreamRejected(transport, toAnswer(err).code)
	}
	return who, ch, err
}

func (s *Server) openChannel(c *fiber.Ctx, enc hub.Encoding) (caller, *hub.Channel, error) {
	who, err := s.channelCaller(c)
	if err != nil {
		return caller{}, nil, err
	}
	ctx, cancel := timeout()
	defer cancel()
	ch, err := s.cfg.Hub.Channels.Open(ctx, who.user, enc)
	return who, ch, err
}

// channelCaller is the user whose sessions a channel can carry. A service key names one.
func (s *Server) channelCaller(c *fiber.Ctx) (caller, error) {
	who, err := s.admitUser(c, auth.ScopeRead)
	if err != nil {
		return caller{}, err
	}
	user, err := queryUser(c, who)
	if err != nil {
		return caller{}, err
	}
	if user == "" {
		return caller{}, refuse(protocol.CodeInvalidRequest, "a service key names the user of the connection: ?userId=")
	}
	who.user, who.service = user, false
	return who, nil
}

// channelSocket serves GET /api/ws.
func (s *Server) channelSocket(c *fiber.Ctx) error {
	if incomingOf(c) != nil { // it would be read as the client's first frames
		return refuse(protocol.CodeInvalidRequest, "a stream is opened without a body")
	}
	who, ch, err := s.admitChannel(c, metrics.TransportWebSocket, hub.SharedWebSocket)
	if err != nil {
		return err
	}
	err = s.accept(c, func(conn *wsconn.Conn) {
		forget, ok := s.startChannel(ch, wsSink{conn}, &who)
		if !ok {
			return
		}
		defer forget()
		cs := &commands{server: s, conn: conn, sub: ch.Own(), channel: ch, key: who.isKey(), remote: who.remote}
		cause := metrics.CloseInternal
		defer func() { s.stopChannel(ch, cause, cs.remote) }()
		defer s.recoverStream(ch.ID())
		cause = cs.serve()
	}, func(error) { ch.Release() })
	if err != nil {
		ch.Release()
	}
	return err
}

// channelEvents serves GET and POST /api/events. The body of a POST has the first
// subscriptions.
func (s *Server) channelEvents(c *fiber.Ctx) error {
	var first protocol.SubscribeRequest
	if c.Method() == fiber.MethodPost {
		if err := s.body(c, &first); err != nil {
			return err
		}
		if err := checkSubscriptions(len(first.Sessions)); err != nil {
			return err
		}
	} else if incomingOf(c) != nil {
		return refuse(protocol.CodeInvalidRequest, "a stream is opened without a body: use POST to name the first sessions")
	}
	who, ch, err := s.admitChannel(c, metrics.TransportSSE, hub.SharedSSE)
	if err != nil {
		return err
	}
	head, remote := s.sseHead(c), who.remote
	err = s.bridge.Hijack(c, head, func(sock *wsconn.Socket) {
		forget, ok := s.startChannel(ch, sseSink{sock}, &who)
		if !ok {
			return
		}
		defer forget()
		cause := metrics.CloseInternal
		defer func() { s.stopChannel(ch, cause, remote) }()
		defer s.recoverStream(ch.ID())
		if len(first.Sessions) > 0 || first.List {
			_, _ = onFreshStack(s, ch.ID(), func() struct{} { s.subscribeFirst(ch, first); return struct{}{} })
			first = protocol.SubscribeRequest{}
		}
		var buf [1]byte // see events
		cause = metrics.CloseClient
		if n, _ := sock.Read(buf[:]); n > 0 {
			cause = metrics.CloseBadFrame
		}
	}, func(error) { ch.Release() })
	if err != nil {
		ch.Release()
	}
	return err
}

// subscribeFirst takes the subscriptions that came with the request. The stream tells which
// were refused: the request has been answered.
func (s *Server) subscribeFirst(ch *hub.Channel, r protocol.SubscribeRequest) {
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	for _, no := range s.changeSubscriptions(ctx, ch, protocol.ChannelRequest{Subscribe: r}).Refused {
		ch.Tell(protocol.ControlRefused, no.SessionID, no)
	}
}

// startChannel begins to write to an open connection. forget ends what makes it known. ok is false if it
// could not.
func (s *Server) startChannel(ch *hub.Channel, sink hub.Sink, who *caller) (forget func(), ok bool) {
	forget, ok = onFreshStack(s, ch.ID(), func() func() {
		forget := s.cfg.Hub.Channels.Start(ch, sink, who.grant())
		s.cfg.Log.Info("channel opened", "channel", ch.ID(), "transport", ch.Own().Transport().String(), "user", who.user, "remote", who.remote.String())
		return forget
	})
	if !ok {
		sink.End(protocol.CloseInternal, "internal")
	}
	return forget, ok
}

// changeChannel serves POST /api/events/:connection.
func (s *Server) changeChannel(c *fiber.Ctx) error {
	who, err := s.channelCaller(c)
	if err != nil {
		return err
	}
	var r protocol.ChannelRequest
	if err := s.body(c, &r); err != nil {
		return err
	}
	if err := checkSubscriptions(len(r.Subscribe.Sessions) + len(r.Unsubscribe.SessionIDs)); err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	answer, err := s.cfg.Hub.Channels.Change(ctx, c.Params("connection"), who.user, r)
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, answer)
}

func checkSubscriptions(n int) error {
	if n > protocol.MaxSubscribe {
		return refuse(protocol.CodeInvalidRequest, "%d sessions: one request names at most %d", n, protocol.MaxSubscribe)
	}
	return nil
}

// changeSubscriptions carries out a request, which can have come over another node. What is
// given up comes first. Sessions of one request are opened side by side; the answer names
// them in the order of the request.
func (s *Server) changeSubscriptions(ctx context.Context, ch *hub.Channel, r protocol.ChannelRequest) protocol.SubscribeResponse {
	for _, id := range r.Unsubscribe.SessionIDs {
		ch.Unsubscribe(id)
	}
	if r.Unsubscribe.List || r.Subscribe.List {
		// It fails only while the node stops: the connection is about to end.
		_ = s.cfg.Hub.Channels.List(ch, r.Subscribe.List)
	}
	all := r.Subscribe.Sessions
	failed := make([]error, len(all))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(subscribesAtOnce, len(all)) {
		wg.Go(func() {
			for i := range next {
				failed[i] = errPanicked // unless subscribe returns
				func() {
					defer s.recoverStream(all[i].SessionID)
					failed[i] = s.subscribe(ctx, ch, all[i])
				}()
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wg.Wait()
	answer := protocol.SubscribeResponse{Subscribed: make([]string, 0, len(all))}
	for i, err := range failed {
		if err == nil {
			answer.Subscribed = append(answer.Subscribed, all[i].SessionID)
			continue
		}
		a := toAnswer(err)
		if a.internal {
			s.cfg.Log.Error("subscribe", "session", all[i].SessionID, "error", err)
		}
		answer.Refused = append(answer.Refused, protocol.Refusal{SessionID: clip(all[i].SessionID), Code: a.code, Detail: a.detail, RetryAfter: a.retry})
	}
	return answer
}

var errPanicked = errors.New("the subscription was given up")

// clip bounds an id that an answer repeats to its client.
func clip(id string) string { return id[:min(len(id), maxCommandID)] }

func (s *Server) subscribe(ctx context.Context, ch *hub.Channel, to protocol.Subscription) error {
	cursor := protocol.Cursor{}
	if to.After != "" {
		var err error
		if cursor, err = protocol.ParseCursor(to.After); err != nil {
			return err
		}
	}
	snap, err := s.cfg.Hub.Load(ctx, to.SessionID)
	if err != nil {
		return err
	}
	if err := s.admits(caller{user: ch.User(), scope: auth.ScopeRead}, snap, auth.ScopeRead); err != nil {
		return err
	}
	return ch.Subscribe(ctx, to.SessionID, cursor)
}

// stopChannel ends the channel after its connection has ended: see stop.
func (s *Server) stopChannel(ch *hub.Channel, cause metrics.CloseReason, remote interface{ String() string }) {
	sessions := ch.Count()
	ch.Stop(0, "", cause)
	own := ch.Own()
	_, reason := own.Ended()
	events, bytes := own.Delivered()
	s.cfg.Log.Info("channel closed", "channel", ch.ID(), "transport", own.Transport().String(), "user", ch.User(), "remote", remote.String(),
		"reason", reason, "seconds", own.Age().Seconds(), "sessions", sessions, "events", events, "bytes", bytes)
}

// obey runs a command of a channel.
func (cs *commands) obey(ctx context.Context, cmd protocol.Command) (any, error) {
	if err := cs.server.checkAccount(ctx, cs.sub.Grant()); err != nil {
		return nil, err
	}
	var r protocol.ChannelRequest
	var to any = &r.Subscribe
	if cmd.Type == protocol.CommandUnsubscribe {
		to = &r.Unsubscribe
	}
	if len(cmd.Data) > 0 {
		if err := decode(cmd.Data, to, "the data of "+string(cmd.Type)); err != nil {
			return nil, err
		}
	}
	if err := checkSubscriptions(len(r.Subscribe.Sessions) + len(r.Unsubscribe.SessionIDs)); err != nil {
		return nil, err
	}
	return cs.server.changeSubscriptions(ctx, cs.channel, r), nil
}
