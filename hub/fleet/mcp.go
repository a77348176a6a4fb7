package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/protocol"
)

// ErrMCPNotAllowed says that a session brings MCP servers that its provider does not allow.
var ErrMCPNotAllowed = errors.New("this MCP server is not allowed")

// sessionMCP is what the details of a worker allow the sessions of a provider. A worker of an
// earlier version gives none, and would leave the servers out without a word.
func sessionMCP(details map[string]protocol.ProviderDetails, provider string) protocol.SessionMCP {
	if c := details[provider].Capabilities; c != nil {
		return c.SessionMCP
	}
	return protocol.SessionMCPNone
}

// AllowsMCP returns nil if the user's sessions may bring these MCP servers to a provider, and
// ErrMCPNotAllowed if no live worker lets them. While no worker offers the provider, nobody
// knows: the session waits, and its worker decides.
func (f *Fleet) AllowsMCP(ctx context.Context, user, provider string, servers []protocol.MCPServer) error {
	if len(servers) == 0 {
		return nil
	}
	live, err := f.store.Workers(ctx)
	if err != nil {
		return err
	}
	var refusal error
	for _, w := range live {
		if w.User != "" && w.User != user || !slices.Contains(w.Providers, provider) {
			continue
		}
		allowed := sessionMCP(w.Details, provider)
		refused, not := allowed.Refuses(servers)
		if !not {
			return nil
		}
		if refusal == nil || allowed == protocol.SessionMCPHTTP {
			refusal = fmt.Errorf("%w: agentOptions.mcpServers: %q is of the type %s; sessions of the provider %q may bring %s (its sessionMCP)",
				ErrMCPNotAllowed, session.Clip(refused.Name), refused.Transport(), session.Clip(provider), allowedMCP(allowed))
		}
	}
	return refusal
}

// allowedMCP says for people what may be brought.
func allowedMCP(m protocol.SessionMCP) string {
	if m == protocol.SessionMCPHTTP {
		return "only those of the types http and sse"
	}
	return "none"
}

// MCPOf reads the MCP servers of a session, with their secrets. An ended session has none.
func MCPOf(ctx context.Context, from store.Parts, s *session.State) ([]protocol.MCPServer, error) {
	if len(s.Info.AgentOptions.MCPServers) == 0 || s.Closed != "" {
		return nil, nil
	}
	raw, ok, err := from.Part(ctx, s.Info.SessionID, session.MCPPart)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("session %s: its MCP servers: %w", s.Info.SessionID, store.ErrPartMissing)
	}
	var servers []protocol.MCPServer
	if err := json.Unmarshal(raw, &servers); err != nil {
		return nil, fmt.Errorf("session %s: its MCP servers cannot be read", s.Info.SessionID) // without the text, which has secrets
	}
	return servers, nil
}
