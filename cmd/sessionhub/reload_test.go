package main

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// SIGHUP reads the keys again, also where nothing shows from outside that the
// file is another one, and a broken file leaves the keys from before.
func TestSIGHUPReadsTheKeysAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	at := time.Now().Add(-time.Hour)
	// replace puts a file in the place of the other in one step, with the same
	// time of change.
	replace := func(text string) {
		t.Helper()
		next := path + ".next"
		if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(next, at, at); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, path); err != nil {
			t.Fatal(err)
		}
	}
	line := func(key string) string { return fmt.Sprintf("one:ana:%x\n", sha256.Sum256([]byte(key))) }
	replace(line("first-key"))
	s := startServerEnv(t, []string{"SESSIONHUB_API_KEYS_FILE=" + path})
	list := func(key string) int { return s.status(t, http.MethodGet, "/api/sessions", key) }
	hangup := func() {
		t.Helper()
		if err := s.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if first, second := list("first-key"), list("second-key"); first != 200 || second != 401 {
		t.Fatalf("before: %d for the first key, %d for the second", first, second)
	}

	// Of the same length, so that only the signal can tell.
	replace(line("second-key"))
	hangup()
	judge.Within(t, 10*time.Second, "the second key works", func() bool { return list("second-key") == 200 })
	if got := list("first-key"); got != 401 {
		t.Errorf("the first key is answered with %d", got)
	}

	broken := strings.Replace(line("third-key"), "one:ana:", "one ana ", 1)
	replace(broken)
	hangup()
	judge.Within(t, 10*time.Second, "an error in the log", func() bool {
		return strings.Contains(s.Log.String(), `"level":"ERROR"`) && strings.Contains(s.Log.String(), "the keys from before stay")
	})
	if second, third := list("second-key"), list("third-key"); second != 200 || third != 401 {
		t.Errorf("with a broken file: %d for the key from before, %d for the one in it", second, third)
	}
	if log := s.Log.String(); !strings.Contains(log, "line 1") || strings.Contains(log, strings.TrimSpace(broken)[8:]) {
		t.Errorf("the log names no line, or repeats what stands in it:\n%s", log)
	}
}
