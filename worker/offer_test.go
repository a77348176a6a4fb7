package worker

import (
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"sessionhub/protocol"
)

// finder is what Discover finds at the moment.
type finder struct {
	mu    sync.Mutex
	found map[string]Provider
}

func (f *finder) set(found map[string]Provider) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.found = found
}

func (f *finder) find() map[string]Provider {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.found)
}

// lastOffer is what the hub was told last of the providers.
func (h *hubEnd) lastOffer() (o protocol.ProvidersUpdate) {
	if n := len(h.hellos); n > 0 {
		o = protocol.ProvidersUpdate{Providers: h.hellos[n-1].Providers, Details: h.hellos[n-1].Details}
	}
	if n := len(h.offers); n > 0 {
		o = h.offers[n-1]
	}
	return o
}

// An agent that is installed or removed while the worker runs is told to the hub. A provider
// of the configuration counts before one that is found, and one that is not valid is left out.
func TestAgentsThatComeAndGoAreTold(t *testing.T) {
	var f finder
	f.set(map[string]Provider{"plain": {Command: "/other"}, "first": {Command: "/first", Title: "First"}})
	h := start(t, func(c *Config) { c.Discover, c.DiscoverEvery = f.find, 10*time.Millisecond })
	offers := func(what string, names ...string) {
		t.Helper()
		h.wait(what, func() bool { return slices.Equal(h.lastOffer().Providers, names) })
	}
	offers("what was found at first", "first", "plain")
	s := h.assign("plain")
	s.message("m1", "say hello") // the scripted one, not /other
	s.complete("m1")
	f.set(map[string]Provider{"second": {Command: "/second", Title: "Second"}, "bad name": {Command: "/x"}, "bad": {}})
	offers("another agent", "plain", "second")
	h.wait("its title", func() bool { return h.lastOffer().Details["second"].Title == "Second" })
	if got := h.worker.ProviderNames(); !slices.Equal(got, []string{"plain", "second"}) {
		t.Errorf("it offers %q", got)
	}
	// The hub may still assign a session of one that has just gone: it fails as one whose
	// program is not there, and is not lost.
	gone := h.assign("first")
	gone.message("m2", "hello")
	if c := gone.complete("m2"); c.Error == nil || c.Error.Code != protocol.TurnAgentStart {
		t.Errorf("a removed agent's turn ends with %s", protocol.Marshal(c))
	}
	f.set(nil)
	offers("none of them", "plain")
}

// What an agent says of itself is told to the hub once it has started, and once only. A hub
// of an earlier version hears it with the next link.
func TestAbilitiesOfAgentsAreTold(t *testing.T) {
	for _, early := range []bool{false, true} {
		h := prepare(t, nil, "sees")
		h.early = early
		h.run()
		s := h.assign("sees")
		for _, id := range []string{"m1", "m2"} {
			s.message(id, "say hello")
			s.complete(id)
		}
		if early {
			h.conn.Close()
			h.wait("a new link", func() bool { return len(h.hellos) == 2 })
		}
		h.wait("what the agent can", func() bool {
			c := h.lastOffer().Details["sees"].Capabilities
			return c != nil && c.Agent != nil && c.Agent.Images && !c.Agent.Audio
		})
		h.mu.Lock()
		if n := len(h.offers); n != 1 && !early || c(h.hellos[0], "sees") || c(h.hellos[0], "plain") {
			t.Errorf("early %v: it was told %d times; first %s", early, n, protocol.Marshal(h.hellos[0]))
		}
		h.mu.Unlock()
	}
}

// c reports whether a hello says what the agent of a provider can do.
func c(h protocol.Hello, provider string) bool {
	can := h.Details[provider].Capabilities
	return can != nil && can.Agent != nil
}

func TestReadAbilities(t *testing.T) {
	for answer, want := range map[string]protocol.AgentAbilities{
		`{}`: {},
		`7`:  {},
		`{"agentCapabilities":{"loadSession":true,"promptCapabilities":{"image":true,"audio":true,"embeddedContext":true},"mcpCapabilities":{"http":true,"sse":true},` +
			`"sessionCapabilities":{"resume":{},"list":{},"fork":{}}},"_meta":{"steering":{"supported":true},"sessionhub/reason":{"supported":true}}}`: {
			Images: true, Audio: true, EmbeddedContext: true, Load: true, Resume: true, List: true, Fork: true, Steering: true, Reasons: true, MCPHTTP: true, MCPSSE: true,
		},
		// A part that cannot be read takes nothing else with it.
		`{"agentCapabilities":{"loadSession":true,"promptCapabilities":7,"mcpCapabilities":[],"sessionCapabilities":{"resume":null,"fork":{}}}}`: {Load: true, Fork: true},
	} {
		if got := readAbilities([]byte(answer)); got != want {
			t.Errorf("%s: %+v", answer, got)
		}
	}
}
