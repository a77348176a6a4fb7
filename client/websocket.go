package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// wsConnection is a stream over WebSocket (subprotocol sessionhub.v1).
type wsConnection struct {
	conn  *websocket.Conn
	watch *watchdog
}

func (s *Session) dialWebSocket(ctx context.Context, after protocol.Cursor, maxFrame int64, most time.Duration) (connection, error) {
	const op = "open stream"
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	c := &wsConnection{}
	// The library dials http as ws, and https as wss.
	conn, resp, err := websocket.Dial(ctx, s.client.endpoint(s.path("/ws"), url.Values{"after": {after.String()}}), &websocket.DialOptions{
		HTTPClient: s.client.http(), HTTPHeader: s.streamHeader(), Subprotocols: []string{protocol.Subprotocol},
		OnPingReceived: func(context.Context, []byte) bool { c.watch.heard(); return true },
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, refusal(op, resp)
		}
		return nil, failed(op, err)
	}
	conn.SetReadLimit(maxFrame)
	c.conn = conn
	c.watch = newWatchdog(func() { _ = conn.CloseNow() })
	return c, nil
}

func (c *wsConnection) read(ctx context.Context) ([]byte, error) {
	c.watch.start()
	_, raw, err := c.conn.Read(ctx)
	if c.watch.stop() {
		return nil, failed("read stream", errSilent)
	}
	if err == nil {
		return raw, nil
	}
	var end websocket.CloseError
	if !errors.As(err, &end) {
		return nil, failed("read stream", err)
	}
	if int(end.Code) == protocol.CloseEnded {
		return nil, errEnded
	}
	return nil, closed("read stream", int(end.Code), end.Reason)
}

func (c *wsConnection) heartbeat(every time.Duration) { c.watch.every(every) }

func (c *wsConnection) patience(d time.Duration) { c.watch.first(d) }

// write sends a command. It may be called concurrently with read and close.
func (c *wsConnection) write(ctx context.Context, raw []byte) error {
	return c.conn.Write(ctx, websocket.MessageText, raw)
}

func (c *wsConnection) close() { _ = c.conn.CloseNow() }
