package worker

import (
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// needsLogin is the answer of an agent that wants to know first who asks.
const needsLogin = `{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,"message":"Authentication required"}}`

// scriptedLogins are ways of each type, and one that cannot be read.
const scriptedLogins = `[{"id":"browser","name":"Use your subscription"},{"id":7},` +
	`{"id":"cli","name":"Log in","type":"terminal","args":["--login"],"env":[{"name":"LOGIN_KIND","value":"terminal"},{"name":"SESSIONHUB_X","value":"y"}]},` +
	`{"id":"both","name":"Two","type":"env_var","vars":[{"name":"SCRIPTED_KEY"},{"name":"SCRIPTED_REGION"}]},` +
	`{"id":"key","name":"One","type":"env_var","vars":[{"name":"SCRIPTED_KEY"},{"name":"SCRIPTED_PROXY","optional":true}]}]`

// An agent with a key in its environment refused every session until somebody
// called authenticate, and nobody did (codex-acp).
func TestAuthenticate(t *testing.T) {
	const key = "s3cr3t-value"
	for _, test := range []struct {
		name      string
		traits    string
		provider  Provider // its Env, InheritEnv, AuthMethod and StartTimeout
		prompt    string
		want      string   // what the agent says; else it fails, with all of says
		says      []string // in the error
		retryable bool
	}{
		{name: "the method whose variable is there", traits: "logs-in", provider: Provider{Env: map[string]string{"SCRIPTED_KEY": key}}, prompt: "login", want: "key"},
		{name: "all variables are there", traits: "logs-in", provider: Provider{Env: map[string]string{"SCRIPTED_KEY": key, "SCRIPTED_REGION": "eu"}}, prompt: "login", want: "both"},
		{name: "inherited", traits: "logs-in", provider: Provider{InheritEnv: []string{"SCRIPTED_KEY"}}, prompt: "login", want: "key"},
		{name: "named", traits: "logs-in", provider: Provider{AuthMethod: "browser", Env: map[string]string{"SCRIPTED_KEY": key}}, prompt: "login", want: "browser"},
		{
			name: "none fits", traits: "logs-in", prompt: "login",
			says: []string{
				"session/new: Authentication required", `"browser" (Use your subscription)`, `with the arguments ["--login"] in a terminal`,
				`"key" (needs SCRIPTED_KEY, which the worker has but inheritEnv does not list; SCRIPTED_PROXY, which is not set)`, "inheritEnv", "authMethod",
			},
		},
		{name: "an empty variable", traits: "logs-in", provider: Provider{Env: map[string]string{"SCRIPTED_KEY": ""}}, prompt: "login", says: []string{"Authentication required"}},
		{name: "named and not offered", traits: "logs-in", provider: Provider{AuthMethod: "sso"}, prompt: "login", says: []string{`authMethod "sso" is none`, `"browser"`}},
		{name: "named, where somebody has logged in by a terminal", traits: "logs-in", provider: Provider{AuthMethod: "cli"}, prompt: "login", want: "cli"},
		{name: "refused", traits: "logs-in+refuses-login", provider: Provider{InheritEnv: []string{"SCRIPTED_KEY"}}, prompt: "login", says: []string{`authenticate "key": Internal error: status 401: no such key`}},
		{name: "refused all the same", traits: "needs-login+logs-in", provider: Provider{InheritEnv: []string{"SCRIPTED_KEY"}}, prompt: "login", says: []string{"session/new: Authentication required", "SCRIPTED_KEY, which is set"}},
		{name: "without an answer", traits: "logs-in+silent-login", provider: Provider{AuthMethod: "browser", StartTimeout: 5 * time.Second}, prompt: "login", says: []string{`it has not answered authenticate "browser"`}, retryable: true},
		{name: "needed by a model", traits: "model-needs-login", provider: Provider{Model: "large"}, prompt: "login", says: []string{"session/set_model: Authentication required", "names no way to log in"}},
		{name: "needed by a prompt", traits: "logs-in", provider: Provider{AuthMethod: "browser"}, prompt: "logged-out", says: []string{"Authentication required", `"browser"`, "inheritEnv"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			provider := strings.ReplaceAll(test.traits, "+", "_")
			h := prepare(t, func(c *Config) {
				c.Environ = []string{"SCRIPTED_KEY=" + key}
				p := c.Providers[provider]
				for name, value := range test.provider.Env {
					p.Env[name] = value
				}
				p.InheritEnv, p.AuthMethod, p.StartTimeout, p.Model = test.provider.InheritEnv, test.provider.AuthMethod, test.provider.StartTimeout, test.provider.Model
				c.Providers[provider] = p
			}, test.traits)
			h.early = true // nobody can be asked: see login_test.go
			h.run()
			s := h.assign(provider)
			for _, id := range []string{"m1", "m2"} { // the session stays usable
				s.message(id, test.prompt)
				c := s.complete(id)
				if test.want != "" {
					if got := s.text(id); c.Error != nil || got != test.want {
						t.Errorf("the agent was logged in by %q, error %+v", got, c.Error)
					}
					continue
				}
				if c.Error == nil {
					t.Fatalf("complete %+v, text %q", c, s.text(id))
				}
				if c.Error.Retryable != test.retryable {
					t.Errorf("retryable is %v", c.Error.Retryable)
				}
				for _, part := range test.says {
					if !strings.Contains(c.Error.Message, part) {
						t.Errorf("%q is not in %q", part, c.Error.Message)
					}
				}
				if strings.Contains(c.Error.Message, key) {
					t.Errorf("the key is in %q", c.Error.Message)
				}
			}
		})
	}
}

// A restarted agent that wants a login first keeps its history.
func TestAuthenticateBeforeLoad(t *testing.T) {
	h := start(t, func(c *Config) {
		p := c.Providers["logs-in"]
		p.AuthMethod = "browser"
		c.Providers["logs-in"] = p
	}, "logs-in")
	s := h.assign("logs-in", func(a *protocol.Assign) { a.Resume, a.AgentSession = true, "acp-1" })
	s.message("m1", "login")
	s.complete("m1")
	started := until(s, protocol.EventAgentStarted, "agent_started", func(agentStarted) bool { return true })
	if got := started.History; got != protocol.HistoryLoaded || s.text("m1") != "browser" {
		t.Errorf("history %q, login %q, %s", got, s.text("m1"), h.summary())
	}
}
