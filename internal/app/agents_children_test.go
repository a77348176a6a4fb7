package app

import (
	"encoding/json"
	"testing"

	"sessionhub/protocol"
)

// A real agent with a server that it has started stays for longer than without one.
// What is ended in the end is named, and nothing that the agent needs itself.
func TestRealAgentStaysWithWhatItStarted(t *testing.T) {
	t.Parallel()
	for _, agent := range realAgents {
		t.Run(agent.name, func(t *testing.T) {
			c := startBench(t, agent, "--agent-idle", "500ms", "--agent-children-idle", "3s").converse(t, "server").in(t)
			m := c.say("shell (setsid sleep 301 >/dev/null 2>&1 </dev/null &); echo first > made.txt")
			c.decide(c.asked("execute", "made.txt"), protocol.AllowOnce)
			c.complete(m, protocol.StopEndTurn)
			for len(c.notices(protocol.NoticeProcessesEnded)) == 0 {
				c.expect(protocol.EventNotice)
			}
			var ended struct {
				Reason    string `json:"reason"`
				Processes []struct {
					Name string `json:"name"`
				} `json:"processes"`
			}
			raw := c.notices(protocol.NoticeProcessesEnded)[0].Data
			if err := json.Unmarshal(raw, &ended); err != nil || ended.Reason != protocol.ReleaseIdle || len(ended.Processes) != 1 || ended.Processes[0].Name != "sleep" {
				t.Errorf("what was ended is told as %s (%v)", raw, err)
			}
			c.answers("the next one")
			c.remove()
		})
	}
}
