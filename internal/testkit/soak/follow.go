package soak

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// maxFrame bounds one frame of a stream.
const maxFrame = 16 << 20

// errStale ends a connection that goes on where the record cannot.
var errStale = errors.New("the stream goes on in the middle of an event that was lost")

// mostAway is how long a client is away at most between two connections.
const mostAway = 3 * time.Second

// follower reads a session's log into a record over as many connections as it
// takes, and breaks one off now and then, as people's networks do.
type follower struct {
	base    func() string // of a node; another one each time, if there are several
	session string
	token   string
	sse     bool
	churn   time.Duration // mean life of a connection; 0: as long as it lives
	rng     *rand.Rand    // owned by run
	record  *Record
}

// Watch reads a session's log over WebSocket into a record until ctx or the log
// ends.
func Watch(ctx context.Context, baseURL, sessionID, token string, r *Record) {
	f := &follower{base: func() string { return baseURL }, session: sessionID, token: token, record: r}
	f.run(ctx)
}

// run reads until ctx ends or the log does.
func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		life, cancel := context.WithCancel(ctx)
		if f.churn > 0 {
			life, cancel = context.WithTimeout(ctx, time.Duration(f.rng.ExpFloat64()*float64(f.churn)))
		}
		err := f.connect(life)
		cancel()
		if errors.Is(err, io.EOF) && f.ended() {
			return
		}
		away := 20*time.Millisecond + rand.N(100*time.Millisecond)
		if f.churn > 0 && rand.N(6) == 0 {
			away = rand.N(mostAway) // it comes back to a log that was compacted meanwhile
		}
		sleep(ctx, away)
	}
}

func (f *follower) ended() bool {
	f.record.mu.Lock()
	defer f.record.mu.Unlock()
	return f.record.closed
}

func (f *follower) connect(ctx context.Context) error {
	path := f.base() + "/api/sessions/" + f.session
	query := "?after=" + url.QueryEscape(f.record.Cursor())
	if f.sse {
		return f.readSSE(ctx, path+"/events"+query)
	}
	return f.readWebSocket(ctx, path+"/ws"+query)
}

func (f *follower) readWebSocket(ctx context.Context, url string) error {
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + f.token}}, Subprotocols: []string{protocol.Subprotocol},
	})
	if err != nil {
		f.judge(resp)
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxFrame)
	for {
		_, raw, err := conn.Read(ctx)
		if websocket.CloseStatus(err) == protocol.CloseEnded {
			return io.EOF
		}
		if err != nil {
			return err
		}
		f.record.Frame(raw)
		if f.record.Stale() {
			return errStale
		}
	}
}

// judge finds a refusal that no outage explains: the cursor and the token are good.
func (f *follower) judge(resp *http.Response) {
	if resp == nil {
		return
	}
	switch resp.StatusCode {
	case http.StatusOK, http.StatusSwitchingProtocols, http.StatusServiceUnavailable, http.StatusTooManyRequests:
	case http.StatusRequestTimeout: // a link froze in the middle of the request
	default:
		f.record.Find("a stream was refused with %s", resp.Status)
	}
}

func (f *follower) readSSE(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+f.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return io.EOF
	}
	if resp.StatusCode != http.StatusOK {
		f.judge(resp)
		return fmt.Errorf("event stream: %s", resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxFrame)
	var id string
	var data []byte
	for lines.Scan() {
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(": "))
		switch {
		case len(lines.Bytes()) == 0 && data != nil:
			f.record.FrameWithID(data, id)
			if f.record.Stale() {
				return errStale
			}
			id, data = "", nil
		case string(field) == "id":
			id = string(value)
		case string(field) == "data":
			data = bytes.Clone(value)
		}
	}
	if lines.Err() == nil {
		return io.EOF
	}
	return lines.Err()
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
