package worker

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"

	"sessionhub/protocol"
)

// Provider describes a kind of agent: how to start it and how to set it up. Do not change
// it after a worker has it.
type Provider struct {
	// Command is looked up in the agent's PATH unless it has a slash. A relative path is
	// relative to the worker's current directory, never to the session's: otherwise a
	// session could bring its own program.
	Command string
	Args    []string
	// Env is set as it is. InheritEnv names variables of the worker that are passed on
	// beside the default allow-list ("NAME" or "PREFIX*").
	Env        map[string]string
	InheritEnv []string
	// Mode and Model are used if a session names none. A mode that the agent does not offer
	// fails the session, since the mode decides whether the agent asks before it acts.
	Mode  string
	Model string
	// AskingModes are the modes in which the agent asks before it acts. Empty: Mode.
	// AllowedModes are modes in which it does not, and which sessions may use all the same.
	// No session gets any other mode. If none of the three is set, the agent stays in the
	// mode in which it starts, and people are told that it may not ask.
	AskingModes  []string
	AllowedModes []string
	// AuthMethod is the authentication method to call when the agent asks for one. Empty:
	// the first method whose variables are all in the agent's environment.
	AuthMethod string
	// Resume says how a restarted agent gets its own history back.
	Resume Resume
	// VolatileInput names top-level keys of a tool's input that differ although the call is
	// the same (ids, times). They are left out of the question to the users, so that an
	// "always" can match.
	VolatileInput []string
	// UsageTotals says that the usage in an agent's answer to a prompt counts all turns of
	// its session. Otherwise it counts the turn.
	UsageTotals bool
	// StartTimeout replaces Config.StartTimeout unless it is 0.
	StartTimeout time.Duration
	// MCPServers go to every agent of the provider. SessionMCP says which ones a session may
	// bring beside them; empty: Config.SessionMCP.
	MCPServers []protocol.MCPServer
	SessionMCP protocol.SessionMCP
	// Title, Description and Icon are shown to people, within the limits of
	// protocol.ProviderDetails. Login is what was seen of the agent's login.
	Title       string
	Description string
	Icon        string
	Login       protocol.Login
}

// Resume is a way of giving a restarted agent its history.
type Resume string

const (
	ResumeAuto    Resume = ""       // session/resume or session/load, whichever the agent announces
	ResumeLoad    Resume = "load"   // session/load; its replay is discarded
	ResumeSession Resume = "resume" // session/resume
	ResumeNone    Resume = "none"   // start afresh
)

// Limits of a providers file.
const (
	maxProvidersFile = 1 << 20
	maxStartTimeout  = time.Hour
)

