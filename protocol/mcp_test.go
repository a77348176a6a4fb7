package protocol

import (
	"reflect"
	"strings"
	"testing"
)

// Every refusal names the field, and none repeats a value.
func TestCheckMCPServers(t *testing.T) {
	stdio := func(change func(*MCPServer)) []MCPServer {
		s := MCPServer{Name: "a", Command: "x"}
		change(&s)
		return []MCPServer{s}
	}
	http := func(change func(*MCPServer)) []MCPServer {
		s := MCPServer{Name: "a", Type: MCPHTTP, URL: "https://mcp.example.org/?key=s3cr3t", Headers: []NamedValue{{Name: "X-Key", Value: "s3cr3t\té"}}}
		change(&s)
		return []MCPServer{s}
	}
	var many []MCPServer
	for range MaxMCPServers + 1 {
		many = append(many, MCPServer{Name: "a", Command: "x"})
	}
	for want, servers := range map[string][]MCPServer{
		"mcpServers are 17: at most 16":                                            many,
		"mcpServers[1].name is that of a server before it":                         many[:2],
		"mcpServers are 32803 bytes long: at most 32768":                           stdio(func(s *MCPServer) { s.Command = strings.Repeat("x", MaxMCPBytes+8) }),
		"mcpServers[0].name is missing":                                            stdio(func(s *MCPServer) { s.Name = "" }),
		"mcpServers[0].name has 129 bytes: at most 128":                            stdio(func(s *MCPServer) { s.Name = strings.Repeat("n", 129) }),
		"mcpServers[0].name has control characters, or is not UTF-8":               stdio(func(s *MCPServer) { s.Name = "a\nb" }),
		"mcpServers[0].type is none of http, sse, stdio":                           stdio(func(s *MCPServer) { s.Type = "acp" }),
		"mcpServers[0].command is missing":                                         stdio(func(s *MCPServer) { s.Command = " " }),
		"mcpServers[0].command has a NUL byte":                                     stdio(func(s *MCPServer) { s.Command = "x\x00" }),
		"mcpServers[0].args[1] has a NUL byte":                                     stdio(func(s *MCPServer) { s.Args = []string{"s3cr3t", "\x00"} }),
		"mcpServers[0].url belongs to the types http and sse":                      stdio(func(s *MCPServer) { s.URL = "https://s3cr3t" }),
		"mcpServers[0].headers belong to the types http and sse":                   stdio(func(s *MCPServer) { s.Headers = []NamedValue{{Name: "s3cr3t"}} }),
		"mcpServers[0].env[0].name is no name of a variable":                       stdio(func(s *MCPServer) { s.Env = []NamedValue{{Name: "s3cr3t=x"}} }),
		"mcpServers[0].env[0].value has control characters":                        stdio(func(s *MCPServer) { s.Env = []NamedValue{{Name: "A", Value: "s3cr3t\x00"}} }),
		"mcpServers[0].url is missing":                                             http(func(s *MCPServer) { s.URL = "" }),
		"mcpServers[0].url is neither http nor https":                              http(func(s *MCPServer) { s.URL = "ftp://s3cr3t" }),
		"mcpServers[0].url has a user name before its host, which misleads people": http(func(s *MCPServer) { s.URL = "https://me:s3cr3t@x" }),
		"mcpServers[0].command belongs to the type stdio":                          http(func(s *MCPServer) { s.Command = "s3cr3t" }),
		"mcpServers[0].args belong to the type stdio":                              http(func(s *MCPServer) { s.Args = []string{"s3cr3t"} }),
		"mcpServers[0].env belongs to the type stdio":                              http(func(s *MCPServer) { s.Env = []NamedValue{{Name: "A"}} }),
		"mcpServers[0].headers[0].name is no name of a header":                     http(func(s *MCPServer) { s.Headers = []NamedValue{{Name: "A: s3cr3t"}} }),
		"mcpServers[0].headers[0].value has control characters":                    http(func(s *MCPServer) { s.Headers = []NamedValue{{Name: "A", Value: "s3cr3t\r\nB: x"}} }),
		"": append(http(func(*MCPServer) {}), MCPServer{Name: "b", Type: MCPStdio, Command: "x", Env: []NamedValue{{Name: "A", Value: "two\nlines"}}}),
	} {
		got := ""
		if err := CheckMCPServers(servers); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestNamesOfMCP(t *testing.T) {
	got := NamesOfMCP([]MCPServer{
		{Name: "a", Command: "c", Args: []string{"s3cr3t"}, Env: []NamedValue{{Name: "A", Value: "s3cr3t"}}},
		{Name: "b", Type: MCPSSE, URL: "https://x/?s3cr3t", Headers: []NamedValue{{Name: "H", Value: "s3cr3t"}}},
	})
	want := []MCPServer{{Name: "a", Type: MCPStdio, Env: []NamedValue{{Name: "A"}}}, {Name: "b", Type: MCPSSE, Headers: []NamedValue{{Name: "H"}}}}
	if !reflect.DeepEqual(got, want) || NamesOfMCP(nil) != nil {
		t.Errorf("%s", Marshal(got))
	}
}

func TestSessionMCP(t *testing.T) {
	http, sse, stdio := MCPServer{Name: "h", Type: MCPHTTP}, MCPServer{Name: "e", Type: MCPSSE}, MCPServer{Name: "s"}
	for _, test := range []struct {
		m       SessionMCP
		servers []MCPServer
		refused string
	}{
		{"", nil, ""}, {"", []MCPServer{http}, "h"}, {SessionMCPNone, []MCPServer{sse}, "e"},
		{SessionMCPHTTP, []MCPServer{http, sse}, ""}, {SessionMCPHTTP, []MCPServer{http, stdio}, "s"}, {SessionMCPAny, []MCPServer{http, sse, stdio}, ""},
	} {
		if got, not := test.m.Refuses(test.servers); got.Name != test.refused || not != (test.refused != "") {
			t.Errorf("%q refuses %q", test.m, got.Name)
		}
	}
}
