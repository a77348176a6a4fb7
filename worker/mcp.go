package worker

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"sessionhub/protocol"
)

// validateMCP names every bad value of the provider's MCP servers.
func (p Provider) validateMCP(name string) []error {
	var errs []error
	if err := protocol.CheckMCPServers(p.MCPServers); err != nil {
		errs = append(errs, fmt.Errorf("provider %q: %w", name, err))
	}
	if !p.SessionMCP.IsKnown() {
		errs = append(errs, fmt.Errorf("provider %q: sessionMCP: %q is none of %s, %s, %s",
			name, p.SessionMCP, protocol.SessionMCPNone, protocol.SessionMCPHTTP, protocol.SessionMCPAny))
	}
	return errs
}

// mcpServers reads the servers of a providers file: a list of mappings, in the form of
// protocol.MCPServer. A value may be any scalar, and stays as it is written.
func (r *providerReader) mcpServers(n *yaml.Node, what string) []protocol.MCPServer {
	if n.Kind != yaml.SequenceNode {
		r.bad(n, "%s: not a list", what)
		return nil
	}
	servers := make([]protocol.MCPServer, len(n.Content))
	for i, item := range n.Content {
		s := &servers[i]
		at := fmt.Sprintf("%s[%d]", what, i)
		r.mapping(item, at, func(key string, value *yaml.Node) {
			in := at + "." + key
			switch key {
			case "name":
				s.Name = r.text(value, in)
			case "type":
				s.Type = r.text(value, in)
			case "url":
				s.URL = r.text(value, in)
			case "command":
				s.Command = r.text(value, in)
			case "args":
				s.Args = r.list(value, in)
			case "headers":
				s.Headers = r.namedValues(value, in)
			case "env":
				s.Env = r.namedValues(value, in)
			default:
				r.bad(value, "%s: unknown; known are name, type, url, headers, command, args, env", in)
			}
		})
	}
	return servers
}

// namedValues reads headers or variables: a list of {name, value}, as in ACP, or a mapping.
func (r *providerReader) namedValues(n *yaml.Node, what string) []protocol.NamedValue {
	var values []protocol.NamedValue
	if n.Kind == yaml.MappingNode {
		r.mapping(n, what, func(key string, value *yaml.Node) {
			values = append(values, protocol.NamedValue{Name: key, Value: r.text(value, what+": "+key)})
		})
		return values
	}
	if n.Kind != yaml.SequenceNode {
		r.bad(n, "%s: neither a list of {name, value} nor a mapping", what)
		return nil
	}
	for i, item := range n.Content {
		var v protocol.NamedValue
		at := fmt.Sprintf("%s[%d]", what, i)
		r.mapping(item, at, func(key string, value *yaml.Node) {
			switch key {
			case "name":
				v.Name = r.text(value, at+".name")
			case "value":
				v.Value = r.text(value, at+".value")
			default:
				r.bad(value, "%s.%s: unknown; known are name, value", at, key)
			}
		})
		values = append(values, v)
	}
	return values
}

// sessionMCP says which MCP servers a session of the provider may bring. The worker's own
// setting holds for a provider that has none.
func (c Config) sessionMCP(p Provider) protocol.SessionMCP {
	if p.SessionMCP != "" {
		return p.SessionMCP
	}
	return c.SessionMCP
}

// mcpRefused says why the session may not bring its MCP servers; empty: it may. The hub has
// judged too, unless no worker was there to say what it allows.
func (s *session) mcpRefused() string {
	own := s.assign.AgentOptions.MCPServers
	if err := protocol.CheckMCPServers(own); err != nil {
		return err.Error()
	}
	if refused, not := s.w.cfg.sessionMCP(s.provider).Refuses(own); not {
		return fmt.Sprintf("the MCP server %q is of the type %s, which the provider's sessionMCP does not allow", refused.Name, refused.Transport())
	}
	for _, server := range own {
		if slices.ContainsFunc(s.provider.MCPServers, func(o protocol.MCPServer) bool { return o.Name == server.Name }) {
			return fmt.Sprintf("the MCP server %q has the name of one that the provider gives to every session", server.Name)
		}
	}
	return ""
}

// mcpServers are all MCP servers of the session: the provider's, then its own.
func (s *session) mcpServers() []protocol.MCPServer {
	return slices.Concat(s.provider.MCPServers, s.assign.AgentOptions.MCPServers)
}

// mcpUnfit says which MCP server the agent cannot connect to; empty: it takes all types.
// Every agent takes those of the type stdio (ACP, "MCP Servers").
func (s *session) mcpUnfit(capabilities json.RawMessage) string {
	var can struct {
		MCP struct {
			HTTP bool `json:"http"`
			SSE  bool `json:"sse"`
		} `json:"mcpCapabilities"`
	}
	_ = json.Unmarshal(capabilities, &can) // a part that cannot be read is not offered
	for i, server := range s.mcpServers() {
		t := server.Transport()
		if t == protocol.MCPStdio || t == protocol.MCPHTTP && can.MCP.HTTP || t == protocol.MCPSSE && can.MCP.SSE {
			continue
		}
		whose := "the session"
		if i < len(s.provider.MCPServers) {
			whose = "the providers file"
		}
		return fmt.Sprintf("the agent takes no MCP servers of the type %s; %s names %q, which is one", t, whose, server.Name)
	}
	return ""
}

// mcpParams are the session's MCP servers as the agent gets them. Every list is there, also
// an empty one, and stdio has no type: agents of the first drafts know no other.
func (s *session) mcpParams() []any {
	type named struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	all := func(values []protocol.NamedValue) []named {
		list := make([]named, len(values))
		for i, v := range values {
			list[i] = named(v)
		}
		return list
	}
	params := []any{}
	for _, server := range s.mcpServers() {
		if t := server.Transport(); t != protocol.MCPStdio {
			params = append(params, map[string]any{"type": t, "name": server.Name, "url": server.URL, "headers": all(server.Headers)})
			continue
		}
		args := server.Args
		if args == nil {
			args = []string{}
		}
		params = append(params, map[string]any{"name": server.Name, "command": server.Command, "args": args, "env": all(server.Env)})
	}
	return params
}

// leastSecret is the shortest value that withoutSecrets takes out, in bytes. A shorter one is
// no key, and may be part of any word.
const leastSecret = 6

// withoutSecrets takes the values of headers and variables of MCP servers out of what an
// agent says when it fails: people and logs read that.
func (s *session) withoutSecrets(text string) string {
	var pairs []string
	for _, server := range s.mcpServers() {
		for _, v := range slices.Concat(server.Headers, server.Env) {
			if len(v.Value) >= leastSecret {
				pairs = append(pairs, v.Value, "["+v.Name+"]")
			}
			if _, token, ok := strings.Cut(v.Value, " "); ok && len(token) >= leastSecret { // "Bearer TOKEN"
				pairs = append(pairs, token, "["+v.Name+"]")
			}
		}
	}
	if len(pairs) == 0 {
		return text
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
