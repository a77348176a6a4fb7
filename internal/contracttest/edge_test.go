package contracttest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// raw sends bytes on a connection of its own and reads one answer. reused says
// whether the connection then carries another request.
func (n *node) raw(request string) (r hubtest.Answer, reused bool) {
	n.t.Helper()
	c := n.dial()
	if _, err := io.WriteString(c, request); err != nil {
		n.t.Fatal(err)
	}
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		n.t.Fatalf("%.60q: %v", request, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	_, _ = fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: %s\r\n\r\n", n.Host())
	_, err = http.ReadResponse(in, nil)
	return hubtest.Answer{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}, err == nil
}

// A key may hold two dots: as a bearer it once was taken for a JWT.
func TestAPIKeyThatLooksLikeAToken(t *testing.T) {
	const key = "team.service.0123456789"
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=" + key})
	for _, header := range [][]string{{"X-API-Key", key}, {"Authorization", "Bearer " + key}} {
		if r := n.call("GET", "/api/sessions", "", header...); r.StatusCode != 200 {
			t.Errorf("%v: %d %s", header[0], r.StatusCode, r.Body)
		}
	}
	n.refused(401, protocol.CodeUnauthorized, "GET", "/api/sessions", "", "Authorization", "Bearer "+key+"x")
}

// Another scheme is a credential that is not taken, and not the lack of one.
func TestOtherSchemesAreRefused(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	for _, scheme := range []string{"Basic dXNlcjpwYXNz", "Digest x", "token", "BearerX " + s.Token} {
		n.refused(401, protocol.CodeUnauthorized, "GET", "/api/sessions", "", "Authorization", scheme)
		n.refused(401, protocol.CodeUnauthorized, "GET", s.path+"/events", "", "Authorization", scheme)
	}
}

// A client that sends a long body to its end before it reads finds the 413.
// Once, the connection was reset under it.
func TestLongBodyIsAnswered(t *testing.T) {
	n := serve(t, "--max-message-bytes", "64KiB")
	s := n.create(`{}`)
	const length = 8 << 20
	for name, head := range map[string]string{
		"declared": fmt.Sprintf("Content-Length: %d\r\n", length),
		"chunked":  "Transfer-Encoding: chunked\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := n.dial()
			_, _ = fmt.Fprintf(c, "POST %s/messages HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%s\r\n", s.path, n.Host(), head)
			piece := strings.Repeat("x", 64<<10)
			for range length / len(piece) {
				var err error
				if name == "chunked" {
					_, err = fmt.Fprintf(c, "%x\r\n%s\r\n", len(piece), piece)
				} else {
					_, err = io.WriteString(c, piece)
				}
				if err != nil {
					t.Fatalf("the body could not be sent: %v", err)
				}
			}
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			if err := (hubtest.Answer{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}).Problem(413, protocol.CodePayloadTooLarge); err != nil {
				t.Error(err)
			}
			if !resp.Close {
				t.Error("the answer does not say that the connection closes")
			}
		})
	}
	// A body that nobody wants, but is not too long, costs nobody the connection;
	// and its bytes are never read as the next request.
	smuggled := "GET /api/sessions HTTP/1.1\r\nHost: " + n.Host() + "\r\n\r\n"
	r, reused := n.raw(fmt.Sprintf("POST /nowhere HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", n.Host(), len(smuggled), smuggled))
	if err := r.Problem(404, protocol.CodeNotFound); err != nil || !reused {
		t.Errorf("a body that nobody reads: %v, reused %v", err, reused)
	}
	// On a stream's address a body would be read as the first frames.
	n.refused(400, protocol.CodeInvalidRequest, "GET", s.path+"/events", "{}", s.bearer()...)
}

// Requests whose end could be seen in two places (RFC 9112, section 6.3).
func TestRequestSmuggling(t *testing.T) {
	n := serve(t)
	host := "Host: " + n.Host() + "\r\n"
	json := "Content-Type: application/json\r\n"
	for name, request := range map[string]string{
		"both lengths":         "POST /api/sessions HTTP/1.1\r\n" + host + json + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"both, the other way":  "POST /api/sessions HTTP/1.1\r\n" + host + json + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"two lengths":          "POST /api/sessions HTTP/1.1\r\n" + host + json + "Content-Length: 3\r\nContent-Length: 2\r\n\r\n{}",
		"unknown coding":       "POST /api/sessions HTTP/1.1\r\n" + host + json + "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"two codings":          "POST /api/sessions HTTP/1.1\r\n" + host + json + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"coding in HTTP/1.0":   "POST /api/sessions HTTP/1.0\r\n" + host + json + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"folded":               "POST /api/sessions HTTP/1.1\r\n" + host + json + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"space before a colon": "POST /api/sessions HTTP/1.1\r\n" + host + json + "Content-Length : 2\r\n\r\n{}",
		"a bare CR":            "POST /api/sessions HTTP/1.1\r\n" + host + json + "Content-Length: 2\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n{}",
		"two hosts":            "GET /api/sessions HTTP/1.1\r\n" + host + "Host: other.example\r\n\r\n",
		"no host":              "GET /api/sessions HTTP/1.1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r, reused := n.raw(request)
			if err := r.Problem(400, protocol.CodeInvalidRequest); err != nil {
				t.Error(err)
			}
			if reused {
				t.Error("the connection lives on")
			}
		})
	}
	r, reused := n.raw("POST /api/sessions HTTP/1.1\r\n" + host + json + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	if r.StatusCode != 201 || reused {
		t.Errorf("chunked alone: %d %s, reused %v", r.StatusCode, r.Body, reused)
	}
	var list protocol.SessionList
	if list = ok[protocol.SessionList](n, 200, "GET", "/api/sessions", ""); len(list.Sessions) != 1 {
		t.Errorf("%d sessions were made, want one", len(list.Sessions))
	}
}

