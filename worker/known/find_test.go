package known

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sessionhub/protocol"
	"sessionhub/worker"
)

// machine is a made-up one: a home, a directory for programs and a workspace.
type machine struct {
	*testing.T
	home, bin, root string
	env             []string
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	top := t.TempDir()
	m := &machine{T: t, home: filepath.Join(top, "home"), bin: filepath.Join(top, "bin"), root: filepath.Join(top, "workspace")}
	for _, dir := range []string{m.home, m.bin, m.root} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.env = []string{"HOME=" + m.home}
	return m
}

// file writes a file, with the directories above it, and returns its path.
func (m *machine) file(mode os.FileMode, content string, parts ...string) string {
	m.Helper()
	path := filepath.Join(parts...)
	err := os.MkdirAll(filepath.Dir(path), 0o755)
	if err == nil {
		err = os.WriteFile(path, []byte(content), mode)
	}
	if err != nil {
		m.Fatal(err)
	}
	return path
}

func (m *machine) link(to string, parts ...string) {
	m.Helper()
	if err := os.Symlink(to, filepath.Join(parts...)); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) look(path ...string) map[string]Found {
	m.Helper()
	all := make(map[string]Found)
	for _, f := range Look(append(slices.Clone(m.env), "PATH="+strings.Join(path, ":")), m.root) {
		all[f.Name] = f
	}
	return all
}

