package config

import (
	"reflect"
	"strings"
	"testing"
)

// Logins of this machine are for its user: whatever says that others share the hub turns the
// search off, unless the operator asks for it.
func TestAgentsAreDiscoveredInLocalModeAlone(t *testing.T) {
	secret := env{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)}
	for flags, want := range map[string]bool{
		"":                                              true,
		"--listen=localhost:1":                          true,
		"--data-dir=d":                                  true,
		"--discover-agents=auto":                        true,
		"--discover-agents=false":                       false,
		"--worker=none":                                 false,
		"--worker=none --discover-agents":               false,
		"--allow-anonymous":                             false,
		"--listen=0.0.0.0:1 --allow-anonymous":          false,
		"--public-url=https://hub.example.org":          false,
		"--trusted-proxies=127.0.0.1":                   false,
		"--valkey-url=redis://store.example":            false,
		"--allow-anonymous --discover-agents":           true,
		"--public-url=https://x --discover-agents=true": true,
	} {
		s, err := Parse(strings.Fields(flags), secret.lookup)
		if err != nil || s.Discovers() != want {
			t.Errorf("%q: %v, %v; want %v", flags, s.Discovers(), err, want)
		}
	}
	s, err := Parse(nil, env{"SESSIONHUB_API_KEY": "the-key-of-clients"}.lookup)
	if err != nil || s.Discovers() {
		t.Errorf("with a key: %v, %v", s.Discovers(), err)
	}
	if _, err = Parse([]string{"--discover-agents=perhaps"}, secret.lookup); err == nil || !strings.Contains(err.Error(), "true, false or auto") {
		t.Errorf("perhaps: %v", err)
	}
}

func TestDefaultProviderIsSaid(t *testing.T) {
	for flags, want := range map[string]bool{"": false, "--default-provider=demo": true} {
		if s, err := Parse(strings.Fields(flags), env{}.lookup); err != nil || s.DefaultProviderSaid != want || s.DefaultProvider != "demo" {
			t.Errorf("%q: %+v, %v", flags, s, err)
		}
	}
}

func TestAgentsSettings(t *testing.T) {
	a, err := ParseAgents([]string{"--providers-file", "p.yaml", "--json"}, env{"SESSIONHUB_WORKSPACE_ROOT": "/w", "SESSIONHUB_LEAVE_OUT_AGENTS": "codex,qwen"}.lookup)
	if want := (Agents{ProvidersFile: "p.yaml", WorkspaceRoot: "/w", LeaveOutAgents: []string{"codex", "qwen"}, JSON: true}); err != nil || !reflect.DeepEqual(a, want) {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := ParseAgents(nil, env{}.lookup); err != nil || !reflect.DeepEqual(a, DefaultAgents()) {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := ParseAgents([]string{"codex"}, env{}.lookup); err == nil {
		t.Error("an argument is taken")
	}
}
