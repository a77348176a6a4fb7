package contracttest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/protocol"
)

// A session brings MCP servers. Its agent gets them whenever it starts, with their secrets;
// people see their names, and no log has more.
func TestSessionBringsMCPServers(t *testing.T) {
	providers := scripted.Providers(t)
	read := func() string {
		raw, _ := os.ReadFile(filepath.Join(filepath.Dir(providers), "agent.log"))
		return string(raw)
	}
	n := serve(t, "--providers-file", providers, "--agent-idle", "100ms", "--log-level", "debug")
	s := n.create(`{"provider":"scripted","agentOptions":{"mcpServers":[
		{"name":"docs","type":"http","url":"https://mcp.example.org/?key=s3cr3t-1","headers":[{"name":"Authorization","value":"Bearer s3cr3t-2"}]},
		{"name":"files","command":"/bin/cat","args":["s3cr3t-3"],"env":[{"name":"TOKEN","value":"s3cr3t-4"}]}]}}`)
	const shown = `"mcpServers":[{"name":"docs","type":"http","headers":[{"name":"Authorization"}]},{"name":"files","type":"stdio","env":[{"name":"TOKEN"}]}]`
	st := s.ws("")
	s.turn(st, "echo one")
	judge.Within(t, 20e9, "the end of the idle agent", func() bool { return strings.Contains(n.Log.String(), `"reason":"idle"`) })
	s.turn(st, "echo two")
	got := read()
	for _, want := range []string{"s3cr3t-1", "s3cr3t-2", "s3cr3t-3", "s3cr3t-4"} {
		if strings.Count(got, want) != 2 {
			t.Errorf("the agent got %s %d times", want, strings.Count(got, want))
		}
	}
	for _, path := range []string{s.path, "/api/sessions", s.path + "/history", s.path + "/options", s.path + "/transcript", "/api/providers"} {
		body := string(n.call("GET", path, "", s.bearer()...).Body)
		if path == "/api/sessions" || path == "/api/providers" {
			body = string(n.call("GET", path, "").Body)
		}
		if strings.Contains(body, "s3cr3t") {
			t.Errorf("%s shows a secret: %s", path, body)
		}
		if path == s.path && !strings.Contains(body, shown) {
			t.Errorf("the session is %s", body)
		}
		if path == "/api/providers" && !strings.Contains(body, `"sessionMCP":"any"`) {
			t.Errorf("the providers are %s", body)
		}
	}
	if strings.Contains(n.Log.String(), "s3cr3t") {
		t.Error("a secret is in the log")
	}
	for body, field := range map[string]string{
		`{"name":"a","type":"http","url":"https://me:s3cr3t@x"}`:                            "agentOptions.mcpServers[0].url",
		`{"name":"a","command":"x","env":[{"name":"s3cr3t x","value":"s3cr3t"}]}`:           "agentOptions.mcpServers[0].env[0].name",
		`{"name":"a","command":"x"},{"name":"a","command":"y"}`:                             "agentOptions.mcpServers[1].name",
		`{"name":"a","command":"` + strings.Repeat("s3cr3t", protocol.MaxMCPBytes/6) + `"}`: "agentOptions.mcpServers are",
	} {
		r := n.call("POST", "/api/sessions", `{"agentOptions":{"mcpServers":[`+body+`]}}`)
		if err := r.Problem(400, protocol.CodeInvalidRequest); err != nil || !strings.Contains(string(r.Body), field) || strings.Contains(string(r.Body), "s3cr3t") {
			t.Errorf("%.100s: %v, %s", body, err, r.Body)
		}
	}
	shared := serveEnv(t, []string{"SESSIONHUB_API_KEY=the-key-of-clients"})
	// Until a worker has told what its providers allow, the hub lets the worker judge.
	judge.Within(t, judge.Patience, "the node's worker is there", func() bool {
		return strings.Contains(string(shared.call("GET", "/api/providers", "", "X-API-Key", "the-key-of-clients").Body), `"available":true`)
	})
	shared.refused(403, protocol.CodeMCPNotAllowed, "POST", "/api/sessions", `{"agentOptions":{"mcpServers":[{"name":"a","command":"x"}]}}`, "X-API-Key", "the-key-of-clients")
}
