package app

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// modelScenarios are what the model does wrong.
func modelScenarios(agent realAgent) []scenario {
	scenarios := []scenario{{"silent model", func(t *testing.T, c *conversation) {
		m := c.say("silent")
		waitFor(t, 30*time.Second, "the model is asked", func() bool { return c.inModelRequests("silent", "") > 0 })
		c.cancel(m)
		c.answers("still here after the silence")
	}}}
	for _, prompt := range slices.Sorted(maps.Keys(agent.modelErrors)) {
		scenarios = append(scenarios, scenario{"model: " + prompt, func(t *testing.T, c *conversation) {
			done := c.complete(c.say(prompt), protocol.StopError)
			if done.Error == nil || done.Error.Code != protocol.TurnAgentFailed || !done.Error.Retryable ||
				!strings.Contains(done.Error.Message, agent.modelErrors[prompt]) {
				t.Errorf("the error is told as %s, want %q in it", protocol.Marshal(done), agent.modelErrors[prompt])
			}
			c.answers("still here after the error")
		}})
	}
	return scenarios
}
