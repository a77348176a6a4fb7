package session

import (
	"math"

	"sessionhub/protocol"
)

// Usage is what a session has used so far. A Usage is shared by states, so it is never
// changed in place.
type Usage struct {
	protocol.SessionUsage
	AgentCost float64 `json:"agentCost,omitempty"` // what the agent has counted itself; it can begin anew
	TurnCost  float64 `json:"turnCost,omitempty"`  // of the running turn
}

// usage returns a copy that the caller may change.
func (s *State) usage() *Usage {
	if s.Usage == nil {
		return &Usage{}
	}
	u := *s.Usage
	return &u
}

// InUsage is a worker's usage event. Its values are within their bounds.
type InUsage struct{ Data protocol.UsageData }

func (in InUsage) apply(st *step) error {
	s, d := st.s, in.Data
	if s.Closed != "" {
		return nil
	}
	d.MessageID = ""
	if m, ok := s.Turn(); ok {
		d.MessageID = m.ID
	}
	u := s.usage()
	if d.Used != nil {
		u.Used = d.Used
	}
	if d.Size != nil {
		u.Size = d.Size
	}
	if d.Cost != nil {
		u.spend(*d.Cost, s.Load == LoadRuns)
	}
	s.Usage = u
	st.event(protocol.EventUsage, d)
	return nil
}

// spend counts what the agent's session costs so far. If its count went backwards, another
// process of the agent has begun to count. Amounts of two currencies have no sum, so
// another currency begins a new one. What an agent tells with its history was spent
// elsewhere: later costs count from there.
func (u *Usage) spend(told protocol.Cost, elsewhere bool) {
	if elsewhere {
		u.AgentCost = told.Amount
		return
	}
	added := told.Amount
	if u.Cost != nil && u.Cost.Currency != told.Currency {
		u.Cost, u.TurnCost, u.AgentCost = nil, 0, 0
	}
	if added >= u.AgentCost {
		added -= u.AgentCost
	}
	u.AgentCost = told.Amount
	u.TurnCost = exact(u.TurnCost + added)
	sum := protocol.Cost{Currency: told.Currency}
	if u.Cost != nil {
		sum.Amount = u.Cost.Amount
	}
	sum.Amount = exact(min(sum.Amount+added, protocol.MaxCost))
	u.Cost = &sum
}

// exact drops what sums of binary fractions leave behind the ninth decimal.
func exact(amount float64) float64 { return math.Round(amount*1e9) / 1e9 }

// usageOfTurn adds a turn's tokens to the session's, and gives the complete its cost.
func (st *step) usageOfTurn(data *protocol.CompleteData) {
	s := st.s
	data.Cost = nil
	tokens := protocol.ReadTokens(data.Usage)
	if s.Usage == nil && tokens == (protocol.Tokens{}) {
		return
	}
	u := s.usage()
	if u.TurnCost > 0 {
		data.Cost = &protocol.Cost{Amount: u.TurnCost, Currency: u.Cost.Currency}
	}
	u.TurnCost = 0
	for sum, n := range map[*uint64]uint64{
		&u.InputTokens: tokens.Input, &u.OutputTokens: tokens.Output, &u.CachedReadTokens: tokens.CachedRead,
		&u.CachedWriteTokens: tokens.CachedWrite, &u.ThoughtTokens: tokens.Thought, &u.TotalTokens: tokens.Total,
	} {
		*sum = min(*sum+n, protocol.MaxTokens)
	}
	s.Usage = u
}

// beginTurnCost leaves what was spent between two turns out of the next one's cost.
func (s *State) beginTurnCost() {
	if s.Usage != nil && s.Usage.TurnCost != 0 {
		u := s.usage()
		u.TurnCost = 0
		s.Usage = u
	}
}

// anotherAgentSession notes that the agent has begun a session of its own: it counts its
// cost from nothing.
func (s *State) anotherAgentSession() {
	if s.Usage != nil && s.Usage.AgentCost != 0 {
		u := s.usage()
		u.AgentCost = 0
		s.Usage = u
	}
}

// Spent is what the session's agent has cost between two states that follow each other.
func Spent(before, after *State) protocol.Cost {
	if after.Usage == nil || after.Usage.Cost == nil {
		return protocol.Cost{}
	}
	spent := *after.Usage.Cost
	if before.Usage != nil && before.Usage.Cost != nil && before.Usage.Cost.Currency == spent.Currency {
		spent.Amount = exact(spent.Amount - before.Usage.Cost.Amount)
	}
	return spent
}
