//go:build agents

package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// Gemini with nothing but a key in its environment asks nobody. Without one it refuses to open
// a session, and people are asked how to log in. When nobody does, the message ends with an
// error that names its methods.
func TestMoreAgentsLogin(t *testing.T) {
	gemini := moreAgents[slices.IndexFunc(moreAgents, func(a realAgent) bool { return a.name == "gemini" })]
	start := func(t *testing.T, leaveOut ...string) *conversation {
		agent := gemini
		agent.provider = func(t *testing.T, home, modelURL string) provider {
			env, err := fakemodel.GeminiHome(home, modelURL)
			if err == nil {
				err = os.Remove(filepath.Join(home, ".gemini", "settings.json"))
			}
			if err != nil {
				t.Fatal(err)
			}
			env = slices.DeleteFunc(env, func(v string) bool {
				name, _, _ := strings.Cut(v, "=")
				return slices.Contains(leaveOut, name)
			})
			return moreProvider(t, env, "default", "--acp")
		}
		return startBench(t, agent).converse(t, "login").in(t)
	}
	t.Run("with a key", func(t *testing.T) {
		c := start(t)
		c.answers("a key is enough")
		c.remove()
	})
	t.Run("without one", func(t *testing.T) {
		c := start(t, "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL") // another address than Google's needs no key
		m := c.say("say hello")
		q := hubtest.Decode[protocol.ElicitationData](t, c.expect(protocol.EventElicitation).Data)
		if code, p := c.respond(q, protocol.ActionCancel, nil); code != 200 { // nobody has an account
			t.Fatalf("close the question of the login: %d %+v", code, p)
		}
		done := c.complete(m, protocol.StopError)
		if done.Error == nil || done.Error.Code != protocol.TurnAgentStart || done.Error.Retryable {
			t.Fatalf("the error is %s", protocol.Marshal(done))
		}
		for _, part := range []string{"Gemini API key is missing", `"oauth-personal"`, `"gemini-api-key"`} {
			if !strings.Contains(done.Error.Message, part) {
				t.Errorf("%q is not in %q", part, done.Error.Message)
			}
		}
		c.remove()
	})
}
