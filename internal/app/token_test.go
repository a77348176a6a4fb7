package app

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// endOf reads a stream to its end and gives the close code, or 0 for SSE.
func endOf(t *testing.T, s stream) websocket.StatusCode {
	t.Helper()
	_, code := restOf(t, s)
	return code
}

// restOf is endOf with the frames up to the end.
func restOf(t *testing.T, s stream) (fs []hubtest.Frame, code websocket.StatusCode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		f, err := s.next(ctx)
		if err == nil {
			fs = append(fs, f)
			continue
		}
		if ctx.Err() != nil {
			t.Fatalf("the stream did not end after %d frames, the last %s", len(fs), last(fs))
		}
		return fs, websocket.CloseStatus(err)
	}
}

func (h *hubUnderTest) token(s protocol.CreateResponse, body string) protocol.TokenResponse {
	h.t.Helper()
	var out protocol.TokenResponse
	if resp := h.call("POST", "/api/sessions/"+s.SessionID+"/token", body, &out, "Authorization", "Bearer "+s.Token); resp.StatusCode != http.StatusCreated {
		h.t.Fatalf("token: %d", resp.StatusCode)
	}
	return out
}

// A revoked token opens nothing, and its open streams end within 2 s; others
// stay.
func TestRevokedTokenEndsItsStreams(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	path := "/api/sessions/" + s.SessionID
	other := s
	other.Token = h.token(s, `{}`).Token
	doomed, err := h.ws(t.Context(), s, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer doomed.close()
	doomedSSE := openSSE(t, h, s)
	kept, err := h.ws(t.Context(), other, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer kept.close()
	until(t, doomed, isType(protocol.EventType(protocol.ControlCaughtUp)))
	until(t, doomedSSE, isType(protocol.EventType(protocol.ControlCaughtUp)))
	until(t, kept, isType(protocol.EventType(protocol.ControlCaughtUp)))

	h.want(204, "", "DELETE", path+"/token", nil, "Authorization", "Bearer "+s.Token)
	started := time.Now()
	if code := endOf(t, doomed); code != protocol.CloseToken {
		t.Errorf("the stream of the revoked token ended with %d", code)
	}
	endOf(t, doomedSSE)
	judge.AtMost(t, "the end of the streams", time.Since(started), 2*time.Second)
	h.want(401, protocol.CodeTokenRevoked, "GET", path, nil, "Authorization", "Bearer "+s.Token)
	h.want(401, protocol.CodeTokenRevoked, "GET", path+"/events", nil, "Authorization", "Bearer "+s.Token)
	h.send(other, "hello")
	until(t, kept, isType(protocol.EventComplete))

	// All but the new one.
	fresh := h.token(other, `{"revokeOthers":true}`)
	if code := endOf(t, kept); code != protocol.CloseToken {
		t.Errorf("the stream of the other token ended with %d", code)
	}
	h.want(401, protocol.CodeTokenRevoked, "GET", path, nil, "Authorization", "Bearer "+other.Token)
	h.want(200, "", "GET", path, nil, "Authorization", "Bearer "+fresh.Token)
}

func TestRevokeOthersNeedsTheFullScope(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	read := h.token(s, `{"scope":"read"}`)
	h.want(403, protocol.CodeScope, "POST", "/api/sessions/"+s.SessionID+"/token", `{"revokeOthers":true}`, "Authorization", "Bearer "+read.Token)
	h.want(200, "", "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
}

// A ticket opens one stream, once, and nothing else; it dies with its token.
func TestTicketOpensOneStream(t *testing.T) {
	h := startHub(t, "--allowed-origins", "https://page.example")
	s := h.create(protocol.CreateRequest{})
	path := "/api/sessions/" + s.SessionID
	ticket := func() string {
		var out protocol.TicketResponse
		if resp := h.call("POST", path+"/ticket", nil, &out, "Authorization", "Bearer "+s.Token); resp.StatusCode != 201 {
			t.Fatalf("ticket: %d", resp.StatusCode)
		}
		if left := time.Until(out.ExpiresAt); left > 30*time.Second || left < 20*time.Second {
			t.Errorf("a ticket lives for %v", left)
		}
		return out.Ticket
	}
	one := ticket()
	conn, _, err := websocket.Dial(t.Context(), s.WebsocketURL+"?after=0&ticket="+one, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	until(t, &wsStream{conn}, isType(protocol.EventType(protocol.ControlCaughtUp)))
	h.want(401, protocol.CodeUnauthorized, "GET", path+"/events?ticket="+one, nil)
	h.want(401, protocol.CodeUnauthorized, "GET", path+"/events?ticket=guess", nil)
	// Not for other routes: there it is no credential at all, and local mode lets
	// the request through as the local user; a foreign session stays closed.
	other := h.create(protocol.CreateRequest{})
	h.want(401, protocol.CodeUnauthorized, "GET", "/api/sessions/"+other.SessionID+"/events?ticket="+ticket(), nil)

	late := ticket()
	h.want(204, "", "DELETE", path+"/token", nil, "Authorization", "Bearer "+s.Token)
	h.want(401, protocol.CodeUnauthorized, "GET", path+"/events?ticket="+late, nil)
	if code := endOf(t, &wsStream{conn}); code != protocol.CloseToken {
		t.Errorf("the ticket's stream ended with %d", code)
	}
}

// The cookie opens the two streams of its session, to read, and nothing else.
func TestCookieReadsStreams(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	path := "/api/sessions/" + s.SessionID
	resp := h.call("POST", path+"/cookie", nil, nil, "Authorization", "Bearer "+s.Token)
	if resp.StatusCode != 204 || len(resp.Cookies()) != 1 {
		t.Fatalf("cookie: %d %v", resp.StatusCode, resp.Cookies())
	}
	cookie := resp.Cookies()[0]
	if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != path || cookie.Secure {
		t.Errorf("the cookie is %+v", cookie)
	}
	value := cookie.Name + "=" + cookie.Value
	conn, _, err := websocket.Dial(t.Context(), s.WebsocketURL, &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {value}}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	ws := &wsStream{conn}
	until(t, ws, isType(protocol.EventType(protocol.ControlCaughtUp)))
	if err := ws.command(t.Context(), protocol.CommandMessage, "c1", protocol.MessageRequest{Content: []byte(`"hello"`)}); err != nil {
		t.Fatal(err)
	}
	for {
		_, raw, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), `"c1"`) {
			if !strings.Contains(string(raw), string(protocol.CodeScope)) {
				t.Errorf("a cookie wrote: %s", raw)
			}
			break
		}
	}
	h.want(401, protocol.CodeUnauthorized, "GET", path, nil, "Authorization", "Bearer "+cookie.Value)
	h.want(401, protocol.CodeUnauthorized, "GET", path+"/events", nil, "Cookie", cookie.Name+"=forged")
	h.want(204, "", "DELETE", path+"/token", nil, "Authorization", "Bearer "+s.Token)
	if code := endOf(t, ws); code != protocol.CloseToken {
		t.Errorf("the cookie's stream ended with %d", code)
	}
	h.want(401, protocol.CodeTokenRevoked, "GET", path+"/events", nil, "Cookie", value)
}

// What was narrowed, in scope or in time, ends with the token that made it, to the
// second, and cannot renew itself: not even by what rounding adds. A token of the
// full scope that was made for 60 s once made itself one of 24 h.
func TestNarrowTokenDoesNotRenewItself(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	for _, narrow := range []string{`{"scope":"read","ttlSeconds":60}`, `{"ttlSeconds":60}`, `{"ttlSeconds":86399}`} {
		s := h.create(protocol.CreateRequest{})
		first := h.token(s, narrow)
		for token := first; ; {
			s.Token = token.Token
			for _, body := range []string{`{}`, `{"ttlSeconds":3600}`, `{"ttlSeconds":86400}`} {
				if token = h.token(s, body); token.ExpiresAt.After(first.ExpiresAt) {
					t.Fatalf("%s: %s: ends at %v, what it came from at %v", narrow, body, token.ExpiresAt, first.ExpiresAt)
				}
			}
			if s.Token != first.Token { // the second in the row
				break
			}
		}
	}
	// With the full scope and the full life it renews itself, over a chain too.
	s := h.create(protocol.CreateRequest{})
	for range 3 {
		ends := s.ExpiresAt
		time.Sleep(1100 * time.Millisecond) // tokens end at whole seconds
		next := h.token(s, `{}`)
		if !next.ExpiresAt.After(ends) {
			t.Fatalf("ends at %v, what it came from at %v", next.ExpiresAt, ends)
		}
		s.Token, s.ExpiresAt = next.Token, next.ExpiresAt
	}
}

// A ticket lived for 30 s even if its token ended earlier. After the token's end it
// opened a stream, which had the whole log before it was cut.
func TestTicketDoesNotOutliveItsToken(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	var short protocol.TokenResponse
	var ticket protocol.TicketResponse
	var cookie string
	// On a busy machine a token can end before what it is for.
	for life := 2; ; life *= 2 {
		short = h.token(s, fmt.Sprintf(`{"ttlSeconds":%d}`, life))
		bearer := []string{"Authorization", "Bearer " + short.Token}
		ticketed := h.call("POST", "/api/sessions/"+s.SessionID+"/ticket", nil, &ticket, bearer...)
		baked := h.call("POST", "/api/sessions/"+s.SessionID+"/cookie", nil, nil, bearer...)
		if time.Now().After(short.ExpiresAt) && life < 60 {
			continue
		}
		if ticketed.StatusCode != 201 || baked.StatusCode != 204 || len(baked.Cookies()) != 1 {
			t.Fatalf("ticket: %d, cookie: %d", ticketed.StatusCode, baked.StatusCode)
		}
		cookie = baked.Cookies()[0].Name + "=" + baked.Cookies()[0].Value
		break
	}
	if !ticket.ExpiresAt.Equal(short.ExpiresAt) {
		t.Errorf("the ticket is said to end at %v, its token at %v", ticket.ExpiresAt, short.ExpiresAt)
	}
	time.Sleep(time.Until(short.ExpiresAt))
	h.wantNoStream(protocol.CodeUnauthorized, "/api/sessions/"+s.SessionID+"/events?ticket="+ticket.Ticket)
	h.wantNoStream(protocol.CodeTokenExpired, "/api/sessions/"+s.SessionID+"/events", "Cookie", cookie)
}
