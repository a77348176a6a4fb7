package config

import (
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"
)

// change is a setting's text and what it does.
type change struct {
	text string
	set  func(*Serve)
}

// changed has another value than the default for every setting; that the
// table, the struct and this list agree is what TestEverySetting is
// for. It adds what needs a file.
var changed = map[string]change{
	"listen":                      {"localhost:1", func(s *Serve) { s.Listen = "localhost:1" }},
	"admin-listen":                {"0.0.0.0:0", func(s *Serve) { s.AdminListen = "0.0.0.0:0" }},
	"public-url":                  {"https://hub.example.com/x/", func(s *Serve) { s.PublicURL = "https://hub.example.com/x" }},
	"allowed-origins":             {"https://a.example, https://*.b.example,", func(s *Serve) { s.AllowedOrigins = []string{"https://a.example", "https://*.b.example"} }},
	"trusted-proxies":             {"10.0.0.0/8, ::1", func(s *Serve) { s.TrustedProxies = []string{"10.0.0.0/8", "::1"} }},
	"allow-anonymous":             {"true", func(s *Serve) { s.AllowAnonymous = true }},
	"valkey-url":                  {"redis://store.example:6379/3", func(s *Serve) { s.ValkeyURL = "redis://store.example:6379/3" }},
	"worker":                      {"none", func(s *Serve) { s.Worker = WorkerNone }},
	"worker-capacity":             {"3", func(s *Serve) { s.WorkerCapacity = 3 }},
	"worker-buffer":               {"64KiB", func(s *Serve) { s.WorkerBuffer = 65536 }},
	"workspace-root":              {"/w", func(s *Serve) { s.WorkspaceRoot = "/w" }},
	"providers-file":              {"p.yaml", func(s *Serve) { s.ProvidersFile = "p.yaml" }},
	"default-provider":            {"codex", func(s *Serve) { s.DefaultProvider = "codex" }},
	"turn-timeout":                {"45m", func(s *Serve) { s.TurnTimeout = 45 * time.Minute }},
	"agent-idle":                  {"90s", func(s *Serve) { s.AgentIdle = 90 * time.Second }},
	"max-sessions-per-user":       {"6", func(s *Serve) { s.MaxSessionsPerUser = 6 }},
	"max-connections-per-user":    {"8", func(s *Serve) { s.MaxConnectionsPerUser = 8 }},
	"rate-messages":               {"0.5/s:3", func(s *Serve) { s.RateMessages = Rate{0.5, 3} }},
	"rate-sessions":               {"9/s:9", func(s *Serve) { s.RateSessions = Rate{9, 9} }},
	"max-connections":             {"5000", func(s *Serve) { s.MaxConnections = 5000 }},
	"max-connections-per-session": {"7", func(s *Serve) { s.MaxConnectionsPerSession = 7 }},
	"max-queued-messages":         {"1", func(s *Serve) { s.MaxQueuedMessages = 1 }},
	"max-message-bytes":           {"1000", func(s *Serve) { s.MaxMessageBytes = 1000 }},
	"max-event-bytes":             {"2 MiB", func(s *Serve) { s.MaxEventBytes = 2 << 20 }},
	"log-max-events":              {"50", func(s *Serve) { s.LogMaxEvents = 50 }},
	"log-max-bytes":               {"1GiB", func(s *Serve) { s.LogMaxBytes = 1 << 30 }},
	"write-timeout":               {"500ms", func(s *Serve) { s.WriteTimeout = 500 * time.Millisecond }},
	"session-idle-ttl":            {"1h30m", func(s *Serve) { s.SessionIdleTTL = 90 * time.Minute }},
	"approval-timeout":            {"5m", func(s *Serve) { s.ApprovalTimeout = 5 * time.Minute }},
	"token-ttl":                   {"1h", func(s *Serve) { s.TokenTTL = time.Hour }},
	"drain-timeout":               {"0", func(s *Serve) { s.DrainTimeout = 0 }},
	"worker-lease":                {"20s", func(s *Serve) { s.WorkerLease = 20 * time.Second }},
	"log-format":                  {"json", func(s *Serve) { s.LogFormat = LogJSON }},
	"log-level":                   {"debug", func(s *Serve) { s.LogLevel = slog.LevelDebug }},
}

// TestEverySetting goes through flag, variable and file with each line of the
// table.
func TestEverySetting(t *testing.T) {
	all := Default()
	var args []string
	d := Default()
	// The file must be there, and stands for --valkey-url.
	urlFile := writeFile(t, "redis://store.example:6379/3")
	cases := maps.Clone(changed)
	cases["valkey-url-file"] = change{urlFile, func(s *Serve) {
		s.ValkeyURL, s.ValkeyURLFile = "redis://store.example:6379/3", urlFile
	}}
	secret := env{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)} // --valkey-url wants one
	for _, row := range d.settings() {
		if row.name == configName {
			continue
		}
		c, ok := cases[row.name]
		if !ok {
			t.Errorf("%s is not tested", row.name)
			continue
		}
		want := Default()
		c.set(&want)
		c.set(&all)
		if reflect.DeepEqual(want, Default()) {
			t.Errorf("%s: the test sets the default", row.name)
		}
		file := writeFile(t, row.name+": "+c.text)
		for source, parse := range map[string]func() (Serve, error){
			"--x=value": func() (Serve, error) { return Parse([]string{"--" + row.name + "=" + c.text}, secret.lookup) },
			"variable":  func() (Serve, error) { return Parse(nil, secret.with(variable(row.name), c.text).lookup) },
			"file":      func() (Serve, error) { return Parse([]string{"--config", file}, secret.lookup) },
		} {
			got, err := parse()
			got.ConfigFile, got.TokenSecret = "", Secret{}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s from %s: %+v, %v", row.name, source, got, err)
			}
		}
		switch {
		case row.name == "valkey-url": // not beside its file
		case row.value.isSwitch():
			args = append(args, "--"+row.name)
		default:
			args = append(args, "--"+row.name, c.text)
		}
	}
	if len(cases) != len(d.settings())-1 {
		t.Errorf("%d settings are tested, the table has %d and config", len(cases), len(d.settings())-1)
	}
	got, err := Parse(args, secret.lookup)
	got.TokenSecret = Secret{}
	if err != nil || !reflect.DeepEqual(got, all) {
		t.Errorf("all flags at once: %+v, %v; want %+v", got, err, all)
	}
}
