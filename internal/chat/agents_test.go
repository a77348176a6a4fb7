package chat

import (
	"fmt"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// A chat says which agents it could have had, and how to get one. Names are a worker's words.
func TestChatNamesTheAgents(t *testing.T) {
	here := func(name string, login protocol.Login) protocol.Provider {
		return protocol.Provider{Name: name, Available: true, Workers: 1, Login: login}
	}
	demo := here("demo", "")
	var many []protocol.Provider
	for i := range 15 {
		many = append(many, here(fmt.Sprint("p", i), ""))
	}
	for want, list := range map[string]protocol.Providers{
		"Only the demo agent is here; `sessionhub agents` tells how to add others.": {Providers: []protocol.Provider{demo, {Name: "away"}}},
		"Other agents here: claude (not logged in), codex. To talk to one: sessionhub chat --provider codex": {
			Default: "codex", Providers: []protocol.Provider{here("claude", protocol.LoginMissing), here("codex", protocol.LoginFound), demo},
		},
		"p11, 3 more. To talk": {Providers: many},
	} {
		if got := nameAgents(list, "demo"); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	hostile := protocol.Providers{Providers: []protocol.Provider{here("a\n\x1b[2Jb", "")}}
	if got := nameAgents(hostile, "demo"); !strings.HasPrefix(got, "Other agents here: a") || strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("%q can act on a terminal", got)
	}
	if got := nameAgents(protocol.Providers{Providers: []protocol.Provider{here("codex", "")}}, "codex"); got != "" {
		t.Errorf("there is nothing to say: %q", got)
	}
}
