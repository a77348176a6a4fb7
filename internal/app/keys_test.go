package app

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// Keys in a file: each user sees their own sessions, a service key all; a key
// that is taken out of the file stops working, and a broken file changes nothing.
func TestAPIKeysFile(t *testing.T) {
	t.Parallel()
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
	judge.Within(t, 3*keyCheck, "the broken file has been looked at", func() bool { return strings.Contains(h.log.String(), "the keys from before stay") })
	if strings.Contains(h.log.String(), "no line of keys") {
		t.Error("the log repeats what stands in the file, which may be a key")
	}
	h.want(200, "", "GET", "/api/sessions", nil, "X-API-Key", "key-of-alice")
	write(bob + "# alice has left\n")
	judge.Within(t, 3*keyCheck, "alice's key stops working", func() bool {
		return h.call("GET", "/api/sessions", nil, nil, "X-API-Key", "key-of-alice").StatusCode == 401
	})
	h.want(200, "", "GET", "/api/sessions", nil, "X-API-Key", "key-of-bob")
}

// A key moves from one file to the other. The first of the two edits makes it a key
// of both kinds, which is refused; the file was not read again after the second one.
func TestKeyMovesToTheOtherFile(t *testing.T) {
	t.Parallel()
	stays, moves, own := keyLine("a", "alice", "key-a"), keyLine("m", "alice", "key-m"), keyLine("w", "*", "key-w")
	api, workers := newKeysFile(t, stays, moves), newKeysFile(t, own)
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEYS_FILE": api.path, "SESSIONHUB_WORKER_KEYS_FILE": workers.path}, "--worker", "none")
	workers.write(own, moves)
	long := time.Now().Add(-time.Hour) // its time tells nothing of the next edit
	if err := os.Chtimes(workers.path, long, long); err != nil {
		t.Fatal(err)
	}
	judge.Within(t, 5*time.Second, "the key of both kinds is told", func() bool { return strings.Contains(h.log.String(), "one key is among both") })
	time.Sleep(2 * keyCheck)
	api.write(stays)
	judge.Within(t, 5*time.Second, "the key opens the worker link", func() bool {
		return h.call("GET", protocol.WorkerLinkPath, nil, nil, "Authorization", "Bearer key-m").StatusCode == 426
	})
	h.want(401, protocol.CodeUnauthorized, "GET", "/api/sessions", nil, "X-API-Key", "key-m")
	if n := strings.Count(h.log.String(), "one key is among both"); n != 1 {
		t.Errorf("the log told of it %d times", n)
	}
}