// What the guard refuses has the headers that every answer has.
func TestRefusalsHaveTheCommonHeaders(t *testing.T) {
	n := serve(t)
	n.refused(403, protocol.CodeHostRefused, "GET", "/api/sessions", "", "Host", "evil.example")
	n.refused(403, protocol.CodeOriginRefused, "GET", "/api/sessions", "", "Origin", "https://evil.example")
	n.refused(404, protocol.CodeNotFound, "GET", "/nowhere", "")
	n.refused(405, protocol.CodeMethodNotAllowed, "PUT", "/api/sessions", "")
	r, _ := n.raw("GET / HTTP/1.1\r\nHost: " + n.Host() + "\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")
	if err := r.Problem(431, protocol.CodeHeaderTooLarge); err != nil {
		t.Errorf("a long header: %v", err)
	}
}

// A client that speaks before it listens gets connected first, whatever it did
// wrong.
func TestConnectedComesBeforeAClose(t *testing.T) {
	n := serve(t, "--max-connections-per-session", "100")
	s := n.create(`{}`)
	for i := range 40 {
		c := n.dial()
		wrong, want := wsFrame(0x1, []byte("{")), protocol.CloseBadFrame
		if i%2 == 1 {
			wrong, want = wsFrame(0x5, nil), 1002
		}
		_, _ = c.Write(append([]byte(s.handshake("")), wrong...))
		in := bufio.NewReader(c)
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 101 {
			t.Fatalf("the handshake: %v %v", resp, err)
		}
		frames, code := serverFrames(in)
		if len(frames) == 0 || !strings.Contains(frames[0], `"connected"`) || code != want {
			t.Fatalf("attempt %d: closed with %d after %q", i, code, frames)
		}
		_ = c.Close()
	}
}

// An approval leaves the same line in the log, whichever way it came.
func TestApprovalsAreAudited(t *testing.T) {
	n := serve(t, "--log-format", "json")
	s := n.create(`{}`)
	st := s.ws("")
	for i, approve := range []func(id string){
		func(id string) {
			ok[protocol.ApproveResponse](n, 200, "POST", s.path+"/approve", `{"interactionId":"`+id+`","decision":"allow_once"}`, s.bearer()...)
		},
		func(id string) {
			if a := st.command("approve", "a1", `{"interactionId":"`+id+`","decision":"reject_once"}`); a.Type != "ack" {
				t.Errorf("approve: %+v", a)
			}
		},
	} {
		s.send("/approve now?")
		q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
		approve(q.InteractionID)
		judge.Within(t, 5*time.Second, "the audit line is there", func() bool {
			for line := range strings.Lines(n.Log.String()) {
				if strings.Contains(line, "approval answered") && strings.Contains(line, q.InteractionID) &&
					strings.Contains(line, s.SessionID) && strings.Contains(line, `"remote":"127.0.0.1:`) && strings.Contains(line, `"option":`) {
					return true
				}
			}
			return false
		})
		if q.ExpiresAt == nil || q.ExpiresAt.Nanosecond()%1e6 != 0 {
			t.Errorf("question %d expires at %v: not in milliseconds", i, q.ExpiresAt)
		}
	}
}

// The page may speak to its own host alone.
func TestContentSecurityPolicy(t *testing.T) {
	n := serve(t)
	policy := n.call("GET", "/", "").Header.Get("Content-Security-Policy")
	if m := regexp.MustCompile(`connect-src ([^;]*)`).FindStringSubmatch(policy); m == nil || m[1] != "'self'" {
		t.Errorf("the policy is %q", policy)
	}
}

