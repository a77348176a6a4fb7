package app

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// keysFile is a file of API keys or worker keys that a test changes.
type keysFile struct {
	t    *testing.T
	path string
}

func newKeysFile(t *testing.T, lines ...string) keysFile {
	f := keysFile{t, filepath.Join(t.TempDir(), "keys")}
	f.write(lines...)
	return f
}

func (f keysFile) write(lines ...string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(strings.Join(lines, "")), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func keyLine(name, user, key string) string {
	return fmt.Sprintf("%s:%s:%x\n", name, user, sha256.Sum256([]byte(key)))
}

// createAs creates a session with an API key.
func (h *hubUnderTest) createAs(key string, r protocol.CreateRequest) protocol.CreateResponse {
	h.t.Helper()
	var out protocol.CreateResponse
	if resp := h.call("POST", "/api/sessions", r, &out, "X-API-Key", key); resp.StatusCode != http.StatusCreated {
		h.t.Fatalf("create with %s: %d", key, resp.StatusCode)
	}
	return out
}

// opened is a stream that was opened in some way, and its connection's end.
type opened struct {
	stream
	ended chan websocket.StatusCode // sent when it has ended; 0 for SSE
}

// readToEnd reads a stream to its end, from its beginning.
func readToEnd(t *testing.T, s stream) opened {
	t.Helper()
	until(t, s, isType(protocol.EventType(protocol.ControlCaughtUp)))
	return readOn(t, s)
}

// readOn reads the rest of a stream.
func readOn(t *testing.T, s stream) opened {
	t.Helper()
	o := opened{s, make(chan websocket.StatusCode, 1)}
	go func() {
		for {
			if _, err := s.next(context.Background()); err != nil {
				o.ended <- websocket.CloseStatus(err)
				return
			}
		}
	}()
	t.Cleanup(s.close)
	return o
}

func (h *hubUnderTest) wsWith(s protocol.CreateResponse, query string, header ...string) opened {
	h.t.Helper()
	return readToEnd(h.t, h.dialWith(s, query, header...))
}

// dialWith opens a WebSocket with the header's fields, and reads nothing of it.
func (h *hubUnderTest) dialWith(s protocol.CreateResponse, query string, header ...string) *wsStream {
	h.t.Helper()
	opts := &websocket.DialOptions{Subprotocols: []string{protocol.Subprotocol}, HTTPHeader: http.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		opts.HTTPHeader.Set(header[i], header[i+1])
	}
	c, _, err := websocket.Dial(h.t.Context(), h.own(s.WebsocketURL)+query, opts)
	if err != nil {
		h.t.Fatal(err)
	}
	return &wsStream{c}
}

func (h *hubUnderTest) sseWith(s protocol.CreateResponse, key string) opened {
	h.t.Helper()
	s.Token = key
	stream, err := h.sse(h.t.Context(), s, "")
	if err != nil {
		h.t.Fatal(err)
	}
	return readToEnd(h.t, stream)
}

func (h *hubUnderTest) ticketWith(s protocol.CreateResponse, header ...string) string {
	h.t.Helper()
	var out protocol.TicketResponse
	if resp := h.call("POST", "/api/sessions/"+s.SessionID+"/ticket", nil, &out, header...); resp.StatusCode != http.StatusCreated {
		h.t.Fatalf("ticket: %d", resp.StatusCode)
	}
	return "?ticket=" + out.Ticket
}

func (h *hubUnderTest) cookieWith(s protocol.CreateResponse, header ...string) string {
	h.t.Helper()
	resp := h.call("POST", "/api/sessions/"+s.SessionID+"/cookie", nil, nil, header...)
	if resp.StatusCode != http.StatusNoContent || len(resp.Cookies()) != 1 {
		h.t.Fatalf("cookie: %d", resp.StatusCode)
	}
	return resp.Cookies()[0].Name + "=" + resp.Cookies()[0].Value
}

// wantNoStream asks for an event stream that must be refused. One that opens would
// not end.
func (h *hubUnderTest) wantNoStream(code protocol.Code, path string, header ...string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	var p protocol.Problem
	if resp.StatusCode != http.StatusUnauthorized {
		h.t.Errorf("a stream opens with %d", resp.StatusCode)
	} else if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Code != code {
		h.t.Errorf("a stream is refused with %q (%s), %v; want %q", p.Code, p.Detail, err, code)
	}
}

// allEnd waits until the streams have ended. The others must be open.
func allEnd(t *testing.T, since time.Time, gone, kept map[string]opened) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for name, o := range gone {
		select {
		case code := <-o.ended:
			if _, ws := o.stream.(*wsStream); ws && code != protocol.CloseToken {
				t.Errorf("%s ended with %d, want %d", name, code, protocol.CloseToken)
			}
		case <-ctx.Done():
			t.Errorf("%s did not end", name)
		}
	}
	judge.AtMost(t, "the end of the key's streams", time.Since(since), 2*time.Second)
	for name, o := range kept {
		select {
		case code := <-o.ended:
			t.Errorf("%s ended with %d", name, code)
		default:
		}
	}
}

