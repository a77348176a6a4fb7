package protocol

import (
	"encoding/json"
	"strconv"
)

// EventUsage says how much of its context an agent uses, and what the session has cost.
const EventUsage EventType = "usage"

// UsageData is the data of a usage event. Used and Size are tokens of the agent's context;
// an absent one is not known. Cost is what the agent's process has counted since its start.
// Without a MessageID it comes outside of a turn.
type UsageData struct {
	MessageID string  `json:"messageId,omitempty"`
	Used      *uint64 `json:"used,omitempty"`
	Size      *uint64 `json:"size,omitempty"`
	Cost      *Cost   `json:"cost,omitempty"`
}

// Cost is an amount in a unit: a currency of ISO 4217, or another one such as credits.
type Cost struct {
	Amount   float64 `json:"amount"`
	Currency string  `json:"currency"`
}

// Tokens counts a model's tokens by their kind (ACP, "Usage").
type Tokens struct {
	Input       uint64 `json:"inputTokens,omitempty"`
	Output      uint64 `json:"outputTokens,omitempty"`
	CachedRead  uint64 `json:"cachedReadTokens,omitempty"`
	CachedWrite uint64 `json:"cachedWriteTokens,omitempty"`
	Thought     uint64 `json:"thoughtTokens,omitempty"`
	Total       uint64 `json:"totalTokens,omitempty"`
}

// SessionUsage is what a session has used so far. Used and Size are the agent's context, as
// it told them last. Cost and tokens are sums over all turns and all processes of the agent.
type SessionUsage struct {
	Used              *uint64 `json:"used,omitempty"`
	Size              *uint64 `json:"size,omitempty"`
	Cost              *Cost   `json:"cost,omitempty"`
	InputTokens       uint64  `json:"inputTokens"`
	OutputTokens      uint64  `json:"outputTokens"`
	CachedReadTokens  uint64  `json:"cachedReadTokens"`
	CachedWriteTokens uint64  `json:"cachedWriteTokens"`
	ThoughtTokens     uint64  `json:"thoughtTokens"`
	TotalTokens       uint64  `json:"totalTokens"`
}

// Bounds of what an agent tells. What is beyond them is no count of anything.
const (
	MaxTokens        = 1_000_000_000_000_000
	MaxCost          = 1_000_000_000
	MaxCurrencyBytes = 32
)

// Known reports whether a cost can be one: not negative, not absurd, and of a unit.
func (c Cost) Known() bool {
	return c.Amount >= 0 && c.Amount <= MaxCost && c.Currency != "" && len(c.Currency) <= MaxCurrencyBytes
}

// ReadTokens reads the usage of a complete. A count that is none is 0. Without a total, it
// is the sum of the others.
func ReadTokens(usage json.RawMessage) Tokens {
	var raw map[string]json.RawMessage
	_ = json.Unmarshal(usage, &raw) // another value has no counts
	count := func(name string) uint64 {
		n, err := strconv.ParseUint(string(raw[name]), 10, 64)
		if err != nil || n > MaxTokens {
			return 0
		}
		return n
	}
	t := Tokens{
		Input: count("inputTokens"), Output: count("outputTokens"), CachedRead: count("cachedReadTokens"),
		CachedWrite: count("cachedWriteTokens"), Thought: count("thoughtTokens"), Total: count("totalTokens"),
	}
	if t.Total == 0 {
		t.Total = t.Input + t.Output + t.CachedRead + t.CachedWrite + t.Thought
	}
	return t
}

// Less returns the tokens that were added since before. Where a count went backwards, a new
// count has begun, and it is returned as it is.
func (t Tokens) Less(before Tokens) Tokens {
	if t.Input < before.Input || t.Output < before.Output || t.CachedRead < before.CachedRead ||
		t.CachedWrite < before.CachedWrite || t.Thought < before.Thought || t.Total < before.Total {
		return t
	}
	return Tokens{
		t.Input - before.Input, t.Output - before.Output, t.CachedRead - before.CachedRead,
		t.CachedWrite - before.CachedWrite, t.Thought - before.Thought, t.Total - before.Total,
	}
}
