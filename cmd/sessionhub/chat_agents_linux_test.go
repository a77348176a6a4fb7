package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/need"
	"sessionhub/protocol"
)

// The same day in the terminal with agents that people use, whose model alone is
// scripted: what they say and ask reads as well as the demo agent's.
func TestChatWithRealAgents(t *testing.T) {
	for _, agent := range []struct {
		name    string
		program need.Program
		mode    string
		home    func(dir, modelURL string) ([]string, error)
	}{
		{"codex", need.Codex, "read-only", fakemodel.CodexHome},
		{"claude", need.Claude, "default", func(dir, modelURL string) ([]string, error) {
			return fakemodel.ClaudeHome(dir, modelURL), nil
		}},
	} {
		t.Run(agent.name, func(t *testing.T) {
			command := agent.program.Path(t)
			model, err := fakemodel.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(model.Close)
			home, err := os.MkdirTemp("", "sessionhub-home-")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // the agent outlives the server by a moment, and writes until then
				judge.Within(t, 10*time.Second, "the agent has left its home", func() bool { return os.RemoveAll(home) == nil })
			})
			list, err := agent.home(home, model.URL())
			if err != nil {
				t.Fatal(err)
			}
			env := map[string]string{}
			for _, e := range list {
				name, value, _ := strings.Cut(e, "=")
				env[name] = value
			}
			file := filepath.Join(t.TempDir(), "providers.yaml") // JSON is YAML
			providers := map[string]any{agent.name: map[string]any{"command": command, "env": env, "mode": agent.mode}}
			if err := os.WriteFile(file, protocol.Marshal(providers), 0o600); err != nil {
				t.Fatal(err)
			}
			s := startServer(t, "--providers-file", file, "--default-provider", agent.name)
			p := sit(t, []string{"XDG_STATE_HOME=" + t.TempDir()}, "chat", "--hub", s.URL)
			p.expect("idle · websocket")
			p.press("say a word from the model\r")
			p.expect("a word from the model")
			p.expect("idle · websocket")

			// What is asked is seen before it is answered.
			p.press("shell echo refused >> said.txt\r")
			p.expect("›")
			p.expect("echo refused")
			p.expect("[n/")
			p.press("n")
			p.expect("idle · websocket")
			p.press("shell echo allowed >> said.txt; cat said.txt\r")
			p.expect("›")
			p.expect("echo allowed")
			p.readQuestion()
			p.press("y")
			p.expect("The output begins: allowed")
			p.expect("idle · websocket")

			p.press("slow\r")
			p.expect("running")
			p.press("\x03")
			p.expect("■ stopped")
			p.expect("idle · websocket")
			p.press("\x04")
			p.expect("To come back: sessionhub chat --session")
			if code := p.left(); code != exitOK {
				t.Errorf("Ctrl-D left with %d", code)
			}
		})
	}
}

// A chat with nothing but a hub that has found agents names them, and talks to the one that
// is asked for.
func TestChatNamesAgentsThatWereFound(t *testing.T) {
	command := need.Codex.Path(t)
	bin := t.TempDir()
	if err := os.Symlink(command, filepath.Join(bin, "codex-acp")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	s := startServer(t, "--discover-agents=auto")
	p := sit(t, nil, "chat", "--hub", s.URL)
	p.expect("Other agents here: ")
	p.expect("sessionhub chat --provider ")
	p.expect("idle · websocket")
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("Ctrl-D left with %d", code)
	}
	p = sit(t, nil, "chat", "--hub", s.URL, "--provider", "codex")
	p.expect(": codex")
	p.press("\x04")
	if code := p.left(); code != exitOK {
		t.Errorf("Ctrl-D left with %d", code)
	}
	if strings.Contains(p.everything(), "Other agents") {
		t.Error("who has chosen is told of others")
	}
}
