package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// sharedHub is a hub of many sessions by script. A session has as many events as logs says.
type sharedHub struct {
	t *testing.T

	mu    sync.Mutex
	conns []*sharedConn
	logs  map[string]int
	list  [][]string // of each connection that asks for it
	asked []string   // each subscription, as connection, session and cursor
	sizes []int      // of each request
	users []string   // of each connection: userId and credential
	// answer takes a subscription's place in the script; false: it has not.
	answer  func(c *sharedConn, id, after string) (refusal *protocol.Refusal, done bool)
	refuse  int // the status of every change by request
	changes int // by request
}

// sharedConn is one connection.
type sharedConn struct {
	id   string
	send func(frame string)
	cut  context.CancelFunc
}

func (c *sharedConn) event(id string, seq int) {
	c.send(fmt.Sprintf(`{"sessionId":%q,"seq":%d,"type":"output","time":"2026-01-01T00:00:00.000Z","data":{}}`, id, seq))
}

func (c *sharedConn) control(id string, kind protocol.ControlType, data string) {
	c.send(fmt.Sprintf(`{"sessionId":%q,"type":%q,"time":"2026-01-01T00:00:00.000Z","data":%s}`, id, kind, data))
}

func (c *sharedConn) connected(id, epoch string) {
	c.control(id, protocol.ControlConnected, fmt.Sprintf(`{"sessionId":%q,"epoch":%q,"heartbeatSeconds":15}`, id, epoch))
}

// replay sends what a session has after a cursor.
func (c *sharedConn) replay(id, after string, last int) {
	c.connected(id, "e1")
	from, _ := strconv.Atoi(after[strings.LastIndex(after, "-")+1:])
	for seq := from + 1; seq <= last; seq++ {
		c.event(id, seq)
	}
	c.control(id, protocol.ControlCaughtUp, fmt.Sprintf(`{"seq":%d}`, last))
}

