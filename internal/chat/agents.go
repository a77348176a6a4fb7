package chat

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sessionhub/protocol"
)

const (
	// askAgents is how long a chat waits for the list of agents. It can do without.
	askAgents = 3 * time.Second
	// maxAgents is how many agents a chat names.
	maxAgents = 12
)

// otherAgents says which agents a new session could have had instead of the one that nobody
// chose, or nothing.
func otherAgents(ctx context.Context, o Options, s opened) string {
	if !s.made || o.Create.Provider != "" {
		return ""
	}
	call, cancel := context.WithTimeout(ctx, askAgents)
	defer cancel()
	list, err := o.Client.ProviderList(call)
	if err != nil {
		return ""
	}
	return nameAgents(list, s.info.Provider)
}

// nameAgents names what is offered beside the agent that is used, and how to get it.
func nameAgents(list protocol.Providers, used string) string {
	var names []string
	first := ""
	for _, p := range list.Providers {
		if !p.Available || p.Name == used {
			continue
		}
		name := oneLine(p.Name, 40)
		if first == "" || p.Name == list.Default {
			first = name
		}
		if p.Login == protocol.LoginMissing {
			name += " (not logged in)"
		}
		names = append(names, name)
	}
	switch n := len(names) - maxAgents; {
	case len(names) == 0 && used == "demo":
		return "Only the demo agent is here; `sessionhub agents` tells how to add others."
	case len(names) == 0:
		return ""
	case n > 0:
		names = append(names[:maxAgents], fmt.Sprintf("%d more", n))
	}
	return fmt.Sprintf("Other agents here: %s. To talk to one: sessionhub chat --provider %s", strings.Join(names, ", "), first)
}
