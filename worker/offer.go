package worker

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"time"

	"sessionhub/protocol"
)

// offers are the providers of a worker at one moment, and what is known of them. Guarded by
// the worker's mu.
type offers struct {
	found   map[string]Provider                // by Config.Discover, the last time
	ever    map[string]Provider                // each that was offered: sessions of it can still come
	learned map[string]protocol.AgentAbilities // by provider: what its agent said last
	due     bool                               // the hub has not heard the last change
}

// newOffers are those of a worker that begins.
func newOffers(c Config) offers {
	o := offers{ever: maps.Clone(c.Providers), learned: make(map[string]protocol.AgentAbilities)}
	o.setFound(c, c.discover())
	return o
}

// discover returns the providers that Discover finds and that can be offered. Those of
// Providers count before them.
func (c Config) discover() map[string]Provider {
	found := make(map[string]Provider)
	if c.Discover == nil {
		return found
	}
	all := c.Discover()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		_, named := c.Providers[name]
		if named || len(c.Providers)+len(found) >= protocol.MaxProviders {
			continue
		}
		if errs := all[name].validate(name); len(errs) > 0 {
			c.Log.Warn("an agent that was found cannot be offered", "provider", name, "error", errs[0])
			continue
		}
		found[name] = all[name]
	}
	return found
}

// setFound replaces what was found. It reports whether that is a change.
func (o *offers) setFound(c Config, found map[string]Provider) (changed bool) {
	if reflect.DeepEqual(o.found, found) {
		return false
	}
	o.found = found
	maps.Copy(o.ever, found)
	return true
}

// providersLocked are the providers that the worker offers now.
func (w *Worker) providersLocked() map[string]Provider {
	all := maps.Clone(w.cfg.Providers)
	maps.Copy(all, w.offers.found) // it has no name of the others
	return all
}

// offerLocked is what the hub is told of the providers.
func (w *Worker) offerLocked() protocol.ProvidersUpdate {
	all := w.providersLocked()
	return protocol.ProvidersUpdate{Providers: slices.Sorted(maps.Keys(all)), Details: w.cfg.detailsOf(all, w.offers.learned)}
}

// provider finds a provider that the worker offers, or has offered: one that was removed
// since then fails when its agent is started, and says why.
func (w *Worker) provider(name string) (Provider, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, ok := w.offers.ever[name]
	return p, ok
}

// look calls Discover again and again until ctx ends, and tells the hub of changes.
func (w *Worker) look(ctx context.Context) {
	tick := time.NewTicker(w.cfg.DiscoverEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		found := w.cfg.discover()
		w.mu.Lock()
		before := w.offers.found
		changed := w.offers.setFound(w.cfg, found)
		if changed {
			w.offers.due = true
			w.wakeWriter()
		}
		w.mu.Unlock()
		if changed {
			w.log.Info("other agents are offered", "found", slices.Sorted(maps.Keys(found)), "before", slices.Sorted(maps.Keys(before)))
		}
	}
}

// learn notes what an agent of the provider has answered to initialize. The hub hears of it
// if it is new.
func (w *Worker) learn(provider string, initialized json.RawMessage) {
	can := readAbilities(initialized)
	w.mu.Lock()
	defer w.mu.Unlock()
	if before, known := w.offers.learned[provider]; known && before == can {
		return
	}
	w.offers.learned[provider] = can
	w.offers.due = true
	w.wakeWriter()
}

// readAbilities reads an answer to initialize (ACP, "Initialization"). A part that cannot be
// read is not offered.
func readAbilities(initialized json.RawMessage) protocol.AgentAbilities {
	var answer struct {
		AgentCapabilities struct {
			LoadSession         bool            `json:"loadSession"`
			PromptCapabilities  json.RawMessage `json:"promptCapabilities"`
			MCPCapabilities     json.RawMessage `json:"mcpCapabilities"`
			SessionCapabilities json.RawMessage `json:"sessionCapabilities"`
		} `json:"agentCapabilities"`
	}
	_ = json.Unmarshal(initialized, &answer)
	var takes promptCapabilities
	_ = json.Unmarshal(answer.AgentCapabilities.PromptCapabilities, &takes)
	var mcp struct{ HTTP, SSE bool }
	_ = json.Unmarshal(answer.AgentCapabilities.MCPCapabilities, &mcp)
	var sessions struct{ Resume, List, Fork json.RawMessage }
	_ = json.Unmarshal(answer.AgentCapabilities.SessionCapabilities, &sessions)
	can := protocol.AgentAbilities{
		Images: takes.Image, Audio: takes.Audio, EmbeddedContext: takes.EmbeddedContext,
		Load: answer.AgentCapabilities.LoadSession, Resume: !isNull(sessions.Resume), List: !isNull(sessions.List), Fork: !isNull(sessions.Fork),
		MCPHTTP: mcp.HTTP, MCPSSE: mcp.SSE,
	}
	can.Steering, can.Reasons = readExtensions(initialized)
	return can
}
