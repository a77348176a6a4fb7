package app

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// modesOf are the modes of the real agents: those in which they ask, one in which they do not
// and which the providers file allows, and one that it does not allow. model is another model
// than the first one.
var modesOf = map[string]struct {
	asking           []string
	unasked, refused string
	model            string
	plans            bool // it can go into its plan mode by itself
}{
	"codex":         {asking: []string{"read-only"}, unasked: "full-access", refused: "auto", model: "gpt-5.4"},
	"claude":        {asking: []string{"default"}, unasked: "acceptEdits", refused: "auto", model: "sonnet", plans: true},
	"claude-newest": {asking: []string{"default"}, unasked: "acceptEdits", refused: "auto", model: "sonnet"},
	"gemini":        {asking: []string{"default", "plan"}, unasked: "yolo", refused: "autoEdit"},
	"qwen":          {asking: []string{"default", "plan"}, unasked: "yolo", refused: "auto-edit"},
	"opencode":      {asking: []string{"build"}, unasked: "plan"},
}

// The options of a real agent: the list, a change of model and mode by people, what is not
// allowed, a change of the agent's own, and what its next start keeps.
func TestRealAgentsOptions(t *testing.T) {
	t.Parallel()
	for _, agent := range realAgents {
		t.Run(agent.name, func(t *testing.T) { optionsOfAgent(t, agent) })
	}
}

func optionsOfAgent(t *testing.T, agent realAgent) {
	modes := modesOf[agent.name]
	plain := agent.provider
	agent.provider = func(t *testing.T, home, modelURL string) provider {
		p := plain(t, home, modelURL)
		p.Asking, p.Allowed = modes.asking, []string{modes.unasked}
		return p
	}
	c := startBench(t, agent, "--agent-idle", "2s").converse(t, "options").in(t)
	set := func(id, value string) (int, protocol.Problem) {
		var p protocol.Problem
		return c.call("PATCH", "/api/sessions/"+c.session.SessionID+"/options", protocol.SetOptionRequest{ConfigID: id, Value: protocol.TextValue(value)}, &p).StatusCode, p
	}
	list := func() protocol.ConfigOptionsData {
		t.Helper()
		return hubtest.Decode[protocol.ConfigOptionsData](t, c.expect(protocol.EventConfigOptions).Data)
	}
	m := c.say("say one")
	if d := list(); d.Mode != modes.asking[0] || d.Asking == nil || !*d.Asking || protocol.FindOption(d.ConfigOptions, "model") == nil {
		t.Errorf("the first list is %s", protocol.Marshal(d))
	}
	c.complete(m, protocol.StopEndTurn)
	if modes.refused != "" {
		if code, p := set("mode", modes.refused); code != http.StatusForbidden || p.Code != protocol.CodeModeNotAllowed {
			t.Errorf("a mode that is not allowed: %d %+v", code, p)
		}
	}
	if code, p := set("mode", "none"); code != http.StatusBadRequest || p.Code != protocol.CodeUnknownOption || !strings.Contains(p.Detail, modes.unasked) {
		t.Errorf("an unknown mode: %d %+v", code, p)
	}
	change := func(id, value string) protocol.ConfigOptionsData {
		t.Helper()
		if code, p := set(id, value); code != http.StatusAccepted {
			t.Fatalf("set %s: %d %+v", id, code, p)
		}
		d := list()
		if o := protocol.FindOption(d.ConfigOptions, id); o == nil || o.CurrentValue.Text != value {
			t.Fatalf("%s is not %s: %s %s", id, value, protocol.Marshal(d), c.record())
		}
		return d
	}
	if modes.model != "" {
		change("model", modes.model)
	}
	if d := change("mode", modes.unasked); *d.Asking || d.By != "local" {
		t.Errorf("in the other mode: %s", protocol.Marshal(d))
	}
	if agent.name != "opencode" { // its modes do not decide whether it asks
		writes := func(file string) {
			t.Helper()
			c.complete(c.say("write "+filepath.Join(c.dir, file)+" one"), protocol.StopEndTurn)
			if c.content(file) != "one\n" || strings.Contains(c.record(), `"type":"tool_approval"`) {
				t.Errorf("it did not write, or it asked: %s", c.record())
			}
		}
		writes("unasked.txt")
		c.gone(agentProcesses(t, c.dir)...)
		writes("again.txt") // after another start
	}
	if modes.plans {
		change("mode", modes.asking[0])
		c.complete(c.say("enterplan"), protocol.StopEndTurn)
		if len(c.notices(protocol.NoticeModeRestored)) != 1 {
			t.Errorf("it went into a mode that is not allowed: %s", c.record())
		}
		c.answers("well")
	}
	c.gone(agentProcesses(t, c.dir)...)
	if modes.plans {
		change("mode", modes.unasked)
	}
	change("mode", modes.asking[0]) // while no agent runs
	c.say("shell echo one > asked.txt; echo done")
	c.decide(c.asked("execute", "asked.txt"), protocol.RejectOnce)
	c.expect(protocol.EventComplete)
	if c.content("asked.txt") != "" {
		t.Error("it did not wait for the answer")
	}
	c.remove()
}
