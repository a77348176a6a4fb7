package app

import (
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/scripted"
	"sessionhub/protocol"
)

func TestRealAgentsCallMCPServers(t *testing.T) { callMCPServers(t, realAgents) }

// A session brings a small MCP server, and the model of a real agent calls its tool. The
// server has the variable that the session gave it, and nobody sees the value.
func callMCPServers(t *testing.T, agents []realAgent) {
	t.Parallel()
	const token = "s3cr3t-of-the-server"
	for _, agent := range agents {
		t.Run(agent.name, func(t *testing.T) {
			b := startBench(t, agent)
			command, args := scripted.MCPServer(t)
			session := b.create(protocol.CreateRequest{AgentOptions: protocol.AgentOptions{MCPServers: []protocol.MCPServer{
				{Name: "words", Command: command, Args: args, Env: []protocol.NamedValue{{Name: "MCP_TOKEN", Value: token}}},
			}}})
			c := (&conversation{bench: b, dir: b.root, session: session}).in(t)
			seen := ""
			if agent.hidesTools {
				c.complete(c.say("mcp hello"), protocol.StopEndTurn)
				if s := c.record(); strings.Contains(s, "echoed hello") {
					t.Errorf("it calls the tool: %s", s)
				}
				c.remove()
				return
			}
			// Agents connect to their servers beside the first turns, in which the tool may lack.
			judge.Within(t, patience, "the tool's answer", func() bool {
				c.callTool()
				seen += c.record()
				return strings.Contains(seen, "echoed hello with a token")
			})
			if strings.Contains(seen, token) || strings.Contains(b.log.String(), token) {
				t.Errorf("the token is seen: %s", seen)
			}
			c.remove()
		})
	}
}

// callTool has the model call the tool of the MCP server, and allows it if people are asked.
func (c *conversation) callTool() {
	c.t.Helper()
	c.seen = nil
	m := c.say("mcp hello")
	for {
		f, err := c.sub.next(c.t.Context())
		if err != nil {
			c.t.Fatalf("the turn has no end: %v; what came: %s", err, c.record())
		}
		c.seen = append(c.seen, f)
		switch f.Type {
		case protocol.EventToolApproval:
			c.decide(hubtest.Decode[protocol.ToolApprovalData](c.t, f.Data), protocol.AllowOnce)
		case protocol.EventComplete:
			if end := hubtest.Decode[protocol.CompleteData](c.t, f.Data); end.MessageID != m.MessageID || end.StopReason != protocol.StopEndTurn {
				c.t.Fatalf("the turn ended with %+v: %s", end, c.record())
			}
			return
		}
	}
}