func (h *sharedHub) serve(w http.ResponseWriter, r *http.Request) {
	if name, ok := strings.CutPrefix(r.URL.Path, "/api/events/"); ok {
		h.change(w, r, name)
		return
	}
	ctx, cut := context.WithCancel(r.Context())
	var writer sync.WaitGroup
	defer writer.Wait() // after the cut
	defer cut()
	c := &sharedConn{cut: cut}
	h.mu.Lock()
	c.id = fmt.Sprint("c", len(h.conns))
	h.conns = append(h.conns, c)
	h.users = append(h.users, r.URL.Query().Get("userId")+" "+r.Header.Get("Authorization")+r.Header.Get("X-API-Key"))
	h.mu.Unlock()
	ready := fmt.Sprintf(`{"type":"ready","data":{"connection":%q,"userId":"u","node":"n","heartbeatSeconds":15}}`, c.id)
	write := func(string) {}
	c.send = queue(ctx, &writer, func(frame string) { write(frame) })
	if r.URL.Path == "/api/events" {
		var first protocol.SubscribeRequest
		if err := json.NewDecoder(r.Body).Decode(&first); err != nil {
			h.t.Error(err)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		write = func(frame string) {
			fmt.Fprintf(w, "data: %s\n\n", frame)
			_ = http.NewResponseController(w).Flush()
		}
		c.send(ready)
		for _, no := range h.take(c, first).Refused {
			c.control(no.SessionID, protocol.ControlRefused, string(protocol.Marshal(no)))
		}
		<-ctx.Done()
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{protocol.Subprotocol}})
	if err != nil {
		h.t.Error(err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	write = func(frame string) { _ = conn.Write(ctx, websocket.MessageText, []byte(frame)) }
	c.send(ready)
	for {
		_, raw, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var cmd protocol.Command
		var r protocol.SubscribeRequest
		if json.Unmarshal(raw, &cmd) != nil || json.Unmarshal(cmd.Data, &r) != nil {
			h.t.Errorf("got %s", raw)
		}
		c.send(string(protocol.Marshal(protocol.Ack{Type: "ack", ID: cmd.ID, Data: protocol.Marshal(h.take(c, r))})))
	}
}

// queue sends frames beside whoever makes them, as a hub does: a pipe holds nothing.
func queue(ctx context.Context, writer *sync.WaitGroup, write func(string)) func(string) {
	frames := make(chan string, 10_000)
	writer.Go(func() {
		for {
			select {
			case frame := <-frames:
				write(frame)
			case <-ctx.Done():
				return
			}
		}
	})
	return func(frame string) { frames <- frame }
}

func (h *sharedHub) change(w http.ResponseWriter, r *http.Request, name string) {
	var req protocol.ChannelRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		h.t.Error(err)
	}
	h.mu.Lock()
	h.changes++
	refuse := h.refuse
	i := slices.IndexFunc(h.conns, func(c *sharedConn) bool { return c.id == name })
	h.mu.Unlock()
	switch {
	case refuse != 0:
		w.WriteHeader(refuse)
	case i < 0:
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write(protocol.Marshal(h.take(h.conns[i], req.Subscribe)))
	}
}

func (h *sharedHub) take(c *sharedConn, r protocol.SubscribeRequest) (answer protocol.SubscribeResponse) {
	h.mu.Lock()
	h.sizes = append(h.sizes, len(r.Sessions))
	h.mu.Unlock()
	for _, s := range r.Sessions {
		h.mu.Lock()
		h.asked = append(h.asked, c.id+" "+s.SessionID+" "+s.After)
		last, script := h.logs[s.SessionID], h.answer
		h.mu.Unlock()
		if script != nil {
			if no, done := script(c, s.SessionID, s.After); no != nil {
				answer.Refused = append(answer.Refused, *no)
				continue
			} else if done {
				continue
			}
		}
		c.replay(s.SessionID, s.After, last)
		answer.Subscribed = append(answer.Subscribed, s.SessionID)
	}
	if !r.List {
		return answer
	}
	h.mu.Lock()
	frames := []string{`{"type":"list_complete","data":{"sessions":0}}`}
	if len(h.list) > 0 {
		frames, h.list = h.list[0], h.list[1:]
	}
	h.mu.Unlock()
	for _, frame := range frames {
		c.send(frame)
	}
	return answer
}

// shared runs a test of a channel in a bubble, over both transports.
func shared(t *testing.T, f func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions)) {
	for name, transport := range transports {
		t.Run(name, func(t *testing.T) {
			run(t, transport, nil, func(t *testing.T, h *scripted, _ *Session) {
				hub := &sharedHub{t: t, logs: map[string]int{}}
				h.shared = hub.serve
				f(t, hub, h.client, StreamOptions{Transport: transport})
				for _, c := range hub.conns {
					c.cut()
				}
			})
		})
	}
}

// gather reads until enough says so. It gives what came of each session.
func gather(t *testing.T, ch *Channel, got map[string]string, enough func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour) // synctest's
	defer cancel()
	for !enough() {
		u, err := ch.Next(ctx)
		if err != nil {
			t.Fatalf("%v; got %v", err, got)
		}
		what := string(u.Control())
		var refused *Error
		switch {
		case errors.As(u.Err, &refused):
			what = string(refused.Code)
		case u.Err != nil:
			what = u.Err.Error()
		case u.From != 0:
			what = fmt.Sprintf("%d..%d", u.From, u.Seq)
		case u.Seq != 0:
			what = fmt.Sprint(u.Seq)
		}
		got[u.SessionID] = strings.TrimSpace(got[u.SessionID] + " " + what)
	}
}

func from(ids ...string) (all []protocol.Subscription) {
	for _, id := range ids {
		all = append(all, protocol.Subscription{SessionID: id})
	}
	return all
}

func wants(got map[string]string, want map[string]string) func() bool {
	return func() bool { return maps.Equal(got, want) }
}

