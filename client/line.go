package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"sessionhub/internal/backoff"
	"sessionhub/protocol"
)

// stableAfter is how long a connection must have lasted to reset the back-off.
const stableAfter = 10 * time.Second

// line keeps the connection of a Stream or of a Channel: it chooses the transport, waits,
// renews the token and comes back. It reads frames and knows nothing of their content.
type line struct {
	client     *Client
	credential *credential
	opts       StreamOptions
	target     target
	socket     socket     // what the commands go out on
	renewing   sync.Mutex // held while a token is replaced

	// Owned by the goroutine of Next.
	route    route
	via      Transport  // of the present connection, or of the last one
	conn     connection // nil: none
	openedAt time.Time
	heardAt  time.Time // when the first frame came on this connection
	backoff  backoff.Backoff
	retryAt  time.Time
	comeBack time.Time // when a draining hub asked the stream to come back
	retired  bool      // the hub ends the event stream because of its age
	dialled  string    // the token that the connection has
	renewed  bool      // the token is new since a connection was accepted
	err      error     // why the stream has ended
}

// target is what a line connects to. All are called in the goroutine of Next, or of Close.
type target interface {
	// webSocket gives a path below /api, and its query.
	webSocket() (path string, query url.Values)
	// events makes the request for an event stream, without its credential.
	events(ctx context.Context) (*http.Request, error)
	// closed hears that the connection is over.
	closed()
}

// credential is a token that may be replaced. It may be used concurrently.
type credential struct {
	mu    sync.Mutex
	token string // guarded by mu
}

// SetToken replaces the token for later requests and connections.
func (c *credential) SetToken(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.token = token
}

func (c *credential) bearer() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
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

// open sets what a line needs.
func (l *line) open(c *Client, token *credential, o StreamOptions, to target) {
	if o.MaxFrameBytes <= 0 {
		o.MaxFrameBytes = 16 << 20
	}
	l.client, l.credential, l.opts, l.target = c, token, o, to
	l.backoff, l.route = o.Backoff.begin(), route{client: c, fixed: o.Transport}
}

// Transport is the transport of the present connection, or of the last one. It is Auto
// before the first one.
func (l *line) Transport() Transport { return l.via }

// Close ends the connection. A later Next connects again.
func (l *line) Close() {
	if l.conn != nil {
		l.socket.detach()
		l.conn.close()
		l.conn = nil
		l.target.closed()
	}
}

// read gives the next frame's JSON, over as many connections as it takes.
func (l *line) read(ctx context.Context) ([]byte, error) {
	for {
		if l.err != nil {
			return nil, l.err
		}
		if l.conn == nil {
			if err := l.connect(ctx); err != nil {
				return nil, err
			}
			continue
		}
		raw, err := l.conn.read(ctx)
		if err == nil {
			return raw, nil
		}
		l.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		l.lost(ctx, err)
	}
}

// opened notes the first frame of a connection, which names the hub's heartbeat. It returns
// false if that came before.
func (l *line) opened(heartbeatSeconds int) bool {
	if !l.heardAt.IsZero() {
		return false
	}
	l.conn.heartbeat(time.Duration(heartbeatSeconds) * time.Second)
	l.heardAt = time.Now()
	l.route.opened(l.via)
	l.socket.attach(l.conn)
	return true
}

// takeControl obeys the frames about a connection.
func (l *line) takeControl(ctx context.Context, e protocol.Event) error {
	switch protocol.ControlType(e.Type) {
	case protocol.ControlDraining:
		var d protocol.Draining
		if err := json.Unmarshal(e.Data, &d); err != nil {
			return err
		}
		l.comeBack = time.Now().Add(time.Duration(d.ReconnectAfterMs) * time.Millisecond)
		l.retired = d.Reason == protocol.DrainMaxAge
	case protocol.ControlExpiring:
		l.renewAhead(ctx)
	}
	return nil
}

// connect waits until the next attempt is due, and makes it. It returns the context's error
// only: any other failure leads to l.err or to another attempt.
func (l *line) connect(ctx context.Context) error {
	if err := sleep(ctx, time.Until(l.retryAt)); err != nil {
		return err
	}
	conn, err := l.dial(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		l.lost(ctx, err)
		return nil
	}
	l.conn, l.openedAt, l.heardAt, l.renewed, l.comeBack = conn, time.Now(), time.Time{}, false, time.Time{}
	return nil
}

