package contracttest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// hoard collects the secrets that a run used, each by what it is.
type hoard map[string]string

// TestNoSecretIsLogged uses every kind of secret in every way there is, good and
// bad ones, and looks for them in all that the program wrote: as text and as
// JSON, at the level that says most.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			secrets := hoard{
				"the service key": "service-key-00112233", "a user's key": "ann-key-44556677", "a user's later key": "ann-key-8899aabb",
				"the worker key": "worker-key-ccddeeff", "a token secret": strings.Repeat("S1", 20), "an old token secret": strings.Repeat("S2", 20),
				"a wrong key": "wrong-key-01234567", "a message": "message-body-alpha", "an agent's answer": "message-body-alpha",
				"an option's reason": "reason-body-beta", "a file's text": "file-body-gamma", "a key in the URL": "url-key-delta",
				"a broken body": "broken-body-epsilon", "a refused frame": "frame-body-zeta", "an Idempotency-Key": "idem-key-eta",
				"metadata": "metadata-theta", "a password": "cGFzc3dvcmQ6aW90YQ",
			}
			keys := filepath.Join(t.TempDir(), "keys")
			write := func(key string) {
				t.Helper()
				line := fmt.Sprintf("ann:ann:%x\n", sha256.Sum256([]byte(key)))
				if err := os.WriteFile(keys, []byte(line), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write(secrets["a user's key"])
			n := serveEnv(t, []string{
				"SESSIONHUB_API_KEY=" + secrets["the service key"], "SESSIONHUB_API_KEYS_FILE=" + keys, "SESSIONHUB_WORKER_KEY=" + secrets["the worker key"],
				"SESSIONHUB_TOKEN_SECRET=" + secrets["a token secret"] + "," + secrets["an old token secret"],
			}, "--log-format", format, "--log-level", "debug", "--max-message-bytes", "8KiB")
			n.key = secrets["the service key"]
			n.spend(t, secrets)

			write(secrets["a user's later key"])
			judge.Within(t, 10e9, "the later key works", func() bool {
				return n.call("GET", "/api/sessions", "", "X-API-Key", secrets["a user's later key"]).StatusCode == 200
			})
			if err := os.WriteFile(keys, []byte(secrets["a user's key"]+"\n"), 0o600); err != nil { // a key where its hash belongs
				t.Fatal(err)
			}
			if err := n.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
			judge.Within(t, 10e9, "the broken file is complained about", func() bool { return strings.Contains(n.Log.String(), "cannot be used") })
			n.Terminate()
			<-n.Ended

			log := n.Log.String() + n.Banner
			for _, want := range []string{"session created", "approval answered", "token made", "token revoked", "tokens revoked", "cookie made", "session deleted", "user token made", "user token revoked", "signed in", "sign-in ticket made", "signed out", "stream opened", "stream closed"} {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %q: it proves less than it should", want)
				}
			}
			for what, secret := range secrets {
				if i := strings.Index(log, secret); i >= 0 {
					t.Errorf("%s is in the log: %.300s", what, log[max(0, i-200):])
				}
			}
		})
	}
}

