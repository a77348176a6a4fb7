// Package need finds the programs that tests run besides our own: servers,
// proxies, agents, a browser.
//
// `make test` installs them (scripts/need.sh) and names each by a variable. A bare
// `go test` takes what it finds, and skips a test whose program is missing, with a
// line that says how to get it. With -short, as in `make quick`, none is run.
package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// All is set by make: every program has to be there, and nothing is skipped.
const All = "SESSIONHUB_TEST_ALL"

// Program is one that a test can need.
type Program struct {
	Name     string   // as scripts/need.sh knows it
	Variable string   // names its path
	Paths    []string // patterns below the repository's root, and names on PATH
}

// The programs.
var (
	Valkey   = Program{"valkey", "SESSIONHUB_TEST_VALKEY", []string{".tools/valkey/valkey-server"}}
	Redis    = Program{"redis", "SESSIONHUB_TEST_REDIS", []string{".tools/redis/redis-server"}}
	Nginx    = Program{"nginx", "SESSIONHUB_TEST_NGINX", []string{"nginx", ".tools/nginx/nginx"}}
	HAProxy  = Program{"haproxy", "SESSIONHUB_TEST_HAPROXY", []string{"haproxy", ".tools/haproxy/haproxy"}}
	Caddy    = Program{"caddy", "SESSIONHUB_TEST_CADDY", []string{"caddy", ".tools/caddy/caddy"}}
	Chromium = Program{"chromium", "CHROMIUM", []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}}
	Node     = Program{"node", "SESSIONHUB_TEST_NODE", []string{"node"}}
	Codex    = Program{"codex", "SESSIONHUB_TEST_CODEX_ACP", []string{"agents/node_modules/@zed-industries/codex-acp-*/bin/codex-acp"}}
	Claude   = Program{"claude", "SESSIONHUB_TEST_CLAUDE_ACP", []string{"agents/node_modules/.bin/claude-agent-acp"}}
	More     = Program{"more", "SESSIONHUB_TEST_MORE_AGENTS", []string{"agents/more/node_modules/.bin"}} // a folder of programs
)

// Path is where the program is. Without it, and with -short, the test is skipped.
// A missing one is an error where make has promised it.
func (p Program) Path(tb testing.TB) string {
	tb.Helper()
	if testing.Short() {
		tb.Skipf("skip: -short, and it runs %s", p.Name)
	}
	if path := p.find(); path != "" {
		return path
	}
	if os.Getenv(All) != "" {
		tb.Fatalf("%s is not set, and no %s was found: run make test, or scripts/need.sh %s", p.Variable, p.Name, p.Name)
	}
	tb.Skipf("skip: it needs %s: run make test, or scripts/need.sh %s", p.Name, p.Name)
	return ""
}

func (p Program) find() string {
	if path := os.Getenv(p.Variable); path != "" {
		return path
	}
	for _, pattern := range p.Paths {
		if filepath.Base(pattern) == pattern {
			if path, err := exec.LookPath(pattern); err == nil {
				return path
			}
			continue
		}
		found, err := filepath.Glob(filepath.Join(root(), pattern))
		if err == nil && len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// root is the repository's folder: a test runs in that of its package.
func root() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}
