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
	"listen":                           {"localhost:1", func(s *Serve) { s.Listen = "localhost:1" }},
	"admin-listen":                     {"0.0.0.0:0", func(s *Serve) { s.AdminListen = "0.0.0.0:0" }},
	"admin-hosts":                      {"node1, *.pods.example,", func(s *Serve) { s.AdminHosts = []string{"node1", "*.pods.example"} }},
	"public-url":                       {"https://hub.example.com/x/", func(s *Serve) { s.PublicURL = "https://hub.example.com/x" }},
	"allowed-origins":                  {"https://a.example, https://*.b.example,", func(s *Serve) { s.AllowedOrigins = []string{"https://a.example", "https://*.b.example"} }},
	"trusted-proxies":                  {"10.0.0.0/8, ::1", func(s *Serve) { s.TrustedProxies = []string{"10.0.0.0/8", "::1"} }},
	"allow-anonymous":                  {"true", func(s *Serve) { s.AllowAnonymous = true }},
	"data-dir":                         {"/var/lib/sessionhub", func(s *Serve) { s.DataDir = "/var/lib/sessionhub" }},
	"valkey-url":                       {"redis://store.example:6379/3", func(s *Serve) { s.ValkeyURL = "redis://store.example:6379/3" }},
	"worker":                           {"none", func(s *Serve) { s.Worker = WorkerNone }},
	"worker-capacity":                  {"3", func(s *Serve) { s.WorkerCapacity = 3 }},
	"worker-buffer":                    {"64KiB", func(s *Serve) { s.WorkerBuffer = 65536 }},
	"share-agent-sessions":             {"true", func(s *Serve) { s.ShareAgentSessions = true }},
	"workspace-root":                   {"/w", func(s *Serve) { s.WorkspaceRoot = "/w" }},
	"providers-file":                   {"p.yaml", func(s *Serve) { s.ProvidersFile = "p.yaml" }},
	"default-provider":                 {"codex", func(s *Serve) { s.DefaultProvider, s.DefaultProviderSaid = "codex", true }},
	"discover-agents":                  {"true", func(s *Serve) { s.DiscoverAgents = ToggleOn }},
	"leave-out-agents":                 {"codex, gemini", func(s *Serve) { s.LeaveOutAgents = []string{"codex", "gemini"} }},
	"turn-timeout":                     {"45m", func(s *Serve) { s.TurnTimeout = 45 * time.Minute }},
	"agent-children-idle":              {"3h", func(s *Serve) { s.ChildrenIdle = 3 * time.Hour }},
	"agent-idle":                       {"90s", func(s *Serve) { s.AgentIdle = 90 * time.Second }},
	"max-sessions-per-user":            {"6", func(s *Serve) { s.MaxSessionsPerUser = 6 }},
	"max-connections-per-user":         {"8", func(s *Serve) { s.MaxConnectionsPerUser = 8 }},
	"rate-messages":                    {"0.5/s:3", func(s *Serve) { s.RateMessages = Rate{0.5, 3} }},
	"rate-sessions":                    {"9/s:9", func(s *Serve) { s.RateSessions = Rate{9, 9} }},
	"max-connections":                  {"5000", func(s *Serve) { s.MaxConnections = 5000 }},
	"max-connections-per-session":      {"7", func(s *Serve) { s.MaxConnectionsPerSession = 7 }},
	"max-subscriptions-per-connection": {"7", func(s *Serve) { s.MaxSubscriptions = 7 }},
	"max-queued-messages":              {"1", func(s *Serve) { s.MaxQueuedMessages = 1 }},
	"max-message-bytes":                {"1000", func(s *Serve) { s.MaxMessageBytes = 1000 }},
	"max-event-bytes":                  {"2 MiB", func(s *Serve) { s.MaxEventBytes = 2 << 20 }},
	"max-attachment-bytes":             {"3MiB", func(s *Serve) { s.MaxAttachmentBytes = 3 << 20 }},
	"max-attachments-bytes":            {"1GiB", func(s *Serve) { s.MaxAttachmentsBytes = 1 << 30 }},
	"log-max-events":                   {"50", func(s *Serve) { s.LogMaxEvents = 50 }},
	"log-max-bytes":                    {"1GiB", func(s *Serve) { s.LogMaxBytes = 1 << 30 }},
	"data-max-bytes":                   {"20GiB", func(s *Serve) { s.DataMaxBytes = 20 << 30 }},
	"data-max-sessions":                {"7", func(s *Serve) { s.DataMaxSessions = 7 }},
	"compact-after":                    {"5s", func(s *Serve) { s.CompactAfter = 5 * time.Second }},
	"write-timeout":                    {"500ms", func(s *Serve) { s.WriteTimeout = 500 * time.Millisecond }},
	"drain-delay":                      {"3s", func(s *Serve) { s.DrainDelay = 3 * time.Second }},
	"sse-max-age":                      {"1h", func(s *Serve) { s.SSEMaxAge = time.Hour }},
	"session-idle-ttl":                 {"1h30m", func(s *Serve) { s.SessionIdleTTL = 90 * time.Minute }},
	"approval-timeout":                 {"5m", func(s *Serve) { s.ApprovalTimeout = 5 * time.Minute }},
	"sign-in-ttl":                      {"2h", func(s *Serve) { s.SignInTTL = 2 * time.Hour }},
	"token-ttl":                        {"1h", func(s *Serve) { s.TokenTTL = time.Hour }},
	"drain-timeout":                    {"0", func(s *Serve) { s.DrainTimeout = 0 }},
	"worker-lease":                     {"20s", func(s *Serve) { s.WorkerLease = 20 * time.Second }},
	"log-format":                       {"json", func(s *Serve) { s.LogFormat = LogJSON }},
	"log-level":                        {"debug", func(s *Serve) { s.LogLevel = slog.LevelDebug }},
	"worktrees":                        {"/t", func(s *Serve) { s.Worktrees = "/t" }},
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
		if want.DataDir != "" {
			want.SessionIdleTTL = diskIdleTTL
		}
		if row.name != "data-dir" { // not beside a Valkey
			c.set(&all)
		}
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
		case row.name == "data-dir":
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

// A node keeps its sessions in one place. On a disk they may sleep for longer.
func TestDataDir(t *testing.T) {
	secret := env{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)}
	_, err := Parse([]string{"--data-dir", "d", "--valkey-url", "redis://store.example"}, secret.lookup)
	if err == nil || !strings.Contains(err.Error(), "--data-dir: with --valkey-url sessions are kept there") {
		t.Errorf("beside a Valkey: %v", err)
	}
	for flags, want := range map[string]time.Duration{
		"":                                   24 * time.Hour,
		"--data-dir=d":                       30 * 24 * time.Hour,
		"--data-dir=d --session-idle-ttl=2h": 2 * time.Hour,
		"--session-idle-ttl=2h":              2 * time.Hour,
		"--valkey-url=redis://store.example": 24 * time.Hour,
	} {
		s, err := Parse(strings.Fields(flags), secret.lookup)
		if err != nil || s.SessionIdleTTL != want {
			t.Errorf("%q: %s, %v; want %s", flags, s.SessionIdleTTL, err, want)
		}
	}
}
