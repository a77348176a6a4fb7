package app

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// channelFrame is a frame of a connection for many sessions.
type channelFrame struct {
	protocol.Event
	SessionID string `json:"sessionId"`
	ID        string `json:"id"` // of an answer; and of a server-sent event
}

// channelWS opens GET /api/ws.
func (h *hubUnderTest) channelWS(ctx context.Context, header ...string) *wsStream {
	h.t.Helper()
	opts := &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}, HTTPHeader: http.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		opts.HTTPHeader.Set(header[i], header[i+1])
	}
	c, _, err := websocket.Dial(ctx, h.url+"/api/ws", opts)
	if err != nil {
		h.t.Fatal(err)
	}
	c.SetReadLimit(8 << 20)
	h.t.Cleanup(func() { _ = c.CloseNow() })
	return &wsStream{c}
}

// startedChannel opens a channel that stays open, and gives its name.
func startedChannel(t *testing.T, h *hubUnderTest, user string, header ...string) string {
	t.Helper()
	s := h.channelSSE(t.Context(), "?userId="+user, protocol.SubscribeRequest{}, header...)
	return hubtest.Decode[protocol.Ready](t, nextOf(t.Context(), t, s).Data).Connection
}

// channelSSE opens POST /api/events.
func (h *hubUnderTest) channelSSE(ctx context.Context, query string, r protocol.SubscribeRequest, header ...string) *sseStream {
	h.t.Helper()
	ctx, stop := context.WithCancel(ctx)
	req, err := http.NewRequestWithContext(ctx, "POST", h.url+"/api/events"+query, strings.NewReader(string(protocol.Marshal(r))))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		h.t.Fatalf("open: %v %v", resp, err)
	}
	h.t.Cleanup(func() { stop(); _ = resp.Body.Close() })
	return &sseStream{resp, bufio.NewReader(resp.Body), stop}
}

func nextOf(ctx context.Context, t *testing.T, s stream) channelFrame {
	t.Helper()
	f, err := s.next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for f.Raw == "" { // a comment, or the time of a retry
		if f, err = s.next(ctx); err != nil {
			t.Fatal(err)
		}
	}
	out := hubtest.Decode[channelFrame](t, []byte(f.Raw))
	if f.ID != "" {
		out.ID = f.ID
	}
	return out
}

