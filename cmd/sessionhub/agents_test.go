package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/app"
)

// A person is told what is there, what is not, and what to do; a program gets the same.
func TestAgentsAreListed(t *testing.T) {
	home, bin, root := t.TempDir(), t.TempDir(), t.TempDir()
	put := func(mode os.FileMode, parts ...string) string {
		t.Helper()
		path := filepath.Join(parts...)
		if err := os.WriteFile(path, []byte("#!/bin/sh\ntouch "+filepath.Join(home, "was-run")+"\n"), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	codex := put(0o755, bin, "codex-acp")
	put(0o755, bin, "qwen")
	put(0o644, bin, "gemini")
	put(0o755, root, "goose")
	vendor := put(0o755, bin, "claude")
	file := filepath.Join(home, "providers.yaml")
	if err := os.WriteFile(file, []byte("qwen: {command: ours}\nmine: {command: my-agent, title: My agent}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"HOME=" + home, "PATH=" + strings.Join([]string{bin, root, ".", "relative"}, ":"), "CODEX_HOME=" + home, "OPENAI_API_KEY=sk-secret-value",
		"SESSIONHUB_PROVIDERS_FILE=" + file, "SESSIONHUB_WORKSPACE_ROOT=" + root,
	}
	code, out := program(t, env, "agents")
	if code != exitOK {
		t.Fatalf("it exits with %d: %s", code, out)
	}
	for _, want := range []string{
		"Ready to be offered:\n  codex      Codex\n             " + codex + "\n             login: OPENAI_API_KEY\n",
		"In " + file + ":\n  mine       My agent\n             my-agent\n  qwen\n             ours\n",
		"Not installed:\n  claude     Claude Code\n             npm install -g @agentclientprotocol/claude-agent-acp\n             " + vendor + " is there; to speak ACP it needs claude-agent-acp beside it\n",
		filepath.Join(bin, "gemini") + ": is not executable", filepath.Join(root, "goose") + ": lies in the workspace", "npm install -g opencode-ai",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
	code, raw := program(t, env, "agents", "--json")
	var told struct{ Agents []app.AgentReport }
	if err := json.Unmarshal([]byte(raw), &told); code != exitOK || err != nil {
		t.Fatalf("%d, %v: %s", code, err, raw)
	}
	is := map[string]string{}
	for _, a := range told.Agents {
		is[a.Name] = a.Status
	}
	for name, want := range map[string]string{
		"codex": app.AgentFound, "claude": app.AgentMissing, "gemini": app.AgentMissing, "goose": app.AgentMissing, "opencode": app.AgentMissing,
		"qwen": app.AgentConfigured, "mine": app.AgentConfigured,
	} {
		if is[name] != want {
			t.Errorf("%s is %q, want %q", name, is[name], want)
		}
	}
	if strings.Contains(out+raw, "sk-secret-value") {
		t.Error("it prints a key")
	}
	if _, err := os.Stat(filepath.Join(home, "was-run")); err == nil {
		t.Error("it has started a program")
	}
	left := append(slices.Clone(env), "SESSIONHUB_LEAVE_OUT_AGENTS=codex,gemini")
	if code, out := program(t, left, "agents"); code != exitOK || !strings.Contains(out, "Left out (--leave-out-agents):\n  codex      Codex\n             "+codex+"\n") || strings.Contains(out, "Ready to be offered") {
		t.Errorf("with codex left out: %d, %s", code, out)
	}
	// Without anything at all it still says what can be had.
	if code, out := program(t, []string{"PATH=", "HOME="}, "agents"); code != exitOK || strings.Count(out, "npm install -g ") != 5 {
		t.Errorf("on an empty machine: %d, %s", code, out)
	}
	if code, out := program(t, nil, "agents", "--providers-file", filepath.Join(home, "nowhere")); code != exitUsage || !strings.Contains(out, "--providers-file") {
		t.Errorf("without its file: %d, %s", code, out)
	}
}