var (
	providerName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)
	envName      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	envPattern   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\*?$`)
)

// validate names every bad value of the provider with this name.
func (p Provider) validate(name string) []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("provider %q: "+format, append([]any{name}, args...)...))
	}
	if !providerName.MatchString(name) {
		bad("a name is 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or digit")
	}
	if strings.TrimSpace(p.Command) == "" {
		bad("command: missing")
	}
	if hasNUL(p.Command) {
		bad("command: has a NUL byte")
	}
	for i, arg := range p.Args {
		if hasNUL(arg) {
			bad("args[%d]: has a NUL byte", i)
		}
	}
	for key, value := range p.Env {
		switch {
		case !envName.MatchString(key):
			bad("env: %q is no variable's name", key)
		case isHubVariable(key):
			bad("env: %s* belongs to the hub and never reaches an agent: %s", hubPrefix, key)
		case hasNUL(value):
			bad("env: the value of %s has a NUL byte", key)
		}
	}
	for _, pattern := range p.InheritEnv {
		switch {
		case !envPattern.MatchString(pattern):
			bad("inheritEnv: %q is neither a variable's name nor a prefix with '*'", pattern)
		case isHubVariable(pattern):
			bad("inheritEnv: %s* belongs to the hub and never reaches an agent: %s", hubPrefix, pattern)
		}
	}
	if len(p.AuthMethod) > maxAuthMethodID || strings.ContainsFunc(p.AuthMethod, unicode.IsControl) {
		bad("authMethod: has control characters, or more than %d bytes", maxAuthMethodID)
	}
	errs = append(errs, p.validateModes(name)...)
	errs = append(errs, p.validateLooks(name)...)
	errs = append(errs, p.validateMCP(name)...)
	switch p.Resume {
	case ResumeAuto, ResumeLoad, ResumeSession, ResumeNone:
	default:
		bad("resume: %q is none of load, resume, none", p.Resume)
	}
	if p.StartTimeout < 0 || p.StartTimeout > maxStartTimeout {
		bad("startTimeout: %s is not between 0 and %s", p.StartTimeout, maxStartTimeout)
	}
	return errs
}

// validateModes names every bad value of the modes.
func (p Provider) validateModes(name string) []error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("provider %q: "+format, append([]any{name}, args...)...))
	}
	for _, list := range []struct {
		name  string
		modes []string
	}{{"askingModes", p.AskingModes}, {"allowedModes", p.AllowedModes}} {
		for i, mode := range list.modes {
			if !usableID(mode) {
				bad("%s[%d]: a mode has 1 to %d bytes and no control characters", list.name, i, protocol.MaxNameBytes)
			}
		}
	}
	for _, mode := range p.AllowedModes {
		if slices.Contains(p.AskingModes, mode) {
			bad("allowedModes: %q is in askingModes too; a mode asks or it does not", mode)
		}
	}
	if p.Mode != "" && len(p.AskingModes) > 0 && !slices.Contains(p.AskingModes, p.Mode) && !slices.Contains(p.AllowedModes, p.Mode) {
		bad("mode: %q is in neither askingModes nor allowedModes", p.Mode)
	}
	return errs
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// LoadProviders reads a providers file: a YAML (or JSON) mapping from names to providers.
// Its error names every bad value, with its line.
func LoadProviders(path string) (map[string]Provider, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read providers file: %w", err)
	}
	if info.Size() > maxProvidersFile {
		return nil, fmt.Errorf("read providers file %s: %d bytes is more than %d", path, info.Size(), maxProvidersFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read providers file: %w", err)
	}
	providers, err := ParseProviders(data)
	if err != nil {
		return nil, fmt.Errorf("providers file %s: %w", path, err)
	}
	return providers, nil
}

// ParseProviders is LoadProviders on bytes.
func ParseProviders(data []byte) (map[string]Provider, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	providers := make(map[string]Provider)
	if doc.Kind == 0 || len(doc.Content) == 0 {
		return providers, nil // an empty file
	}
	root := deref(doc.Content[0])
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return providers, nil
	}
	r := &providerReader{}
	r.mapping(root, "the file", func(key string, value *yaml.Node) {
		if _, twice := providers[key]; twice {
			r.bad(value, "provider %q: named twice", key)
			return
		}
		before := len(r.errs)
		p := r.provider(key, value)
		providers[key] = p
		if len(r.errs) == before { // one complaint is enough for a value that could not be read
			for _, err := range p.validate(key) {
				r.errs = append(r.errs, fmt.Errorf("line %d: %w", value.Line, err))
			}
		}
	})
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return providers, nil
}

// providerReader reads the YAML node by node. yaml's own decoding into structs stops at the
// first provider with an unknown field.
type providerReader struct {
	errs []error
}

func (r *providerReader) bad(n *yaml.Node, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("line %d: %s", n.Line, fmt.Sprintf(format, args...)))
}

// deref follows an alias. The reader goes three levels deep, so aliases of aliases cannot
// make it long.
func deref(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

func (r *providerReader) mapping(n *yaml.Node, what string, each func(key string, value *yaml.Node)) {
	n = deref(n)
	if n.Kind != yaml.MappingNode {
		r.bad(n, "%s: not a mapping of names to values", what)
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := deref(n.Content[i])
		if key.Kind != yaml.ScalarNode {
			r.bad(key, "%s: a key is not a plain word", what)
			continue
		}
		each(key.Value, deref(n.Content[i+1]))
	}
}

func (r *providerReader) provider(name string, n *yaml.Node) Provider {
	var p Provider
	r.mapping(n, fmt.Sprintf("provider %q", name), func(key string, value *yaml.Node) {
		what := fmt.Sprintf("provider %q: %s", name, key)
		switch key {
		case "command":
			p.Command = r.text(value, what)
		case "args":
			p.Args = r.list(value, what)
		case "env":
			p.Env = make(map[string]string)
			r.mapping(value, what, func(variable string, v *yaml.Node) {
				p.Env[variable] = r.text(v, what+": "+variable)
			})
		case "inheritEnv":
			p.InheritEnv = r.list(value, what)
		case "mode":
			p.Mode = r.text(value, what)
		case "model":
			p.Model = r.text(value, what)
		case "askingModes":
			p.AskingModes = r.list(value, what)
		case "allowedModes":
			p.AllowedModes = r.list(value, what)
		case "authMethod":
			p.AuthMethod = r.text(value, what)
		case "resume":
			p.Resume = Resume(r.text(value, what))
		case "volatileInput":
			p.VolatileInput = r.list(value, what)
		case "usage":
			switch counts := r.text(value, what); counts {
			case "turn":
			case "session":
				p.UsageTotals = true
			default:
				r.bad(value, "%s: %q is neither turn nor session", what, counts)
			}
		case "mcpServers":
			p.MCPServers = r.mcpServers(value, what)
		case "sessionMCP":
			p.SessionMCP = protocol.SessionMCP(r.text(value, what))
		case "title":
			p.Title = r.text(value, what)
		case "description":
			p.Description = r.text(value, what)
		case "icon":
			p.Icon = r.text(value, what)
		case "startTimeout":
			text := r.text(value, what)
			d, err := time.ParseDuration(text)
			if err != nil {
				r.bad(value, "%s: %q is no duration such as 90s", what, text)
			}
			p.StartTimeout = d
		default:
			r.bad(value, "%s: unknown; known are command, args, env, inheritEnv, authMethod, mode, askingModes, allowedModes, model, resume, volatileInput, usage, startTimeout, mcpServers, sessionMCP, title, description, icon", what)
		}
	})
	return p
}

// text takes any scalar as it is written: `PORT: 8080` is the text 8080.
func (r *providerReader) text(n *yaml.Node, what string) string {
	n = deref(n)
	if n.Kind != yaml.ScalarNode {
		r.bad(n, "%s: not a text", what)
		return ""
	}
	if n.Tag == "!!null" {
		return ""
	}
	return n.Value
}

func (r *providerReader) list(n *yaml.Node, what string) []string {
	n = deref(n)
	if n.Kind != yaml.SequenceNode {
		r.bad(n, "%s: not a list", what)
		return nil
	}
	items := make([]string, 0, len(n.Content))
	for i, item := range n.Content {
		items = append(items, r.text(item, fmt.Sprintf("%s[%d]", what, i)))
	}
	return items
}
