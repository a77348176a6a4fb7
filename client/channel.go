package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"sessionhub/protocol"
)

// ChannelOptions are a channel's settings. The zero value reaches the sessions of the
// client's API key, by whatever transport gets through, and never gives up.
type ChannelOptions struct {
	// Token is a user's token. Empty: the client's API key, or nothing at a hub in local mode.
	Token string
	// UserID is whose sessions the channel carries. Only a service key may set it.
	UserID string
	// List asks for the feed of the list: see Update.
	List bool
	// Stream has the settings of the connection. Its After is not used.
	Stream StreamOptions
}

// Update is a frame of a channel. It is about a session, or, with an empty SessionID, about
// the connection (ready, expiring, draining) or the list: see SessionList. Err says that the session's subscription is over, and why:
// io.EOF after the log's last event, or an *Error. Its Frame is empty then.
type Update struct {
	Frame
	SessionID string
	Err       error
}

// Channel follows many sessions of a user over one connection at a time. Next gives each
// session's events as a Stream does: each event after the start once and in order, with the
// control frames in their places. Sessions do not wait for each other.
//
// Next belongs to one goroutine: while nobody calls it, nothing is read. Subscribe and
// Unsubscribe may be called from any. Messages, answers and the like go by Session. A Channel
// starts goroutines only to ask for a session again; Close waits for them.
type Channel struct {
	line
	token credential
	query url.Values
	list  bool
	out   []Update // that Next gives first; owned by its goroutine
	asked map[string][]string
	count int

	mu     sync.Mutex // guards the fields below
	subs   map[string]*subscription
	id     string          // of the connection; empty: none is ready
	first  map[string]bool // the sessions that came with the request for the event stream
	life   context.Context // of the connection
	cancel context.CancelFunc
	told   []Update // as out, by other goroutines
	again  sync.WaitGroup
}

// Channel makes a channel without sessions. The first Next connects.
func (c *Client) Channel(o ChannelOptions) *Channel {
	ch := &Channel{token: credential{token: o.Token}, list: o.List, query: url.Values{}, subs: make(map[string]*subscription)}
	if o.UserID != "" {
		ch.query.Set("userId", o.UserID)
	}
	ch.open(c, &ch.token, o.Stream, ch)
	return ch
}

// SetToken replaces the token for later requests and connections.
func (ch *Channel) SetToken(token string) { ch.token.SetToken(token) }

// Subscribe adds sessions, each from its After on, as that of a Stream. One that is there
// already begins anew. While a connection is open, Subscribe asks the hub until it answers
// or ctx ends. It returns an *Error for each session that was refused for good; Next gives
// the refusals of later connections.
func (ch *Channel) Subscribe(ctx context.Context, sessions ...protocol.Subscription) error {
	made := make(map[string]*subscription, len(sessions))
	for _, s := range sessions {
		sub := &subscription{backoff: ch.opts.Backoff.begin(), deaf: true}
		var err error
		if sub.pos.cursor, err = protocol.ParseCursor(s.After); err != nil {
			return fmt.Errorf("subscribe to %s: %w", s.SessionID, err)
		}
		made[s.SessionID] = sub
	}
	ch.mu.Lock()
	for id, sub := range made {
		ch.stopLocked(ch.subs[id])
		ch.subs[id] = sub
	}
	connection := ch.id
	ch.mu.Unlock()
	if connection == "" {
		return nil // the next connection asks for them
	}
	var all error
	for part := range slices.Chunk(sessions, protocol.MaxSubscribe) {
		refused, err := ch.post(ctx, connection, protocol.ChannelRequest{Subscribe: protocol.SubscribeRequest{Sessions: part}})
		if err != nil {
			return err
		}
		all = errors.Join(all, ch.refused(refused))
	}
	return all
}

// Unsubscribe gives sessions up. Next gives nothing of them any more.
func (ch *Channel) Unsubscribe(ctx context.Context, ids ...string) error {
	ch.mu.Lock()
	for _, id := range ids {
		ch.stopLocked(ch.subs[id])
		delete(ch.subs, id)
	}
	connection := ch.id
	ch.mu.Unlock()
	if connection == "" {
		return nil
	}
	for part := range slices.Chunk(ids, protocol.MaxSubscribe) {
		if _, err := ch.post(ctx, connection, protocol.ChannelRequest{Unsubscribe: protocol.UnsubscribeRequest{SessionIDs: part}}); err != nil {
			return err
		}
	}
	return nil
}

