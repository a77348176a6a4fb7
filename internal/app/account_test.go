package app

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// accountWorld is a hub of two nodes, or of one that is both, with the keys of ann, of bob
// and of a service.
type accountWorld struct {
	*testing.T
	a, b *hubUnderTest
	keys keysFile
}

const (
	annKey, bobKey, serviceKey = "key-of-ann", "key-of-bob", "key-of-the-service"
)

var accountLines = []string{keyLine("laptop", "ann", annKey), keyLine("bobs", "bob", bobKey), keyLine("portal", "*", serviceKey)}

// inAccountWorlds runs a test on one node that keeps sessions itself, and on two nodes that
// share a Valkey.
func inAccountWorlds(t *testing.T, test func(w accountWorld), flags ...string) {
	t.Run("one node", func(t *testing.T) {
		keys := newKeysFile(t, accountLines...)
		h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEYS_FILE": keys.path, "SESSIONHUB_TOKEN_SECRET": clusterEnv["SESSIONHUB_TOKEN_SECRET"]}, flags...)
		test(accountWorld{t, h, h, keys})
	})
	t.Run("two nodes", func(t *testing.T) {
		keys := newKeysFile(t, accountLines...)
		server := valkeytest.Start(t, valkeytest.Valkey(t))
		env := map[string]string{"SESSIONHUB_API_KEYS_FILE": keys.path, "SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)}
		flags := append([]string{"--valkey-url", server.URL()}, flags...)
		test(accountWorld{t, startHubEnv(t, env, flags...), startHubEnv(t, env, append(flags, "--worker", "none")...), keys})
	})
}

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

// userToken makes a user token with a header's credential.
func (w accountWorld) userToken(h *hubUnderTest, body string, header ...string) protocol.UserTokenResponse {
	w.Helper()
	var out protocol.UserTokenResponse
	if a := h.call("POST", "/api/user/token", body, &out, header...); a.StatusCode != http.StatusCreated {
		w.Fatalf("user token: %d %s", a.StatusCode, a.Body)
	}
	return out
}

// createWith creates a session with a header's credential.
func (w accountWorld) createWith(h *hubUnderTest, header ...string) protocol.CreateResponse {
	w.Helper()
	var out protocol.CreateResponse
	if a := h.call("POST", "/api/sessions", `{}`, &out, header...); a.StatusCode != http.StatusCreated {
		w.Fatalf("create: %d %s", a.StatusCode, a.Body)
	}
	return out
}

// browser is one that is signed in: its cookie, and the origin of the hub's own page.
type browser struct {
	id, cookie string
	set        *http.Cookie
}

// on is the header of a request of the page to a node.
func (b browser) on(h *hubUnderTest) []string {
	return []string{"Cookie", b.cookie, "Origin", h.url}
}

func (w accountWorld) signIn(h *hubUnderTest, body string, header ...string) browser {
	w.Helper()
	var out protocol.SignInResponse
	a := h.call("POST", "/api/sign-in", body, &out, header...)
	if a.StatusCode != http.StatusCreated || len(a.Cookies()) != 1 {
		w.Fatalf("sign in: %d %s", a.StatusCode, a.Body)
	}
	c := a.Cookies()[0]
	return browser{out.SignIn.ID, c.Name + "=" + c.Value, c}
}

func (w accountWorld) ticket(h *hubUnderTest, header ...string) protocol.SignInTicketResponse {
	w.Helper()
	var out protocol.SignInTicketResponse
	if a := h.call("POST", "/api/sign-in/ticket", nil, &out, header...); a.StatusCode != http.StatusCreated {
		w.Fatalf("ticket: %d %s", a.StatusCode, a.Body)
	}
	return out
}

// endIn waits for the ends of streams, which must come within the 2 s of the contract.
func endIn(t *testing.T, since time.Time, all map[string]opened) {
	t.Helper()
	for what, s := range all {
		select {
		case code := <-s.ended:
			if _, ws := s.stream.(*wsStream); ws && code != protocol.CloseToken {
				t.Errorf("%s ended with %d", what, code)
			}
		case <-time.After(patience):
			t.Errorf("%s goes on", what)
		}
	}
	judge.AtMost(t, "the end of the streams", time.Since(since), 2*time.Second)
}

func TestUserTokenOpensItsUsersSessions(t *testing.T) {
	inAccountWorlds(t, func(w accountWorld) {
		token := w.userToken(w.a, `{}`, "X-API-Key", annKey)
		if token.UserID != "ann" || token.Scope != "read write approve create" || time.Until(token.ExpiresAt) < 23*time.Hour {
			w.Errorf("%+v", token)
		}
		ann := bearer(token.Token)
		s := w.createWith(w.b, ann...)
		if s.Session.UserID != "ann" || s.Token == "" {
			w.Errorf("a session of %q, token %q", s.Session.UserID, s.Token)
		}
		bobs := w.createWith(w.a, "X-API-Key", bobKey)
		path := "/api/sessions/" + s.SessionID
		for _, c := range []struct {
			method, path, body string
			status             int
			code               protocol.Code
		}{
			{"GET", "/api/sessions", "", 200, ""},
			{"GET", "/api/providers", "", 200, ""},
			{"GET", path, "", 200, ""},
			{"POST", path + "/messages", `{"content":"hello"}`, 202, ""},
			{"POST", path + "/cancel", `{}`, 202, ""},
			{"POST", path + "/ticket", "", 201, ""},
			{"POST", path + "/cookie", "", 204, ""},
			{"POST", path + "/token", `{"scope":"read"}`, 201, ""},
			{"GET", path + "/files", "", 403, protocol.CodeScope},
			{"POST", path + "/token", `{"scope":"read files"}`, 403, protocol.CodeScope},
			{"POST", path + "/token", `{"scope":"create"}`, 400, protocol.CodeInvalidRequest},
			{"DELETE", path + "/token", "", 400, protocol.CodeInvalidRequest},
			{"GET", "/api/sessions/" + bobs.SessionID, "", 404, protocol.CodeNotFound},
			{"DELETE", "/api/sessions/" + bobs.SessionID, "", 404, protocol.CodeNotFound},
			{"GET", "/api/sessions?userId=bob", "", 403, protocol.CodeForbidden},
			{"POST", "/api/sessions", `{"userId":"bob"}`, 403, protocol.CodeForbidden},
			{"POST", "/api/user/token", `{"userId":"bob"}`, 403, protocol.CodeForbidden},
			{"POST", "/api/user/token", `{"scope":"read files"}`, 403, protocol.CodeScope},
			{"POST", "/api/user/token", `{"scope":"rule"}`, 400, protocol.CodeInvalidRequest},
			{"POST", "/api/user/token", `{"ttlSeconds":-1}`, 400, protocol.CodeInvalidRequest},
			{"GET", "/api/sign-ins?userId=bob", "", 403, protocol.CodeForbidden},
		} {
			w.b.want(c.status, c.code, c.method, c.path, c.body, ann...)
		}
		var list protocol.SessionList
		w.a.call("GET", "/api/sessions", nil, &list, ann...)
		if len(list.Sessions) != 1 || list.Sessions[0].SessionID != s.SessionID {
			w.Errorf("a listing of %d sessions", len(list.Sessions))
		}
		// Not for a key of one user, not for a session's token, not for nobody.
		w.a.want(403, protocol.CodeForbidden, "POST", "/api/user/token", `{"userId":"ann"}`, "X-API-Key", bobKey)
		w.a.want(403, protocol.CodeForbidden, "POST", "/api/user/token", `{}`, bearer(s.Token)...)
		w.a.want(403, protocol.CodeForbidden, "POST", "/api/sign-in", `{}`, bearer(s.Token)...)
		w.a.want(401, protocol.CodeUnauthorized, "POST", "/api/user/token", `{}`)
		for _, user := range []string{strings.Repeat("u", 300), "a\nb"} {
			w.a.want(400, protocol.CodeInvalidRequest, "POST", "/api/user/token", protocol.UserTokenRequest{UserID: user}, "X-API-Key", serviceKey)
		}
		if got := w.userToken(w.a, `{"userId":"ann","scope":"read files"}`, "X-API-Key", serviceKey); got.Scope != "read files" {
			w.Errorf("%+v", got)
		}
		// Streams, and a WebSocket that goes on with a user token.
		sse := w.b.sseWith(s, token.Token)
		ws := w.a.dialWith(s, "", bearer(s.Token)...)
		until(t, ws, isType(protocol.EventType(protocol.ControlCaughtUp)))
		for _, other := range []string{w.userToken(w.a, `{}`, "X-API-Key", bobKey).Token, token.Token} {
			if err := ws.command(t.Context(), protocol.CommandAuth, "a", protocol.AuthRequest{Token: other}); err != nil {
				t.Fatal(err)
			}
		}
		got := until(t, ws, isType("ack"))
		if got[len(got)-2].Type != "error" && got[0].Type != "error" {
			w.Error("bob's token was taken on ann's stream")
		}
		moved := readOn(w.T, ws)
		began := time.Now()
		w.a.want(204, "", "DELETE", "/api/user/token", nil, ann...)
		endIn(w.T, began, map[string]opened{"the token's SSE stream": sse, "the WebSocket that changed to it": moved})
		w.b.want(401, protocol.CodeTokenRevoked, "GET", "/api/sessions", nil, ann...)
		w.b.want(401, protocol.CodeTokenRevoked, "GET", path, nil, bearer(s.Token)...)
		w.b.want(401, protocol.CodeTokenRevoked, "GET", path, nil, ann...)
	})
}

// A narrowed token makes nothing that is wider or lives longer, in any way there is.
func TestNarrowedUserTokenStaysNarrow(t *testing.T) {
	inAccountWorlds(t, func(w accountWorld) {
		s := w.createWith(w.a, "X-API-Key", annKey)
		path := "/api/sessions/" + s.SessionID
		for scope, opens := range map[string]string{
			"read": "list get", "write": "message", "approve": "", "create": "create", "read create": "list get create", "read write approve": "list get message",
		} {
			narrow := bearer(w.userToken(w.a, `{"scope":"`+scope+`"}`, "X-API-Key", annKey).Token)
			for name, c := range map[string]struct{ method, path, body string }{
				"list": {"GET", "/api/sessions", ""}, "get": {"GET", path, ""}, "message": {"POST", path + "/messages", `{}`}, "create": {"POST", "/api/sessions", `{"provider":"none"}`},
				"fork": {"POST", path + "/fork", `{}`}, "sign in": {"POST", "/api/sign-in", `{}`}, "ticket": {"POST", "/api/sign-in/ticket", `{}`}, "sign-ins": {"GET", "/api/sign-ins", ""},
				"revoke others": {"POST", "/api/user/token", `{"revokeOthers":true}`}, "end a sign-in": {"DELETE", "/api/sign-ins/x", ""},
				"all scopes": {"POST", "/api/user/token", `{"scope":"read write approve create"}`}, "all of a session": {"POST", path + "/token", `{"scope":"read write approve"}`},
			} {
				want := strings.Contains(" "+opens+" ", " "+name+" ") || name == "all of a session" && scope == "read write approve"
				a := w.b.call(c.method, c.path, c.body, nil, narrow...)
				if denied := a.Problem(403, protocol.CodeScope) == nil; denied == want {
					w.Errorf("scope %q, %s: %d %s", scope, name, a.StatusCode, a.Body)
				}
			}
		}
		created := w.createWith(w.a, bearer(w.userToken(w.a, `{"scope":"create"}`, "X-API-Key", annKey).Token)...)
		if created.Token != "" {
			w.Error("a token that may only create got a session token")
		}
		reader := w.createWith(w.a, bearer(w.userToken(w.a, `{"scope":"create read"}`, "X-API-Key", annKey).Token)...)
		w.b.want(403, protocol.CodeScope, "POST", "/api/sessions/"+reader.SessionID+"/messages", `{"content":"x"}`, bearer(reader.Token)...)
		w.b.want(200, "", "GET", "/api/sessions/"+reader.SessionID, nil, bearer(reader.Token)...)

		short := w.userToken(w.a, `{"ttlSeconds":60}`, "X-API-Key", annKey)
		header := bearer(short.Token)
		ends := map[string]time.Time{}
		next := w.userToken(w.b, `{}`, header...)
		ends["a user token"] = next.ExpiresAt
		ends["one more"] = w.userToken(w.b, `{"ttlSeconds":9000}`, bearer(next.Token)...).ExpiresAt
		ends["a created session's token"] = w.createWith(w.b, header...).ExpiresAt
		var out protocol.TokenResponse
		w.b.call("POST", path+"/token", `{}`, &out, header...)
		ends["a session's token"] = out.ExpiresAt
		w.b.call("POST", path+"/token", `{}`, &out, bearer(out.Token)...)
		ends["its renewal"] = out.ExpiresAt
		in := w.signIn(w.b, `{}`, header...)
		ends["a sign-in"] = in.set.Expires
		ends["a token of the sign-in"] = w.userToken(w.a, `{}`, in.on(w.a)...).ExpiresAt
		ticket := w.ticket(w.a, in.on(w.a)...)
		ends["a ticket's sign-in"] = w.signIn(w.b, `{"ticket":"`+ticket.Ticket+`"}`).set.Expires
		direct := w.ticket(w.b, header...)
		ends["a sign-in by the token's ticket"] = w.signIn(w.a, `{"ticket":"`+direct.Ticket+`"}`).set.Expires
		for what, end := range ends {
			if end.After(short.ExpiresAt) || end.IsZero() {
				w.Errorf("%s ends %v, its maker %v", what, end, short.ExpiresAt)
			}
		}
		// What a user token makes for a session does not renew itself, since it ends with the token.
		whole := w.createWith(w.a, bearer(w.userToken(w.a, `{}`, "X-API-Key", annKey).Token)...)
		if claims, err := base64.RawURLEncoding.DecodeString(strings.Split(whole.Token, ".")[1]); err != nil || !strings.Contains(string(claims), `"renew":false`) {
			w.Errorf("the claims are %s", claims)
		}
		// files is in a sign-in only if it is in its maker.
		w.b.want(403, protocol.CodeScope, "GET", path+"/files", nil, in.on(w.b)...)
		key := w.signIn(w.b, `{}`, "X-API-Key", annKey)
		w.b.want(200, "", "GET", path+"/files", nil, key.on(w.b)...)
		w.b.want(403, protocol.CodeScope, "GET", path+"/files", nil, bearer(w.userToken(w.a, `{}`, key.on(w.a)...).Token)...)
	})
}

// What came from a key or a sign-in ends with it, on all nodes, also what is open.
func TestWhatIsMadeEndsWithItsMaker(t *testing.T) {
	inAccountWorlds(t, func(w accountWorld) {
		s := w.createWith(w.a, "X-API-Key", annKey)
		path := "/api/sessions/" + s.SessionID
		in, stays := w.signIn(w.a, `{"label":"Firefox"}`, "X-API-Key", annKey), w.signIn(w.b, `{}`, "X-API-Key", annKey)
		user := w.userToken(w.b, `{}`, in.on(w.b)...)
		child := w.userToken(w.a, `{}`, bearer(user.Token)...)
		var mine protocol.TokenResponse
		w.a.call("POST", path+"/token", `{}`, &mine, in.on(w.a)...)
		var childs protocol.TokenResponse
		w.a.call("POST", path+"/token", `{}`, &childs, bearer(child.Token)...)
		cookie := w.a.cookieWith(s, bearer(child.Token)...)
		unused := w.a.ticketWith(s, bearer(user.Token)...)
		waiting := w.ticket(w.a, in.on(w.a)...)
		open := map[string]opened{
			"the sign-in's WebSocket":          w.b.wsWith(s, "", in.on(w.b)...),
			"the user token's":                 w.b.wsWith(s, "", bearer(user.Token)...),
			"its child's":                      w.a.wsWith(s, "", bearer(child.Token)...),
			"the session token's":              w.b.wsWith(s, "", bearer(mine.Token)...),
			"the ticket's":                     w.b.wsWith(s, w.a.ticketWith(s, bearer(child.Token)...)),
			"the SSE stream of the token":      w.b.sseWith(s, childs.Token),
			"the connection of the user token": readOn(w.T, w.b.dialWith(protocol.CreateResponse{WebsocketURL: w.b.url + "/api/ws"}, "", bearer(user.Token)...)),
			"the stream of a session cookie":   w.b.wsWith(s, "", "Cookie", cookie),
		}
		kept := w.b.wsWith(s, "", stays.on(w.b)...)
		began := time.Now()
		w.a.want(204, "", "DELETE", "/api/sign-ins/"+in.id, nil, stays.on(w.a)...)
		endIn(w.T, began, open)
		w.a.want(404, protocol.CodeNotFound, "DELETE", "/api/sign-ins/"+in.id, nil, stays.on(w.a)...)
		for what, header := range map[string][]string{
			"the cookie": in.on(w.b), "a user token": bearer(user.Token), "its child": bearer(child.Token), "a session token": bearer(mine.Token), "one of the child": bearer(childs.Token),
		} {
			if err := w.b.call("GET", path, nil, nil, header...).Problem(401, protocol.CodeTokenRevoked); err != nil {
				w.Errorf("%s: %v", what, err)
			}
		}
		w.b.wantNoStream(protocol.CodeTokenRevoked, path+"/events"+unused)
		w.b.wantNoStream(protocol.CodeTokenRevoked, path+"/events", "Cookie", cookie)
		w.b.want(401, protocol.CodeUnauthorized, "POST", "/api/sign-in", `{"ticket":"`+waiting.Ticket+`"}`)
		select {
		case code := <-kept.ended:
			w.Errorf("the other sign-in's stream ended with %d", code)
		default:
		}

		// All others at once: the sign-in that asks stays, and so does its new token.
		other, old := w.signIn(w.b, `{}`, "X-API-Key", annKey), w.userToken(w.a, `{}`, "X-API-Key", annKey)
		doomed := map[string]opened{"another sign-in's": w.b.wsWith(s, "", other.on(w.b)...), "an old token's": w.b.wsWith(s, "", bearer(old.Token)...)}
		began = time.Now()
		fresh := w.userToken(w.a, `{"revokeOthers":true}`, stays.on(w.a)...)
		endIn(w.T, began, doomed)
		w.b.want(200, "", "GET", path, nil, bearer(fresh.Token)...)
		w.b.want(200, "", "GET", path, nil, stays.on(w.b)...)
		w.b.want(401, protocol.CodeTokenRevoked, "GET", path, nil, bearer(old.Token)...)

		// And with the key: all that ann has. bob's is as before.
		bob := w.userToken(w.a, `{}`, "X-API-Key", bobKey)
		waiting = w.ticket(w.a, stays.on(w.a)...)
		open = map[string]opened{"the sign-in's stream": kept, "the fresh token's": w.b.wsWith(s, "", bearer(fresh.Token)...)}
		began = time.Now()
		w.keys.write(accountLines[1:]...)
		endIn(w.T, began, open)
		w.b.want(401, protocol.CodeTokenRevoked, "GET", path, nil, stays.on(w.b)...)
		w.b.want(401, protocol.CodeTokenRevoked, "GET", "/api/sessions", nil, bearer(fresh.Token)...)
		w.b.want(401, protocol.CodeUnauthorized, "POST", "/api/sign-in", `{"ticket":"`+waiting.Ticket+`"}`)
		w.b.want(200, "", "GET", "/api/sessions", nil, bearer(bob.Token)...)
	})
}

// The cookie of a sign-in is for the hub's own pages alone.
func TestSignInCookieIsForOwnPages(t *testing.T) {
	inAccountWorlds(t, func(w accountWorld) {
		in := w.signIn(w.a, `{"label":"Firefox on Linux"}`, "X-API-Key", annKey)
		if c := in.set; c.Name != "sessionhub_user" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/api" || c.Secure || c.Domain != "" || time.Until(c.Expires) < 29*24*time.Hour {
			w.Errorf("%+v", in.set)
		}
		s := w.createWith(w.b, in.on(w.b)...)
		path, own := "/api/sessions/"+s.SessionID, w.b.url
		for name, c := range map[string]struct {
			method, path, body string
			header             []string
			refused            bool
		}{
			"a write of the page":              {"POST", path + "/cancel", `{}`, []string{"Origin", own}, false},
			"a write of an allowed page":       {"POST", path + "/cancel", `{}`, []string{"Origin", "https://page.example"}, false},
			"a write without an Origin":        {"POST", path + "/cancel", `{}`, nil, true},
			"a delete without an Origin":       {"DELETE", path, "", nil, true},
			"a write of another port":          {"POST", path + "/cancel", `{}`, []string{"Origin", "http://127.0.0.1:1"}, true},
			"a write of a sandboxed page":      {"POST", path + "/cancel", `{}`, []string{"Origin", "null"}, true},
			"signing out without an Origin":    {"DELETE", "/api/sign-in", "", nil, true},
			"a ticket without an Origin":       {"POST", "/api/sign-in/ticket", `{}`, nil, true},
			"a user token without an Origin":   {"POST", "/api/user/token", `{}`, nil, true},
			"a read of the page":               {"GET", path, "", []string{"Sec-Fetch-Site", "same-origin"}, false},
			"a read by hand":                   {"GET", path, "", []string{"Sec-Fetch-Site", "none"}, false},
			"a read of a page on another port": {"GET", path, "", []string{"Sec-Fetch-Site", "same-site"}, true},
			"a read of a page of another site": {"GET", path, "", []string{"Sec-Fetch-Site", "cross-site"}, true},
			"a read with another Origin":       {"GET", path, "", []string{"Origin", "https://evil.example"}, true},
			"a WebSocket without an Origin":    {"GET", path + "/ws", "", []string{"Upgrade", "websocket", "Connection", "Upgrade", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA=="}, true},
			"an event stream of another port":  {"GET", path + "/events", "", []string{"Sec-Fetch-Site", "same-site"}, true},
		} {
			a := w.b.call(c.method, c.path, c.body, nil, append(c.header, "Cookie", in.cookie)...)
			if err := a.Problem(403, protocol.CodeOriginRefused); (err == nil) != c.refused || !c.refused && a.StatusCode >= 300 {
				w.Errorf("%s: %d %s", name, a.StatusCode, a.Body)
			}
			if c := a.Cookies(); len(c) > 0 {
				w.Errorf("%s: it sets %v", name, c)
			}
		}
		_, resp, err := websocket.Dial(t.Context(), w.b.own(s.WebsocketURL), &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {in.cookie}, "Origin": {"http://localhost:1"}}})
		if err == nil || resp.StatusCode != 403 {
			w.Errorf("a WebSocket of another port: %v", err)
		}
		w.b.wsWith(s, "", in.on(w.b)...)

		// What is no cookie of a sign-in.
		user := w.userToken(w.a, `{}`, in.on(w.a)...).Token
		_, sessions, _ := strings.Cut(w.b.cookieWith(s, in.on(w.b)...), "=")
		_, value, _ := strings.Cut(in.cookie, "=")
		foreign := w.signIn(w.a, `{}`, "X-API-Key", bobKey)
		for name, cookie := range map[string]string{
			"a user token": "sessionhub_user=" + user, "a session token": "sessionhub_user=" + s.Token, "a session's cookie": "sessionhub_user=" + sessions,
			"garbage": "sessionhub_user=x", "another signature": in.cookie[:len(in.cookie)-4] + "AAAA", "two of them": in.cookie + "; " + foreign.cookie,
			"the same twice": in.cookie + "; " + in.cookie,
		} {
			if err := w.a.call("GET", "/api/sessions", nil, nil, "Cookie", cookie).Problem(401, protocol.CodeUnauthorized); err != nil {
				w.Errorf("%s: %v", name, err)
			}
		}
		w.a.want(401, protocol.CodeUnauthorized, "GET", "/api/sessions", nil, bearer(value)...)
		w.a.want(404, protocol.CodeNotFound, "GET", path, nil, foreign.on(w.a)...)
		w.a.want(404, protocol.CodeNotFound, "DELETE", "/api/sign-ins/"+in.id, nil, foreign.on(w.a)...)
		// A header goes before the cookie.
		w.a.want(404, protocol.CodeNotFound, "GET", path, nil, "X-API-Key", bobKey, "Cookie", in.cookie)
		w.a.want(401, protocol.CodeUnauthorized, "GET", path, nil, "X-API-Key", "wrong", "Cookie", in.cookie)

		var list protocol.SignInList
		w.b.call("GET", "/api/sign-ins", nil, &list, in.on(w.b)...)
		if len(list.SignIns) != 1 || !list.Required || list.UserID != "ann" || !list.SignIns[0].Current || list.SignIns[0].Label != "Firefox on Linux" {
			w.Errorf("%+v", list)
		}
		a := w.b.call("DELETE", "/api/sign-in", nil, nil, in.on(w.b)...)
		if c := a.Cookies(); a.StatusCode != 204 || len(c) != 1 || c[0].Value != "" || c[0].Expires.After(time.Now()) || c[0].Path != "/api" {
			w.Errorf("signing out: %d %v", a.StatusCode, c)
		}
		w.a.want(401, protocol.CodeTokenRevoked, "GET", "/api/sessions", nil, in.on(w.a)...)
		if a := w.a.call("DELETE", "/api/sign-in", nil, nil, in.on(w.a)...); a.StatusCode != 401 || len(a.Cookies()) != 1 {
			w.Errorf("signing out twice: %d %v", a.StatusCode, a.Cookies())
		}
		w.a.want(400, protocol.CodeInvalidRequest, "DELETE", "/api/sign-in", nil, "X-API-Key", annKey)
		w.a.want(400, protocol.CodeInvalidRequest, "POST", "/api/sign-in", `{"label":"`+strings.Repeat("l", 101)+`"}`, "X-API-Key", annKey)
	}, "--allowed-origins", "https://page.example")
}
