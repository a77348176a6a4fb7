package app

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// A ticket signs in one browser, whatever the nodes that are asked at once, for its user.
func TestSignInTicketWorksOnce(t *testing.T) {
	inAccountWorlds(t, func(w accountWorld) {
		in := w.signIn(w.a, `{}`, "X-API-Key", annKey)
		for round := range 5 {
			ticket := w.ticket(w.a, in.on(w.a)...)
			if left := time.Until(ticket.ExpiresAt); left > 2*time.Minute || left < time.Minute || ticket.URL != w.a.url+"/#sign-in="+ticket.Ticket {
				w.Errorf("%+v", ticket)
			}
			const at = 8
			var wg sync.WaitGroup
			codes := make([]int, at)
			for i := range at {
				h := []*hubUnderTest{w.a, w.b}[i%2]
				wg.Go(func() {
					codes[i] = h.call("POST", "/api/sign-in", `{"ticket":"`+ticket.Ticket+`","label":"phone"}`, nil).StatusCode
				})
			}
			wg.Wait()
			if got := strings.Count(fmt.Sprint(codes), "201"); got != 1 || strings.Count(fmt.Sprint(codes), "401") != at-1 {
				w.Errorf("round %d: %v", round, codes)
			}
		}
		ticket := w.ticket(w.a, in.on(w.a)...)
		name, secret, _ := strings.Cut(ticket.Ticket, ".")
		for what, wrong := range map[string]string{
			"a guess": name + ".AAAAAAAAAAAAAAAAAAAAAAAAAA", "for another user": "Ym9i." + secret, "without a user": "." + secret, "no secret": name + ".",
			"no base64": "!." + secret, "its hash": "x", "very long": name + "." + strings.Repeat("A", 5000),
		} {
			if err := w.b.call("POST", "/api/sign-in", `{"ticket":"`+wrong+`"}`, nil).Problem(401, protocol.CodeUnauthorized); err != nil {
				w.Errorf("%s: %v", what, err)
			}
		}
		// It is no other ticket, and opens no stream.
		s := w.createWith(w.a, in.on(w.a)...)
		w.a.want(401, protocol.CodeUnauthorized, "GET", "/api/sessions/"+s.SessionID+"/events?ticket="+ticket.Ticket, nil)
		_, streams, _ := strings.Cut(w.a.ticketWith(s, in.on(w.a)...), "=")
		w.a.want(401, protocol.CodeUnauthorized, "POST", "/api/sign-in", `{"ticket":"`+name+"."+streams+`"}`)
		w.b.want(415, protocol.CodeUnsupportedMedia, "POST", "/api/sign-in", `{"ticket":"`+ticket.Ticket+`"}`, "Content-Type", "text/plain")
		w.b.want(403, protocol.CodeOriginRefused, "POST", "/api/sign-in", `{"ticket":"`+ticket.Ticket+`"}`, "Origin", "https://evil.example")
		w.b.want(413, protocol.CodePayloadTooLarge, "POST", "/api/sign-in", `{"label":"`+strings.Repeat("l", 9000)+`"}`)

		// The phone is another sign-in, of the same user and scope, and stays when the first one
		// ends.
		phone := w.signIn(w.b, `{"ticket":"`+ticket.Ticket+`","label":"phone"}`)
		w.a.want(204, "", "DELETE", "/api/sign-in", nil, in.on(w.a)...)
		w.b.want(200, "", "GET", "/api/sessions/"+s.SessionID+"/files", nil, phone.on(w.b)...)
		// A key makes one too, a service key for anybody.
		service := w.a.call("POST", "/api/sign-in/ticket", `{"userId":"ann"}`, nil, "X-API-Key", serviceKey)
		if service.StatusCode != 201 {
			w.Errorf("a ticket of a service: %d", service.StatusCode)
		}
		w.a.want(403, protocol.CodeForbidden, "POST", "/api/sign-in/ticket", `{"userId":"ann"}`, "X-API-Key", bobKey)
		w.a.want(401, protocol.CodeUnauthorized, "POST", "/api/sign-in/ticket", `{}`)
	})
}

