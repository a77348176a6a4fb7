package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// A session that a real agent keeps is listed and taken up: its history is in the log, and
// its model is told of it.
func TestRealAgentIsTakenUp(t *testing.T) {
	for _, agent := range realAgents {
		t.Run(agent.name, func(t *testing.T) {
			b := startBench(t, agent)
			c := b.converse(t, "before").in(t)
			c.answers("the word is marigold")
			c.remove()
			var kept protocol.AgentSessions
			c.get("/api/agent-sessions?workingDirectory="+c.dir, &kept)
			if len(kept.Sessions) != 1 || kept.Sessions[0].WorkingDirectory != c.dir {
				t.Fatalf("the agent's sessions are %+v", kept)
			}
			next := &conversation{bench: b, dir: c.dir, session: b.create(protocol.CreateRequest{
				WorkingDirectory: c.dir, AgentSession: kept.Sessions[0].AgentSession, Workspace: kept.Workspace,
			})}
			judge.Within(t, patience, "the history", func() bool {
				var s protocol.Session
				next.get("/api/sessions/"+next.session.SessionID, &s)
				return s.Status == protocol.StatusIdle
			})
			var h struct{ Events []json.RawMessage }
			next.get("/api/sessions/"+next.session.SessionID+"/history", &h)
			if log := string(protocol.Marshal(h)); !strings.Contains(log, `"content":"the word is marigold","userId":"local","replay":true`) || !strings.Contains(log, "You said: the word is marigold") {
				t.Errorf("the log is %s", log)
			}
			now := next.in(t)
			now.complete(now.say("say do you remember gold"), protocol.StopEndTurn)
			if now.inModelRequests("say do you remember gold", "the word is marigold") == 0 {
				t.Error("the model was not told of what was said before")
			}
			now.remove()
		})
	}
}

// get reads an answer of the hub.
func (c *conversation) get(path string, into any) {
	c.t.Helper()
	if a := c.call("GET", path, nil, into); a.StatusCode != http.StatusOK {
		c.t.Fatalf("GET %s: %d %s", path, a.StatusCode, a.Body)
	}
}
