package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// env is an environment.
type env map[string]string

func (e env) lookup(name string) (string, bool) {
	v, ok := e[name]
	return v, ok
}

func (e env) with(name, value string) env {
	e = maps.Clone(e)
	e[name] = value
	return e
}

// problems checks that err is an *Error with so many problems.
func problems(t *testing.T, err error, n int) []Problem {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v (%T) is no *Error", err, err)
	}
	if len(e.Problems) != n || strings.Count(err.Error(), "\n") != n-1 {
		t.Errorf("%d problems, want %d:\n%v", len(e.Problems), n, err)
	}
	return e.Problems
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sessionhub.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNothingGivenIsDefault(t *testing.T) {
	s, err := Parse(nil, env{}.lookup)
	if err != nil || !reflect.DeepEqual(s, Default()) {
		t.Errorf("%+v, %v", s, err)
	}
}

// TestEveryFieldHasASetting: a field that nothing can set is a mistake.
func TestEveryFieldHasASetting(t *testing.T) {
	s := Default()
	v := reflect.ValueOf(&s).Elem()
	derived := 1 // DefaultProviderSaid
	if n := len(s.settings()) + len(s.secrets()); n != v.NumField()-derived {
		t.Errorf("%d settings for %d fields", n, v.NumField()-derived)
	}
}

// TestTableIsInOrder: names are flags in the usual form, once each, every
// default is allowed and reads back as itself, and groups stand together.
func TestTableIsInOrder(t *testing.T) {
	s := Default()
	seen, groups := map[string]bool{}, []string{}
	for _, row := range s.settings() {
		if seen[row.name] || strings.Trim(row.name, "abcdefghijklmnopqrstuvwxyz-") != "" || row.help == "" {
			t.Errorf("%q: its name or help", row.name)
		}
		seen[row.name] = true
		if !slices.Contains(groups, row.group) {
			groups = append(groups, row.group)
		} else if groups[len(groups)-1] != row.group {
			t.Errorf("%s stands apart from its group", row.name)
		}
		if text := row.value.String(); text != "" {
			if err := row.value.set(text); err != nil {
				t.Errorf("%s: its default: %v", row.name, err)
			}
		}
	}
	if !reflect.DeepEqual(s, Default()) {
		t.Errorf("the defaults read back as %+v", s)
	}
}

