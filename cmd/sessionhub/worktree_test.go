package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// Workers are killed while they make worktrees, each at another moment. Every session that
// was created gets its worktree from the next worker, and the user's repository is whole.
func TestKilledWorkerLeavesNoHalfWorktree(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil)
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", f.root, "-c", "user.name=a", "-c", "user.email=a@example.org"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main")
	for i := range 2000 {
		if err := os.WriteFile(filepath.Join(f.root, fmt.Sprintf("f%d", i)), []byte(strings.Repeat("x\n", i%100)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	git("add", "-A")
	git("commit", "-q", "-m", "first")
	wanted := protocol.CreateRequest{Worktree: protocol.WorktreeRequest{Wanted: true}, AgentOptions: protocol.AgentOptions{Mode: "auto"}}
	c := &client.Client{BaseURL: f.hub.URL}
	// create asks again while the hub has not taken the worker in that has just linked.
	create := func() (s protocol.CreateResponse) {
		t.Helper()
		judge.Within(t, judge.Patience, "a session with a worktree is created", func() bool {
			var err error
			s, err = c.Create(t.Context(), wanted, "")
			var refused *client.Error
			if err != nil && (!errors.As(err, &refused) || refused.Code != protocol.CodeNoWorker) {
				t.Fatal(err)
			}
			return err == nil
		})
		return s
	}
	var made []protocol.CreateResponse
	for i := range 8 {
		w := f.worker()
		if i%2 == 0 { // while it makes the worktree
			kill := time.AfterFunc(time.Duration(50+100*i)*time.Millisecond, w.Kill)
			if s, err := c.Create(t.Context(), wanted, ""); err == nil {
				made = append(made, s)
			}
			kill.Stop()
			w.Kill()
			continue
		}
		made = append(made, create())
		w.Kill() // while it makes the next spare
	}
	f.worker()
	made = append(made, create())
	t.Logf("%d of 9 sessions were created", len(made))
	for i, s := range made {
		if _, err := c.Session(s.SessionID, s.Token).Message(t.Context(), fmt.Sprintf("/write mine%d.txt work", i), "m1"); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range made {
		var dir string
		for began := time.Now(); dir == "" && time.Since(began) < time.Minute; time.Sleep(20 * time.Millisecond) {
			for _, line := range strings.Split(git("worktree", "list", "--porcelain"), "\n") {
				if at, ok := strings.CutPrefix(line, "worktree "); ok {
					if _, err := os.Stat(filepath.Join(at, fmt.Sprintf("mine%d.txt", i))); err == nil {
						dir = at
					}
				}
			}
		}
		if dir == "" || dir == f.root {
			t.Fatalf("session %d (%s) works in %q", i, s.SessionID, dir)
		}
		if got := git("-C", dir, "status", "--porcelain"); got != fmt.Sprintf("?? mine%d.txt", i) {
			t.Errorf("session %d: its worktree has %.200s", i, got)
		}
		if got := git("-C", dir, "symbolic-ref", "--short", "HEAD"); got != s.Session.Worktree.Branch {
			t.Errorf("session %d is on %s, want %s", i, got, s.Session.Worktree.Branch)
		}
	}
	if got := git("status", "--porcelain"); got != "" {
		t.Errorf("the user's files: %.200s", got)
	}
	git("fsck", "--connectivity-only")
}