// A hub that asks nobody for a credential has nothing to sign in to. A cookie from a time
// when it did changes nothing.
func TestLocalModeNeedsNoSignIn(t *testing.T) {
	h := startHub(t)
	var list protocol.SignInList
	if a := h.call("GET", "/api/sign-ins", nil, &list); a.StatusCode != 200 || list.Required || list.UserID != "local" {
		t.Errorf("%d %+v", a.StatusCode, list)
	}
	h.want(400, protocol.CodeInvalidRequest, "POST", "/api/sign-in", `{}`)
	h.want(400, protocol.CodeInvalidRequest, "POST", "/api/sign-in/ticket", `{}`)
	h.want(200, "", "GET", "/api/sessions", nil, "Cookie", "sessionhub_user=old")
	var token protocol.UserTokenResponse
	if a := h.call("POST", "/api/user/token", `{}`, &token); a.StatusCode != 201 || token.UserID != "local" {
		t.Errorf("%d %+v", a.StatusCode, token)
	}
	h.want(204, "", "DELETE", "/api/user/token", nil, bearer(token.Token)...)
	h.want(401, protocol.CodeTokenRevoked, "GET", "/api/sessions", nil, bearer(token.Token)...)
}

// The cookie is for the hub's path and for TLS, as --public-url says.
func TestSignInBehindAProxy(t *testing.T) {
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": serviceKey}, "--public-url", "https://hub.example/sub")
	w := accountWorld{T: t, a: h, b: h}
	in := w.signIn(h, `{}`, "X-API-Key", serviceKey)
	if c := in.set; !c.Secure || c.Path != "/sub/api" {
		t.Errorf("%+v", c)
	}
	ticket := w.ticket(h, "X-API-Key", serviceKey)
	if !strings.HasPrefix(ticket.URL, "https://hub.example/sub/#sign-in=") {
		t.Errorf("the URL is %s", ticket.URL)
	}
	// A service key's sign-in is one user's, and no service.
	other := h.createAs(serviceKey, protocol.CreateRequest{UserID: "ann"})
	h.want(404, protocol.CodeNotFound, "GET", "/api/sessions/"+other.SessionID, nil, in.on(h)...)
	h.want(403, protocol.CodeForbidden, "POST", "/api/sessions", `{"userId":"ann"}`, in.on(h)...)
}

// A cookie that ends before its sign-in has missed a renewal: a stream, which sets none, can
// be what renewed the sign-in. The next answer brings it.
func TestCookieCatchesUpWithItsSignIn(t *testing.T) {
	inAccountWorlds(t, func(w accountWorld) {
		in := w.signIn(w.a, `{}`, "X-API-Key", annKey)
		if a := w.a.call("GET", "/api/sessions", nil, nil, in.on(w.a)...); a.StatusCode != 200 || len(a.Cookies()) != 0 {
			w.Errorf("%d, and %d cookies with nothing to renew", a.StatusCode, len(a.Cookies()))
		}
		signer, err := auth.NewSigner([][]byte{[]byte(clusterEnv["SESSIONHUB_TOKEN_SECRET"])}, time.Hour)
		if err != nil {
			w.Fatal(err)
		}
		now := time.Now()
		old := in
		old.cookie = in.set.Name + "=" + signer.MintSignIn(auth.Claims{
			User: "ann", ID: in.id, Scope: auth.ScopeKey, Key: "laptop", IssuedAt: now, ExpiresAt: now.Add(time.Hour),
		})
		a := w.b.call("GET", "/api/sessions", nil, nil, old.on(w.b)...)
		if a.StatusCode != 200 || len(a.Cookies()) != 1 {
			w.Fatalf("%d, and %d cookies", a.StatusCode, len(a.Cookies()))
		}
		if c := a.Cookies()[0]; c.Name != in.set.Name || !c.Expires.Equal(in.set.Expires) {
			w.Errorf("%s until %v, want %v", c.Name, c.Expires, in.set.Expires)
		}
	})
}

// A page without TLS does not act for a person who is signed in to a hub with TLS: whoever is
// between the browser and the hub can write such a page, under the hub's name.
func TestSignInIsNoPageWithoutTLS(t *testing.T) {
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": serviceKey}, "--public-url", "https://hub.example")
	in := accountWorld{T: t, a: h, b: h}.signIn(h, `{}`, "X-API-Key", serviceKey)
	as := func(origin string) []string {
		return []string{"Cookie", in.cookie, "Host", "hub.example", "Origin", origin}
	}
	h.want(200, "", "GET", "/api/sessions", nil, as("https://hub.example")...)
	h.want(201, "", "POST", "/api/user/token", `{}`, as("https://hub.example")...)
	for _, origin := range []string{"http://hub.example", "HTTP://hub.example"} {
		h.want(403, protocol.CodeOriginRefused, "GET", "/api/sessions", nil, as(origin)...)
		h.want(403, protocol.CodeOriginRefused, "POST", "/api/user/token", `{}`, as(origin)...)
		h.want(403, protocol.CodeOriginRefused, "GET", "/api/ws", nil, append(as(origin), "Connection", "Upgrade", "Upgrade", "websocket")...)
	}
	h.want(200, "", "GET", "/api/sessions", nil, in.on(h)...) // of this machine
}