// Connections of both kinds on two nodes carry many sessions. A change of their sessions can
// come to the other node. Each has the whole log of each session, once and in order.
func TestChannelsOverTwoNodes(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2)
	a, b := nodes[0], nodes[1]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var sessions []protocol.CreateResponse
	for range 6 {
		sessions = append(sessions, b.create(protocol.CreateRequest{WorkingDirectory: a.root}))
	}
	first := protocol.SubscribeRequest{Sessions: []protocol.Subscription{
		{SessionID: sessions[0].SessionID}, {SessionID: "s_none"}, {SessionID: sessions[1].SessionID, After: "not-a-cursor!"}, {SessionID: sessions[1].SessionID, After: "0"},
	}}
	sse, ws := b.channelSSE(ctx, "", first), a.channelWS(ctx)
	ready := func(s stream) protocol.Ready {
		t.Helper()
		f := nextOf(ctx, t, s)
		if f.Type != protocol.EventType(protocol.ControlReady) || f.SessionID != "" {
			t.Fatalf("the first frame is %+v", f)
		}
		return hubtest.Decode[protocol.Ready](t, f.Data)
	}
	onSSE, onWS := ready(sse), ready(ws)
	if onSSE.Connection == "" || onSSE.Connection == onWS.Connection || onWS.UserID != "local" {
		t.Fatalf("the connections are %+v and %+v", onSSE, onWS)
	}

	// The event stream gets the other four over the other node.
	var all []protocol.Subscription
	for _, s := range sessions {
		all = append(all, protocol.Subscription{SessionID: s.SessionID})
	}
	change := func(h *hubUnderTest, connection string, r protocol.ChannelRequest) protocol.SubscribeResponse {
		t.Helper()
		var out protocol.SubscribeResponse
		if got := h.call("POST", "/api/events/"+connection, r, &out); got.StatusCode != http.StatusOK {
			t.Fatalf("change: %d %s", got.StatusCode, got.Body)
		}
		return out
	}
	for _, h := range nodes {
		half := all[2:4]
		if h == b {
			half = all[4:]
		}
		if got := change(h, onSSE.Connection, protocol.ChannelRequest{Subscribe: protocol.SubscribeRequest{Sessions: half}}); len(got.Subscribed) != 2 || len(got.Refused) != 0 {
			t.Errorf("the change answered %+v", got)
		}
		h.want(http.StatusNotFound, protocol.CodeNotFound, "POST", "/api/events/"+onSSE.Connection[:len(onSSE.Connection)-1]+"0", `{}`)
	}
	a.want(http.StatusNotFound, protocol.CodeNotFound, "POST", "/api/events/none", `{}`)
	if err := ws.command(ctx, protocol.CommandSubscribe, "c1", protocol.SubscribeRequest{Sessions: append(all, protocol.Subscription{SessionID: "s_none"})}); err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		b.send(s, "/stream 40 20")
	}

	refused := map[string]int{}
	read := func(name string, s stream) {
		t.Helper()
		last, done := map[string]uint64{}, map[string]bool{}
		for len(done) < len(sessions) {
			switch f := nextOf(ctx, t, s); {
			case f.Type == "refused":
				refused[f.SessionID]++
			case f.Type == "ack":
				answer := hubtest.Decode[protocol.SubscribeResponse](t, f.Data)
				if f.ID != "c1" || len(answer.Subscribed) != len(sessions) || len(answer.Refused) != 1 || answer.Refused[0].Code != protocol.CodeNotFound {
					t.Errorf("%s: the answer is %s", name, f.Data)
				}
			case f.Type == "unsubscribed":
				t.Errorf("%s: %+v", name, f)
			case f.Seq != 0:
				if f.Seq != last[f.SessionID]+1 {
					t.Fatalf("%s: session %s has %d after %d", name, f.SessionID, f.Seq, last[f.SessionID])
				}
				if name == "sse" && !strings.HasPrefix(f.ID, f.SessionID+":") {
					t.Errorf("the id %q is not of %s", f.ID, f.SessionID)
				}
				last[f.SessionID] = f.Seq
				done[f.SessionID] = done[f.SessionID] || f.Type == protocol.EventComplete
				if f.Type != protocol.EventComplete {
					continue
				}
			}
		}
	}
	read("sse", sse)
	read("ws", ws)
	if refused["s_none"] != 1 || refused[sessions[1].SessionID] != 1 {
		t.Errorf("refused were %v", refused)
	}

	// A subscription counts for its session; each connection once for the user.
	var view protocol.Session
	judge.Within(t, patience, "the count of streams", func() bool {
		a.call("GET", "/api/sessions/"+sessions[3].SessionID, nil, &view)
		return view.Connections.SSE == 1 && view.Connections.WebSocket == 1
	})
	if got := metric(t, a, `sessionhub_subscriptions{transport="websocket"}`); got != 6 {
		t.Errorf("node a has %v subscriptions", got)
	}
	change(b, onWS.Connection, protocol.ChannelRequest{Unsubscribe: protocol.UnsubscribeRequest{SessionIDs: []string{sessions[3].SessionID}}})
	a.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+sessions[4].SessionID, nil)
	for {
		f := nextOf(ctx, t, ws)
		if f.SessionID == sessions[4].SessionID && f.Type == "unsubscribed" {
			if gone := hubtest.Decode[protocol.Unsubscribed](t, f.Data); gone.Code != protocol.CloseEnded {
				t.Errorf("the deleted session ended with %+v", gone)
			}
			break
		}
	}
	judge.Within(t, patience, "the counts fall", func() bool {
		return metric(t, a, `sessionhub_subscriptions{transport="websocket"}`) == 4
	})
}

