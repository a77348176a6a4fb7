package app

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"sessionhub/worker"
)

// The example is what people copy: it must load, have an agent ask before it
// acts, and hold no key.
func TestExampleProviders(t *testing.T) {
	providers, err := worker.LoadProviders("../../providers.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := slices.Sorted(maps.Keys(providers)), []string{"claude", "codex", "gemini", "goose", "opencode", "qwen"}; !slices.Equal(got, want) {
		t.Errorf("providers %q, want %q", got, want)
	}
	// These have no mode that asks: a setting of their own does it.
	asking := map[string]string{"goose": "GOOSE_MODE", "opencode": "OPENCODE_CONFIG_CONTENT"}
	for name, p := range providers {
		if p.Mode == "" && p.Env[asking[name]] == "" {
			t.Errorf("%s has nothing that makes it ask", name)
		}
		if p.Model != "" {
			t.Errorf("%s has the model %q: it will be out of date", name, p.Model)
		}
		for variable := range p.Env {
			if strings.Contains(variable, "KEY") || strings.Contains(variable, "TOKEN") {
				t.Errorf("%s: %s is set, not inherited", name, variable)
			}
		}
		for _, variable := range []string{
			"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
			"NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "SSH_AUTH_SOCK", "GNUPGHOME",
		} {
			if !slices.Contains(p.InheritEnv, variable) {
				t.Errorf("%s does not inherit %s", name, variable)
			}
		}
	}
	// What the tests of the real agents use is what is recommended.
	for _, agent := range realAgents {
		used := agent.provider(t, t.TempDir(), "http://127.0.0.1:1")
		if p := providers[agent.name]; p.Mode != used.Mode || !slices.Equal(p.VolatileInput, used.Volatile) {
			t.Errorf("%s: the example has mode %q and volatileInput %q, the tests have %q and %q",
				agent.name, p.Mode, p.VolatileInput, used.Mode, used.Volatile)
		}
	}
}