// What is offered without a file is what the example recommends, to the last variable.
func TestKnownAgentsAreThoseOfTheExample(t *testing.T) {
	example, err := worker.LoadProviders("../../providers.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../providers.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	agents := Agents()
	if len(agents) != len(example) || !slices.IsSortedFunc(agents, func(a, b Agent) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("%d agents are known, the example has %d", len(agents), len(example))
	}
	for _, a := range agents {
		p := a.Provider
		if p.Title == "" || p.Description == "" || a.Install == "" || a.Homepage == "" || a.login.command == "" || len(a.login.variables) == 0 {
			t.Errorf("%s lacks words", a.Name)
		}
		if err := protocol.CheckIcon(p.Icon); err != nil {
			t.Errorf("%s: its icon %v", a.Name, err)
		}
		if len(a.Packages) > 0 && (a.Install != "npm install -g "+a.Packages[0] || !strings.Contains(string(text), a.Install+"\n")) {
			t.Errorf("%s is installed by %q, which is not in the example", a.Name, a.Install)
		}
		for _, name := range a.login.variables {
			if !slices.Contains(p.InheritEnv, name) {
				t.Errorf("%s does not inherit %s, which is no login then", a.Name, name)
			}
		}
		for _, f := range a.login.files {
			if f.variable != "" && !slices.Contains(p.InheritEnv, f.variable) {
				t.Errorf("%s does not inherit %s, so its login is not found there", a.Name, f.variable)
			}
		}
		p.Title, p.Description, p.Icon = "", "", ""
		if want := example[a.Name]; !reflect.DeepEqual(p, want) {
			t.Errorf("%s differs from the example:\n%+v\n%+v", a.Name, p, want)
		}
	}
}

func TestAgentsAreFoundInPATH(t *testing.T) {
	m := newMachine(t)
	real := m.file(0o755, "#!/bin/sh\n", m.home, "lib/node_modules/@zed-industries/codex-acp/bin/codex-acp.js")
	m.file(0o644, `{"name": "@zed-industries/codex-acp", "version": "0.16.0"}`, m.home, "lib/node_modules/@zed-industries/codex-acp/package.json")
	m.link(real, m.bin, "codex-acp")
	m.file(0o755, "#!/bin/sh\n", m.bin, "gemini")
	m.file(0o755, "#!/bin/sh\n", m.bin, "claude")
	m.env = append(m.env, "CODEX_API_KEY=sk-secret")
	all := m.look(m.bin)
	if f := all["codex"]; f.Path != filepath.Join(m.bin, "codex-acp") || f.Version != "0.16.0" || f.Login != protocol.LoginFound || f.LoginBy != "CODEX_API_KEY" {
		t.Errorf("codex: %+v", f)
	}
	if f := all["gemini"]; f.Path == "" || f.Version != "" || f.Login != protocol.LoginMissing || f.LogIn == "" {
		t.Errorf("gemini: %+v", f)
	}
	if f := all["claude"]; f.Path != "" || f.HasCLI != filepath.Join(m.bin, "claude") || f.Refused != "" {
		t.Errorf("claude: %+v", f)
	}
	if strings.Contains(fmt.Sprintf("%+v", all), "sk-secret") {
		t.Error("a value of a variable is told")
	}
	offered := Providers(slices.Collect(func(yield func(Found) bool) {
		for _, f := range all {
			if !yield(f) {
				return
			}
		}
	}))
	if p := offered["codex"]; len(offered) != 2 || p.Command != filepath.Join(m.bin, "codex-acp") || p.Mode != "read-only" || p.Login != protocol.LoginFound {
		t.Errorf("offered: %+v", offered)
	}
	// A login may be a file, at home or where a variable says.
	m.file(0o600, "{}", m.home, ".gemini/oauth_creds.json")
	m.env = []string{"HOME=" + m.home, "CODEX_HOME=" + m.file(0o600, "{}", m.root, "codex/auth.json")[:len(m.root)+len("/codex")]}
	all = m.look(m.bin)
	if f := all["gemini"]; f.Login != protocol.LoginFound || f.LoginBy != filepath.Join(m.home, ".gemini/oauth_creds.json") {
		t.Errorf("gemini: %+v", f)
	}
	if f := all["codex"]; f.Login != protocol.LoginFound || f.LoginBy != filepath.Join(m.root, "codex/auth.json") {
		t.Errorf("codex: %+v", f)
	}
}

// What is no program is not offered, and the next directory is looked through.
func TestBadProgramsAreNotOffered(t *testing.T) {
	m := newMachine(t)
	m.file(0o644, "#!/bin/sh\n", m.bin, "codex-acp")
	m.link("gemini", m.bin, "gemini")
	m.link("nowhere", m.bin, "goose")
	m.file(0o755, "", m.bin, "qwen/file")
	all := m.look(m.bin)
	for name, want := range map[string]string{
		"codex": "codex-acp: is not executable", "gemini": "gemini: too many levels", "goose": "", "qwen": "qwen: is no regular file", "opencode": "", "claude": "",
	} {
		if f := all[name]; f.Path != "" || !strings.Contains(f.Refused, want) || want == "" && f.Refused != "" {
			t.Errorf("%s: %q, refused for %q, want %q", name, f.Path, f.Refused, want)
		}
	}
	second := filepath.Dir(m.file(0o755, "#!/bin/sh\n", m.home, "bin/codex-acp"))
	if f := m.look(m.bin, second)["codex"]; f.Path != filepath.Join(second, "codex-acp") || f.Refused != "" {
		t.Errorf("behind one that cannot be run: %+v", f)
	}
	// A package.json that is none, or that says something else, gives no version.
	m.file(0o644, `{"name": "@zed-industries/codex-acp", "version": "1\u001b[2J"}`, m.home, "package.json")
	if f := m.look(second)["codex"]; f.Path == "" || f.Version != "" {
		t.Errorf("with a bad version: %+v", f)
	}
}

// A session must not bring its own program: neither a relative entry of PATH counts, nor one
// in the workspace, nor a link into it.
func TestSessionsBringNoProgram(t *testing.T) {
	m := newMachine(t)
	inside := m.file(0o755, "#!/bin/sh\n", m.root, "node_modules/.bin/codex-acp")
	m.file(0o755, "#!/bin/sh\n", m.root, "codex-acp")
	m.link(inside, m.bin, "codex-acp")
	m.link(filepath.Dir(inside), m.home, "linked")
	t.Chdir(m.root)
	for _, path := range []string{"", ".", "./", "node_modules/.bin", "../workspace", m.root, filepath.Dir(inside), m.bin, filepath.Join(m.home, "linked"), m.bin + "/../workspace"} {
		f := m.look(path)["codex"]
		if f.Path != "" {
			t.Errorf("PATH=%q: %s is offered", path, f.Path)
		}
		if filepath.IsAbs(path) && !strings.HasSuffix(f.Refused, "lies in the workspace, where sessions can change it") {
			t.Errorf("PATH=%q: refused for %q", path, f.Refused)
		}
	}
	// Also outside of the workspace: a relative entry is another directory for each process.
	elsewhere := filepath.Dir(m.file(0o755, "#!/bin/sh\n", m.home, "elsewhere/bin/codex-acp"))
	t.Chdir(elsewhere)
	for _, path := range []string{"", ".", "../bin"} {
		if f := m.look(path)["codex"]; f.Path != "" || f.Refused != "" {
			t.Errorf("PATH=%q outside of the workspace: %+v", path, f)
		}
	}
	// Who serves all of the home directory has programs there, too.
	mine := filepath.Dir(m.file(0o755, "#!/bin/sh\n", m.home, ".local/bin/codex-acp"))
	m.root = filepath.Dir(m.home)
	if f := m.look(mine)["codex"]; f.Path == "" {
		t.Errorf("at home: %+v", f)
	}
	if f := m.look(m.bin)["codex"]; f.Path != "" {
		t.Errorf("in the root, outside of the home directory: %+v", f)
	}
}

// A long PATH is looked through to its end, as a shell does.
func TestLongPATH(t *testing.T) {
	m := newMachine(t)
	var path []string
	for i := range 1000 {
		path = append(path, fmt.Sprint("/nowhere/", i), fmt.Sprint("relative/", i), "")
	}
	m.file(0o755, "#!/bin/sh\n", m.bin, "codex-acp")
	if f := m.look(append(path, m.bin)...)["codex"]; f.Path == "" {
		t.Errorf("behind 1,000 entries: %+v", f)
	}
	path = path[:0]
	for i := range 2 * maxPathEntries {
		path = append(path, fmt.Sprint("/nowhere/", i))
	}
	if f := m.look(append(path, m.bin)...)["codex"]; f.Path != "" {
		t.Error("there is no bound")
	}
}