// A channel is its user's: nobody else changes it, and it carries nobody else's session. A
// service key names the user.
func TestChannelIsOfOneUser(t *testing.T) {
	file := newKeysFile(t, keyLine("ann", "ann", "key-of-ann"), keyLine("bob", "bob", "key-of-bob"))
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": "service", "SESSIONHUB_API_KEYS_FILE": file.path})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ann, bob, service := []string{"X-API-Key", "key-of-ann"}, []string{"X-API-Key", "key-of-bob"}, []string{"X-API-Key", "service"}
	var hers, his protocol.CreateResponse
	h.call("POST", "/api/sessions", `{}`, &hers, ann...)
	h.call("POST", "/api/sessions", `{}`, &his, bob...)
	sse := h.channelSSE(ctx, "", protocol.SubscribeRequest{Sessions: []protocol.Subscription{{SessionID: his.SessionID}, {SessionID: hers.SessionID}}}, ann...)
	ready := hubtest.Decode[protocol.Ready](t, nextOf(ctx, t, sse).Data)
	if ready.UserID != "ann" {
		t.Errorf("the connection is of %q", ready.UserID)
	}
	for seen := map[string]bool{}; len(seen) < 2; {
		f := nextOf(ctx, t, sse)
		switch f.SessionID {
		case his.SessionID:
			if r := hubtest.Decode[protocol.Refusal](t, f.Data); f.Type != "refused" || r.Code != protocol.CodeNotFound {
				t.Fatalf("of the other user's session came %+v", f)
			}
		case hers.SessionID:
		default:
			t.Fatalf("a frame of %q: %+v", f.SessionID, f)
		}
		seen[f.SessionID] = true
	}
	path := "/api/events/" + ready.Connection
	h.want(http.StatusNotFound, protocol.CodeNotFound, "POST", path, `{}`, bob...)
	h.want(http.StatusBadRequest, protocol.CodeInvalidRequest, "POST", path, `{}`, service...)
	h.want(http.StatusOK, "", "POST", path+"?userId=ann", `{}`, service...)
	h.want(http.StatusForbidden, protocol.CodeForbidden, "POST", path+"?userId=bob", `{}`, ann...)
	h.want(http.StatusForbidden, protocol.CodeForbidden, "POST", path, `{}`, "Authorization", "Bearer "+hers.Token)
	h.want(http.StatusUnauthorized, protocol.CodeUnauthorized, "POST", "/api/events", `{}`)
	h.want(http.StatusBadRequest, protocol.CodeInvalidRequest, "POST", path, fmt.Sprintf(`{"unsubscribe":{"sessionIds":[%s"x"]}}`, strings.Repeat(`"x",`, protocol.MaxSubscribe)), ann...)
	h.want(http.StatusUpgradeRequired, protocol.CodeUpgradeRequired, "GET", "/api/ws", nil, ann...)
}

// The feed of the list comes on the same connection: a snapshot, each change, and what has
// gone. It equals a listing, also of what another node did.
func TestChannelCarriesTheList(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2)
	a, b := nodes[0], nodes[1]
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	old := b.create(protocol.CreateRequest{WorkingDirectory: a.root, Title: "old"})
	sse, ws := b.channelSSE(ctx, "", protocol.SubscribeRequest{List: true}), b.channelWS(ctx)
	if err := ws.command(ctx, protocol.CommandSubscribe, "c1", protocol.SubscribeRequest{List: true}); err != nil {
		t.Fatal(err)
	}
	created := protocol.CreateResponse{}
	for name, s := range map[string]stream{"sse": sse, "ws": ws} {
		told := func(what string, want func(listedData) bool) {
			t.Helper()
			for {
				f := nextOf(ctx, t, s)
				if f.SessionID != "" {
					t.Fatalf("%s: a frame of a session: %+v", name, f)
				}
				if f.Type == "listed" && want(hubtest.Decode[listedData](t, f.Data)) {
					return
				}
				if f.Type == "list_complete" {
					t.Fatalf("%s: the snapshot has no %s", name, what)
				}
			}
		}
		told("session that was there", func(l listedData) bool {
			return l.Change == protocol.ListSnapshot && l.Session.SessionID == old.SessionID && l.Session.Title == "old"
		})
		for nextOf(ctx, t, s).Type != "list_complete" {
		}
		if name == "sse" {
			created = a.create(protocol.CreateRequest{WorkingDirectory: a.root})
		}
	}
	b.send(created, "/approve may I?")
	for name, s := range map[string]stream{"sse": sse, "ws": ws} {
		for {
			f := nextOf(ctx, t, s)
			if f.Type != "listed" {
				continue
			}
			if l := hubtest.Decode[listedData](t, f.Data); l.Change == protocol.ListNeedsYou && l.Session.SessionID == created.SessionID {
				if l.Session.PendingApprovals != 1 || l.Session.Status != protocol.StatusRequiresAction {
					t.Errorf("%s: the session needs somebody and is %+v", name, l.Session)
				}
				break
			}
		}
	}
	a.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+old.SessionID, nil)
	for _, s := range []stream{sse, ws} {
		for {
			if f := nextOf(ctx, t, s); f.Type == "unlisted" && strings.Contains(string(f.Data), old.SessionID) {
				break
			}
		}
	}
	judge.Within(t, patience, "the readers of the feed are counted", func() bool {
		return metric(t, b, "sessionhub_feed_readers") == 2
	})
	sse.close()
	judge.Within(t, patience, "the reader that left is not", func() bool {
		return metric(t, b, "sessionhub_feed_readers") == 1
	})
}

