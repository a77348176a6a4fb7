package hub_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"sessionhub/hub"
	"sessionhub/hub/fleet"
	"sessionhub/protocol"
)

// Pages are told what a worker says of its providers, and which to offer first: an agent that
// is there and that needs no login, else an agent, else the configured one.
func TestProvidersAreDescribed(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		listed := func(user string) (string, map[string]protocol.Provider) {
			t.Helper()
			all, err := w.hub.Providers(w.ctx, user)
			if err != nil {
				t.Fatal(err)
			}
			named := map[string]protocol.Provider{}
			for _, p := range all.Providers {
				named[p.Name] = p
			}
			return all.Default, named
		}
		if first, _ := listed("alice"); first != "demo" {
			t.Errorf("without a worker %q is preselected", first)
		}
		h := hello("w2")
		h.Providers = []string{"demo", "gemini"}
		h.Details = map[string]protocol.ProviderDetails{"gemini": {Title: "Gemini", Login: protocol.LoginMissing}}
		w.join(h).want("welcome")
		if first, _ := listed("alice"); first != "gemini" {
			t.Errorf("with an agent %q is preselected", first)
		}
		h = hello("w1")
		h.Providers = []string{"demo", "gemini", "qwen"}
		can := &protocol.ProviderCapabilities{Mode: "default", AskingModes: []string{"default", "plan"}}
		h.Details = map[string]protocol.ProviderDetails{
			"gemini": {Title: "The first by name", Login: protocol.LoginMissing}, "qwen": {Title: "Qwen", Login: protocol.LoginFound, Capabilities: can},
		}
		w.joinWith(fleet.WorkerKey{User: "alice"}, h).want("welcome")
		first, named := listed("alice")
		if q := named["qwen"]; first != "qwen" || q.Title != "Qwen" || q.Login != protocol.LoginFound || q.Capabilities == nil || q.Capabilities.Mode != "default" {
			t.Errorf("%q is preselected, and qwen is %+v", first, q)
		}
		if g := named["gemini"]; g.Title != "The first by name" || g.Workers != 2 {
			t.Errorf("gemini is %+v", g)
		}
		// What one user's worker says is for that user.
		first, named = listed("bob")
		if _, there := named["qwen"]; there || first != "gemini" || named["gemini"].Title != "Gemini" {
			t.Errorf("bob is told %q, %+v", first, named)
		}
		// A session without a provider is one of the configured one all the same.
		s, err := w.hub.Create(w.ctx, "alice", "", protocol.CreateRequest{})
		if err != nil || s.State.Info.Provider != "demo" {
			t.Errorf("created %+v, %v", s.State.Info, err)
		}
	})
}

// A worker tells of an agent that was installed while it runs, and of one that was removed.
// Each is offered, or not, at once, and a session that waits for it goes on.
func TestProvidersFollowTheirWorker(t *testing.T) {
	inBubble(t, roomy, func(w *world) {
		listed := func() map[string]protocol.Provider {
			t.Helper()
			all, err := w.hub.Providers(w.ctx, "alice")
			if err != nil {
				t.Fatal(err)
			}
			named := map[string]protocol.Provider{}
			for _, p := range all.Providers {
				named[p.Name] = p
			}
			return named
		}
		p := w.join(hello("w1"))
		p.want("welcome")
		update := protocol.ProvidersUpdate{Providers: []string{"demo", "codex"}, Details: map[string]protocol.ProviderDetails{
			"codex": {Title: "Codex", Capabilities: &protocol.ProviderCapabilities{Agent: &protocol.AgentAbilities{Fork: true}}},
		}}
		p.send(protocol.FrameProviders, update)
		synctest.Wait()
		if c := listed()["codex"]; !c.Available || c.Title != "Codex" || c.Capabilities == nil || c.Capabilities.Agent == nil || !c.Capabilities.Agent.Fork {
			t.Fatalf("codex is %+v", c)
		}
		s, err := w.hub.Create(w.ctx, "alice", "", protocol.CreateRequest{Provider: "codex"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.hub.Message(w.ctx, s.State.Info.SessionID, "alice", protocol.MessageRequest{Content: []byte(`"hi"`)}, hub.Admission{}); err != nil {
			t.Fatal(err)
		}
		if got := p.script(); !strings.Contains(got, "assign") {
			t.Errorf("the worker got %q for the session %s", got, s.State.Info.SessionID)
		}
		// One that breaks the limits changes nothing, and does not end the link.
		for _, bad := range []any{
			7, protocol.ProvidersUpdate{Providers: []string{"a", "a"}}, protocol.ProvidersUpdate{Providers: make([]string, protocol.MaxProviders+1)},
			protocol.ProvidersUpdate{Providers: []string{"demo"}, Details: map[string]protocol.ProviderDetails{"codex": {Title: "x"}}},
		} {
			p.send(protocol.FrameProviders, bad)
			if got := p.script(); got != "error(invalid)" {
				t.Errorf("%.100v: %q", bad, got)
			}
		}
		if !listed()["codex"].Available || p.ended() {
			t.Error("a bad update has changed something")
		}
		p.send(protocol.FrameProviders, protocol.ProvidersUpdate{Providers: []string{"demo"}})
		synctest.Wait()
		if c, there := listed()["codex"]; there {
			t.Errorf("a removed agent is %+v", c)
		}
	})
}

// Details over their limits are refused with the field, like the rest of a hello.
func TestDetailsOverTheirLimitsAreRefused(t *testing.T) {
	for want, d := range map[string]map[string]protocol.ProviderDetails{
		"details name a provider that providers lack":                       {"other": {Title: "x"}},
		"details[demo].title is 129 bytes long: at most 128":                {"demo": {Title: strings.Repeat("x", 129)}},
		"details[demo].title holds a control character at byte 1":           {"demo": {Title: "a\x1b[2J"}},
		"details[demo].description is 1025 bytes long: at most 1024":        {"demo": {Description: strings.Repeat("x", 1025)}},
		"details[demo].icon is neither an https: nor a data: URI":           {"demo": {Icon: "javascript:alert(1)"}},
		"details[demo].login is neither found nor missing":                  {"demo": {Login: "secret"}},
		"details[demo].askingModes are 65: at most 64":                      {"demo": {Capabilities: &protocol.ProviderCapabilities{AskingModes: make([]string, 65)}}},
		"details[demo].allowedModes[0] holds a control character at byte 0": {"demo": {Capabilities: &protocol.ProviderCapabilities{AllowedModes: []string{"\n"}}}},
		"details[demo].mode is 257 bytes long: at most 256":                 {"demo": {Capabilities: &protocol.ProviderCapabilities{Mode: strings.Repeat("m", 257)}}},
	} {
		inBubble(t, roomy, func(w *world) {
			h := hello("w1")
			h.Details = d
			p := w.joinWith(fleet.WorkerKey{}, h)
			if !p.ended() {
				t.Fatal("it was let in: " + want)
			}
			if err := <-p.done; err == nil || !strings.HasSuffix(err.Error(), "hello: "+want) {
				t.Errorf("it ended with %v, want %s", err, want)
			}
		})
	}
}
