package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"sessionhub/internal/backoff"
	"sessionhub/protocol"
)

// subscription is a session of a channel, guarded by the channel's mutex.
type subscription struct {
	pos     position
	deaf    bool // its place is lost: it hears nothing before the next connected
	backoff backoff.Backoff
	timer   *time.Timer // asks for it again
}

// endLocked ends a subscription, unless it is worth asking for it again.
func (ch *Channel) endLocked(id string, sub *subscription, err error, out *[]Update) {
	var e *Error
	if errors.As(err, &e) {
		if e.Temporary() {
			ch.retryLocked(id, sub, e.RetryAfter)
			return
		}
		if e.CloseCode == protocol.CloseEnded {
			err = io.EOF
		}
	}
	ch.stopLocked(sub)
	delete(ch.subs, id)
	*out = append(*out, Update{SessionID: id, Err: err})
}

func refusalOf(r protocol.Refusal) *Error {
	e := &Error{Op: "subscribe to " + r.SessionID, Code: r.Code, Detail: r.Detail, RetryAfter: time.Duration(r.RetryAfter) * time.Second}
	if e.Code == protocol.CodeConnectionLimit {
		e.Status = http.StatusTooManyRequests
	}
	return e
}

// refused ends the subscriptions that an answer refuses, and returns the reasons.
func (ch *Channel) refused(refusals []protocol.Refusal) (all error) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, r := range refusals {
		sub := ch.subs[r.SessionID]
		if sub == nil {
			continue
		}
		if e := refusalOf(r); e.Temporary() {
			ch.retryLocked(r.SessionID, sub, e.RetryAfter)
		} else {
			delete(ch.subs, r.SessionID)
			all = errors.Join(all, e)
		}
	}
	return all
}

// retryLocked asks for a session again after its back-off.
func (ch *Channel) retryLocked(id string, sub *subscription, least time.Duration) {
	sub.deaf = true
	connection := ch.id
	if connection == "" {
		return // the next connection asks
	}
	ch.stopLocked(sub)
	sub.timer = ch.laterLocked(max(least, sub.backoff.Next()), func(life context.Context) {
		ch.mu.Lock()
		if ch.subs[id] != sub {
			ch.mu.Unlock()
			return
		}
		from := protocol.Subscription{SessionID: id, After: sub.pos.cursor.String()}
		ch.mu.Unlock()
		ch.askAgain(life, connection, []protocol.Subscription{from})
	})
}

func (ch *Channel) stopLocked(sub *subscription) {
	if sub != nil && sub.timer != nil {
		if sub.timer.Stop() {
			ch.again.Done()
		}
		sub.timer = nil
	}
}

// later does something in a goroutine of its own, while the connection lives.
func (ch *Channel) later(wait time.Duration, do func(life context.Context)) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.laterLocked(wait, do)
}

func (ch *Channel) laterLocked(wait time.Duration, do func(life context.Context)) *time.Timer {
	ch.again.Add(1)
	life := ch.life
	return time.AfterFunc(wait, func() {
		defer ch.again.Done()
		if life.Err() == nil {
			do(life)
		}
	})
}

// askAgain asks for sessions. Next tells of those that are refused for good.
func (ch *Channel) askAgain(life context.Context, connection string, sessions []protocol.Subscription) {
	refused, err := ch.post(life, connection, protocol.ChannelRequest{Subscribe: protocol.SubscribeRequest{Sessions: sessions}})
	ch.mu.Lock()
	defer ch.mu.Unlock()
	if ch.id != connection {
		return
	}
	if err != nil {
		for _, s := range sessions {
			if sub := ch.subs[s.SessionID]; sub != nil {
				ch.endLocked(s.SessionID, sub, err, &ch.told)
			}
		}
	}
	for _, r := range refused {
		if sub := ch.subs[r.SessionID]; sub != nil {
			ch.endLocked(r.SessionID, sub, refusalOf(r), &ch.told)
		}
	}
}

// post sends a change to the hub until it is answered, ctx ends, or the connection is over:
// then the next one asks for everything.
func (ch *Channel) post(ctx context.Context, connection string, r protocol.ChannelRequest) ([]protocol.Refusal, error) {
	const op = "change subscriptions"
	renewed := false
	for waits := ch.opts.Backoff.begin(); ; {
		token := ch.token.bearer()
		var out protocol.SubscribeResponse
		err := ch.client.do(ctx, call{
			op: op, method: http.MethodPost, path: "/events/" + url.PathEscape(connection), query: ch.query, token: token, body: r,
		}, &out)
		if err == nil {
			return out.Refused, nil
		}
		if ctx.Err() != nil {
			return nil, failed(op, ctx.Err())
		}
		ch.mu.Lock()
		over := ch.id != connection
		ch.mu.Unlock()
		var refused *Error
		var least time.Duration
		switch known := errors.As(err, &refused); {
		case over, known && refused.Status == http.StatusNotFound:
			return nil, nil
		case known && refused.unauthorized() && ch.opts.Renew != nil && !renewed:
			renewed = true
			if err := ch.renewToken(ctx, token); err != nil {
				return nil, fmt.Errorf("renew the token: %w (it was refused: %w)", err, refused)
			}
			continue
		case known && !refused.Temporary():
			return nil, err
		case known:
			least = refused.RetryAfter
		}
		if err := sleep(ctx, max(waits.Next(), least)); err != nil {
			return nil, failed(op, err)
		}
	}
}
