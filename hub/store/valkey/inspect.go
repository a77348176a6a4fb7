package valkey

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/valkey-io/valkey-go"
)

// minMajor is the oldest major version: Redis 7.0 brought sharded channels and script
// flags.
const minMajor = 7

// unfitError says why a server must not keep sessions.
type unfitError struct{ server, why string }

func (e *unfitError) Error() string { return "valkey " + e.server + ": " + e.why }

// inspect asks every server that the client knows for its settings. It refuses a server
// whose settings lose sessions. If a setting only weakens what survives a crash, inspect
// logs it.
func inspect(ctx context.Context, client valkey.Client, o Options) error {
	for addr, node := range client.Nodes() {
		call, cancel := context.WithTimeout(ctx, o.CallTimeout)
		answers := node.DoMulti(call, node.B().Info().Section("server", "memory", "persistence").Build(),
			node.B().ConfigGet().Parameter("appendfsync").Build())
		cancel()
		text, err := answers[0].ToString()
		if err != nil {
			return err
		}
		info := parseInfo(text)
		version := info["valkey_version"]
		if version == "" {
			version = info["redis_version"]
		}
		major, _, _ := strings.Cut(version, ".")
		if n, err := strconv.Atoi(major); err != nil || n < minMajor {
			return &unfitError{addr, fmt.Sprintf("version %q: %d or newer is needed", version, minMajor)}
		}
		policy, bounded := info["maxmemory_policy"], info["maxmemory"] != "0"
		switch {
		case policy == "noeviction":
		case bounded && strings.HasPrefix(policy, "allkeys-"):
			return &unfitError{addr, fmt.Sprintf("maxmemory-policy is %s: it would drop sessions when its memory is full; it must be noeviction", policy)}
		default:
			o.Log.Warn("valkey: maxmemory-policy should be noeviction: another one can drop sessions when the memory is full",
				"server", addr, "policy", policy, "maxmemory", info["maxmemory"])
		}
		if info["aof_enabled"] != "1" {
			o.Log.Warn("valkey: appendonly is off: what was acknowledged since its last snapshot is lost when the server crashes", "server", addr)
			continue
		}
		// Some providers do not let it be asked.
		if c, err := answers[1].AsStrMap(); err == nil && c["appendfsync"] != "always" {
			o.Log.Warn("valkey: appendfsync is not always: what was acknowledged last is lost when its machine crashes",
				"server", addr, "appendfsync", c["appendfsync"])
		}
	}
	return nil
}

// parseInfo reads the answer to INFO.
func parseInfo(text string) map[string]string {
	out := make(map[string]string)
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			out[key] = value
		}
	}
	return out
}