// An API key was taken out of the keys file: requests with it were refused, but its
// open WebSocket went on to take commands, its event streams stayed, and so did all
// that its tokens, tickets and cookies opened, until they ended by themselves.
func TestRemovedKeyEndsAllThatItOpened(t *testing.T) {
	t.Parallel()
	alice, bob, portal := keyLine("a", "alice", "key-a"), keyLine("b", "bob", "key-b"), keyLine("portal", "*", "key-p")
	file := newKeysFile(t, alice, bob, portal)
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEYS_FILE": file.path})
	s := h.createAs("key-a", protocol.CreateRequest{})
	path, bearer := "/api/sessions/"+s.SessionID, []string{"Authorization", "Bearer " + s.Token}
	byKey := []string{"X-API-Key", "key-a"}
	renewed := s
	renewed.Token = h.token(s, `{}`).Token
	byPortal := s
	var made protocol.TokenResponse
	h.call("POST", path+"/token", `{}`, &made, "X-API-Key", "key-p")
	byPortal.Token = made.Token
	cookie, unused, unusedOfKey := h.cookieWith(s, bearer...), h.ticketWith(s, bearer...), h.ticketWith(s, byKey...)

	own := h.wsWith(s, "", byKey...)
	gone := map[string]opened{
		"the key's own WebSocket":          own,
		"the key's own event stream":       h.sseWith(s, "key-a"),
		"its token's WebSocket":            h.wsWith(s, "", bearer...),
		"its token's event stream":         h.sseWith(s, s.Token),
		"its token's token's event stream": h.sseWith(s, renewed.Token),
		"its token's ticket's WebSocket":   h.wsWith(s, h.ticketWith(s, bearer...)),
		"its own ticket's WebSocket":       h.wsWith(s, h.ticketWith(s, byKey...)),
		"its token's cookie's WebSocket":   h.wsWith(s, "", "Cookie", cookie),
		"its own cookie's WebSocket":       h.wsWith(s, "", "Cookie", h.cookieWith(s, byKey...)),
	}
	socket := h.dialWith(s, "", byKey...) // which goes over to a token of another key, by an auth frame
	if err := socket.command(t.Context(), protocol.CommandAuth, "c1", protocol.AuthRequest{Token: byPortal.Token}); err != nil {
		t.Fatal(err)
	}
	until(t, socket, isType("ack"))
	switched := readOn(t, socket)
	kept := map[string]opened{
		"a service key's own WebSocket":        h.wsWith(s, "", "X-API-Key", "key-p"),
		"a service key's token's event stream": h.sseWith(s, byPortal.Token),
		"what took a service key's token":      switched,
		"a service key's own ticket's stream":  h.wsWith(s, h.ticketWith(s, "X-API-Key", "key-p")),
		"another key's own WebSocket":          h.wsWith(h.createAs("key-b", protocol.CreateRequest{}), "", "X-API-Key", "key-b"),
	}
	before := h.history(s, byPortal.Token)

	removed := time.Now()
	file.write(bob, portal)
	allEnd(t, removed, gone, kept)
	h.want(401, protocol.CodeUnauthorized, "GET", path, nil, byKey...)
	for _, token := range []string{s.Token, renewed.Token} {
		h.want(401, protocol.CodeTokenRevoked, "GET", path, nil, "Authorization", "Bearer "+token)
		h.want(401, protocol.CodeTokenRevoked, "POST", path+"/messages", `{"content":"x"}`, "Authorization", "Bearer "+token)
		h.want(401, protocol.CodeTokenRevoked, "POST", path+"/token", `{}`, "Authorization", "Bearer "+token)
	}
	h.wantNoStream(protocol.CodeTokenRevoked, path+"/events", "Cookie", cookie)
	h.wantNoStream(protocol.CodeTokenRevoked, path+"/events"+unused)
	h.wantNoStream(protocol.CodeUnauthorized, path+"/events"+unusedOfKey)
	h.want(200, "", "GET", path, nil, "Authorization", "Bearer "+byPortal.Token)
	if after := h.history(s, byPortal.Token); after != before {
		t.Errorf("the session went on from %d to %d", before, after)
	}

	// The name is back for another user: what it made for alice stays closed.
	file.write(bob, portal, keyLine("a", "mallory", "key-m"))
	judge.Within(t, 5*time.Second, "the new key is known", func() bool {
		return h.call("GET", "/api/sessions", nil, nil, "X-API-Key", "key-m").StatusCode == 200
	})
	h.want(401, protocol.CodeTokenRevoked, "GET", path, nil, bearer...)
	file.write(bob, portal, alice)
	judge.Within(t, 5*time.Second, "alice's key is back", func() bool {
		return h.call("GET", "/api/sessions", nil, nil, byKey...).StatusCode == 200
	})
	h.want(200, "", "GET", path, nil, bearer...)
}

