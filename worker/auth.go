package worker

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// The types of an authentication method (ACP, "Authentication"). A method without a type
// counts as authAgent.
const (
	authAgent    = "agent"    // the agent does it itself, and may ask people meanwhile
	authEnvVar   = "env_var"  // the agent reads variables of its environment
	authTerminal = "terminal" // people log in by the agent's program, in a terminal
)

// Limits of an agent's authentication methods. The worker drops what exceeds them.
const (
	maxAuthMethods  = 16
	maxAuthMethodID = 256
	maxAuthVars     = 8
	maxAuthArgs     = 64
)

// authMethod is a way to log in with an agent.
type authMethod struct {
	ID   string   `json:"id"`
	Name string   `json:"name"`
	Type string   `json:"type"`
	Args []string `json:"args"` // of a terminal

	Description string `json:"description"`

	Env json.RawMessage `json:"env"` // of a terminal: see env

	Vars []struct {
		Name     string `json:"name"`
		Optional bool   `json:"optional"`
	} `json:"vars"`
}

// readAuthMethods reads authMethods of initialize. Methods that cannot be read are left
// out.
func readAuthMethods(raw json.RawMessage) []authMethod {
	var list []json.RawMessage
	_ = json.Unmarshal(raw, &list)
	var methods []authMethod
	for _, item := range list {
		var m authMethod
		if json.Unmarshal(item, &m) != nil || m.ID == "" || len(m.ID) > maxAuthMethodID || len(m.Vars) > maxAuthVars {
			continue
		}
		if methods = append(methods, m); len(methods) == maxAuthMethods {
			break
		}
	}
	return methods
}

// env are the variables of a terminal: a list of {name, value}, or an object in drafts of ACP.
// The hub's own are left out.
func (m authMethod) env() map[string]string {
	var list []struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	env := make(map[string]string)
	if json.Unmarshal(m.Env, &list) != nil {
		_ = json.Unmarshal(m.Env, &env) // what cannot be read is not set
	}
	for _, v := range list {
		env[v.Name] = v.Value
	}
	maps.DeleteFunc(env, func(name, value string) bool {
		return !envName.MatchString(name) || isHubVariable(name) || hasNUL(value)
	})
	return env
}

// authRequired reports whether the agent refuses because it needs a login first.
func authRequired(err error) bool {
	answered, ok := errors.AsType[*rpcError](err)
	return ok && answered.Code == rpcAuthRequired
}

// open calls a method that opens a session. When the agent needs a login, the worker logs
// in once and calls the method again.
func (s *session) open(method string, params any, answer func(result json.RawMessage, err error)) {
	a := s.agent
	s.call(method, params, func(result json.RawMessage, err error) {
		switch {
		case !authRequired(err):
			answer(result, err)
		case a.authenticated:
			s.startRefused(method, err)
		default:
			s.authenticate(method, err, func() { s.open(method, params, answer) })
		}
	})
}

// authenticate calls the method that the provider names, or else the one that needs no
// person: see fittingAuth. If there is none, people are asked. refused is the agent's refusal
// that makes it necessary.
func (s *session) authenticate(method string, refused error, next func()) {
	a := s.agent
	id := s.provider.AuthMethod
	if id == "" {
		id = fittingAuth(a.authMethods, a.spec.Env)
	}
	offered := func(m authMethod) bool { return m.ID == id }
	switch {
	case slices.ContainsFunc(a.authMethods, offered):
		s.callAuthenticate(id, next)
	case id != "" || !s.askLogin(method, refused, next):
		s.startRefused(method, refused)
	}
}

// callAuthenticate has the agent log in by one of its methods.
func (s *session) callAuthenticate(id string, next func()) {
	a := s.agent
	s.log.Info("agent is authenticated", "method", printable(id))
	a.authenticated, a.authenticating = true, id
	s.call("authenticate", map[string]string{"methodId": id}, func(_ json.RawMessage, err error) {
		a.authenticating, a.login = "", false
		if a.ready {
			s.startTimer.Stop()
		}
		if err != nil {
			s.startRefused(fmt.Sprintf("authenticate %q", id), err)
			return
		}
		next()
	})
}

// fittingAuth is the first method whose variables are all in an agent's environment, or
// empty. Other methods may open a browser or wait for a person. An agent on a server does
// so only if its provider names the method.
func fittingAuth(methods []authMethod, env []string) string {
	for _, m := range methods {
		if m.Type != authEnvVar {
			continue
		}
		found, missing := 0, 0
		for _, v := range m.Vars {
			switch {
			case isSet(env, v.Name):
				found++
			case !v.Optional:
				missing++
			}
		}
		if found > 0 && missing == 0 {
			return m.ID
		}
	}
	return ""
}

// isSet reports whether a variable is in an environment and not empty.
func isSet(env []string, name string) bool {
	return slices.ContainsFunc(env, func(entry string) bool {
		key, value, _ := strings.Cut(entry, "=")
		return key == name && value != ""
	})
}

// describe writes an error of the agent for people. If the agent needs a login, it adds the
// methods and what to do. It tells names, never a value.
func (s *session) describe(err error) string {
	if !authRequired(err) {
		return err.Error()
	}
	var b strings.Builder
	b.WriteString(err.Error())
	a := s.agent
	if s.provider.AuthMethod != "" && !a.authenticated {
		fmt.Fprintf(&b, ". The provider's authMethod %q is none of the agent's", s.provider.AuthMethod)
	}
	if len(a.authMethods) == 0 {
		b.WriteString(". The agent names no way to log in: on the worker's machine, log in with the agent's own program as the worker's user, " +
			"or set its key as a variable that the provider lists in inheritEnv")
		return b.String()
	}
	b.WriteString(". The agent offers ")
	for i, m := range a.authMethods {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%q (%s)", printable(m.ID), s.authHint(m))
	}
	b.WriteString(". On the worker's machine, set the variables of one and list them in the provider's inheritEnv, " +
		"or log in with the agent's own program as the worker's user, or name a method in the provider's authMethod")
	return b.String()
}

// authHint names what a method needs.
func (s *session) authHint(m authMethod) string {
	switch m.Type {
	case authEnvVar:
		needs := make([]string, 0, len(m.Vars))
		for _, v := range m.Vars {
			name := printable(clip(v.Name, 100))
			switch {
			case isSet(s.agent.spec.Env, v.Name):
				name += ", which is set"
			case isSet(s.w.cfg.Environ, v.Name):
				name += ", which the worker has but inheritEnv does not list"
			default:
				name += ", which is not set"
			}
			needs = append(needs, name)
		}
		return "needs " + strings.Join(needs, "; ")
	case authTerminal:
		return printable(clip(fmt.Sprintf("run %s with the arguments %q in a terminal", filepath.Base(s.provider.Command), m.Args), 300))
	}
	return printable(clip(m.Name, 100))
}