func TestChannelResumesEachSessionFromItsCursor(t *testing.T) {
	shared(t, func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions) {
		c.APIKey = "key"
		ch := c.Channel(ChannelOptions{UserID: "ann", List: true, Stream: o})
		defer ch.Close()
		hub.logs = map[string]int{"a": 2, "b": 3}
		if err := ch.Subscribe(t.Context(), from("a", "b")...); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		gather(t, ch, got, wants(got, map[string]string{"": "ready list_complete", "a": "connected 1 2 caught_up", "b": "connected 1 2 3 caught_up"}))
		hub.mu.Lock()
		hub.logs = map[string]int{"a": 4, "b": 3, "c": 1}
		hub.conns[0].cut()
		hub.mu.Unlock()
		clear(got)
		gather(t, ch, got, wants(got, map[string]string{"": "ready list_complete", "a": "connected 3 4 caught_up", "b": "connected caught_up"}))
		if err := ch.Subscribe(t.Context(), from("c")...); err != nil {
			t.Fatal(err)
		}
		clear(got)
		gather(t, ch, got, wants(got, map[string]string{"c": "connected 1 caught_up"}))
		slices.Sort(hub.asked)
		if want := []string{"c0 a 0", "c0 b 0", "c1 a e1-2", "c1 b e1-3", "c1 c "}; !slices.Equal(hub.asked, want) {
			t.Errorf("asked for %v, want %v", hub.asked, want)
		}
		if want := []string{"ann key", "ann key"}; !slices.Equal(hub.users, want) {
			t.Errorf("asked as %v, want %v", hub.users, want)
		}
		if err := ch.Unsubscribe(t.Context(), "a", "b"); err != nil || !slices.Equal(ch.Sessions(), []string{"c"}) {
			t.Errorf("left: %v, %v", ch.Sessions(), err)
		}
	})
}

func TestChannelDeliversOnceInOrderOrAsksAgain(t *testing.T) {
	shared(t, func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions) {
		hub.logs = map[string]int{"a": 6, "b": 2}
		first := true
		hub.answer = func(c *sharedConn, id, _ string) (*protocol.Refusal, bool) {
			if id != "a" || !first {
				return nil, false
			}
			first = false
			c.connected("a", "e1")
			for _, seq := range []int{1, 2, 1, 2, 3, 5, 4, 6} { // a repeat, a hole, and what comes out of order
				c.event("a", seq)
			}
			return nil, true
		}
		ch := c.Channel(ChannelOptions{Stream: o})
		defer ch.Close()
		_ = ch.Subscribe(t.Context(), from("a", "b")...)
		got := map[string]string{}
		gather(t, ch, got, wants(got, map[string]string{"": "ready", "a": "connected 1 2 3 connected 4 5 6 caught_up", "b": "connected 1 2 caught_up"}))
		if len(hub.conns) != 1 {
			t.Errorf("%d connections", len(hub.conns))
		}
		if cursor, ok := ch.Cursor("a"); !ok || cursor.String() != "e1-6" {
			t.Errorf("at %s, %v", cursor, ok)
		}
	})
}

func TestChannelEndsWhatTheHubEnds(t *testing.T) {
	shared(t, func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions) {
		hub.logs = map[string]int{"slow": 1, "ended": 1, "last": 0, "later": 1}
		later := 0
		hub.answer = func(c *sharedConn, id, after string) (*protocol.Refusal, bool) {
			switch {
			case id == "none":
				return &protocol.Refusal{SessionID: id, Code: protocol.CodeNotFound}, true
			case id == "later" && later < 2:
				later++
				return &protocol.Refusal{SessionID: id, Code: protocol.CodeUnavailable, RetryAfter: 10}, true
			case id == "slow" && after == "0":
				c.replay(id, after, 1)
				c.control(id, protocol.ControlUnsubscribed, `{"code":4408,"reason":"slow"}`)
				return nil, true
			case id == "ended":
				c.replay(id, after, 1)
				c.control(id, protocol.ControlUnsubscribed, `{"code":4410,"reason":"ended"}`)
				return nil, true
			case id == "last":
				c.connected(id, "e1")
				c.send(`{"sessionId":"last","seq":1,"type":"closed","time":"2026-01-01T00:00:00.000Z","data":{"reason":"deleted"}}`)
				c.control(id, protocol.ControlUnsubscribed, `{"code":4410,"reason":"ended"}`)
				return nil, true
			}
			return nil, false
		}
		ch := c.Channel(ChannelOptions{Stream: o})
		defer ch.Close()
		_ = ch.Subscribe(t.Context(), from("none", "later", "slow", "ended", "last")...)
		got := map[string]string{}
		began := time.Now()
		gather(t, ch, got, wants(got, map[string]string{
			"": "ready", "none": "not_found", "later": "connected 1 caught_up", "slow": "connected 1 caught_up connected caught_up",
			"ended": "connected 1 caught_up EOF", "last": "connected 1 EOF",
		}))
		if took := time.Since(began); took < 20*time.Second {
			t.Errorf("it came back after %v", took)
		}
		if !slices.Equal(ch.Sessions(), []string{"later", "slow"}) {
			t.Errorf("left: %v", ch.Sessions())
		}
		var refused *Error
		if err := ch.Subscribe(t.Context(), from("none", "b")...); !errors.As(err, &refused) || refused.Code != protocol.CodeNotFound {
			t.Errorf("a refusal while the connection is open: %v", err)
		}
	})
}