func TestFlagWinsOverVariableOverFileOverDefault(t *testing.T) {
	file := writeFile(t, "worker-capacity: 2\nlog-max-events: 2\nmax-connections: 2\n")
	s, err := Parse([]string{"--worker-capacity", "3", "--worker-capacity=4"},
		env{"SESSIONHUB_CONFIG": file, "SESSIONHUB_WORKER_CAPACITY": "3", "SESSIONHUB_LOG_MAX_EVENTS": "3"}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	if s.WorkerCapacity != 4 || s.LogMaxEvents != 3 || s.MaxConnections != 2 || s.MaxQueuedMessages != 32 {
		t.Errorf("%+v", s)
	}
	// A flag takes the place of the file that the variable names.
	s, err = Parse([]string{"--config", writeFile(t, "worker-capacity: 9")}, env{"SESSIONHUB_CONFIG": file}.lookup)
	if err != nil || s.WorkerCapacity != 9 || s.MaxConnections != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	// An empty variable is none; an empty flag is empty.
	s, err = Parse([]string{"--providers-file="}, env{"SESSIONHUB_WORKER": "", "SESSIONHUB_PROVIDERS_FILE": "x"}.lookup)
	if err != nil || s.Worker != WorkerEmbedded || s.ProvidersFile != "" {
		t.Errorf("%+v, %v", s, err)
	}
	// A switch can be taken back.
	s, err = Parse([]string{"--allow-anonymous=false"}, env{"SESSIONHUB_ALLOW_ANONYMOUS": "true"}.lookup)
	if err != nil || s.AllowAnonymous {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestAllBadValuesAreNamedAtOnce(t *testing.T) {
	file := writeFile(t, "# settings\nlog-max-events: many\nlog-levle: debug\nworker: [a]\n")
	s, err := Parse([]string{"--worker-capacity", "x", "--drain-timeout=30", "extra", "--lisen", ":80", "--max-connections"},
		env{"SESSIONHUB_CONFIG": file, "SESSIONHUB_MAX_EVENT_BYTES": "1MB", "SESSIONHUB_LOG_FORMAT": "json"}.lookup)
	got := problems(t, err, 9)
	want := []string{
		`command line: unexpected argument "extra": want flags only; see --help`,
		`--lisen: unknown flag: did you mean --listen?`,
		`--max-connections: has no value: want a whole number from 0 to 10000000`,
		file + `:2: log-max-events: "many" is no whole number: want a whole number from 0 to 100000000`,
		file + `:3: log-levle: unknown key: did you mean log-level?`,
		file + `:4: worker: is no plain value: want embedded or none`,
		`SESSIONHUB_MAX_EVENT_BYTES: "1MB" is no size: want bytes from 1KiB to 64MiB, as a number or with KiB, MiB or GiB`,
		`--worker-capacity: "x" is no whole number: want a whole number from 1 to 100000`,
		`--drain-timeout: "30" has no unit: want a duration from 0s to 24h, such as 500ms, 10s, 5m or 24h`,
	}
	for i := range min(len(got), len(want)) {
		if got[i].String() != want[i] {
			t.Errorf("problem %d is\n%s\nwant\n%s", i, got[i], want[i])
		}
	}
	if s.LogFormat != LogJSON || s.WorkerCapacity != 8 {
		t.Errorf("what is right is not there beside the error: %+v", s)
	}
}

func TestBadValues(t *testing.T) {
	for name, texts := range map[string][]string{
		"listen":               {"", "8080", "localhost", "localhost:http", ":65536", ":-1", "a b:80", "::1:80", "http://x:80"},
		"public-url":           {"hub.example.com", "ftp://x", "https://", "https://u:p@x", "https://x?y", "https://x/?", "https://x#y", "://"},
		"allow-anonymous":      {"", "yes", "maybe"},
		"worker":               {"", "Embedded", "remote"},
		"worker-capacity":      {"", "0", "-1", "1.5", "100001", "99999999999999999999"},
		"worker-buffer":        {"", "1KiB", "5GiB", "-8MiB"},
		"max-event-bytes":      {"0", "1023", "65MiB"},
		"max-attachment-bytes": {"0", "1023", "257MiB"},
		"agent-idle":           {"", "0", "-1s", "99ms", "10", "10 s", "1d", "9000h"},
		"drain-timeout":        {"-1s", "25h"},
		"token-ttl":            {"999ms"},
		"log-format":           {"", "xml"},
		"log-level":            {"", "trace", "INFO"},
		"workspace-root":       {"", "a\x00b"},
		"worktrees":            {"a\x00b"},
		"default-provider":     {"", "a\nb"},

		"agent-children-idle": {"", "0", "-1s", "10"},
	} {
		for _, text := range texts {
			s, err := Parse([]string{"--" + name + "=" + text}, env{}.lookup)
			got := problems(t, err, 1)
			if got[0].Source != "--"+name || !strings.Contains(got[0].Detail, ": want ") {
				t.Errorf("--%s=%q: %s", name, text, got[0])
			}
			if !reflect.DeepEqual(s, Default()) {
				t.Errorf("--%s=%q changed something: %+v", name, text, s)
			}
		}
	}
}

// Nodes that share a store take each other's tokens: a secret of its own for each
// would refuse them at random.
func TestSharedStoreWantsASharedSecret(t *testing.T) {
	_, err := Parse([]string{"--valkey-url", "redis://user:hunter2@store.example"}, env{}.lookup)
	if got := problems(t, err, 1); got[0].Source != "SESSIONHUB_TOKEN_SECRET" || strings.Contains(got[0].Detail, "hunter2") {
		t.Errorf("%s", got[0])
	}
}

func TestMistypedFlags(t *testing.T) {
	for arg, want := range map[string]string{
		"--log_level=info":     "--log_level: unknown flag: did you mean --log-level?",
		"--Listen=:1":          "--Listen: unknown flag: did you mean --listen?",
		"--max-connection=1":   "--max-connection: unknown flag: did you mean --max-connections?",
		"--frobnicate":         "--frobnicate: unknown flag: see --help for all settings",
		"-listen=:1":           `command line: unknown flag "-listen": did you mean --listen?`,
		"-v":                   `command line: unknown flag "-v": flags begin with --; see --help`,
		"-":                    `command line: unexpected argument "-": want flags only; see --help`,
		"serve":                `command line: unexpected argument "serve": want flags only; see --help`,
		"--\x1b[31m\n=x":       "--\ufffd[31m\ufffd: unknown flag: see --help for all settings",
		"--valkeyurl=redis://": "--valkeyurl: unknown flag: did you mean --valkey-url?",
	} {
		_, err := Parse([]string{arg}, env{}.lookup)
		if got := problems(t, err, 1); got[0].String() != want {
			t.Errorf("%q:\n%s\nwant\n%s", arg, got[0], want)
		}
	}
	if _, err := Parse([]string{"--"}, env{}.lookup); err != nil {
		t.Errorf("a -- with nothing behind it: %v", err)
	}
	_, err := Parse([]string{"--", "--listen", ":1"}, env{}.lookup)
	problems(t, err, 2)
	// A value may look like a short flag, not like a long one.
	_, err = Parse([]string{"--listen", "--worker", "none"}, env{}.lookup)
	if got := problems(t, err, 1); got[0].Source != "--listen" {
		t.Errorf("%v", err)
	}
	_, err = Parse([]string{"--worker-capacity", "-5"}, env{}.lookup)
	problems(t, err, 1)
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"-h"}, {"--help"}, {"--worker", "bad", "--nope", "-h"}} {
		if _, err := Parse(args, env{}.lookup); !errors.Is(err, ErrHelp) {
			t.Errorf("%q: %v, want ErrHelp", args, err)
		}
	}
	// As a flag's value or behind -- it is none.
	if s, err := Parse([]string{"--workspace-root", "-h"}, env{}.lookup); err != nil || s.WorkspaceRoot != "-h" {
		t.Errorf("%+v, %v", s, err)
	}

	var out strings.Builder
	if err := Usage(&out); err != nil {
		t.Fatal(err)
	}
	s := Default()
	for _, row := range s.settings() {
		for _, want := range []string{"\n  --" + row.name, row.help, "(" + variable(row.name)} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the help does not say %q", want)
			}
		}
		if text := row.value.String(); text != "" && !strings.Contains(out.String(), variable(row.name)+", default "+text+")") {
			t.Errorf("the help does not say that %s is %s", row.name, text)
		}
	}
	for _, want := range []string{"SESSIONHUB_API_KEY or SESSIONHUB_API_KEY_FILE", "SESSIONHUB_WORKER_KEYS_FILE", "default 24h)", "default 8MiB)", "--worker embedded|none"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the help does not say %q", want)
		}
	}
	boom := errors.New("boom")
	if err := Usage(brokenWriter{boom}); !errors.Is(err, boom) {
		t.Errorf("a writer that fails: %v", err)
	}
}

