package worker

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// The MCP servers of a test: what an agent gets of them, and what must not be seen.
const (
	mcpSecret  = "s3cr3t-of-the-session"
	mcpSecret2 = "s3cr3t-of-the-provider"
)

func stdioServer(name string) protocol.MCPServer {
	return protocol.MCPServer{Name: name, Command: "/bin/server", Args: []string{"-x"}, Env: []protocol.NamedValue{{Name: "TOKEN", Value: mcpSecret}}}
}

func httpServer(name, kind string) protocol.MCPServer {
	return protocol.MCPServer{Name: name, Type: kind, URL: "https://mcp.example.org/x", Headers: []protocol.NamedValue{{Name: "Authorization", Value: "Bearer " + mcpSecret2}}}
}

// meetServers keeps what the agent was given. It reports whether the agent gives no answer as
// usual, for its servers do not do well.
func (a *scripted) meetServers(method string, id, servers json.RawMessage) bool {
	a.servers = method + " " + string(servers)
	if string(servers) == "[]" {
		return false
	}
	switch {
	case a.is("mcp-hangs"):
		return true
	case a.is("mcp-floods"):
		go func() {
			for {
				a.say(strings.Repeat("the server talks ", 1000))
			}
		}()
		return true
	case a.is("mcp-tells"):
		fmt.Fprintln(os.Stderr, "cannot start with", mcpSecret)
		a.print(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32603,"message":"Internal error","data":"status 401 for %s"}}`, id, mcpSecret2)
		return true
	}
	return false
}

// An agent gets the provider's servers and the session's, each list as ACP wants it, whenever
// a session is opened.
func TestMCPServersReachTheAgent(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Capacity = 8
		for _, name := range []string{"mcp", "mcp-resumes", "plain"} {
			p := c.Providers[name]
			p.SessionMCP = protocol.SessionMCPAny
			if name == "mcp" {
				p.MCPServers = []protocol.MCPServer{httpServer("docs", "http")}
			}
			c.Providers[name] = p
		}
	}, "mcp", "mcp-resumes")
	const stdio = `{"args":["-x"],"command":"/bin/server","env":[{"name":"TOKEN","value":"` + mcpSecret + `"}],"name":"files"}`
	const docs = `{"headers":[{"name":"Authorization","value":"Bearer ` + mcpSecret2 + `"}],"name":"docs","type":"http","url":"https://mcp.example.org/x"}`
	for i, test := range []struct {
		provider string
		resume   bool
		own      []protocol.MCPServer
		want     string
	}{
		{"plain", false, nil, `session/new []`},
		{"plain", false, []protocol.MCPServer{{Name: "bare", Type: "stdio", Command: "x"}}, `session/new [{"args":[],"command":"x","env":[],"name":"bare"}]`},
		{"mcp", false, nil, `session/new [` + docs + `]`},
		{"mcp", true, []protocol.MCPServer{stdioServer("files")}, `session/load [` + docs + `,` + stdio + `]`},
		{"mcp-resumes", true, []protocol.MCPServer{stdioServer("files")}, `session/resume [` + stdio + `]`},
	} {
		s := h.assign(test.provider, func(a *protocol.Assign) {
			a.SessionID, a.AgentOptions.MCPServers = fmt.Sprint("s", i), test.own
			if test.resume {
				a.Resume, a.AgentSession = true, "acp-1"
			}
		})
		s.message("m1", "mcp")
		s.complete("m1")
		if got := s.text("m1"); got != test.want {
			t.Errorf("%s: the agent got\n%s, want\n%s", test.provider, got, test.want)
		}
	}
	want := map[string]protocol.SessionMCP{"mcp": protocol.SessionMCPAny, "mcp-resumes": protocol.SessionMCPAny, "plain": protocol.SessionMCPAny}
	got := map[string]protocol.SessionMCP{}
	for name, d := range h.worker.hello().Details {
		got[name] = d.Capabilities.SessionMCP
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the hub is told %v", got)
	}
}

// A session fails that brings what its provider does not allow, or what its agent cannot use:
// it would run without its servers otherwise, and nobody would know.
func TestMCPServersThatCannotBe(t *testing.T) {
	for _, test := range []struct {
		name, provider string
		allowed        protocol.SessionMCP // of the worker
		own, given     []protocol.MCPServer
		reason         string
	}{
		{"none", "plain", "", []protocol.MCPServer{httpServer("a", "http")}, nil, `mcp_not_allowed: the MCP server "a" is of the type http, which`},
		{"http alone", "mcp", "http", []protocol.MCPServer{httpServer("a", "http"), stdioServer("b")}, nil, `mcp_not_allowed: the MCP server "b" is of the type stdio, which`},
		{"bad", "plain", "any", []protocol.MCPServer{{Name: "a", Command: "x", URL: "https://x"}}, nil, `mcp_not_allowed: mcpServers[0].url belongs to`},
		{"the provider's name", "plain", "any", []protocol.MCPServer{stdioServer("a")}, []protocol.MCPServer{stdioServer("a")}, `mcp_not_allowed: the MCP server "a" has the name`},
		{"no http", "plain", "any", []protocol.MCPServer{stdioServer("a"), httpServer("b", "http")}, nil, `the agent takes no MCP servers of the type http; the session names "b"`},
		{"no sse", "mcp", "any", nil, []protocol.MCPServer{httpServer("b", "sse")}, `the agent takes no MCP servers of the type sse; the providers file names "b"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := start(t, func(c *Config) {
				p := c.Providers[test.provider]
				p.MCPServers, c.SessionMCP = test.given, test.allowed
				c.Providers[test.provider] = p
			}, "mcp")
			s := h.assign(test.provider, func(a *protocol.Assign) { a.AgentOptions.MCPServers = test.own })
			s.message("m1", "mcp")
			if r := s.released(); r.Retry || !strings.HasPrefix(r.Reason, test.reason) {
				t.Errorf("release %+v", r)
			}
		})
	}
}