func TestChannelAsksForAThousandAtOnce(t *testing.T) {
	shared(t, func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions) {
		var ids []string
		for i := range 2500 {
			ids = append(ids, fmt.Sprint("s", i))
		}
		ch := c.Channel(ChannelOptions{Stream: o})
		defer ch.Close()
		_ = ch.Subscribe(t.Context(), from(ids...)...)
		for caught := 0; caught < len(ids); {
			u, err := ch.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if u.Control() == protocol.ControlCaughtUp {
				caught++
			}
		}
		if slices.Sort(hub.sizes); !slices.Equal(hub.sizes, []int{500, 1000, 1000}) {
			t.Errorf("asked for %v", hub.sizes)
		}
	})
}

func TestChannelRepeatsAChangeUntilItIsAnswered(t *testing.T) {
	shared(t, func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions) {
		hub.logs = map[string]int{"a": 1, "b": 1}
		ch := c.Channel(ChannelOptions{Stream: o})
		defer ch.Close()
		_ = ch.Subscribe(t.Context(), from("a")...)
		got := map[string]string{}
		gather(t, ch, got, wants(got, map[string]string{"": "ready", "a": "connected 1 caught_up"}))
		hub.mu.Lock()
		hub.refuse = http.StatusServiceUnavailable
		hub.mu.Unlock()
		time.AfterFunc(8*time.Second, func() {
			hub.mu.Lock()
			defer hub.mu.Unlock()
			hub.refuse = 0
		})
		done := make(chan error, 1)
		go func() { done <- ch.Subscribe(t.Context(), from("b")...) }()
		gather(t, ch, got, wants(got, map[string]string{"": "ready", "a": "connected 1 caught_up", "b": "connected 1 caught_up"}))
		if err := <-done; err != nil || hub.changes < 2 {
			t.Errorf("%v after %d requests", err, hub.changes)
		}
	})
}

func TestChannelEndsWithItsToken(t *testing.T) {
	shared(t, func(t *testing.T, hub *sharedHub, c *Client, o StreamOptions) {
		renewed := 0
		o.Renew = func(context.Context) (string, error) { renewed++; return "fresh", nil }
		ch := c.Channel(ChannelOptions{Token: "stale", Stream: o})
		defer ch.Close()
		_ = ch.Subscribe(t.Context(), from("a")...)
		got := map[string]string{}
		gather(t, ch, got, wants(got, map[string]string{"": "ready", "a": "connected caught_up"}))
		hub.conns[0].send(`{"type":"expiring","data":{"expiresAt":"2026-01-01T00:00:00Z"}}`)
		hub.logs["a"] = 1
		if o.Transport == WebSocket { // the token goes over the connection
			gather(t, ch, got, wants(got, map[string]string{"": "ready expiring", "a": "connected caught_up"}))
			hub.conns[0].cut()
		}
		gather(t, ch, got, wants(got, map[string]string{"": "ready expiring ready", "a": "connected caught_up connected 1 caught_up"}))
		if want := []string{" Bearer stale", " Bearer fresh"}; !slices.Equal(hub.users, want) || renewed != 1 {
			t.Errorf("asked as %q, and %d tokens", hub.users, renewed)
		}
	})
}

func TestABadCursorIsTheErrorOfSubscribe(t *testing.T) {
	ch := (&Client{}).Channel(ChannelOptions{})
	if err := ch.Subscribe(t.Context(), protocol.Subscription{SessionID: "a", After: "x-y"}); !errors.Is(err, protocol.ErrCursor) {
		t.Errorf("got %v", err)
	}
	if _, ok := ch.Cursor("a"); ok {
		t.Error("it is followed all the same")
	}
}