// Cursor is where a session must start to go on after this channel. ok is false if the
// channel does not follow it.
func (ch *Channel) Cursor(id string) (c protocol.Cursor, ok bool) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	sub, ok := ch.subs[id]
	if !ok {
		return protocol.Cursor{}, false
	}
	return sub.pos.cursor, true
}

// Close ends the connection. A later Next connects again, with the same sessions.
func (ch *Channel) Close() {
	ch.line.Close()
	ch.again.Wait()
}

// Next returns the next frame. It waits, and reconnects, until there is one. It returns an
// *Error when coming back is of no use. When ctx ends it returns the context's error, and
// the next call resumes.
func (ch *Channel) Next(ctx context.Context) (Update, error) {
	for {
		ch.mu.Lock()
		ch.out, ch.told = append(ch.out, ch.told...), nil
		ch.mu.Unlock()
		if len(ch.out) > 0 {
			u := ch.out[0]
			ch.out = ch.out[1:]
			return u, nil
		}
		raw, err := ch.read(ctx)
		if err != nil {
			return Update{}, err
		}
		if err := ch.take(ctx, raw); err != nil {
			ch.breakOff(ctx, fmt.Errorf("read a frame: %w", err))
		}
	}
}

func (ch *Channel) webSocket() (string, url.Values) {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.first = nil
	return "/ws", ch.query
}

// events has the first sessions in its body.
func (ch *Channel) events(ctx context.Context) (*http.Request, error) {
	ch.mu.Lock()
	r := protocol.SubscribeRequest{List: ch.list}
	ch.first = make(map[string]bool)
	for id, sub := range ch.subs {
		if len(r.Sessions) == protocol.MaxSubscribe {
			break
		}
		r.Sessions = append(r.Sessions, protocol.Subscription{SessionID: id, After: sub.pos.cursor.String()})
		ch.first[id], sub.deaf = true, true
	}
	ch.mu.Unlock()
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, ch.client.endpoint("/events", ch.query), bytes.NewReader(raw))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// closed ends what belongs to a connection.
func (ch *Channel) closed() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	ch.id, ch.asked, ch.first = "", nil, nil
	if ch.cancel != nil {
		ch.cancel()
		ch.cancel = nil
	}
	for _, sub := range ch.subs {
		ch.stopLocked(sub)
	}
}

// ready begins to use a connection: it asks for all sessions that the request has not named.
func (ch *Channel) ready(ctx context.Context, r protocol.Ready) error {
	if !ch.opened(r.HeartbeatSeconds) {
		return nil
	}
	ch.mu.Lock()
	ch.id = r.Connection
	ch.life, ch.cancel = context.WithCancel(context.Background())
	var rest []protocol.Subscription
	for id, sub := range ch.subs {
		if !ch.first[id] {
			sub.deaf = true
			rest = append(rest, protocol.Subscription{SessionID: id, After: sub.pos.cursor.String()})
		}
	}
	var gone []string
	for id := range ch.first {
		if ch.subs[id] == nil {
			gone = append(gone, id)
		}
	}
	ch.mu.Unlock()
	socket, ok := ch.conn.(*wsConnection)
	if !ok {
		ch.later(0, func(life context.Context) {
			if len(gone) > 0 {
				_, _ = ch.post(life, r.Connection, protocol.ChannelRequest{Unsubscribe: protocol.UnsubscribeRequest{SessionIDs: gone}})
			}
			for part := range slices.Chunk(rest, protocol.MaxSubscribe) {
				ch.askAgain(life, r.Connection, part)
			}
		})
		return nil
	}
	ch.asked = make(map[string][]string)
	parts := slices.Collect(slices.Chunk(rest, protocol.MaxSubscribe))
	if len(parts) == 0 && ch.list {
		parts = append(parts, nil)
	}
	for i, part := range parts {
		if err := ch.command(ctx, socket, protocol.SubscribeRequest{Sessions: part, List: ch.list && i == 0}); err != nil {
			return err
		}
	}
	return nil
}

// command sends a subscribe command. Its answer comes by Next.
func (ch *Channel) command(ctx context.Context, to *wsConnection, r protocol.SubscribeRequest) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	ch.count++
	id := "s" + strconv.Itoa(ch.count)
	raw, err := json.Marshal(protocol.Command{Type: protocol.CommandSubscribe, ID: id, Data: data})
	if err != nil {
		return err
	}
	for _, s := range r.Sessions {
		ch.asked[id] = append(ch.asked[id], s.SessionID)
	}
	ctx, cancel := context.WithTimeout(ctx, answerPatience)
	defer cancel()
	return to.write(ctx, raw)
}

