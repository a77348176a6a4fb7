package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/protocol"
)

// TokenKind is a kind of tokens. Kinds do not overlap in what an agent counts, apart from
// thoughts, which some agents count as output too.
type TokenKind string

const (
	TokensInput       TokenKind = "input"
	TokensOutput      TokenKind = "output"
	TokensCachedRead  TokenKind = "cached_read"
	TokensCachedWrite TokenKind = "cached_write"
	TokensThought     TokenKind = "thought"
)

// TokenKinds lists every kind.
var TokenKinds = []TokenKind{TokensInput, TokensOutput, TokensCachedRead, TokensCachedWrite, TokensThought}

// CurrencyOther stands for every unit that has no series of its own.
const CurrencyOther = "other"

// Currencies lists the units of costs that have a series, in lower case.
var Currencies = []string{"usd", "eur", "credits", CurrencyOther}

// usage holds the counters of what agents use, by provider.
type usage struct {
	tokens map[string]map[TokenKind]prometheus.Counter
	costs  map[string]map[string]prometheus.Counter
}

func newUsage(f factory, providers []string) usage {
	u := usage{map[string]map[TokenKind]prometheus.Counter{}, map[string]map[string]prometheus.Counter{}}
	tokens := f.counter("tokens_total", "Tokens of completed turns, as agents tell them.", "provider", "kind")
	costs := f.counter("cost_total", "What agents say that they have cost.", "provider", "currency")
	for _, p := range providers {
		label := prometheus.Labels{"provider": p}
		u.tokens[p] = resolve(tokens.MustCurryWith(label), TokenKinds)
		u.costs[p] = resolve(costs.MustCurryWith(label), Currencies)
	}
	return u
}

// Tokens counts the tokens of a completed turn.
func (s *Set) Tokens(provider string, t protocol.Tokens) {
	tokens := s.usage.tokens[known(s.usage.tokens, provider)]
	tokens[TokensInput].Add(float64(t.Input))
	tokens[TokensOutput].Add(float64(t.Output))
	tokens[TokensCachedRead].Add(float64(t.CachedRead))
	tokens[TokensCachedWrite].Add(float64(t.CachedWrite))
	tokens[TokensThought].Add(float64(t.Thought))
}

// Cost counts what an agent says that it has cost. A negative amount is not counted.
func (s *Set) Cost(provider string, c protocol.Cost) {
	costs := s.usage.costs[known(s.usage.costs, provider)]
	counter, ok := costs[strings.ToLower(c.Currency)]
	if !ok {
		counter = costs[CurrencyOther]
	}
	counter.Add(max(c.Amount, 0))
}