// history gives the last seq of a session.
func (h *hubUnderTest) history(s protocol.CreateResponse, token string) uint64 {
	h.t.Helper()
	var out protocol.History
	if resp := h.call("GET", "/api/sessions/"+s.SessionID+"/history", nil, &out, "Authorization", "Bearer "+token); resp.StatusCode != 200 {
		h.t.Fatalf("history: %d", resp.StatusCode)
	}
	return out.Last
}

// Another hash under the same name is a rotation: the tokens stay, and what the old
// key itself opened ends. The same holds for a key that is given to another user.
func TestKeyRotatesUnderItsName(t *testing.T) {
	t.Parallel()
	file := newKeysFile(t, keyLine("a", "alice", "old-key"))
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEYS_FILE": file.path})
	s := h.createAs("old-key", protocol.CreateRequest{})
	own, ticket := h.wsWith(s, "", "X-API-Key", "old-key"), h.ticketWith(s, "X-API-Key", "old-key")
	token := h.sseWith(s, s.Token)
	rotated := time.Now()
	file.write(keyLine("a", "alice", "new-key")) // as long as before, and perhaps in the same tick of the file's time
	allEnd(t, rotated, map[string]opened{"the old key's WebSocket": own}, map[string]opened{"the token's stream": token})
	h.wantNoStream(protocol.CodeUnauthorized, "/api/sessions/"+s.SessionID+"/events"+ticket)
	h.want(200, "", "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)

	own = h.wsWith(s, "", "X-API-Key", "new-key")
	given := time.Now()
	file.write(keyLine("a", "bob", "new-key"))
	allEnd(t, given, map[string]opened{"the key that is bob's now": own, "the token for alice": token}, nil)
	h.want(404, protocol.CodeNotFound, "GET", "/api/sessions/"+s.SessionID, nil, "X-API-Key", "new-key")
}

// Two versions of a keys file can have one length and one time: a file system may
// count in steps of two seconds, and a copy may keep the time of its source.
func TestKeysFileWithTheTimeOfTheOneBefore(t *testing.T) {
	t.Parallel()
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	for name, replace := range map[string]func(path, text string) error{
		"another file": func(path, text string) error {
			if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
				return err
			}
			if err := os.Chtimes(path+".new", long, long); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
		"the same second": func(path, text string) error {
			now := time.Now().Truncate(time.Second)
			if err := os.Chtimes(path, now, now); err != nil {
				return err
			}
			time.Sleep(2 * keyCheck) // until it has been read with that time
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
			return os.Chtimes(path, now, now)
		},
	} {
		file := newKeysFile(t, keyLine("a", "alice", "old-key"))
		if err := os.Chtimes(file.path, long, long); err != nil {
			t.Fatal(err)
		}
		h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEYS_FILE": file.path})
		time.Sleep(2 * keyCheck)
		if err := replace(file.path, keyLine("a", "alice", "new-key")); err != nil {
			t.Fatal(err)
		}
		judge.Within(t, 5*time.Second, name+": the new key works", func() bool {
			return h.call("GET", "/api/sessions", nil, nil, "X-API-Key", "new-key").StatusCode == 200
		})
		h.want(401, protocol.CodeUnauthorized, "GET", "/api/sessions", nil, "X-API-Key", "old-key")
	}
}

// Each node reads its keys file itself: a key that leaves it ends its streams on all
// nodes within 2 s, whichever node made the token.
func TestRemovedKeyEndsItsStreamsOnAllNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	file := newKeysFile(t, keyLine("a", "alice", "key-a"), keyLine("b", "bob", "key-b"))
	env := maps.Clone(clusterEnv)
	env["SESSIONHUB_API_KEYS_FILE"] = file.path
	var nodes []*hubUnderTest
	for range 2 {
		nodes = append(nodes, startHubEnv(t, env, "--valkey-url", server.URL(), "--worker", "none"))
	}
	s, other := nodes[0].createAs("key-a", protocol.CreateRequest{}), nodes[0].createAs("key-b", protocol.CreateRequest{})
	gone, kept := map[string]opened{}, map[string]opened{}
	for i, h := range nodes {
		gone[fmt.Sprintf("the key on node %d", i)] = h.wsWith(s, "", "X-API-Key", "key-a")
		gone[fmt.Sprintf("the token on node %d", i)] = h.sseWith(s, s.Token)
		gone[fmt.Sprintf("the ticket on node %d", i)] = h.wsWith(s, nodes[1-i].ticketWith(s, "Authorization", "Bearer "+s.Token))
		kept[fmt.Sprintf("another on node %d", i)] = h.sseWith(other, other.Token)
	}
	ticket := nodes[0].ticketWith(s, "Authorization", "Bearer "+s.Token)
	removed := time.Now()
	file.write(keyLine("b", "bob", "key-b"))
	allEnd(t, removed, gone, kept)
	nodes[1].wantNoStream(protocol.CodeTokenRevoked, "/api/sessions/"+s.SessionID+"/events"+ticket)
	for _, h := range nodes {
		h.want(401, protocol.CodeTokenRevoked, "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
	}
}
