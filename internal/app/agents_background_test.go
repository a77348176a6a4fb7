package app

import (
	"testing"

	"sessionhub/protocol"
)

// Agents run commands in the background. When one has ended, they tell their model so
// without a prompt, and the model may want to run another command. So people are asked
// outside of a turn. It was answered with no, without a trace.
func TestRealAgentsGoOnBehindTheirTurns(t *testing.T) { goOnBehindTheirTurns(t, realAgents) }

func goOnBehindTheirTurns(t *testing.T, agents []realAgent) {
	for _, agent := range agents {
		if agent.goesOn {
			t.Run(agent.name, func(t *testing.T) { goOnBehindItsTurn(t, startBench(t, agent).converse(t, "background").in(t)) })
		}
	}
}

func goOnBehindItsTurn(t *testing.T, c *conversation) {
	m := c.say("background sleep 2; echo one > late.txt")
	c.decide(c.asked("execute", "late.txt"), protocol.AllowOnce)
	c.complete(m, protocol.StopEndTurn)
	a := c.asked("execute", "behind.txt")
	if a.MessageID != "" || c.content("late.txt") != "one\n" {
		t.Errorf("asked for the message %q, with %q in late.txt", a.MessageID, c.content("late.txt"))
	}
	if c.content("behind.txt") != "" {
		t.Error("the command behind the turn ran before it was allowed")
	}
	said := false
	for _, f := range c.seen {
		said = said || f.Type == protocol.EventOutput
	}
	if !said {
		t.Errorf("what it said before it asked is not there: %s", c.record())
	}
	c.decide(a, protocol.AllowOnce)
	for c.status() != protocol.StatusIdle {
		c.expect(protocol.EventStatus)
	}
	if c.content("behind.txt") != "behind\n" {
		t.Error("the command behind the turn did not run")
	}
	c.answers("still here after the background")
}

// status is that of the session now.
func (c *conversation) status() protocol.Status {
	c.t.Helper()
	var s protocol.Session
	c.call("GET", "/api/sessions/"+c.session.SessionID, nil, &s)
	return s.Status
}