type brokenWriter struct{ err error }

func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

// TestListenBeyondThisMachineNeedsAKey is the contract's section 2.
func TestListenBeyondThisMachineNeedsAKey(t *testing.T) {
	key := env{"SESSIONHUB_API_KEY": "k"}
	file := env{"SESSIONHUB_API_KEYS_FILE": "keys"}
	for _, c := range []struct {
		listen    string
		env       env
		args      []string
		ok, local bool
	}{
		{"127.0.0.1:0", env{}, nil, true, true},
		{"127.9.9.9:80", env{}, nil, true, true},
		{"localhost:80", env{}, nil, true, true},
		{"[::1]:80", env{}, nil, true, true},
		{"127.0.0.1:0", key, nil, true, false},
		{"127.0.0.1:0", file, nil, true, false},
		{":80", env{}, nil, false, false},
		{"0.0.0.0:80", env{}, nil, false, false},
		{"[::]:80", env{}, nil, false, false},
		{"10.0.0.1:80", env{}, nil, false, false},
		{"hub.localhost:80", env{}, nil, false, false},
		{"hub:80", env{}, nil, false, false},
		{"hub:80", env{"SESSIONHUB_WORKER_KEY": "k"}, nil, false, false},
		{"0.0.0.0:80", key, nil, true, false},
		{"0.0.0.0:80", file, nil, true, false},
		{"0.0.0.0:80", env{}, []string{"--allow-anonymous"}, true, false},
	} {
		s, err := Parse(append(c.args, "--listen", c.listen), c.env.lookup)
		if (err == nil) != c.ok || (c.ok && s.LocalMode() != c.local) {
			t.Errorf("%s %v %v: %v, local %v", c.listen, c.env, c.args, err, s.LocalMode())
		}
		if err != nil && !strings.Contains(err.Error(), "--listen: ") {
			t.Errorf("%v", err)
		}
	}
}

func TestTwoListenersNeedTwoAddresses(t *testing.T) {
	_, err := Parse([]string{"--admin-listen", "127.0.0.1:8080"}, env{}.lookup)
	problems(t, err, 1)
	if _, err := Parse([]string{"--admin-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"}, env{}.lookup); err != nil {
		t.Errorf("two free ports: %v", err)
	}
}