// listedData is the data of a frame of the feed, decoded.
type listedData struct {
	Change  protocol.ListChange `json:"change"`
	Session protocol.Session    `json:"session"`
}

// A user token opens both kinds of connection for many sessions. Each ends with it, and a
// WebSocket goes on with another one.
func TestChannelLivesByItsUserToken(t *testing.T) {
	t.Parallel()
	inAccountWorlds(t, func(w accountWorld) {
		ctx, cancel := context.WithTimeout(w.Context(), patience)
		defer cancel()
		first, second := w.userToken(w.a, `{}`, "X-API-Key", annKey), w.userToken(w.a, `{"scope":"read"}`, "X-API-Key", annKey)
		s := w.createWith(w.a, bearer(first.Token)...)
		ws := w.b.channelWS(ctx, bearer(first.Token)...)
		sse := w.b.channelSSE(ctx, "", protocol.SubscribeRequest{List: true, Sessions: []protocol.Subscription{{SessionID: s.SessionID}}}, bearer(first.Token)...)
		ready := hubtest.Decode[protocol.Ready](w.T, nextOf(ctx, w.T, sse).Data)
		nextOf(ctx, w.T, ws)
		answer := func(id string) channelFrame {
			w.Helper()
			for {
				if f := nextOf(ctx, w.T, ws); f.ID == id {
					return f
				}
			}
		}
		for id, c := range map[string]struct {
			token string
			want  protocol.EventType
		}{"c1": {s.Token, "error"}, "c2": {w.userToken(w.a, `{}`, "X-API-Key", bobKey).Token, "error"}, "c3": {second.Token, "ack"}} {
			if err := ws.command(ctx, protocol.CommandAuth, id, protocol.AuthRequest{Token: c.token}); err != nil {
				w.Fatal(err)
			}
			if got := answer(id); got.Type != c.want {
				w.Errorf("auth %s gave %+v", id, got)
			}
		}
		w.b.want(http.StatusForbidden, protocol.CodeForbidden, "POST", "/api/events/"+ready.Connection, `{}`, bearer(s.Token)...)
		w.a.want(http.StatusOK, "", "POST", "/api/events/"+ready.Connection, `{}`, bearer(second.Token)...)
		w.a.want(http.StatusNoContent, "", "DELETE", "/api/user/token", nil, bearer(first.Token)...)
		for { // the event stream ends
			if _, err := sse.next(ctx); err != nil {
				break
			}
		}
		if ctx.Err() != nil {
			w.Fatal("the event stream outlives its token")
		}
		if err := ws.command(ctx, protocol.CommandSubscribe, "c4", protocol.SubscribeRequest{Sessions: []protocol.Subscription{{SessionID: s.SessionID}}}); err != nil {
			w.Fatal(err)
		}
		if got := answer("c4"); got.Type != "ack" {
			w.Errorf("the connection that has another token answers %+v", got)
		}
		w.a.want(http.StatusNoContent, "", "DELETE", "/api/user/token", nil, bearer(second.Token)...)
		for {
			if _, err := ws.next(ctx); err != nil {
				if websocket.CloseStatus(err) != protocol.CloseToken {
					w.Errorf("the connection ended with %v", err)
				}
				break
			}
		}
	})
}