// take puts what a frame means for the caller into out.
func (ch *Channel) take(ctx context.Context, raw []byte) error {
	var f struct {
		SessionID string `json:"sessionId"`
		protocol.Event
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return err
	}
	frame := Frame{Event: f.Event, Raw: raw}
	switch {
	case f.SessionID != "":
		ch.mu.Lock()
		defer ch.mu.Unlock()
		return ch.takeLocked(f.SessionID, frame)
	case f.Type == frameAck, f.Type == frameError:
		return ch.takeAnswer(f.Type, raw)
	case protocol.ControlType(f.Type) == protocol.ControlReady:
		var r protocol.Ready
		if err := json.Unmarshal(f.Data, &r); err != nil {
			return err
		}
		ch.out = append(ch.out, Update{Frame: frame})
		return ch.ready(ctx, r)
	}
	ch.out = append(ch.out, Update{Frame: frame})
	return ch.takeControl(ctx, f.Event)
}

// takeLocked takes a frame of a session.
func (ch *Channel) takeLocked(id string, f Frame) error {
	sub := ch.subs[id]
	if sub == nil {
		return nil // given up, and on its way since before
	}
	kind, lost, err := f.Control(), false, error(nil)
	switch kind {
	case protocol.ControlUnsubscribed:
		var u protocol.Unsubscribed
		if err = json.Unmarshal(f.Data, &u); err == nil {
			ch.endLocked(id, sub, closed("follow session", u.Code, u.Reason), &ch.out)
		}
		return err
	case protocol.ControlRefused:
		var r protocol.Refusal
		if err = json.Unmarshal(f.Data, &r); err == nil {
			ch.endLocked(id, sub, refusalOf(r), &ch.out)
		}
		return err
	case protocol.ControlConnected:
		var c protocol.Connected
		if err = json.Unmarshal(f.Data, &c); err == nil {
			sub.pos.announce(c)
			sub.deaf = false
		}
	case protocol.ControlCaughtUp:
		var c protocol.CaughtUp
		if err = json.Unmarshal(f.Data, &c); err == nil && !sub.deaf {
			if lost = !sub.pos.caughtUp(c.Seq); !lost {
				sub.backoff.Reset()
			}
		}
	case protocol.ControlGap:
		var g protocol.Gap
		if err = json.Unmarshal(f.Data, &g); err == nil && !sub.deaf {
			sub.pos.gap(g)
		}
	case "":
		if sub.deaf {
			return nil
		}
		switch sub.pos.event(f.Event) {
		case repeat:
			return nil
		case hole:
			lost = true
		}
	default:
		return nil // a frame of a later version
	}
	if err != nil || sub.deaf {
		return err
	}
	if lost {
		ch.retryLocked(id, sub, 0)
		return nil
	}
	f.Cursor = sub.pos.cursor
	ch.out = append(ch.out, Update{Frame: f, SessionID: id})
	if sub.pos.closed {
		delete(ch.subs, id)
		ch.out = append(ch.out, Update{SessionID: id, Err: io.EOF})
	}
	return nil
}

// takeAnswer takes the answer to a subscribe command.
func (ch *Channel) takeAnswer(kind protocol.EventType, raw []byte) error {
	var refusals []protocol.Refusal
	if kind == frameAck {
		var a protocol.Ack
		if err := json.Unmarshal(raw, &a); err != nil {
			return err
		}
		if _, ok := ch.asked[a.ID]; !ok {
			return nil // of auth
		}
		delete(ch.asked, a.ID)
		var r protocol.SubscribeResponse
		if err := json.Unmarshal(a.Data, &r); err != nil {
			return err
		}
		refusals = r.Refused
	} else {
		var e protocol.CommandError
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		for _, id := range ch.asked[e.ID] {
			refusals = append(refusals, protocol.Refusal{SessionID: id, Code: e.Error.Code, Detail: e.Error.Detail, RetryAfter: e.Error.RetryAfter})
		}
		delete(ch.asked, e.ID)
	}
	ch.mu.Lock()
	defer ch.mu.Unlock()
	for _, r := range refusals {
		if sub := ch.subs[r.SessionID]; sub != nil {
			ch.endLocked(r.SessionID, sub, refusalOf(r), &ch.out)
		}
	}
	return nil
}

// Sessions are the sessions that the channel follows.
func (ch *Channel) Sessions() []string {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	return slices.Sorted(maps.Keys(ch.subs))
}
