package session

import (
	"slices"

	"sessionhub/protocol"
)

// MCPPart is the key of the part that has the MCP servers of a session with their secrets: a
// list of protocol.MCPServer. Info has their names only. So the secrets are read for an
// assignment, and never shown. No part of a question has such a key (see PartKey).
const MCPPart = "mcp"

// mcpStep is a step's part about MCP servers.
type mcpStep struct{ *step }

// setAside keeps the MCP servers of a new session beside its state.
func (st mcpStep) setAside() {
	o := &st.s.Info.AgentOptions
	if len(o.MCPServers) == 0 {
		o.MCPServers = nil
		return
	}
	st.parts = append(st.parts, Part{Key: MCPPart, Data: protocol.Marshal(slices.Clone(o.MCPServers))})
	o.MCPServers = protocol.NamesOfMCP(o.MCPServers)
}

// drop forgets the secrets of a session that ends.
func (st mcpStep) drop() {
	if len(st.s.Info.AgentOptions.MCPServers) > 0 {
		st.dropped = append(st.dropped, MCPPart)
	}
}

// InNeedsMCP says that a waiting session cannot run on the workers that are there: none lets
// it bring its MCP servers.
type InNeedsMCP struct{}

func (InNeedsMCP) apply(st *step) error {
	if st.s.NeedsWorker() {
		id := ""
		if wants(st.s) {
			id = st.s.Messages[0].ID
		}
		st.status(protocol.StatusQueued, id,
			"the session brings MCP servers, and no worker that is connected lets it: sessionMCP of its provider must allow them, in a worker of this version or newer")
	}
	return nil
}
