package app

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

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
