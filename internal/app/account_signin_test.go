package app

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

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