// spend uses the secrets, and adds those that the hub makes.
func (n *node) spend(t *testing.T, secrets hoard) {
	t.Helper()
	s := n.create(`{"userId":"ann","metadata":{"x":"`+secrets["metadata"]+`"}}`, "Idempotency-Key", secrets["an Idempotency-Key"])
	secrets["a session's token"] = s.Token
	own := n.create(`{}`, "X-API-Key", secrets["a user's key"])
	secrets["another session's token"] = own.Token
	for _, path := range []string{"/api/sessions", "/nowhere/" + secrets["a key in the URL"], "/api/sessions?cursor=" + secrets["a key in the URL"]} {
		n.call("GET", path, "", "X-API-Key", secrets["a wrong key"])
		n.call("GET", path, "", "Authorization", "Bearer "+secrets["a wrong key"])
		n.call("GET", path, "", "Authorization", "Basic "+secrets["a password"])
		n.call("GET", path, "", "Authorization", "Bearer "+s.Token+"x")
		n.call("GET", path, "", "X-API-Key", secrets["the worker key"])
	}
	// Streams of every way in.
	ticket := func() string {
		tk := ok[protocol.TicketResponse](n, 201, "POST", s.path+"/ticket", "", s.bearer()...).Ticket
		secrets[fmt.Sprintf("ticket %d", len(secrets))] = tk
		return tk
	}
	st := s.ws("?ticket=" + ticket())
	if _, _, err := s.socket("?ticket="+ticket(), &websocket.DialOptions{}); err != nil {
		t.Fatal(err)
	}
	cookie := n.call("POST", s.path+"/cookie", "", s.bearer()...).Header.Get("Set-Cookie")
	value, _, _ := strings.Cut(cookie, ";")
	_, secrets["a cookie"], _ = strings.Cut(value, "=")
	s.sse("", "Cookie", value).until("caught_up")
	n.call("GET", s.path+"/events", "", "X-API-Key", "", "Cookie", "sessionhub="+secrets["a wrong key"])
	// Turns: what is said, asked, answered, written, and what goes wrong.
	s.turn(st, secrets["a message"])
	s.send("/write f.txt " + secrets["a file's text"])
	q := hubtest.Decode[protocol.ToolApprovalData](t, st.until("tool_approval").Data)
	ok[any](n, 200, "POST", s.path+"/approve", `{"interactionId":"`+q.InteractionID+`","decision":"allow_once","reason":"`+secrets["an option's reason"]+`"}`, s.bearer()...)
	st.until("complete")
	s.turn(st, "/fail "+secrets["a message"])
	s.turn(st, "/crash "+secrets["a message"])
	for _, body := range []string{`{"content":"` + secrets["a broken body"], `[{"content":"` + secrets["a broken body"] + `"}]`, `{"content":{"` + secrets["a broken body"] + `":1}}`} {
		n.call("POST", s.path+"/messages", body, s.bearer()...)
		n.call("POST", "/api/sessions", body)
	}
	st.command("message", "m", `{"content":{"x":"`+secrets["a refused frame"]+`"}}`)
	_ = st.writeText(`{"type":"` + secrets["a refused frame"] + `","id":"` + secrets["a refused frame"] + `"}`)
	st.rest()
	// A request that is no HTTP.
	c := n.dial()
	_, _ = io.WriteString(c, "GET /"+secrets["a key in the URL"]+" HTTP/1.1\r\nX-API-Key : "+secrets["the service key"]+"\r\n\r\n")
	_, _ = io.Copy(io.Discard, c)
	// Renewed, narrowed, revoked.
	for _, body := range []string{`{}`, `{"scope":"read"}`, `{"revokeOthers":true}`} {
		r := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", body, s.bearer()...)
		secrets[fmt.Sprintf("token %d", len(secrets))] = r.Token
		if body != `{}` {
			n.call("DELETE", s.path+"/token", "", "Authorization", "Bearer "+r.Token)
		}
	}
	n.call("GET", s.path, "", s.bearer()...)
	// For the user: a token, a sign-in, and a ticket that is used and used again.
	user := ok[protocol.UserTokenResponse](n, 201, "POST", "/api/user/token", `{"userId":"ann"}`)
	secrets["a user token"] = user.Token
	in := n.call("POST", "/api/sign-in", `{"label":"x"}`, "X-API-Key", "", "Authorization", "Bearer "+user.Token)
	value, _, _ = strings.Cut(in.Header.Get("Set-Cookie"), ";")
	_, secrets["a sign-in's cookie"], _ = strings.Cut(value, "=")
	phone := ok[protocol.SignInTicketResponse](n, 201, "POST", "/api/sign-in/ticket", "", "X-API-Key", "", "Cookie", value, "Origin", n.URL)
	secrets["a sign-in ticket"] = phone.Ticket
	for range 2 {
		n.call("POST", "/api/sign-in", `{"ticket":"`+phone.Ticket+`"}`, "X-API-Key", "")
	}
	n.call("POST", "/api/sign-in", `{"ticket":"YW5u.`+secrets["a wrong key"]+`"}`, "X-API-Key", "")
	n.call("GET", "/api/sessions", "", "X-API-Key", "", "Cookie", "sessionhub_user="+secrets["a wrong key"])
	n.call("DELETE", "/api/sign-in", "", "X-API-Key", "", "Cookie", value, "Origin", n.URL)
	n.call("DELETE", "/api/user/token", "", "X-API-Key", "", "Authorization", "Bearer "+user.Token)
	if r := n.call("DELETE", own.path, "", own.bearer()...); r.StatusCode != http.StatusNoContent {
		t.Errorf("DELETE: %d", r.StatusCode)
	}
}
