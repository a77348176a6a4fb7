package session

import (
	"pgregory.net/rapid"

	"sessionhub/protocol"
)

// told is something that the agent tells of the session, or its new name.
func (m *model) told(t *rapid.T, worker func(Input) Input) Input {
	title := rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "title")
	switch rapid.SampledFrom([]string{"usage", "title", "rename"}).Draw(t, "told") {
	case "title":
		return worker(InAgentTitle{Title: title})
	case "rename":
		return InRename{Title: title, By: "u1"}
	}
	var d protocol.UsageData
	if rapid.Bool().Draw(t, "context") {
		d.Used, d.Size = new(uint64(rapid.IntRange(0, 9).Draw(t, "used"))), new(uint64(10))
	}
	if rapid.Bool().Draw(t, "cost") {
		d.Cost = &protocol.Cost{
			Amount:   float64(rapid.IntRange(0, 9).Draw(t, "amount")) / 10,
			Currency: rapid.SampledFrom([]string{"USD", "USD", "EUR"}).Draw(t, "currency"),
		}
	}
	return worker(InUsage{Data: d})
}
