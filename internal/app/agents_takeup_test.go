package app

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

func TestRealAgentIsTakenUp(t *testing.T) { isTakenUp(t, realAgents) }

// A session that a real agent keeps is listed and taken up: its history is in the log, and
// its model is told of it.
func isTakenUp(t *testing.T, agents []realAgent) {
	t.Parallel()
	for _, agent := range agents {
		t.Run(agent.name, func(t *testing.T) {
			b := startBench(t, agent)
			c := b.converse(t, "before").in(t)
			c.answers("the word is marigold")
			c.remove()
			path := "/api/agent-sessions?workingDirectory=" + c.dir
			if agent.listsNone {
				c.want(http.StatusNotImplemented, protocol.CodeNotImplemented, "GET", path, nil)
				return
			}
			var kept protocol.AgentSessions
			c.get(path, &kept)
			if len(kept.Sessions) != 1 || kept.Sessions[0].WorkingDirectory != c.dir {
				t.Fatalf("the agent's sessions are %+v", kept)
			}
			next := &conversation{bench: b, dir: c.dir, session: b.create(protocol.CreateRequest{
				WorkingDirectory: c.dir, AgentSession: kept.Sessions[0].AgentSession, Workspace: kept.Workspace,
			})}
			next.reaches(protocol.StatusIdle)
			var h struct{ Events []json.RawMessage }
			next.get("/api/sessions/"+next.session.SessionID+"/history", &h)
			if log := string(protocol.Marshal(h)); !strings.Contains(log, `"content":"say the word is marigold","userId":"local","replay":true`) || !strings.Contains(log, `"text":"the word is marigold"`) {
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

func TestRealAgentForks(t *testing.T) { forks(t, realAgents) }

// A fork of a real agent's session knows what was said before, also when its agent was
// stopped before the first message. What is said in the fork stays there.
func forks(t *testing.T, agents []realAgent) {
	t.Parallel()
	for _, agent := range agents {
		t.Run(agent.name, func(t *testing.T) {
			b := startBench(t, agent, "--agent-idle", "2s")
			c := b.converse(t, "original").in(t)
			c.answers("the word is marigold")
			path := "/api/sessions/" + c.session.SessionID + "/fork"
			if !agent.forks {
				c.want(http.StatusNotImplemented, protocol.CodeNotImplemented, "POST", path, map[string]string{})
				return
			}
			fork := &conversation{bench: b, dir: c.dir}
			if a := c.call("POST", path, map[string]string{}, &fork.session); a.StatusCode != http.StatusCreated {
				t.Fatalf("fork: %d %s", a.StatusCode, a.Body)
			}
			fork.reaches(protocol.StatusIdle)
			c.gone(agentProcesses(t, c.dir)...)
			now := fork.in(t)
			now.complete(now.say("say do you remember gold"), protocol.StopEndTurn)
			if now.inModelRequests("say do you remember gold", "the word is marigold") == 0 {
				t.Error("the fork's model was not told of what was said before")
			}
			if lost := now.notices(protocol.NoticeHistoryLost); len(lost) > 0 {
				t.Errorf("the fork lost its history: %+v", lost)
			}
			c.complete(c.say("say back in the original"), protocol.StopEndTurn)
			if c.inModelRequests("say back in the original", "do you remember gold") > 0 {
				t.Error("the original's model was told of what was said in the fork")
			}
			now.remove()
		})
	}
}

// reaches waits until the session has a status.
func (c *conversation) reaches(want protocol.Status) {
	c.t.Helper()
	judge.Within(c.t, patience, "the status "+string(want), func() bool {
		var s protocol.Session
		c.get("/api/sessions/"+c.session.SessionID, &s)
		return s.Status == want
	})
}

// get reads an answer of the hub.
func (c *conversation) get(path string, into any) {
	c.t.Helper()
	if a := c.call("GET", path, nil, into); a.StatusCode != http.StatusOK {
		c.t.Fatalf("GET %s: %d %s", path, a.StatusCode, a.Body)
	}
}
