package contracttest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// jwt signs claims by hand: nothing of the program is used.
func jwt(secret, header, claims string) string {
	enc := base64.RawURLEncoding.EncodeToString
	text := enc([]byte(header)) + "." + enc([]byte(claims))
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return text + "." + enc(mac.Sum(nil))
}

const hs256 = `{"alg":"HS256","typ":"JWT"}`

// Session tokens: JWTs by HS256 with these claims; the first secret signs, all
// verify; expired and forged ones are told apart.
func TestTokens(t *testing.T) {
	now, old := strings.Repeat("n", 32), strings.Repeat("o", 40)
	file := filepath.Join(t.TempDir(), "secrets")
	if err := os.WriteFile(file, []byte(now+","+old+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := serveEnv(t, []string{"SESSIONHUB_TOKEN_SECRET_FILE=" + file})
	s, other := n.create(`{}`), n.create(`{}`)
	parts := strings.Split(s.Token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	has(t, "the token", payload, "sub sid scope exp iat jti")
	if jwt(now, string(must(base64.RawURLEncoding.DecodeString(parts[0]))), string(payload)) != s.Token {
		t.Error("the token is not signed with the first secret")
	}
	claims := func(sid, scope string, life time.Duration) string {
		at := time.Now()
		return fmt.Sprintf(`{"sub":"local","sid":%q,"scope":%q,"iat":%d,"exp":%d,"jti":"by-hand"}`, sid, scope, at.Add(min(0, life)).Unix(), at.Add(life).Unix())
	}
	good := claims(s.SessionID, "read", time.Hour)
	for name, c := range map[string]struct {
		token  string
		status int
		code   protocol.Code
	}{
		"the first secret":    {jwt(now, hs256, good), 200, ""},
		"an older secret":     {jwt(old, hs256, good), 200, ""},
		"a foreign secret":    {jwt(strings.Repeat("f", 32), hs256, good), 401, protocol.CodeUnauthorized},
		"no signature":        {strings.TrimRight(jwt("", `{"alg":"none"}`, good), "="), 401, protocol.CodeUnauthorized},
		"alg none, unsigned":  {jwt(now, `{"alg":"none"}`, good)[:len(jwt(now, `{"alg":"none"}`, good))-43], 401, protocol.CodeUnauthorized},
		"another algorithm":   {jwt(now, `{"alg":"HS512"}`, good), 401, protocol.CodeUnauthorized},
		"expired":             {jwt(now, hs256, claims(s.SessionID, "read", -time.Minute)), 401, protocol.CodeTokenExpired},
		"another's session":   {jwt(now, hs256, claims(other.SessionID, "read", time.Hour)), 404, protocol.CodeNotFound},
		"an unknown scope":    {jwt(now, hs256, claims(s.SessionID, "read rule", time.Hour)), 401, protocol.CodeUnauthorized},
		"too little scope":    {jwt(now, hs256, claims(s.SessionID, "write", time.Hour)), 403, protocol.CodeScope},
		"another user's name": {jwt(now, hs256, strings.Replace(good, `"local"`, `"mallory"`, 1)), 404, protocol.CodeNotFound},
		"no end":              {jwt(now, hs256, strings.Replace(good, `"exp"`, `"expires"`, 1)), 401, protocol.CodeUnauthorized},
	} {
		r := n.call("GET", s.path, "", "Authorization", "Bearer "+c.token)
		if c.code == "" && r.StatusCode != c.status {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.Body)
		} else if c.code != "" {
			if err := r.Problem(c.status, c.code); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	// Each scope opens its routes, and no others.
	for scope, may := range map[string]string{"read": "GET events approvals history ticket cookie", "write": "messages cancel", "approve": "approve"} {
		bearer := "Bearer " + jwt(now, hs256, claims(s.SessionID, scope, time.Hour))
		for route, c := range map[string]struct{ method, body string }{
			"events": {"GET", ""}, "approvals": {"GET", ""}, "history": {"GET", ""}, "messages": {"POST", `{}`}, "cancel": {"POST", `{}`}, "approve": {"POST", `{}`},
		} {
			if route == "events" && strings.Contains(may, route) {
				continue // it would stay open; the streams have their own tests
			}
			r := n.call(c.method, s.path+"/"+route, c.body, "Authorization", bearer)
			if denied := r.Problem(403, protocol.CodeScope) == nil; denied == strings.Contains(may, route) {
				t.Errorf("scope %s on %s: %d %s", scope, route, r.StatusCode, r.Body)
			}
		}
	}
	for bad, env := range map[string]string{"31 bytes": strings.Repeat("x", 31), "a short second one": now + ",short"} {
		if code, out := run(t, []string{"SESSIONHUB_TOKEN_SECRET=" + env}, "serve", "--listen", "127.0.0.1:0"); code != 2 || !strings.Contains(out, "SESSIONHUB_TOKEN_SECRET") || strings.Contains(out, env) {
			t.Errorf("%s: exit code %d: %s", bad, code, out)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// A worker's key is no client's, and a key that is configured ends local mode.
func TestKeysOpenWhatIsTheirs(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=client-key-1", "SESSIONHUB_WORKER_KEY=worker-key-1"})
	n.refused(401, protocol.CodeUnauthorized, "POST", "/api/sessions", `{}`)
	n.refused(401, protocol.CodeUnauthorized, "GET", "/api/providers", "")
	n.refused(401, protocol.CodeUnauthorized, "GET", "/api/stats", "")
	for _, key := range []string{"worker-key-1", "client-key-", "client-key-12", strings.Repeat("k", 5000)} {
		n.refused(401, protocol.CodeUnauthorized, "GET", "/api/sessions", "", "X-API-Key", key)
		n.refused(401, protocol.CodeUnauthorized, "GET", "/api/sessions", "", "Authorization", "Bearer "+key)
	}
	n.key = "client-key-1"
	s, ann := n.create(`{}`), n.create(`{"userId":"ann"}`)
	if s.Session.UserID != "service" || ann.Session.UserID != "ann" {
		t.Errorf("users %q and %q", s.Session.UserID, ann.Session.UserID)
	}
	n.refused(403, protocol.CodeForbidden, "GET", "/api/stats", "", "Authorization", "Bearer "+s.Token)
	// An API key has all scopes on every route of its sessions.
	for _, c := range [][3]string{
		{"GET", "", ""}, {"GET", "/history", ""}, {"GET", "/approvals", ""}, {"POST", "/messages", `{"content":"x"}`}, {"POST", "/cancel", `{}`},
		{"POST", "/token", `{"revokeOthers":true}`}, {"POST", "/ticket", ""}, {"POST", "/cookie", ""},
	} {
		if r := n.call(c[0], ann.path+c[1], c[2]); r.StatusCode >= 300 {
			t.Errorf("%s %s with the key: %d %s", c[0], c[1], r.StatusCode, r.Body)
		}
	}
	// A key does not open the operators' listener's data to clients, nor is it asked for there.
	n.refused(404, protocol.CodeNotFound, "GET", "/metrics", "")
	n.refused(404, protocol.CodeNotFound, "GET", "/debug/pprof/", "")
	// In this mode the Host may be anything: a name of the machine, say.
	if r := n.call("GET", "/api/sessions", "", "Host", "hub.example"); r.StatusCode != 200 {
		t.Errorf("a Host with a key: %d", r.StatusCode)
	}
}

// --allow-anonymous, and what a listener beyond this machine needs.
func TestListenersBeyondThisMachine(t *testing.T) {
	if code, out := run(t, nil, "serve", "--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"); code != 2 || !strings.Contains(out, "--allow-anonymous") {
		t.Errorf("without a key: exit code %d: %s", code, out)
	}
	n := serve(t, "--listen", "0.0.0.0:0", "--allow-anonymous")
	n.URL = strings.Replace(strings.Replace(n.URL, "[::]", "127.0.0.1", 1), "0.0.0.0", "127.0.0.1", 1)
	if r := n.call("POST", "/api/sessions", `{}`, "Host", "hub.example"); r.StatusCode != 201 {
		t.Errorf("anonymous: %d %s", r.StatusCode, r.Body)
	}
}

// Which pages may speak to the hub, and under which names it may be spoken to.
func TestOriginsAndHosts(t *testing.T) {
	const id = "abcdefghijklmnopabcdefghijklmnop"
	n := serveEnv(t, []string{"SESSIONHUB_ALLOWED_ORIGINS=https://page.example, https://*.wild.example,chrome-extension://" + id})
	s := n.create(`{}`)
	_, port, _ := strings.Cut(n.Host(), ":")
	for origin, allowed := range map[string]bool{
		"https://page.example": true, "https://a.wild.example": true, "chrome-extension://" + id: true, n.URL: true,
		"https://wild.example": false, "https://a.b.wild.example": false, "http://page.example": false, "https://page.example:444": false,
		"https://page.example.evil": false, "chrome-extension://other": false, "null": false, "http://localhost:1": false,
		"http://127.0.0.1.evil.example:" + port: false,
	} {
		r := n.call("GET", s.path, "", append(s.bearer(), "Origin", origin)...)
		if allowed && (r.StatusCode != 200 || r.Header.Get("Access-Control-Allow-Origin") != origin || !strings.Contains(r.Header.Get("Vary"), "Origin")) {
			t.Errorf("%s: %d %v", origin, r.StatusCode, r.Header)
		} else if err := r.Problem(403, protocol.CodeOriginRefused); !allowed && (err != nil || r.Header.Get("Access-Control-Allow-Origin") != "") {
			t.Errorf("%s: %v %v", origin, err, r.Header)
		}
		p := n.call("OPTIONS", "/api/sessions", "", "Origin", origin, "Access-Control-Request-Method", "POST")
		if got := p.Header.Get("Access-Control-Allow-Headers"); allowed != (p.StatusCode == 204) {
			t.Errorf("preflight of %s: %d", origin, p.StatusCode)
		} else if allowed {
			for _, want := range []string{"Last-Event-ID", "Authorization", "X-API-Key", "Idempotency-Key", "Content-Type"} {
				if !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
					t.Errorf("preflight does not let %s pass: %s", want, got)
				}
			}
		}
		_, resp, err := s.socket("", &websocket.DialOptions{
			Subprotocols: []string{protocol.Subprotocol, protocol.BearerPrefix + s.Token}, HTTPHeader: http.Header{"Origin": {origin}},
		})
		if (err == nil) != allowed || !allowed && (resp == nil || resp.StatusCode != 403) {
			t.Errorf("a WebSocket from %s: %v", origin, err)
		}
	}
	// Refused before it acts.
	before := len(ok[protocol.SessionList](n, 200, "GET", "/api/sessions", "").Sessions)
	n.refused(403, protocol.CodeOriginRefused, "POST", "/api/sessions", `{}`, "Origin", "https://evil.example")
	if after := len(ok[protocol.SessionList](n, 200, "GET", "/api/sessions", "").Sessions); after != before {
		t.Error("a refused request made a session")
	}
	for host, allowed := range map[string]bool{
		"localhost:" + port: true, "127.0.0.1": true, "[::1]:1": true, "page.example": true, "x.wild.example:9": true,
		"evil.example": false, "127.0.0.1.evil.example": false, "wild.example": false, "0.0.0.0": false,
	} {
		if r := n.call("GET", "/api/sessions", "", "Host", host); (r.StatusCode == 200) != allowed {
			t.Errorf("Host %s: %d", host, r.StatusCode)
		}
	}
}

// The ways to open a WebSocket; of the subprotocols the server answers with its
// own alone.
func TestWebSocketCredentials(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=key-of-the-service"}, "--public-url", "https://hub.example/")
	n.key = "key-of-the-service"
	s := n.create(`{}`)
	if want := "wss://hub.example/api/sessions/" + s.SessionID + "/ws"; s.WebsocketURL != want {
		t.Errorf("behind a proxy the URL is %q, want %q", s.WebsocketURL, want)
	}
	s.WebsocketURL, s.EventsURL = "ws://"+n.Host()+s.path+"/ws", n.URL+s.path+"/events"
	cookie := n.call("POST", s.path+"/cookie", "", s.bearer()...).Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "secure", "path=" + s.path} {
		if !strings.Contains(strings.ToLower(cookie), strings.ToLower(want)) {
			t.Errorf("the cookie lacks %s: %s", want, cookie)
		}
	}
	value, _, _ := strings.Cut(cookie, ";")
	ticket := func() string {
		return ok[protocol.TicketResponse](n, 201, "POST", s.path+"/ticket", "", s.bearer()...).Ticket
	}
	header := func(name, value string) *websocket.DialOptions {
		return &websocket.DialOptions{HTTPHeader: http.Header{name: {value}}, Subprotocols: []string{protocol.Subprotocol}}
	}
	for name, c := range map[string]struct {
		query string
		opts  *websocket.DialOptions
		open  bool
	}{
		"Authorization":  {"", header("Authorization", "Bearer "+s.Token), true},
		"the API key":    {"", header("X-API-Key", n.key), true},
		"subprotocols":   {"", &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol, protocol.BearerPrefix + s.Token}}, true},
		"a ticket":       {"?ticket=" + ticket(), header("X", "y"), true},
		"the cookie":     {"", header("Cookie", value), true},
		"nothing":        {"", header("X", "y"), false},
		"a wrong ticket": {"?ticket=x", header("X", "y"), false},
		"a wrong token":  {"", header("Authorization", "Bearer a.b.c"), false},
		"two tokens":     {"", &websocket.DialOptions{Subprotocols: []string{protocol.BearerPrefix + s.Token, protocol.BearerPrefix + s.Token + "x"}}, false},
		"wrong and good": {"?ticket=" + ticket(), header("Authorization", "Bearer a.b.c"), false},
	} {
		_, resp, err := s.socket(c.query, c.opts)
		switch {
		case c.open && (err != nil || resp.Header.Get("Sec-WebSocket-Protocol") != protocol.Subprotocol):
			t.Errorf("%s: %v %v", name, err, resp)
		case !c.open && (err == nil || resp == nil || resp.StatusCode != 401):
			t.Errorf("%s: %v", name, err)
		}
	}
	// The cookie reads the streams, and is no credential elsewhere.
	n.key = ""
	n.refused(401, protocol.CodeUnauthorized, "GET", s.path, "", "Cookie", value)
	n.refused(401, protocol.CodeUnauthorized, "POST", s.path+"/messages", `{"content":"x"}`, "Cookie", value)
	s.sse("", "Cookie", value).until("caught_up")
}
