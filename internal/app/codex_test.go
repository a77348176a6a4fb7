package app

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/fakemodel"
	"sessionhub/protocol"
)

// startCodexHub starts a hub whose default provider is the real codex-acp,
// which talks to a scripted model.
func startCodexHub(t *testing.T) *hubUnderTest {
	t.Helper()
	command := os.Getenv("SESSIONHUB_TEST_CODEX_ACP")
	if command == "" {
		t.Fatal("SESSIONHUB_TEST_CODEX_ACP is not set: run `make test`, which installs codex-acp and sets it to its path")
	}
	model, err := fakemodel.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Close)
	env, err := fakemodel.CodexHome(t.TempDir(), model.URL())
	if err != nil {
		t.Fatal(err)
	}
	var file strings.Builder
	fmt.Fprintf(&file, "codex:\n  command: %q\n  env:\n", command)
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&file, "    %s: %q\n", name, value)
	}
	path := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return startHub(t, "--providers-file", path, "--default-provider", "codex")
}

// A real agent takes the whole path: text, a tool that asks, allow, refuse,
// cancel.
func TestCodexEndToEnd(t *testing.T) {
	h := startCodexHub(t)
	s := h.create(protocol.CreateRequest{})
	sub := openSSE(t, h, s)

	h.send(s, "say a few words from the scripted model")
	fs := until(t, sub, isType(protocol.EventComplete))
	if got := text(t, fs); !strings.Contains(got, "a few words from the scripted model") {
		t.Errorf("the answer is %q", got)
	}
	if c := completeOf(t, fs); c.StopReason != protocol.StopEndTurn {
		t.Errorf("complete %+v", c)
	}

	file := filepath.Join(h.root, "codex.txt")
	h.send(s, "shell echo from-codex > codex.txt")
	a, _ := pendingApproval(t, sub)
	if !strings.Contains(string(a.Input)+a.Title, "codex.txt") || a.Kind != "execute" {
		t.Errorf("the question tells too little: %+v", a)
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("the tool ran before it was allowed")
	}
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: a.InteractionID, Decision: "reject_once"}); status != http.StatusOK {
		t.Fatalf("refuse: %d %+v", status, p)
	}
	until(t, sub, isType(protocol.EventComplete))
	if _, err := os.Stat(file); err == nil {
		t.Fatal("the tool ran although it was refused")
	}

	h.send(s, "shell echo from-codex > codex.txt")
	a, _ = pendingApproval(t, sub)
	if status, p := h.approve(s, protocol.ApproveRequest{InteractionID: a.InteractionID, Decision: "allow_once"}); status != http.StatusOK {
		t.Fatalf("allow: %d %+v", status, p)
	}
	fs = until(t, sub, isType(protocol.EventComplete))
	if got, err := os.ReadFile(file); err != nil || string(got) != "from-codex\n" {
		t.Fatalf("the file has %q, %v; the turn: %+v", got, err, completeOf(t, fs))
	}

	m := h.send(s, "slow 60")
	until(t, sub, isType(protocol.EventOutput))
	started := time.Now()
	h.want(http.StatusAccepted, "", "POST", "/api/sessions/"+s.SessionID+"/cancel", `{}`)
	if c := completeOf(t, until(t, sub, isType(protocol.EventComplete))); c.StopReason != protocol.StopCancelled || c.MessageID != m.MessageID {
		t.Errorf("cancelled: %+v", c)
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("the cancel took %v", took)
	}
	h.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID, nil)
	until(t, sub, isType(protocol.EventClosed))
}