// A message is an event, and no event is longer than --max-event-bytes, also
// where --max-message-bytes would let it through.
func TestMessageIsBoundByTheEvent(t *testing.T) {
	n := serve(t, "--max-message-bytes", "64KiB", "--max-event-bytes", "2KiB")
	s := n.create(`{}`)
	long := `{"content":"` + strings.Repeat("x", 4000) + `"}`
	n.refused(413, protocol.CodePayloadTooLarge, "POST", s.path+"/messages", long, s.bearer()...)
	st := s.ws("")
	if a := st.command("message", "m1", long); a.Error.Code != protocol.CodePayloadTooLarge {
		t.Errorf("over WebSocket: %+v", a)
	}
	s.turn(st, strings.Repeat("x", 1500))
}

// The details of errors are for people who do not know the program.
func TestDetailsAreForPeople(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	for _, body := range []string{`[]`, `7`, `"x"`, `{"title":7}`, `{"agentOptions":[]}`, `{"agentOptions":{"mode":1}}`, `{"workingDirectory":{}}`} {
		n.refused(400, protocol.CodeInvalidRequest, "POST", "/api/sessions", body)
	}
	r := n.call("POST", "/api/sessions", `{"workingDirectory":"/"}`)
	if strings.Count(string(r.Body), "working directory not allowed") != 1 {
		t.Errorf("it says it twice, or not at all: %s", r.Body)
	}
	st := s.ws("")
	for _, data := range []string{`[]`, `{"messageId":7}`, `{"content":{"a":1}}`} {
		if a := st.command("message", "m", data); a.Error.Code != protocol.CodeInvalidRequest || strings.Contains(a.Error.Detail, "protocol.") {
			t.Errorf("%s: %+v", data, a)
		}
	}
}

// The banner names the directory that counts, not what was typed.
func TestBannerNamesTheWorkspace(t *testing.T) {
	n := serve(t, "--workspace-root", ".")
	m := regexp.MustCompile(`workspace +(\S+)`).FindStringSubmatch(n.Banner)
	if m == nil || !filepath.IsAbs(m[1]) {
		t.Errorf("the banner is %q", n.Banner)
	}
}

// A token that was narrowed, in scope or in time, ends with its maker at the latest; one
// of the full scope and life may renew itself.
func TestTokenRenewal(t *testing.T) {
	t.Parallel()
	n := serve(t)
	s := n.create(`{}`)
	token := func(maker, body string) protocol.TokenResponse {
		t.Helper()
		return ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", body, "Authorization", "Bearer "+maker)
	}
	short := token(s.Token, `{"ttlSeconds":100}`)
	for _, body := range []string{`{}`, `{"ttlSeconds":86400}`} {
		if again := token(short.Token, body); again.ExpiresAt.After(short.ExpiresAt) {
			t.Errorf("a token that ends at %v renewed itself until %v", short.ExpiresAt, again.ExpiresAt)
		}
	}
	full := token(s.Token, `{"ttlSeconds":86400}`)
	time.Sleep(1100 * time.Millisecond) // tokens end at whole seconds
	if again := token(full.Token, `{}`); !again.ExpiresAt.After(full.ExpiresAt) {
		t.Errorf("a full token that ends at %v renewed itself until %v", full.ExpiresAt, again.ExpiresAt)
	}
	narrow := token(full.Token, `{"scope":"read write","ttlSeconds":50}`)
	if again := token(narrow.Token, `{"ttlSeconds":5000}`); again.ExpiresAt.After(narrow.ExpiresAt.Add(time.Second)) || again.Scope != "read write" {
		t.Errorf("a narrowed token renewed itself beyond its end: %+v", again)
	}
	if again := token(s.Token, `{"ttlSeconds":999999999}`); time.Until(again.ExpiresAt) > 24*time.Hour+time.Second {
		t.Errorf("ttlSeconds is not clamped: %v", again.ExpiresAt)
	}
}

// wsFrame encodes a masked client frame (RFC 6455, section 5.3).
func wsFrame(opcode byte, payload []byte) []byte {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	default:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// handshake is the request that opens the session's WebSocket.
func (s session) handshake(query string) string {
	return fmt.Sprintf("GET %s/ws%s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer %s\r\n\r\n", s.path, query, s.n.Host(), s.Token)
}

// serverFrames reads text frames up to the close frame, whose code it gives.
func serverFrames(in *bufio.Reader) (texts []string, code int) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return texts, -1
		}
		size := int(head[1])
		if size == 126 {
			var long [2]byte
			if _, err := io.ReadFull(in, long[:]); err != nil {
				return texts, -1
			}
			size = int(long[0])<<8 | int(long[1])
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return texts, -1
		}
		switch head[0] & 0x0f {
		case 0x1:
			texts = append(texts, string(payload))
		case 0x8:
			if size < 2 {
				return texts, 1005
			}
			return texts, int(payload[0])<<8 | int(payload[1])
		}
	}
}

// writeText sends one text message.
func (st *stream) writeText(text string) error {
	ctx, stop := context.WithTimeout(context.Background(), judge.Patience)
	defer stop()
	return st.ws.Write(ctx, websocket.MessageText, []byte(text))
}
