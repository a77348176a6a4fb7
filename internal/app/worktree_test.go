package app

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/protocol"
)

// repo makes the hub's workspace a repository with one commit.
func (h *hubUnderTest) repo() {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.root, "a.txt"), []byte("a\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	h.git("init", "-q", "-b", "main")
	h.git("config", "user.name", "a")
	h.git("config", "user.email", "a@example.org")
	h.git("add", "-A")
	h.git("commit", "-q", "-m", "first")
	h.git("branch", "-M", "main") // a test may have begun the repository
}

func (h *hubUnderTest) git(args ...string) string {
	h.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = h.root
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("git %s: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (h *hubUnderTest) session(id string) (s protocol.Session) {
	h.t.Helper()
	h.call("GET", "/api/sessions/"+id, nil, &s)
	return s
}

// say sends a message and waits for the end of its turn.
func (h *hubUnderTest) say(s protocol.CreateResponse, text string) {
	h.t.Helper()
	stream, err := h.ws(h.t.Context(), s, "latest")
	if err != nil {
		h.t.Fatal(err)
	}
	defer stream.close()
	h.send(s, text)
	until(h.t, stream, isType(protocol.EventComplete))
	judge.Within(h.t, patience, "the session rests", func() bool { return h.session(s.SessionID).Status == protocol.StatusIdle })
}

func isThere(path string) bool { _, err := os.Lstat(path); return err == nil }

var ownTree = protocol.CreateRequest{Worktree: protocol.WorktreeRequest{Wanted: true}, AgentOptions: protocol.AgentOptions{Mode: "auto"}}

// An agent works in a worktree of its session. Its work reaches the user's files by a merge
// alone, and is never thrown away by accident.
func TestSessionInAWorktree(t *testing.T) {
	h := startHubEnv(t, nil)
	h.want(http.StatusConflict, protocol.CodeWorktreeRefused, "POST", "/api/sessions", ownTree)
	h.repo()
	s := h.create(ownTree)
	h.say(s, "/write new.txt work")
	tree := h.session(s.SessionID).Worktree
	if tree == nil || tree.State != protocol.WorktreeActive || tree.Base != "main" || !isThere(filepath.Join(tree.Directory, "new.txt")) || isThere(filepath.Join(h.root, "new.txt")) {
		t.Fatalf("the agent has not worked in a worktree: %+v", tree)
	}
	path := "/api/sessions/" + s.SessionID
	var changes protocol.Changes
	h.call("GET", path+"/changes", nil, &changes)
	if len(changes.Files) != 1 || changes.Files[0].Path != "new.txt" || changes.Branch != tree.Branch || changes.Since != protocol.SinceStart {
		t.Errorf("changes: %+v", changes)
	}
	var list protocol.FileList
	if a := h.call("GET", path+"/files", nil, &list); len(list.Entries) == 0 {
		t.Errorf("no files: %s", a.Body)
	}
	act := func(status int, code protocol.Code, r protocol.WorktreeActionRequest) {
		t.Helper()
		h.want(status, code, "POST", path+"/worktree", r)
	}
	h.want(http.StatusForbidden, protocol.CodeScope, "POST", path+"/worktree", protocol.WorktreeActionRequest{Action: "keep"}, "Authorization", "Bearer "+s.Token)
	h.want(http.StatusForbidden, protocol.CodeScope, "GET", path+"/worktree", nil, "Authorization", "Bearer "+s.Token)
	act(http.StatusConflict, protocol.CodeUnmergedWork, protocol.WorktreeActionRequest{Action: "discard"})
	act(http.StatusBadRequest, protocol.CodeInvalidRequest, protocol.WorktreeActionRequest{Action: "burn"})
	act(http.StatusConflict, protocol.CodeUncommitted, protocol.WorktreeActionRequest{Action: "merge"})
	act(http.StatusOK, "", protocol.WorktreeActionRequest{Action: "merge", Commit: true})
	if !isThere(filepath.Join(h.root, "new.txt")) || h.session(s.SessionID).Worktree.State != protocol.WorktreeMerged {
		t.Error("the merge has not reached the user's files")
	}
	// The agent goes on, and the session is deleted: its later work stays.
	h.say(s, "/write later.txt more")
	h.want(http.StatusNoContent, "", "DELETE", path, nil)
	second := h.create(ownTree)
	h.say(second, "/stream 1")
	empty := h.session(second.SessionID).Worktree.Directory
	h.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+second.SessionID, nil)
	judge.Within(t, patience, "the worktree without work goes", func() bool { return !isThere(empty) })
	if !isThere(filepath.Join(tree.Directory, "later.txt")) || h.git("branch", "--list", tree.Branch) == "" {
		t.Error("unmerged work was lost with its session")
	}
	// Nobody can throw work away while the agent is at work, or that came after the look.
	third := h.create(ownTree)
	path = "/api/sessions/" + third.SessionID
	h.send(third, "/slow 60")
	judge.Within(t, patience, "the turn runs", func() bool { return h.session(third.SessionID).Status == protocol.StatusRunning })
	act(http.StatusConflict, protocol.CodeBusy, protocol.WorktreeActionRequest{Action: "discard"})
	h.want(http.StatusAccepted, "", "POST", path+"/cancel", "{}")
	judge.Within(t, patience, "the turn ends", func() bool { return h.session(third.SessionID).Status == protocol.StatusIdle })
	h.say(third, "/write one.txt 1")
	var seen protocol.WorktreeStatus
	h.call("GET", path+"/worktree", nil, &seen)
	h.say(third, "/write two.txt 2")
	act(http.StatusConflict, protocol.CodeChanged, protocol.WorktreeActionRequest{Action: "discard", Version: seen.Version})
	h.call("GET", path+"/worktree", nil, &seen)
	if seen.Uncommitted != 2 || seen.Merged {
		t.Errorf("status: %+v", seen)
	}
	act(http.StatusOK, "", protocol.WorktreeActionRequest{Action: "discard", Version: seen.Version})
	act(http.StatusOK, "", protocol.WorktreeActionRequest{Action: "discard"}) // a repeat
	if isThere(seen.Directory) || h.session(third.SessionID).Worktree.State != protocol.WorktreeDiscarded {
		t.Error("the discard was not done")
	}
	h.say(third, "/write x.txt x")
	if isThere(filepath.Join(h.root, "x.txt")) {
		t.Error("without its worktree the agent worked in the user's files")
	}
}