func (l *line) dial(ctx context.Context) (connection, error) {
	l.via, l.dialled = l.route.next(), l.credential.bearer()
	if l.via == SSE {
		return l.dialSSE(ctx)
	}
	if l.opts.Transport != Auto {
		return l.dialWebSocket(ctx, dialTimeout)
	}
	began := time.Now()
	conn, err := l.dialWebSocket(ctx, socketPatience)
	if err == nil {
		conn.patience(max(time.Second, socketPatience-time.Since(began)))
	}
	return conn, err
}

// lost decides what follows the end of a connection, or a failed attempt.
func (l *line) lost(ctx context.Context, reason error) {
	var lasted time.Duration
	if !l.heardAt.IsZero() {
		lasted = max(1, time.Since(l.heardAt))
		l.heardAt = time.Time{}
	}
	another := l.route.lost(l.via, reason, lasted)
	if l.conn == nil && !l.openedAt.IsZero() {
		if time.Since(l.openedAt) >= stableAfter {
			l.backoff.Reset()
		}
		l.openedAt = time.Time{}
	}
	if errors.Is(reason, errEnded) {
		l.err = io.EOF
		return
	}
	if l.retired { // nothing is wrong
		l.backoff.Reset()
		l.retryAt, l.retired, l.comeBack = l.comeBack, false, time.Time{}
		return
	}
	var refused *Error
	if errors.As(reason, &refused) {
		switch {
		case refused.unauthorized():
			if !l.renew(ctx, reason) {
				return
			}
		case !refused.Temporary() && !another:
			l.err = reason
			return
		}
	}
	wait := l.backoff.Next()
	if l.opts.MaxAttempts > 0 && l.backoff.Failures() >= l.opts.MaxAttempts {
		l.err = reason
		return
	}
	if refused != nil {
		wait = max(wait, refused.RetryAfter)
	}
	if another {
		wait = 0
	}
	if !l.comeBack.IsZero() {
		// The hub spreads its clients itself: jitter would only add a delay.
		wait = max(0, time.Until(l.comeBack))
		l.comeBack = time.Time{}
	}
	l.retryAt = time.Now().Add(wait)
	if l.opts.OnRetry != nil {
		l.opts.OnRetry(reason, wait)
	}
}

// renew gets another token in place of a refused one. It returns false if it got none: the
// stream has ended.
func (l *line) renew(ctx context.Context, reason error) bool {
	if l.opts.Renew == nil || l.renewed { // the new token was refused too
		l.err = reason
		return false
	}
	err := l.renewToken(ctx, l.dialled)
	if ctx.Err() != nil {
		return true // the next call asks again
	}
	if err != nil {
		l.err = fmt.Errorf("renew the token: %w (it was refused: %w)", err, reason)
		return false
	}
	l.renewed = true
	return true
}

// renewAhead gets another token while the present one is valid. It sends the new token over
// a WebSocket, and begins an event stream again with it. A failure here does no harm: the
// end of the token asks again.
func (l *line) renewAhead(ctx context.Context) {
	if l.opts.Renew == nil || l.renewToken(ctx, l.dialled) != nil {
		return
	}
	if ws, ok := l.conn.(*wsConnection); ok && l.tell(ctx, ws) == nil {
		return
	}
	l.Close()
	l.lost(ctx, errRenewed)
}

// tell sends the new token to the hub over the connection. It does not wait for the answer.
// If the hub refuses the token, it ends the connection in a minute, as it would have done
// without.
func (l *line) tell(ctx context.Context, ws *wsConnection) error {
	token := l.credential.bearer()
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
	l.dialled = token
	return nil
}

// breakOff gives up a connection that cannot be trusted any more.
func (l *line) breakOff(ctx context.Context, reason error) {
	l.Close()
	l.lost(ctx, reason)
}

// renewToken replaces a refused token, unless it was replaced already: Next and the
// commands may see the refusal at the same time.
func (l *line) renewToken(ctx context.Context, old string) error {
	l.renewing.Lock()
	defer l.renewing.Unlock()
	if l.credential.bearer() != old {
		return nil
	}
	token, err := l.opts.Renew(ctx)
	if err != nil {
		return err
	}
	l.credential.SetToken(token)
	return nil
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
