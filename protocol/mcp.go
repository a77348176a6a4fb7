package protocol

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of the MCP servers of one session, and of one provider.
const (
	MaxMCPServers = 16
	MaxMCPBytes   = 32 << 10 // all of them as JSON
	maxMCPName    = 128
)

// The types of an MCP server (ACP, "MCP Servers"). A server without a type is of MCPStdio.
const (
	MCPHTTP  = "http"
	MCPSSE   = "sse"
	MCPStdio = "stdio" // the agent runs a command
)

// MCPServer is a server of the Model Context Protocol that an agent connects to. A server of
// MCPStdio has a Command, Args and Env; others have a URL and Headers. The values of Headers
// and Env are secrets, and URL and Args may hold some.
type MCPServer struct {
	Name    string       `json:"name"`
	Type    string       `json:"type,omitempty"`
	URL     string       `json:"url,omitempty"`
	Headers []NamedValue `json:"headers,omitempty"`
	Command string       `json:"command,omitempty"`
	Args    []string     `json:"args,omitempty"`
	Env     []NamedValue `json:"env,omitempty"`
}

// NamedValue is a header or a variable of an MCP server.
type NamedValue struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Transport is the server's type, or MCPStdio if it names none.
func (s MCPServer) Transport() string {
	if s.Type == "" {
		return MCPStdio
	}
	return s.Type
}

// NamesOfMCP is a copy of servers that has no secret: names, types, and the names of headers
// and variables.
func NamesOfMCP(servers []MCPServer) []MCPServer {
	if servers == nil {
		return nil
	}
	names := make([]MCPServer, len(servers))
	for i, s := range servers {
		names[i] = MCPServer{Name: s.Name, Type: s.Transport(), Headers: namesOf(s.Headers), Env: namesOf(s.Env)}
	}
	return names
}

func namesOf(values []NamedValue) []NamedValue {
	if values == nil {
		return nil
	}
	names := make([]NamedValue, len(values))
	for i, v := range values {
		names[i].Name = v.Name
	}
	return names
}

var (
	mcpHeader   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$") // RFC 9110, "token"
	mcpVariable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,255}$`)
)

// CheckMCPServers holds a list of servers to the limits of the protocol. The error names the
// field and repeats no value.
func CheckMCPServers(servers []MCPServer) error {
	if len(servers) > MaxMCPServers {
		return fmt.Errorf("mcpServers are %d: at most %d", len(servers), MaxMCPServers)
	}
	if n := len(Marshal(servers)); n > MaxMCPBytes {
		return fmt.Errorf("mcpServers are %d bytes long: at most %d", n, MaxMCPBytes)
	}
	for i, s := range servers {
		err := s.check()
		if err == nil && slices.ContainsFunc(servers[:i], func(o MCPServer) bool { return o.Name == s.Name }) {
			err = errors.New("name is that of a server before it")
		}
		if err != nil {
			return fmt.Errorf("mcpServers[%d].%w", i, err)
		}
	}
	return nil
}

func (s MCPServer) check() error {
	switch {
	case s.Name == "":
		return errors.New("name is missing")
	case len(s.Name) > maxMCPName:
		return fmt.Errorf("name has %d bytes: at most %d", len(s.Name), maxMCPName)
	case !utf8.ValidString(s.Name) || strings.ContainsFunc(s.Name, unicode.IsControl):
		return errors.New("name has control characters, or is not UTF-8")
	}
	switch s.Transport() {
	case MCPHTTP, MCPSSE:
		switch {
		case s.Command != "":
			return fmt.Errorf("command belongs to the type %s", MCPStdio)
		case len(s.Args) > 0:
			return fmt.Errorf("args belong to the type %s", MCPStdio)
		case len(s.Env) > 0:
			return fmt.Errorf("env belongs to the type %s", MCPStdio)
		}
		if err := CheckElicitationURL(s.URL); err != nil {
			return err
		}
		return checkNamed("headers", s.Headers, mcpHeader, "header")
	case MCPStdio:
		switch {
		case s.URL != "":
			return fmt.Errorf("url belongs to the types %s and %s", MCPHTTP, MCPSSE)
		case len(s.Headers) > 0:
			return fmt.Errorf("headers belong to the types %s and %s", MCPHTTP, MCPSSE)
		case strings.TrimSpace(s.Command) == "":
			return errors.New("command is missing")
		case strings.IndexByte(s.Command, 0) >= 0:
			return errors.New("command has a NUL byte")
		}
		for i, arg := range s.Args {
			if strings.IndexByte(arg, 0) >= 0 {
				return fmt.Errorf("args[%d] has a NUL byte", i)
			}
		}
		return checkNamed("env", s.Env, mcpVariable, "variable")
	}
	return fmt.Errorf("type is none of %s, %s, %s", MCPHTTP, MCPSSE, MCPStdio)
}

// checkNamed checks headers or variables. A value has no control characters but tabs in a
// header, and no NUL in a variable: either would end it early.
func checkNamed(field string, values []NamedValue, name *regexp.Regexp, what string) error {
	for i, v := range values {
		if !name.MatchString(v.Name) {
			return fmt.Errorf("%s[%d].name is no name of a %s", field, i, what)
		}
		bad := func(r rune) bool { return r == 0 }
		if field == "headers" {
			bad = func(r rune) bool { return r < 0x20 && r != '\t' || r == 0x7f }
		}
		if strings.ContainsFunc(v.Value, bad) {
			return fmt.Errorf("%s[%d].value has control characters", field, i)
		}
	}
	return nil
}

// SessionMCP says which MCP servers a session may bring to a provider's agent.
type SessionMCP string

// The values of SessionMCP. Empty is SessionMCPNone.
const (
	SessionMCPNone SessionMCP = "none"
	SessionMCPHTTP SessionMCP = "http" // those of the types http and sse
	SessionMCPAny  SessionMCP = "any"  // MCPStdio too: a session may have the agent run any command
)

// IsKnown reports whether m is empty or one of the values above.
func (m SessionMCP) IsKnown() bool {
	return m == "" || m == SessionMCPNone || m == SessionMCPHTTP || m == SessionMCPAny
}

// Refuses gives the first server that m does not allow; ok is false if it allows all.
func (m SessionMCP) Refuses(servers []MCPServer) (refused MCPServer, ok bool) {
	for _, s := range servers {
		if m == SessionMCPAny || m == SessionMCPHTTP && s.Transport() != MCPStdio {
			continue
		}
		return s, true
	}
	return MCPServer{}, false
}
