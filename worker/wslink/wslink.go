// Package wslink carries a worker's link to a hub over a WebSocket, the
// subprotocol sessionhub.worker.v1.
package wslink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
	"sessionhub/worker"
)

const (
	// dialTimeout bounds the time until a link is open.
	dialTimeout = 15 * time.Second
	// userTimeout is how long the kernel may wait for the hub to acknowledge sent bytes
	// (TCP_USER_TIMEOUT). It is longer than a hub's lease: the link's own heartbeats have
	// failed by then.
	userTimeout = 30 * time.Second
	// closeWait bounds a close handshake.
	closeWait = time.Second
	// maxFrameBytes bounds a frame from the hub: a user's message has at most 64 MiB
	// (--max-message-bytes).
	maxFrameBytes = 128 << 20
	// maxReason bounds the bytes of a refusal that are read.
	maxReason = 8 << 10
)

// Dialer opens links to one hub. Its methods may be called concurrently. Close closes its
// idle connections.
type Dialer struct {
	url    string
	header http.Header
	client *http.Client
}

// NewDialer makes a dialer. hub is a URL from ParseHub. The key is sent in a header and
// nowhere else.
func NewDialer(hub *url.URL, key string) *Dialer {
	transport := http.DefaultTransport.(*http.Transport).Clone() // its proxy settings and roots
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second, Control: control}
	transport.DialContext = dialer.DialContext
	return &Dialer{
		url:    hub.String(),
		header: http.Header{"Authorization": {"Bearer " + key}},
		client: &http.Client{
			Transport: transport,
			// A redirect could carry the key to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close closes the connections that no link uses.
func (d *Dialer) Close() { d.client.CloseIdleConnections() }

// ParseHub reads the address of a hub: ws://, wss://, http:// or https://, a host, and an
// optional path. It adds /worker/link unless the path ends so.
func ParseHub(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("is no URL") // the parser's error repeats the text, which can hold a password
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return nil, errors.New("is not of ws, wss, http or https")
	}
	switch {
	case u.Hostname() == "":
		return nil, errors.New("names no host")
	case u.User != nil:
		return nil, errors.New("holds a user or a password: the key has its own variable")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("holds a query or a fragment")
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if !strings.HasSuffix(u.Path, protocol.WorkerLinkPath) {
		u.Path += protocol.WorkerLinkPath
	}
	return u, nil
}

// Dial opens a link. If the hub refuses the key, the error wraps worker.ErrRefused: another
// attempt would fail too.
func (d *Dialer) Dial(ctx context.Context) (worker.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c := &conn{}
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { c.tcp = info.Conn }})
	ws, resp, err := websocket.Dial(traced, d.url, &websocket.DialOptions{
		HTTPClient: d.client, HTTPHeader: d.header, Subprotocols: []string{protocol.WorkerSubprotocol},
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, refusal(resp)
		}
		return nil, err
	}
	if ws.Subprotocol() != protocol.WorkerSubprotocol {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("the server at %s does not speak %s", d.url, protocol.WorkerSubprotocol)
	}
	ws.SetReadLimit(maxFrameBytes)
	c.ws = ws
	return c, nil
}

// refusal makes the error of an answer that opens no link.
func refusal(resp *http.Response) error {
	detail := resp.Status
	var p protocol.Problem
	// An unreadable body leaves the status alone: a proxy may answer anything.
	if raw, err := io.ReadAll(io.LimitReader(resp.Body, maxReason)); err == nil && protocol.Decode(raw, &p) == nil && p.Detail != "" {
		detail = fmt.Sprintf("%s: %s", resp.Status, p.Detail)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		return fmt.Errorf("%w: %s", worker.ErrRefused, detail)
	}
	return fmt.Errorf("the hub answered %s", detail)
}

// conn is one link: see worker.Conn. When the context of a read or a write ends, conn
// closes with a close handshake, not at once. The last frames, such as a release, have no
// acknowledgement and must not be lost to a reset.
type conn struct {
	ws  *websocket.Conn
	tcp net.Conn // below it, perhaps with TLS between
}

func (c *conn) ReadFrame(ctx context.Context) ([]byte, error) {
	defer context.AfterFunc(ctx, c.end)()
	kind, raw, err := c.ws.Read(context.Background())
	var end websocket.CloseError
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.As(err, &end):
		return nil, fmt.Errorf("the hub closed the link: %d %s", end.Code, end.Reason)
	case err != nil:
		return nil, err
	case kind != websocket.MessageText:
		return nil, errors.New("the hub sent a binary frame")
	}
	return raw, nil
}

func (c *conn) WriteFrame(ctx context.Context, frame []byte) error {
	defer context.AfterFunc(ctx, c.end)()
	err := c.ws.Write(context.Background(), websocket.MessageText, frame)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *conn) end() { _ = c.Close() }

// Close performs the close handshake. It waits until the hub has read everything before it,
// for at most closeWait.
func (c *conn) Close() error {
	cut := time.AfterFunc(closeWait, func() { _ = c.tcp.Close() })
	defer cut.Stop()
	return c.ws.Close(websocket.StatusNormalClosure, "")
}
