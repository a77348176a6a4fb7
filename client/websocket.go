package client

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// wsConnection is a stream over WebSocket (subprotocol sessionhub.v1).
type wsConnection struct {
	conn  *websocket.Conn
	watch *watchdog
}

func (l *line) dialWebSocket(ctx context.Context, most time.Duration) (connection, error) {
	const op = "open stream"
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	c := &wsConnection{}
	path, query := l.target.webSocket()
	header := http.Header{}
	l.client.authorize(header, l.dialled)
	// The library dials http as ws, and https as wss.
	conn, resp, err := websocket.Dial(ctx, l.client.endpoint(path, query), &websocket.DialOptions{
		HTTPClient: l.client.http(), HTTPHeader: header, Subprotocols: []string{protocol.Subprotocol},
		OnPingReceived: func(context.Context, []byte) bool { c.watch.heard(); return true },
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, refusal(op, resp)
		}
		return nil, failed(op, err)
	}
	conn.SetReadLimit(l.opts.MaxFrameBytes)
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
