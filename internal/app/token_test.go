package app

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// endOf reads a stream to its end and gives the close code, or 0 for SSE.
func endOf(t *testing.T, s stream) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, err := s.next(ctx); err != nil {
			if ctx.Err() != nil {
				t.Fatal("the stream did not end")
			}
			return websocket.CloseStatus(err)
		}
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
	if took := time.Since(started); took > 2*time.Second {
		t.Errorf("the streams ended after %v", took)
	}
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

// A share link ends with the token that made it, to the second, and cannot
// renew itself: not even by what rounding adds.
func TestNarrowTokenDoesNotRenewItself(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	first := h.token(s, `{"scope":"read","ttlSeconds":60}`)
	for token := first; ; {
		s.Token = token.Token
		for _, body := range []string{`{}`, `{"ttlSeconds":3600}`} {
			if token = h.token(s, body); !token.ExpiresAt.Equal(first.ExpiresAt) {
				t.Fatalf("%s: ends at %v, what it came from at %v", body, token.ExpiresAt, first.ExpiresAt)
			}
		}
		if s.Token != first.Token { // the second in the row
			return
		}
	}
}
