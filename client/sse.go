package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"
)

// sseConnection is a stream of server-sent events (WHATWG HTML, section 9.2). The JSON in
// data holds everything, also type and seq, so no other field is read.
type sseConnection struct {
	body   io.Closer
	in     *bufio.Reader
	cancel context.CancelFunc
	watch  *watchdog
	most   int64
}

func (l *line) dialSSE(ctx context.Context) (connection, error) {
	const op = "open stream"
	// The request's context lives as long as the connection, longer than this call.
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	timer := time.AfterFunc(dialTimeout, cancel)
	resp, err := l.requestSSE(life)
	inTime := timer.Stop()
	if !stop() || !inTime {
		cancel()
		if err == nil {
			_ = resp.Body.Close()
			err = context.DeadlineExceeded
		}
	}
	if err != nil {
		cancel()
		return nil, failed(op, err)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusNoContent:
		err = errEnded
	case resp.StatusCode != http.StatusOK:
		err = refusal(op, resp)
	case kind != "text/event-stream":
		err = fmt.Errorf("%s: the answer is %q, no event stream", op, kind)
	}
	if err != nil {
		_ = resp.Body.Close()
		cancel()
		return nil, err
	}
	c := &sseConnection{body: resp.Body, in: bufio.NewReader(resp.Body), cancel: cancel, most: l.opts.MaxFrameBytes}
	c.watch = newWatchdog(cancel)
	return c, nil
}

func (l *line) requestSSE(ctx context.Context) (*http.Response, error) {
	req, err := l.target.events(ctx)
	if err != nil {
		return nil, err
	}
	l.client.authorize(req.Header, l.dialled)
	req.Header.Set("Accept", "text/event-stream")
	return l.client.http().Do(req)
}

func (c *sseConnection) read(ctx context.Context) ([]byte, error) {
	stop := context.AfterFunc(ctx, c.cancel)
	c.watch.start()
	raw, err := c.event()
	bitten := c.watch.stop()
	stop()
	switch {
	case bitten:
		return nil, failed("read stream", errSilent)
	case err != nil:
		return nil, failed("read stream", err)
	}
	return raw, nil
}

// event reads to the blank line that ends an event with data.
func (c *sseConnection) event() ([]byte, error) {
	var data []byte
	for {
		line, err := c.line()
		if err != nil {
			return nil, err
		}
		c.watch.heard()
		field, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(line) == 0 && data != nil:
			return data, nil
		case len(line) == 0: // the end of a comment or of a retry
		case string(field) == "data":
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
			if int64(len(data)) > c.most {
				return nil, errTooLong
			}
		}
	}
}

var errTooLong = errors.New("the frame is longer than MaxFrameBytes")

// line reads a line without its end. The result holds until the next read.
func (c *sseConnection) line() ([]byte, error) {
	line, err := c.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return bytes.TrimRight(line, "\r\n"), err
	}
	long := bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		if int64(len(long)) > c.most {
			return nil, errTooLong
		}
		line, err = c.in.ReadSlice('\n')
		long = append(long, line...)
		c.watch.heard()
	}
	return bytes.TrimRight(long, "\r\n"), err
}

func (c *sseConnection) heartbeat(every time.Duration) { c.watch.every(every) }

func (c *sseConnection) patience(d time.Duration) { c.watch.first(d) }

func (c *sseConnection) close() {
	c.cancel()
	_ = c.body.Close()
}
