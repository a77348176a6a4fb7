package app

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// modelScenarios are what the model does wrong.
func modelScenarios(agent realAgent) []scenario {
	scenarios := []scenario{{"silent model", func(t *testing.T, c *conversation) {
		m := c.say("silent")
		judge.Within(t, 30*time.Second, "the model is asked", func() bool { return c.inModelRequests("silent", "") > 0 })
		c.cancel(m)
		c.answers("still here after the silence")
	}}}
	for _, prompt := range slices.Sorted(maps.Keys(agent.modelErrors)) {
		scenarios = append(scenarios, scenario{"model: " + prompt, func(t *testing.T, c *conversation) {
			if agent.modelErrors[prompt] == retried {
				// Gemini does not obey in its retries: after 10 s its process ends.
				c.cancelWithin(c.sayAndAwaitRetry(prompt), 15*time.Second)
				c.answers("still here after the retries")
				return
			}
			done := c.complete(c.say(prompt), protocol.StopError)
			if done.Error == nil || done.Error.Code != protocol.TurnAgentFailed ||
				done.Error.Retryable == slices.Contains(agent.hopeless, prompt) ||
				!strings.Contains(done.Error.Message, agent.modelErrors[prompt]) {
				t.Errorf("the error is told as %s, want %q in it", protocol.Marshal(done), agent.modelErrors[prompt])
			}
			c.answers("still here after the error")
		}})
	}
	return scenarios
}

// sayAndAwaitRetry returns when the model was asked twice.
func (c *conversation) sayAndAwaitRetry(prompt string) protocol.MessageResponse {
	c.t.Helper()
	m := c.say(prompt)
	judge.Within(c.t, 30*time.Second, "the model is asked again", func() bool { return c.inModelRequests(prompt, "") > 1 })
	return m
}
