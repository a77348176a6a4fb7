package worker

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestLoadProviders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "providers.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`
# a comment
codex:
  command: codex-acp
  args: [--flag, 7]
  env: {CODEX_HOME: /srv/codex, PORT: 8080}
  inheritEnv: [OPENAI_API_KEY, "CODEX_*"]
  mode: read-only
  model: gpt
  authMethod: openai-api-key
  resume: load
  startTimeout: 90s
plain: {command: /bin/agent}
`)
	got, err := LoadProviders(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Provider{
		"codex": {
			Command: "codex-acp", Args: []string{"--flag", "7"},
			Env:        map[string]string{"CODEX_HOME": "/srv/codex", "PORT": "8080"},
			InheritEnv: []string{"OPENAI_API_KEY", "CODEX_*"},
			AuthMethod: "openai-api-key",
			Mode:       "read-only", Model: "gpt", Resume: ResumeLoad, StartTimeout: 90 * time.Second,
		},
		"plain": {Command: "/bin/agent"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}

	write(`{"json": {"command": "x", "args": ["a"]}}`)
	if got, err := LoadProviders(path); err != nil || got["json"].Args[0] != "a" {
		t.Errorf("JSON: %+v, %v", got, err)
	}
	for _, empty := range []string{"", "# nothing\n", "null\n", "---\n"} {
		write(empty)
		if got, err := LoadProviders(path); err != nil || len(got) != 0 {
			t.Errorf("%q: %+v, %v", empty, got, err)
		}
	}
	write("a: {command: x}\n" + strings.Repeat("#", maxProvidersFile))
	if _, err := LoadProviders(path); err == nil {
		t.Error("a huge file was taken")
	}
	if _, err := LoadProviders(path + ".missing"); err == nil {
		t.Error("a missing file was taken")
	}
}

func TestBadProvidersAreAllNamed(t *testing.T) {
	_, err := ParseProviders([]byte(`
Bad Name: {command: x}
nothing: {}
wrong:
  command: x
  colour: red
  args: not a list
  startTimeout: soon
secrets:
  command: x
  env: {SESSIONHUB_API_KEY: x, "1X": y}
  inheritEnv: ["sessionhub_*", "*", "A B"]
  resume: maybe
  authMethod: "a\tb"
  startTimeout: -1s
list: [1, 2]
modes:
  command: x
  mode: auto
  askingModes: [ask, "", plan]
  allowedModes: [plan, yolo]
`))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`line 2: provider "Bad Name": a name is`,
		`line 3: provider "nothing": command: missing`,
		`line 6: provider "wrong": colour: unknown`,
		`line 7: provider "wrong": args: not a list`,
		`line 8: provider "wrong": startTimeout: "soon" is no duration`,
		`provider "secrets": env: SESSIONHUB_* belongs to the hub`,
		`provider "secrets": env: "1X" is no variable's name`,
		`inheritEnv: SESSIONHUB_* belongs to the hub and never reaches an agent: sessionhub_*`,
		`inheritEnv: "*" is neither`,
		`inheritEnv: "A B" is neither`,
		`resume: "maybe" is none of`,
		`startTimeout: -1s is not between`,
		`authMethod: has control characters`,
		`line 16: provider "list": not a mapping`,
		`provider "modes": askingModes[1]: a mode has 1 to 256 bytes`,
		`provider "modes": allowedModes: "plan" is in askingModes too`,
		`provider "modes": mode: "auto" is in neither askingModes nor allowedModes`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in:\n%v", want, err)
		}
	}
	for _, bad := range []string{"[1]", "text", "a: {command: [x]}", "a: {command: x}\na: {command: y}", "a: &x {command: x, args: *x}", "\x00"} {
		if _, err := ParseProviders([]byte(bad)); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func FuzzProviders(f *testing.F) {
	f.Add([]byte("a: {command: x, args: [y], env: {A: b}, inheritEnv: [C], startTimeout: 1s}"))
	f.Add([]byte("a: &a {command: x}\nb: *a"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		providers, err := ParseProviders(data)
		if err != nil {
			return
		}
		for name, p := range providers {
			if errs := p.validate(name); len(errs) > 0 {
				t.Errorf("bad provider taken: %v", errs)
			}
			for _, entry := range agentEnv(p, []string{"SESSIONHUB_API_KEY=1", "sessionhub_x=1", "PATH=/bin"}) {
				if isHubVariable(entry) {
					t.Errorf("%q reaches the agent", entry)
				}
			}
		}
	})
}

func TestConfigNamesEveryBadField(t *testing.T) {
	_, err := New(Config{
		Name: "\xff", Root: filepath.Join(t.TempDir(), "missing"), Capacity: -1, AgentIdle: -1, StartTimeout: -1,
		CancelGrace: -1, StopGrace: -1, BufferBytes: -1, MaxEventBytes: 1, Providers: map[string]Provider{"x": {}},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"name", "root", "capacity", "idle", "start timeout", "cancel grace", "stop grace", "buffer", "max event", `"x"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not named in:\n%v", want, err)
		}
	}
	if _, err := New(Config{Root: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "providers: none") {
		t.Errorf("no providers: %v", err)
	}
}
