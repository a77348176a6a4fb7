package app

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// Keys in a file: each user sees their own sessions, a service key all; a key
// that is taken out of the file stops working, and a broken file changes nothing.
func TestAPIKeysFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	line := func(name, user, key string) string {
		return fmt.Sprintf("%s:%s:%x\n", name, user, sha256.Sum256([]byte(key)))
	}
	alice, bob, service := line("a", "alice", "key-of-alice"), line("b", "bob", "key-of-bob"), line("s", "*", "key-of-service")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(alice + bob + service)
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEYS_FILE": path})
	h.want(401, protocol.CodeUnauthorized, "POST", "/api/sessions", `{}`)
	h.want(401, protocol.CodeUnauthorized, "POST", "/api/sessions", `{}`, "X-API-Key", "key-of-nobody")
	h.want(403, protocol.CodeForbidden, "POST", "/api/sessions", `{"userId":"bob"}`, "X-API-Key", "key-of-alice")
	var own, others protocol.CreateResponse
	h.call("POST", "/api/sessions", `{}`, &own, "X-API-Key", "key-of-alice")
	h.call("POST", "/api/sessions", `{"userId":"bob"}`, &others, "Authorization", "Bearer key-of-service")
	if own.Session.UserID != "alice" || others.Session.UserID != "bob" {
		t.Errorf("users %q and %q", own.Session.UserID, others.Session.UserID)
	}
	h.want(404, protocol.CodeNotFound, "GET", "/api/sessions/"+others.SessionID, nil, "X-API-Key", "key-of-alice")
	h.want(200, "", "GET", "/api/sessions/"+own.SessionID, nil, "X-API-Key", "key-of-service")
	listed := func(key, query string) int {
		var out protocol.SessionList
		h.call("GET", "/api/sessions"+query, nil, &out, "X-API-Key", key)
		return len(out.Sessions)
	}
	if a, s, f := listed("key-of-alice", ""), listed("key-of-service", ""), listed("key-of-service", "?userId=bob"); a != 1 || s != 2 || f != 1 {
		t.Errorf("alice sees %d, the service %d, of bob's %d", a, s, f)
	}

	write("this is no line of keys\n")
	waitFor(t, 3*keyCheck, "the broken file has been looked at", func() bool { return strings.Contains(h.log.String(), "the keys from before stay") })
	if strings.Contains(h.log.String(), "no line of keys") {
		t.Error("the log repeats what stands in the file, which may be a key")
	}
	h.want(200, "", "GET", "/api/sessions", nil, "X-API-Key", "key-of-alice")
	write(bob + "# alice has left\n")
	waitFor(t, 3*keyCheck, "alice's key stops working", func() bool {
		return h.call("GET", "/api/sessions", nil, nil, "X-API-Key", "key-of-alice").StatusCode == 401
	})
	h.want(200, "", "GET", "/api/sessions", nil, "X-API-Key", "key-of-bob")
}
