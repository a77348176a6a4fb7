package app

import (
	"net/http"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// queueScenarios are what people do while an agent works.
var queueScenarios = []scenario{
	{"steer", func(t *testing.T, c *conversation) {
		c.answers("hello") // the agent is there
		m := c.sayAndHear("slow")
		var s protocol.MessageResponse
		if r := c.call("POST", "/api/sessions/"+c.session.SessionID+"/messages", protocol.MessageRequest{
			Content: protocol.Marshal("say steered words"), Delivery: protocol.DeliverSteer,
		}, &s, "Authorization", "Bearer "+c.session.Token); r.StatusCode != http.StatusAccepted {
			t.Fatalf("steer: %d", r.StatusCode)
		}
		if !c.agent.steers {
			if s.Delivery != protocol.DeliverQueue {
				t.Errorf("the agent cannot be steered, and the answer is %+v", s)
			}
			c.cancel(m)
			c.complete(s, protocol.StopEndTurn)
			if got := text(t, c.seen); got != "steered words" {
				t.Errorf("the next answer is %q", got)
			}
			return
		}
		if s.Delivery != protocol.DeliverSteer {
			t.Errorf("answer %+v", s)
		}
		steered := hubtest.Decode[protocol.SteeredData](t, c.expect(protocol.EventSteered).Data)
		if steered.MessageID != s.MessageID || steered.Into != m.MessageID || steered.Outcome != protocol.SteerInjected {
			t.Errorf("steered %+v", steered)
		}
		c.complete(m, protocol.StopEndTurn)
		if got := text(t, c.seen); !strings.Contains(got, "steered words") {
			t.Errorf("the turn went on with %q", got)
		}
		c.complete(s, protocol.StopEndTurn)
		if c.inModelRequests("say steered words", "") == 0 {
			t.Error("the model was not told")
		}
		c.answers("all is well")
	}},
	{"steer, then cancel", func(t *testing.T, c *conversation) {
		if !c.agent.steers {
			return // it would be the scenario above
		}
		m := c.sayAndHear("slow")
		var s protocol.MessageResponse
		c.call("POST", "/api/sessions/"+c.session.SessionID+"/messages", protocol.MessageRequest{
			Content: protocol.Marshal("slow 50"), Delivery: protocol.DeliverSteer,
		}, &s, "Authorization", "Bearer "+c.session.Token)
		c.expect(protocol.EventSteered)
		c.cancel(m)
		c.complete(s, protocol.StopCancelled)
		c.answers("still well")
	}},
}
