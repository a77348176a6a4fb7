package worker

import (
	"maps"
	"slices"
	"strings"
)

// hubPrefix begins the hub's own variables. Some hold secrets, so none of them
// reaches an agent, whatever a provider asks for.
const hubPrefix = "SESSIONHUB_"

// defaultEnv is the part of the worker's environment that every agent gets. A program needs
// these variables to run at all, and they are no likely secrets.
var defaultEnv = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TERM", "TZ", "TMPDIR",
	"SSL_CERT_FILE", "SSL_CERT_DIR",
}

func isHubVariable(name string) bool {
	return strings.HasPrefix(strings.ToUpper(name), hubPrefix)
}

// agentEnv builds an agent's environment from the worker's own, in the form of os.Environ.
// First come the variables of the allow-list, then those that the provider inherits, then
// those that it sets.
func agentEnv(p Provider, own []string) []string {
	env := make(map[string]string)
	for _, entry := range own {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || isHubVariable(name) {
			continue
		}
		if matchesAny(defaultEnv, name) || matchesAny(p.InheritEnv, name) {
			env[name] = value
		}
	}
	for name, value := range p.Env {
		if !isHubVariable(name) {
			env[name] = value
		}
	}
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

func matchesAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		} else if pattern == name {
			return true
		}
	}
	return false
}
