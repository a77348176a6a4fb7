package app

import (
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/config"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// onPATH puts a program into a directory of its own in front of PATH.
func onPATH(t *testing.T, program string) string {
	t.Helper()
	bin := t.TempDir()
	path := filepath.Join(bin, filepath.Base(program))
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	return path
}

// offered are the providers once the node's own worker has joined.
func (h *hubUnderTest) offered(header ...string) (all protocol.Providers) {
	h.t.Helper()
	judge.Within(h.t, patience, "the node's own worker has joined", func() bool {
		h.call("GET", "/api/providers", nil, &all, header...)
		return slices.ContainsFunc(all.Providers, func(p protocol.Provider) bool { return p.Available })
	})
	return all
}

// The first minutes of a newcomer: codex is in PATH, a key is in the environment, and the
// hub runs with its defaults. Codex is offered first, asks before it acts, and obeys.
func TestFoundAgentIsOfferedWithoutAFile(t *testing.T) {
	model, command := codexMachine(t, "OPENAI_API_KEY=sk-of-a-test")
	onPATH(t, command)
	begun := time.Now()
	b := &bench{
		hubUnderTest: startHubEnv(t, map[string]string{"SESSIONHUB_DISCOVER_AGENTS": "auto"}),
		agent:        realAgents[0], model: model,
	}
	offered := b.offered()
	i := slices.IndexFunc(offered.Providers, func(p protocol.Provider) bool { return p.Name == "codex" })
	if offered.Default != "codex" || i < 0 {
		t.Fatalf("offered: %+v", offered)
	}
	codex := offered.Providers[i]
	if !codex.Available || codex.Title != "Codex" || codex.Icon == "" || codex.Login != protocol.LoginFound ||
		codex.Capabilities == nil || codex.Capabilities.Mode != "read-only" || !slices.Equal(codex.Capabilities.AskingModes, []string{"read-only"}) {
		t.Errorf("codex is offered as %+v", codex)
	}
	session := b.create(protocol.CreateRequest{Provider: offered.Default})
	c := (&conversation{bench: b, dir: b.root, session: session}).in(t)
	c.answers("a newcomer is here")
	t.Logf("from the hub's start to the first answer: %s", time.Since(begun))
	m := c.say("shell echo allowed >> first.txt")
	c.decide(c.asked("execute", "first.txt"), protocol.AllowOnce)
	c.complete(m, protocol.StopEndTurn)
	if got := c.content("first.txt"); got != "allowed\n" {
		t.Errorf("the file holds %q", got)
	}
	t.Logf("and to the end of the first turn that asks: %s", time.Since(begun))
	if view := c.view(); view.Mode != "read-only" || view.Asking == nil || !*view.Asking {
		t.Errorf("the session is %+v", view)
	}
	c.remove()
	// As before, a session that names no provider is the demo agent's.
	if s := b.create(protocol.CreateRequest{}); s.Session.Provider != "demo" {
		t.Errorf("without a name it is %s", s.Session.Provider)
	}
}

// A hub that others share does not offer what its host is logged in to.
func TestSharedHubOffersNoLogins(t *testing.T) {
	program := filepath.Join(t.TempDir(), "codex-acp")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	onPATH(t, program)
	auto := "SESSIONHUB_DISCOVER_AGENTS"
	for name, c := range map[string]struct {
		env   map[string]string
		flags []string
		want  bool
	}{
		"local mode":      {map[string]string{auto: "auto"}, nil, true},
		"a key":           {map[string]string{auto: "auto", "SESSIONHUB_API_KEY": "the-key-of-clients"}, nil, false},
		"a proxy":         {map[string]string{auto: "auto"}, []string{"--public-url", "https://hub.example.org"}, false},
		"a key, and told": {map[string]string{auto: "true", "SESSIONHUB_API_KEY": "the-key-of-clients"}, nil, true},
		"told not to":     {map[string]string{auto: "false"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHubEnv(t, c.env, c.flags...)
			offered := h.offered("X-API-Key", c.env["SESSIONHUB_API_KEY"])
			is := slices.ContainsFunc(offered.Providers, func(p protocol.Provider) bool { return p.Name == "codex" })
			if is != c.want {
				t.Errorf("codex is offered: %v, want %v: %+v", is, c.want, offered)
			}
			if want := map[bool]string{true: "codex", false: "demo"}[c.want]; offered.Default != want {
				t.Errorf("%q is preselected, want %q", offered.Default, want)
			}
			if !c.want {
				answer := h.call("POST", "/api/sessions", protocol.CreateRequest{Provider: "codex"}, nil, "X-API-Key", c.env["SESSIONHUB_API_KEY"])
				if err := answer.Problem(http.StatusBadRequest, protocol.CodeUnknownProvider); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What the operator has named is preselected, and the file's entry counts where both have
// the name.
func TestProvidersFileCountsBeforeWhatIsFound(t *testing.T) {
	program := filepath.Join(t.TempDir(), "codex-acp")
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	onPATH(t, program)
	file := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(file, []byte("codex: {command: /nowhere/codex, title: Ours}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := startHubEnv(t, map[string]string{"SESSIONHUB_DISCOVER_AGENTS": "auto"}, "--providers-file", file, "--default-provider", "demo")
	offered := h.offered()
	i := slices.IndexFunc(offered.Providers, func(p protocol.Provider) bool { return p.Name == "codex" })
	if i < 0 || offered.Providers[i].Title != "Ours" || offered.Providers[i].Icon != "" || offered.Default != "demo" {
		t.Errorf("offered: %s", protocol.Marshal(offered))
	}
}

// An agent that is installed while the hub runs is offered without a new start, and one that
// is removed is offered no more. Those that the operator leaves out are never offered.
func TestAgentInstalledWhileTheHubRuns(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	install := func(program string) string {
		path := filepath.Join(bin, program)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	install("qwen")
	h := startHubEnv(t, map[string]string{"SESSIONHUB_DISCOVER_AGENTS": "auto"}, "--leave-out-agents", "qwen")
	h.offered()
	available := func() (names []string) {
		var all protocol.Providers
		h.call("GET", "/api/providers", nil, &all)
		for _, p := range all.Providers {
			if p.Available {
				names = append(names, p.Name)
			}
		}
		return names
	}
	is := func(name string) func() bool { return func() bool { return slices.Contains(available(), name) } }
	if is("gemini")() || is("qwen")() {
		t.Fatalf("offered at first: %q", available())
	}
	path := install("gemini")
	judge.Within(t, patience, "the new agent is offered", is("gemini"))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	judge.Within(t, patience, "the removed agent is offered no more", func() bool { return !is("gemini")() })
	if is("qwen")() {
		t.Error("the agent that is left out is offered")
	}
}

// A mistyped name would be offered, so it is refused.
func TestLeftOutAgentsAreKnown(t *testing.T) {
	cfg, err := config.Parse([]string{"--leave-out-agents", "codex,gemeni"}, func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(cfg, slog.New(slog.DiscardHandler)); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), `--leave-out-agents: "gemeni" is no agent that this program knows: there are claude, codex`) {
		t.Errorf("it starts with %v", err)
	}
}
