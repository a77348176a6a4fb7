//go:build agents

package app

import "testing"

func TestMoreAgentsOptions(t *testing.T) {
	for _, agent := range moreAgents {
		t.Run(agent.name, func(t *testing.T) { optionsOfAgent(t, agent) })
	}
}
