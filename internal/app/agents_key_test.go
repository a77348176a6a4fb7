package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// codexMachine makes the environment that of a machine with a scripted model and nothing
// but the variables (NAME=value) to log in with. It gives codex's program.
func codexMachine(t *testing.T, variables ...string) (*fakemodel.Server, string) {
	t.Helper()
	command := realAgents[0].from.Path(t)
	model, err := fakemodel.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Close)
	home := t.TempDir()
	// Codex's own model provider at another address: others need no key of OpenAI's.
	config := fmt.Sprintf("model = \"gpt-5.2\"\nopenai_base_url = %q\ncheck_for_update_on_startup = false\n[analytics]\nenabled = false\n", model.URL()+"/v1")
	if err := os.WriteFile(filepath.Join(home, "config.toml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OPENAI_API_KEY", "")
	t.Setenv("CODEX_API_KEY", "")
	t.Setenv("HOME", home)
	t.Setenv("CODEX_HOME", home)
	t.Setenv("NO_PROXY", "127.0.0.1,localhost")
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	return model, command
}

// codexWithKey starts a hub with the example file, whose codex has nothing but the
// variables (NAME=value) of the worker's environment.
func codexWithKey(t *testing.T, variables ...string) *conversation {
	t.Helper()
	model, command := codexMachine(t, variables...)
	example, err := os.ReadFile("../../providers.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(file, []byte(strings.Replace(string(example), "command: codex-acp", "command: "+command, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	b := &bench{hubUnderTest: startHub(t, "--providers-file", file, "--default-provider", "codex"), agent: realAgents[0], model: model, providers: file}
	return b.converse(t, "key").in(t)
}

// Codex with a key in its environment refused each message of the example's own
// entry: it wants to be told by authenticate that it may use the key.
func TestCodexNeedsNothingButAKey(t *testing.T) {
	for _, variable := range []string{"OPENAI_API_KEY", "CODEX_API_KEY"} {
		t.Run(variable, func(t *testing.T) {
			c := codexWithKey(t, variable+"=sk-of-a-test")
			c.answers("a key is enough")
			c.remove()
		})
	}
	t.Run("none", func(t *testing.T) {
		c := codexWithKey(t)
		for range 2 {
			m := c.say("say hello")
			q := hubtest.Decode[protocol.ElicitationData](c.t, c.expect(protocol.EventElicitation).Data)
			if code, p := c.respond(q, protocol.ActionCancel, nil); code != 200 { // nobody has an account
				t.Fatalf("close the question of the login: %d %+v", code, p)
			}
			done := c.complete(m, protocol.StopError)
			if done.Error == nil || done.Error.Code != protocol.TurnAgentStart || done.Error.Retryable {
				t.Fatalf("the error is %s", protocol.Marshal(done))
			}
			for _, part := range []string{"Authentication required", `"chatgpt"`, "CODEX_API_KEY, which is not set", "OPENAI_API_KEY, which is not set", "authMethod"} {
				if !strings.Contains(done.Error.Message, part) {
					t.Errorf("%q is not in %q", part, done.Error.Message)
				}
			}
		}
		c.remove()
	})
}
