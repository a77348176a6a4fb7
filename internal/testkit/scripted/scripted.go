// Package scripted gives tests an ACP agent that plays what real agents were reported to
// do: agent.mjs. It runs with Node.js.
package scripted

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/internal/testkit/need"
)

//go:embed agent.mjs
var agent []byte

//go:embed mcp.mjs
var mcpServer []byte

// MCPServer writes an MCP server over stdio with the tool echo, and returns the command that
// runs it. The tool says what it was told, and whether there is a variable MCP_TOKEN.
func MCPServer(tb testing.TB) (command string, args []string) {
	tb.Helper()
	node, program := need.Node.Path(tb), filepath.Join(tb.TempDir(), "mcp.mjs")
	if err := os.WriteFile(program, mcpServer, 0o600); err != nil {
		tb.Fatal(err)
	}
	return node, []string{program}
}

// Providers writes a providers file with the agent as the provider "scripted", and returns
// its path. The agent writes what it reads to the file agent.log beside it. env is set for
// the agent beside that, each as NAME=value.
func Providers(tb testing.TB, env ...string) string {
	tb.Helper()
	node, dir := need.Node.Path(tb), tb.TempDir()
	program, file := filepath.Join(dir, "agent.mjs"), filepath.Join(dir, "providers.yaml")
	providers := fmt.Sprintf("scripted:\n  command: %q\n  args: [%q]\n  env:\n    SCRIPTED_LOG: %q\n", node, program, filepath.Join(dir, "agent.log"))
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		providers += fmt.Sprintf("    %s: %q\n", name, value)
	}
	for path, text := range map[string][]byte{program: agent, file: []byte(providers)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return file
}