func TestFile(t *testing.T) {
	s, err := Parse([]string{"--config", writeFile(t, `
# comment
listen: 127.0.0.1:9
"worker-capacity": '4'
allow-anonymous: true
log-max-bytes: 2097152
allowed-origins:
  - https://a.example
  - https://*.b.example
`)}, env{}.lookup)
	if err != nil {
		t.Fatal(err)
	}
	if s.Listen != "127.0.0.1:9" || s.WorkerCapacity != 4 || !s.AllowAnonymous || s.LogMaxBytes != 2<<20 ||
		!slices.Equal(s.AllowedOrigins, []string{"https://a.example", "https://*.b.example"}) {
		t.Errorf("%+v", s)
	}
	for _, text := range []string{"", "\n", "# nothing\n", "---\n", "null\n", "{}\n"} {
		if _, err := Parse([]string{"--config", writeFile(t, text)}, env{}.lookup); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestBadFile(t *testing.T) {
	for text, want := range map[string]string{
		"worker: none\nworker: none\n":       ":2: worker: is set in line 1 too: want it once",
		"worker:\n":                          ":1: worker: has no value: want embedded or none",
		"config: x\n":                        ":1: config: cannot stand in the file: want --config or SESSIONHUB_CONFIG",
		"- worker\n":                         ":1: want lines of name: value",
		"worker\n":                           ":1: want lines of name: value",
		"a: &a none\n":                       ":1: a: unknown key: see --help for all settings",
		"listen: &a :1\nadmin-listen: *a\n":  ":2: admin-listen: is no plain value",
		"? [a]\n: x\n":                       ":1: want the name of a setting before the colon",
		"worker: none\n---\nworker: none\n":  ": want one YAML document",
		"worker: none\n\tx: y\n":             ": want YAML: ",
		"worker: 'none\n":                    ": want YAML: ",
		"allowed-origins: [[a]]\n":           ":1: allowed-origins: line 1 is no plain value",
		"allowed-origins: {a: b}\n":          ":1: allowed-origins: is no plain value",
		"worker_capacity: 3\n":               ":1: worker_capacity: unknown key: did you mean worker-capacity?",
		"token-secret: x\n":                  ":1: token-secret: is not a key, since others could read it there: want it in the environment as SESSIONHUB_TOKEN_SECRET or SESSIONHUB_TOKEN_SECRET_FILE",
		strings.Repeat("#", maxFile) + "#\n": "is larger than 1MiB",
	} {
		path := writeFile(t, text)
		_, err := Parse([]string{"--config", path, "--allow-anonymous"}, env{}.lookup)
		if got := problems(t, err, 1); !strings.Contains(got[0].String(), want) {
			t.Errorf("%.40q: %s\nwant it to say %s", text, got[0], want)
		}
	}
	_, err := Parse(nil, env{"SESSIONHUB_CONFIG": filepath.Join(t.TempDir(), "none")}.lookup)
	if got := problems(t, err, 1); got[0].Source != "SESSIONHUB_CONFIG" || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

// FuzzFile: whatever the file holds, the answer is settings or an *Error whose
// problems are one line each.
func FuzzFile(f *testing.F) {
	f.Add("worker: none\nallowed-origins: [a, b]\n")
	f.Add("a: &a [*a]\n<<: *a")
	f.Add("? {}\n: !!binary x\n--- \n...")
	path := filepath.Join(f.TempDir(), "c.yaml")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Parse([]string{"--config", path}, env{}.lookup)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%T: %v", err, err)
		}
		if e != nil && len(e.Problems) == 0 {
			t.Fatal("an error without a problem")
		}
		if e != nil && strings.Count(err.Error(), "\n") != len(e.Problems)-1 {
			t.Fatalf("%d problems in other than so many lines:\n%v", len(e.Problems), err)
		}
	})
}

func FuzzFlags(f *testing.F) {
	f.Add("--listen", ":80", "--worker=none")
	f.Add("--api-key", "-", "--")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		s, err := Parse([]string{a, b, c}, env{}.lookup)
		var e *Error
		if err != nil && !errors.Is(err, ErrHelp) && !errors.As(err, &e) {
			t.Fatalf("%T: %v", err, err)
		}
		if err == nil && s.WorkerCapacity < 1 {
			t.Fatal(fmt.Sprint("bad settings passed: ", s))
		}
	})
}