// A worker of an earlier version would let the agent work in the user's files. It gets no
// such session.
func TestOldWorkerGetsNoSessionWithAWorktree(t *testing.T) {
	h := startOpenHub(t)
	l := h.dialLink(testWorkerKey)
	l.hello()
	h.want(http.StatusServiceUnavailable, protocol.CodeNoWorker, "POST", "/api/sessions", ownTree)
	// One of its workspace that knows them makes the worktree, and is gone.
	newer := h.dialLink(testWorkerKey)
	newer.send(protocol.FrameHello, protocol.Hello{Worker: "w2", Version: "2", Workspace: "ws", Capacity: 1, Providers: []string{"demo"},
		Requests: []protocol.WorkerMethod{protocol.MethodWorktreeMake}, Commands: []protocol.WorkerCommandType{protocol.WorkerSetOption}})
	newer.want(protocol.FrameWelcome)
	made := make(chan struct{})
	go func() {
		defer close(made)
		f, err := newer.read()
		if err != nil {
			return
		}
		asked := hubtest.Decode[protocol.WorkerRequest](t, f.Data)
		newer.send(protocol.FrameResponse, protocol.WorkerResponse{ID: asked.ID, Result: protocol.Marshal(protocol.WorktreeMade{
			Branch: "sessionhub/x", Base: "main", Commit: strings.Repeat("a", 40), Workspace: "ws",
		})})
	}()
	s := h.create(protocol.CreateRequest{Worktree: protocol.WorktreeRequest{Wanted: true}})
	<-made
	_ = newer.ws.CloseNow()
	h.send(s, "hello")
	judge.Within(t, patience, "the status says why it waits", func() bool {
		var page protocol.History
		h.call("GET", "/api/sessions/"+s.SessionID+"/history", nil, &page)
		return strings.Contains(string(protocol.Marshal(page)), "works in a worktree")
	})
	h.want(http.StatusServiceUnavailable, protocol.CodeNoWorker, "GET", "/api/sessions/"+s.SessionID+"/files", nil)
}

// A fork works in the worktree of its original, which stays as long as one of them does.
func TestForkInAWorktree(t *testing.T) {
	h := startHubEnv(t, nil, "--providers-file", scripted.Providers(t))
	h.repo()
	s := h.create(protocol.CreateRequest{Provider: "scripted", Worktree: protocol.WorktreeRequest{Wanted: true}})
	h.say(s, "echo hello")
	var fork protocol.CreateResponse
	if a := h.call("POST", "/api/sessions/"+s.SessionID+"/fork", "{}", &fork); a.StatusCode != http.StatusCreated {
		t.Fatalf("fork: %d %s", a.StatusCode, a.Body)
	}
	h.say(fork, "echo again")
	var status protocol.WorktreeStatus
	h.call("GET", "/api/sessions/"+fork.SessionID+"/worktree", nil, &status)
	dir := h.session(s.SessionID).Worktree.Directory
	if dir == "" || status.Directory != dir {
		t.Fatalf("the fork works in %q, the original in %q", status.Directory, dir)
	}
	h.want(http.StatusConflict, protocol.CodeWorktreeRefused, "POST", "/api/sessions/"+s.SessionID+"/worktree", protocol.WorktreeActionRequest{Action: "discard"})
	h.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID, nil)
	h.say(fork, "echo still here")
	if !isThere(dir) {
		t.Error("the fork's worktree went with the original")
	}
	h.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+fork.SessionID, nil)
	judge.Within(t, patience, "the worktree goes with the last", func() bool { return !isThere(dir) })
}