// An MCP server that hangs or floods hangs or floods its agent. The start has its time, and
// what is kept of the flood has its bound. What the agent says of it has no secret.
func TestMCPServersThatMisbehave(t *testing.T) {
	const bound = 256 << 10
	for traits, want := range map[string]string{
		"mcp-hangs":  "not ready after 1s",
		"mcp-floods": "not ready after 1s",
		"mcp-tells":  "session/new: Internal error: status 401 for [Authorization]: cannot start with [TOKEN]",
	} {
		t.Run(traits, func(t *testing.T) {
			h := start(t, func(c *Config) {
				c.SessionMCP, c.BufferBytes = protocol.SessionMCPAny, bound
				for name, p := range c.Providers {
					p.StartTimeout, p.MCPServers = time.Second, []protocol.MCPServer{stdioServer("a")}
					if name == "mcp_mcp-tells" {
						p.StartTimeout, p.MCPServers = 0, []protocol.MCPServer{stdioServer("a"), httpServer("b", "http")}
					}
					c.Providers[name] = p
				}
			}, "mcp+"+traits)
			s := h.assign("mcp_" + traits)
			s.message("m1", "hi")
			c := s.complete("m1")
			if c.Error == nil || c.Error.Code != protocol.TurnAgentStart || !strings.Contains(c.Error.Message, want) {
				t.Errorf("complete %+v", c.Error)
			}
			for _, e := range s.events() {
				if strings.Contains(string(e.Data), "s3cr3t") {
					t.Errorf("a secret is in %s", e.Data)
				}
			}
			assertNoProcess(t, h.worker.cfg.Root)
		})
	}
}

func TestMCPInProvidersFile(t *testing.T) {
	got, err := ParseProviders([]byte(`
codex:
  command: codex-acp
  sessionMCP: http
  mcpServers:
    - {name: files, command: /bin/server, args: [-x, 7], env: {TOKEN: abc, PORT: 80}}
    - name: docs
      type: sse
      url: https://mcp.example.org/
      headers: [{name: Authorization, value: Bearer x}]
`))
	want := []protocol.MCPServer{
		{Name: "files", Command: "/bin/server", Args: []string{"-x", "7"}, Env: []protocol.NamedValue{{Name: "TOKEN", Value: "abc"}, {Name: "PORT", Value: "80"}}},
		{Name: "docs", Type: "sse", URL: "https://mcp.example.org/", Headers: []protocol.NamedValue{{Name: "Authorization", Value: "Bearer x"}}},
	}
	if p := got["codex"]; err != nil || !reflect.DeepEqual(p.MCPServers, want) || p.SessionMCP != protocol.SessionMCPHTTP {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = ParseProviders([]byte(`
a: {command: x, sessionMCP: some}
b: {command: x, mcpServers: [{name: n, type: http, url: "ftp://x"}]}
c: {command: x, mcpServers: [{name: n, colour: red, env: 7, headers: [{key: s3cr3t}]}]}
d: {command: x, mcpServers: {n: x}}
e: {command: x, mcpServers: [{name: n, command: c}, {name: n, command: c, env: [{name: "1X", value: s3cr3t}]}]}
`))
	if err == nil {
		t.Fatal("all of it was taken")
	}
	for _, want := range []string{
		`line 2: provider "a": sessionMCP: "some" is none of none, http, any`,
		`line 3: provider "b": mcpServers[0].url is neither http nor https`,
		`line 4: provider "c": mcpServers[0].colour: unknown`,
		`line 4: provider "c": mcpServers[0].env: neither a list of {name, value} nor a mapping`,
		`line 4: provider "c": mcpServers[0].headers[0].key: unknown`,
		`line 5: provider "d": mcpServers: not a list`,
		`line 6: provider "e": mcpServers[1].env[0].name is no name of a variable`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("a value is in:\n%v", err)
	}
}
