package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// Whatever a request holds, the answer is a problem with the right code, and
// the session beside it goes on.
func TestBadRequests(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	if err := os.WriteFile(filepath.Join(h.root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/", filepath.Join(h.root, "out")); err != nil {
		t.Fatal(err)
	}
	messages := "/api/sessions/" + s.SessionID + "/messages"
	deep := strings.Repeat("[", 100_000)
	for _, c := range []struct {
		name   string
		status int
		code   protocol.Code
		method string
		path   string
		body   string
		header []string
	}{
		{"no JSON", 400, protocol.CodeInvalidJSON, "POST", messages, `{"content":`, nil},
		{"an array", 400, protocol.CodeInvalidRequest, "POST", messages, `[1]`, nil},
		{"not UTF-8", 400, protocol.CodeInvalidJSON, "POST", messages, "{\"content\":\"\xff\xfe\"}", nil},
		{"deep", 400, protocol.CodeInvalidJSON, "POST", messages, `{"content":` + deep, nil},
		{"no content", 400, protocol.CodeInvalidRequest, "POST", messages, `{}`, nil},
		{"empty content", 400, protocol.CodeInvalidRequest, "POST", messages, `{"content":"  "}`, nil},
		{"an image under another name", 400, protocol.CodeInvalidRequest, "POST", messages, `{"content":[{"type":"image","mimeType":"image/jpeg","data":"iVBORw0KGgo="}]}`, nil},
		{"an image without data", 400, protocol.CodeInvalidRequest, "POST", messages, `{"content":[{"type":"image","mimeType":"image/png"}]}`, nil},
		{"content of another kind", 400, protocol.CodeInvalidRequest, "POST", messages, `{"content":[{"type":"smell"}]}`, nil},
		{"a number", 400, protocol.CodeInvalidRequest, "POST", messages, `{"content":7}`, nil},
		{"long messageId", 400, protocol.CodeInvalidRequest, "POST", messages, `{"content":"x","messageId":"` + strings.Repeat("x", 129) + `"}`, nil},
		{"messageId not ASCII", 400, protocol.CodeInvalidRequest, "POST", messages, `{"content":"x","messageId":"é"}`, nil},
		{"a form", 415, protocol.CodeUnsupportedMedia, "POST", messages, `content=x`, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"text", 415, protocol.CodeUnsupportedMedia, "POST", messages, `{"content":"x"}`, []string{"Content-Type", "text/plain"}},
		{"packed", 415, protocol.CodeUnsupportedMedia, "POST", messages, `{"content":"x"}`, []string{"Content-Encoding", "gzip"}},
		{"too large", 413, protocol.CodePayloadTooLarge, "POST", messages, `{"content":"` + strings.Repeat("x", 1<<20) + `"}`, nil},
		{"unknown provider", 400, protocol.CodeUnknownProvider, "POST", "/api/sessions", `{"provider":"nobody"}`, nil},
		{"outside", 403, protocol.CodeWorkingDirectory, "POST", "/api/sessions", `{"workingDirectory":"/etc"}`, nil},
		{"above", 403, protocol.CodeWorkingDirectory, "POST", "/api/sessions", `{"workingDirectory":"../.."}`, nil},
		{"through a link", 403, protocol.CodeWorkingDirectory, "POST", "/api/sessions", `{"workingDirectory":"out/etc"}`, nil},
		{"a file", 403, protocol.CodeWorkingDirectory, "POST", "/api/sessions", `{"workingDirectory":"file"}`, nil},
		{"not there", 403, protocol.CodeWorkingDirectory, "POST", "/api/sessions", `{"workingDirectory":"nowhere"}`, nil},
		{"NUL in a path", 400, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{"workingDirectory":"a\u0000b"}`, nil},
		{"long path", 400, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{"workingDirectory":"` + strings.Repeat("a", 5000) + `"}`, nil},
		{"long title", 400, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{"title":"` + strings.Repeat("a", 5000) + `"}`, nil},
		{"metadata is a list", 400, protocol.CodeInvalidRequest, "POST", "/api/sessions", `{"metadata":[]}`, nil},
		{"bad cursor", 400, protocol.CodeInvalidRequest, "GET", "/api/sessions/" + s.SessionID + "/events?after=x", "", nil},
		{"cursor beyond the end", 400, protocol.CodeInvalidRequest, "GET", "/api/sessions/" + s.SessionID + "/history?after=99", "", nil},
		{"bad Last-Event-ID", 400, protocol.CodeInvalidRequest, "GET", "/api/sessions/" + s.SessionID + "/events", "", []string{"Last-Event-ID", "a-b-c"}},
		{"bad limit", 400, protocol.CodeInvalidRequest, "GET", "/api/sessions?limit=0", "", nil},
		{"bad status", 400, protocol.CodeInvalidRequest, "GET", "/api/sessions?status=odd", "", nil},
		{"bad list cursor", 400, protocol.CodeInvalidRequest, "GET", "/api/sessions?cursor=!!", "", nil},
		{"no session", 404, protocol.CodeNotFound, "GET", "/api/sessions/s_none", "", nil},
		{"no route", 404, protocol.CodeNotFound, "GET", "/api/nothing", "", nil},
		{"no method", 405, protocol.CodeMethodNotAllowed, "PUT", "/api/sessions", "", nil},
		{"no handshake", 426, protocol.CodeUpgradeRequired, "GET", "/api/sessions/" + s.SessionID + "/ws", "", nil},
		{"bad token", 401, protocol.CodeUnauthorized, "GET", "/api/sessions/" + s.SessionID, "", []string{"Authorization", "Bearer a.b.c"}},
		{"unknown key", 401, protocol.CodeUnauthorized, "GET", "/api/sessions", "", []string{"X-API-Key", "guess"}},
		{"no interaction", 400, protocol.CodeInvalidRequest, "POST", "/api/sessions/" + s.SessionID + "/approve", `{"decision":"allow_once"}`, nil},
		{"foreign host", 403, protocol.CodeHostRefused, "GET", "/api/sessions", "", []string{"Host", "evil.example"}},
		{"foreign origin", 403, protocol.CodeOriginRefused, "POST", "/api/sessions", `{}`, []string{"Origin", "https://evil.example"}},
		{"null origin", 403, protocol.CodeOriginRefused, "POST", "/api/sessions", `{}`, []string{"Origin", "null"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sub := *h
			sub.t = t
			var body any
			if c.body != "" {
				body = c.body
			}
			sub.want(c.status, c.code, c.method, c.path, body, c.header...)
		})
	}
	sub := openSSE(t, h, s)
	h.send(s, "still here?")
	if c := completeOf(t, until(t, sub, isType(protocol.EventComplete))); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}
}

// A token opens its own session only, within its scope, until it ends.
func TestTokens(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	a, b := h.create(protocol.CreateRequest{}), h.create(protocol.CreateRequest{})
	h.want(404, protocol.CodeNotFound, "GET", "/api/sessions/"+b.SessionID, nil, "Authorization", "Bearer "+a.Token)
	h.want(403, protocol.CodeForbidden, "POST", "/api/sessions", `{}`, "Authorization", "Bearer "+a.Token)
	var read protocol.TokenResponse
	h.call("POST", "/api/sessions/"+a.SessionID+"/token", `{"scope":"read","ttlSeconds":10}`, &read, "Authorization", "Bearer "+a.Token)
	bearer := "Bearer " + read.Token
	h.want(403, protocol.CodeScope, "POST", "/api/sessions/"+a.SessionID+"/messages", `{"content":"x"}`, "Authorization", bearer)
	h.want(403, protocol.CodeScope, "POST", "/api/sessions/"+a.SessionID+"/token", `{"scope":"read write"}`, "Authorization", bearer)
	a.Token = read.Token
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, err := h.ws(ctx, a, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	warned := false
	for {
		f, err := ws.next(ctx)
		if err != nil {
			if websocket.CloseStatus(err) != protocol.CloseToken || !warned {
				t.Errorf("the stream ended with %v, warned %v", err, warned)
			}
			break
		}
		warned = warned || f.Type == protocol.EventType(protocol.ControlExpiring)
	}
	h.want(401, protocol.CodeTokenExpired, "GET", "/api/sessions/"+a.SessionID, nil, "Authorization", bearer)
}

// WebSocket clients that break the protocol are closed with the code that says
// how; commands with bad data are answered and the connection stays.
func TestBadFrames(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ws, err := h.ws(ctx, s, "latest")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	for i, c := range []struct {
		kind protocol.CommandType
		data string
		code protocol.Code
	}{
		{protocol.CommandMessage, `{}`, protocol.CodeInvalidRequest},
		{protocol.CommandMessage, `{"content":5}`, protocol.CodeInvalidRequest},
		{protocol.CommandApprove, `{"interactionId":"x","decision":"allow_once"}`, protocol.CodeNotFound},
		{protocol.CommandCancel, `{"messageId":"never"}`, protocol.CodeNotFound},
		{protocol.CommandAuth, `{"token":"no"}`, protocol.CodeUnauthorized},
		{protocol.CommandPing, `{}`, ""},
	} {
		id := fmt.Sprint("c", i)
		if err := ws.c.Write(ctx, websocket.MessageText, []byte(`{"type":"`+string(c.kind)+`","id":"`+id+`","data":`+c.data+`}`)); err != nil {
			t.Fatal(err)
		}
		for {
			_, raw, err := ws.c.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			got := hubtest.Decode[struct {
				Type  string
				ID    string
				Error protocol.CommandErrorBody
			}](t, raw)
			if got.ID == "" {
				continue
			}
			if got.ID != id || got.Error.Code != c.code || (c.code == "") != (got.Type == "ack") {
				t.Errorf("%s %s: got %s", c.kind, c.data, raw)
			}
			break
		}
	}
	for name, c := range map[string]struct {
		kind websocket.MessageType
		raw  string
		code websocket.StatusCode
	}{
		"bad JSON":     {websocket.MessageText, `{`, protocol.CloseBadFrame},
		"no id":        {websocket.MessageText, `{"type":"ping"}`, protocol.CloseBadFrame},
		"unknown type": {websocket.MessageText, `{"type":"dance","id":"1"}`, protocol.CloseBadFrame},
		"binary":       {websocket.MessageBinary, `{"type":"ping","id":"1"}`, protocol.CloseBadFrame},
		"deep":         {websocket.MessageText, `{"type":"ping","id":"1","data":` + strings.Repeat("[", 100_000), protocol.CloseBadFrame},
		"too large":    {websocket.MessageText, `{"type":"ping","id":"1","data":"` + strings.Repeat("x", 1<<20) + `"}`, protocol.CloseTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			bad, err := h.ws(ctx, s, "latest")
			if err != nil {
				t.Fatal(err)
			}
			defer bad.close()
			if err := bad.c.Write(ctx, c.kind, []byte(c.raw)); err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = bad.next(ctx)
			}
			if websocket.CloseStatus(err) != c.code {
				t.Errorf("closed with %v, want %d", err, c.code)
			}
		})
	}
	if err := ws.command(ctx, protocol.CommandPing, "end", protocol.Empty{}); err != nil {
		t.Fatalf("the good connection: %v", err)
	}
}

// Frames against RFC 6455 close with 1002 or 1007.
func TestProtocolViolations(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	for name, c := range map[string]struct {
		frame []byte
		code  uint16
	}{
		"unmasked":       {[]byte{0x81, 0x02, 'h', 'i'}, 1002},
		"reserved bit":   {append([]byte{0xc1}, clientFrame(1, []byte("{}"))[1:]...), 1002},
		"bad opcode":     {clientFrame(5, []byte("{}")), 1002},
		"not UTF-8":      {clientFrame(1, []byte{'"', 0xff, '"'}), 1007},
		"long ping":      {clientFrame(9, make([]byte, 126)), 1002},
		"stray continue": {clientFrame(0, []byte("{}")), 1002},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dialRaw(t, h, s)
			_ = conn.SetDeadline(time.Now().Add(patience))
			in := bufio.NewReader(conn)
			for { // the rest of the head
				line, err := in.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if line == "\r\n" {
					break
				}
			}
			if _, err := conn.Write(c.frame); err != nil {
				t.Fatal(err)
			}
			if got := closeCode(in); got != c.code {
				t.Errorf("closed with %d, want %d", got, c.code)
			}
		})
	}
}

// closeCode reads server frames up to a close frame.
func closeCode(in *bufio.Reader) uint16 {
	for {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return 0
		}
		n := int64(head[1])
		if n == 126 {
			var long [2]byte
			if _, err := io.ReadFull(in, long[:]); err != nil {
				return 0
			}
			n = int64(long[0])<<8 | int64(long[1])
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(in, payload); err != nil {
			return 0
		}
		if head[0]&0x0f == 8 && n >= 2 {
			return uint16(payload[0])<<8 | uint16(payload[1])
		}
	}
}

// A request that is no HTTP, or whose head does not end, hurts nobody.
func TestGarbageOnTheListener(t *testing.T) {
	h := startHub(t)
	host := strings.TrimPrefix(h.url, "http://")
	for _, raw := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // a TLS hello
		"GET / HTTP/1.1\r\nHost: " + host + "\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n",
		"\x00\x01\x02\r\n\r\n",
		"POST /api/sessions HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n",
	} {
		c, err := net.Dial("tcp", host)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(c, raw)
		if tc, ok := c.(*net.TCPConn); ok {
			_ = tc.CloseWrite()
		}
		answer, _ := io.ReadAll(c)
		if len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
			t.Errorf("%.20q was answered by %.40q", raw, answer)
		}
		_ = c.Close()
	}
	h.want(http.StatusOK, "", "GET", "/healthz", nil)
}

// fasthttp tells of the end of a chunked body and of a connection that broke off
// behind one of its chunks alike: a message whose end was missing was once taken
// when what had come of it happened to be JSON.
func TestChunkedBodyThatBreaksOff(t *testing.T) {
	h := startHub(t)
	s := h.create(protocol.CreateRequest{})
	host := strings.TrimPrefix(h.url, "http://")
	content := func(id string) string { return `{"content":"/help","messageId":"` + id + `"}` }
	chunk := fmt.Sprintf("%x\r\n%s\r\n", len(content("m-0")), content("m-0"))
	for n, c := range []struct {
		name   string
		body   []string // pieces, written one by one
		status int
		half   bool // the client ends its side
	}{
		{"whole", []string{chunk + "0\r\n\r\n"}, 202, false},
		{"whole, then the client has no more to say", []string{chunk + "0\r\n\r\n"}, 202, true},
		{"whole, in pieces", []string{chunk[:5], chunk[5:], "0", "\r\n", "\r", "\n"}, 202, true},
		{"whole, with a trailer", []string{chunk + "0\r\nX-Checked: yes\r\n", "\r\n"}, 202, true},
		{"behind a chunk", []string{chunk}, 400, true},
		{"behind a chunk that came later", []string{"", chunk}, 400, true},
		{"in the last chunk", []string{chunk + "0"}, 400, true},
		{"before the trailers have ended", []string{chunk + "0\r\n"}, 400, true},
		{"in a chunk", []string{chunk[:len(chunk)-4]}, 400, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := fmt.Sprint("m-", n)
			conn, err := net.Dial("tcp", host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
				t.Fatal(err)
			}
			head := "POST /api/sessions/" + s.SessionID + "/messages HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer " + s.Token +
				"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
			for i, piece := range c.body {
				piece = strings.ReplaceAll(piece, "m-0", id)
				if i == 0 {
					piece = head + piece
				} else {
					time.Sleep(20 * time.Millisecond) // so that the pieces come apart; right either way
				}
				if _, err := io.WriteString(conn, piece); err != nil {
					t.Fatal(err)
				}
			}
			if c.half {
				if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			r, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if r.StatusCode != c.status {
				t.Errorf("answered with %d, want %d", r.StatusCode, c.status)
			}
			var history json.RawMessage
			h.call("GET", "/api/sessions/"+s.SessionID+"/history", nil, &history, "Authorization", "Bearer "+s.Token)
			if taken := strings.Contains(string(history), `"`+id+`"`); taken != (c.status == 202) {
				t.Errorf("taken: %v", taken)
			}
		})
	}
}
