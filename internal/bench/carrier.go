package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"sessionhub/protocol"
)

// carrier is one bare connection for many subscribers: GET /api/ws or /api/events.
type carrier struct {
	line
	ledger  ledger // of reads and bytes alone
	subs    map[string]*subscriber
	user    string
	key     string
	name    string       // of the connection, as ready tells it
	waiting atomic.Int64 // subscribers that have not begun
	begun   chan struct{}
	ended   error // owned by the reader until the swarm has waited
}

// began counts a subscriber whose replay is over.
func (c *carrier) began() {
	if c.waiting.Add(-1) == 0 {
		close(c.begun)
	}
}

// frame gives a frame to the subscriber of its session.
func (c *carrier) frame(n notice) error {
	if n.session == nil {
		if string(n.kind) == string(protocol.ControlReady) {
			_, rest, _ := bytes.Cut(n.json, []byte(`"connection":"`))
			name, _, _ := bytes.Cut(rest, []byte(`"`))
			c.name = string(name)
		}
		return nil
	}
	s := c.subs[string(n.session)]
	switch {
	case s == nil:
		return fmt.Errorf("a frame of a session that was not asked for: %.80q", n.json)
	case string(n.kind) == string(protocol.ControlUnsubscribed):
		return fmt.Errorf("a subscription was ended: %.160q", n.json)
	}
	s.now = c.now
	return s.frame(n)
}

// carry opens the carriers, one after the other, and adds their subscribers.
func (w *swarm) carry(ctx context.Context, transport string, atOnce int) error {
	for i, c := range w.carriers {
		ws := transport == TransportWebSocket || transport == TransportMixed && i%2 == 0
		err := w.patience.ask(ctx, func() error { return c.connect(ctx, ws, w.subs[0].host, nil) })
		if err != nil {
			c.conn = nil
			return fmt.Errorf("connection %d: %w", i, err)
		}
		w.wg.Go(func() {
			c.ended = c.read()
			if w.closing.Load() {
				return
			}
			for _, s := range c.subs {
				s.ended = c.ended
				w.dropped.Add(1)
				s.session.gone(s.turns)
			}
		})
	}
	for i, c := range w.carriers {
		if err := c.subscribe(ctx, w.subs[0].host, min(atOnce, 4)); err != nil {
			return fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return nil
}

func (c *carrier) connect(ctx context.Context, ws bool, host string, local net.Addr) error {
	request := appendRequest(nil, ws, host, "/api", "?userId="+c.user, "X-API-Key: "+c.key)
	return c.open(ctx, ws, host, local, request, c, &c.ledger, func() bool { return c.name != "" })
}

// subscribe adds the subscribers, and waits until all have begun.
func (c *carrier) subscribe(ctx context.Context, host string, atOnce int) error {
	var requests []protocol.ChannelRequest
	var next []protocol.Subscription
	for id := range c.subs {
		if next = append(next, protocol.Subscription{SessionID: id, After: "latest"}); len(next) == protocol.MaxSubscribe {
			requests, next = append(requests, protocol.ChannelRequest{Subscribe: protocol.SubscribeRequest{Sessions: next}}), nil
		}
	}
	if len(next) > 0 {
		requests = append(requests, protocol.ChannelRequest{Subscribe: protocol.SubscribeRequest{Sessions: next}})
	}
	address := "http://" + host + "/api/events/" + c.name + "?userId=" + c.user
	err := forAll(ctx, len(requests), atOnce, func(ctx context.Context, i int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(protocol.Marshal(requests[i])))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-API-Key", c.key)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("subscribe: %s", resp.Status)
		}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-c.begun:
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), fmt.Errorf("%d sessions did not begin", c.waiting.Load()))
	}
}
