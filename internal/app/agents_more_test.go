//go:build agents

package app

import (
	"os"
	"testing"

	"sessionhub/internal/testkit/fakemodel"
	"sessionhub/internal/testkit/need"
	"sessionhub/protocol"
)

// moreAgents are big or slow, or newer versions. They take 2 GB and minutes, so
// they are behind a build tag: `make test-agents` drives them, and `make test` says
// that it does not.
var moreAgents = []realAgent{
	{
		name: "claude-newest", from: need.More, program: "claude-agent-acp",
		provider: func(t *testing.T, home, modelURL string) provider {
			return moreProvider(t, fakemodel.ClaudeHome(home, modelURL), "default")
		},
		tells:       []string{"commands", "context", "tokens", "cost"},
		mayTell:     []string{"title"},
		afterRefuse: protocol.StopEndTurn,
		modelErrors: map[string]string{
			"error 400": "400", "error 401": "Authentication required", "error 403": "Authentication required",
			"error 429": "429", "error 500": "500", "break": "API Error",
		},
		hopeless: []string{"error 400", "error 401", "error 403"},
		refuses:  []string{"audio"},
		goesOn:   true,
		steers:   true,
		asks:     true,
		forks:    true,
	},
	{
		name: "gemini", from: need.More, program: "gemini", noQuestion: "the agent offers none of",
		provider: func(t *testing.T, home, modelURL string) provider {
			env, err := fakemodel.GeminiHome(home, modelURL)
			if err != nil {
				t.Fatal(err)
			}
			return moreProvider(t, env, "default", "--acp")
		},
		tells:       []string{"commands"},
		afterRefuse: protocol.StopEndTurn,
		modelErrors: map[string]string{
			"error 400": "400", "error 401": "401", "error 403": "403", "error 429": retried, "error 500": retried, "break": "",
		},
		hopeless:  []string{"error 400", "error 401", "error 403"},
		holdsText: true, hidesInput: true, forgets: true, asksToRead: true, listsNone: true,
	},
	{
		name: "opencode", from: need.More, program: "opencode", noQuestion: "the agent offers none of",
		provider: func(t *testing.T, home, modelURL string) provider {
			env, err := fakemodel.OpencodeHome(home, modelURL)
			if err != nil {
				t.Fatal(err)
			}
			return moreProvider(t, env, "", "acp")
		},
		tells:       []string{"commands", "tokens"},
		afterRefuse: protocol.StopEndTurn,
		// Which status it was, it does not tell.
		modelErrors: map[string]string{
			"error 400": "scripted error", "error 401": "scripted error", "error 429": retried, "error 500": retried,
		},
		refuses: []string{"audio"},
		forks:   true,
	},
	{
		name: "qwen", from: need.More, program: "qwen", noQuestion: askedAsApproval,
		provider: func(t *testing.T, home, modelURL string) provider {
			env, err := fakemodel.QwenHome(home, modelURL)
			if err != nil {
				t.Fatal(err)
			}
			return moreProvider(t, env, "default", "--acp")
		},
		tells:       []string{"commands"},
		afterRefuse: protocol.StopEndTurn,
		modelErrors: map[string]string{
			"error 400": "400", "error 401": "401", "error 403": "403", "error 429": retried, "error 500": retried,
		},
		hopeless: []string{"error 400", "error 401", "error 403"},
		// Its model is not known to see or to hear; links it leaves out.
		loses:   []string{"image", "audio", "link"},
		wrapped: true, goesOn: true, hidesTools: true,
	},
}

// moreProvider is a provider whose Node is the one of agents/more.
func moreProvider(t *testing.T, env []string, mode string, args ...string) provider {
	p := provider{Args: args, Env: envMap(env), Mode: mode}
	p.Env["PATH"] = need.More.Path(t) + string(os.PathListSeparator) + os.Getenv("PATH")
	return p
}

func TestMoreAgents(t *testing.T) {
	for _, agent := range moreAgents {
		t.Run(agent.name, func(t *testing.T) { driveAgent(t, agent) })
	}
}

func TestMoreAgentsRememberAfterIdleStop(t *testing.T) {
	for _, agent := range moreAgents {
		t.Run(agent.name, func(t *testing.T) { remembersAfterIdleStop(t, agent) })
	}
}

func TestMoreAgentsGoOnBehindTheirTurns(t *testing.T) {
	goOnBehindTheirTurns(t, moreAgents)
}

func TestMoreAgentsCallMCPServers(t *testing.T) { callMCPServers(t, moreAgents) }

func TestMoreAgentsAreTakenUp(t *testing.T) { isTakenUp(t, moreAgents) }

func TestMoreAgentsFork(t *testing.T) { forks(t, moreAgents) }
