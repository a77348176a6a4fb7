package session

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// The secrets of MCP servers are beside the state, and gone with the session. A worker that
// does not allow the servers does not get the session.
func TestMCPServersAreKeptApart(t *testing.T) {
	r := newStepper(t)
	info := r.s.Info
	info.AgentOptions.MCPServers = []protocol.MCPServer{{
		Name: "a", Command: "/bin/s3cr3t", Args: []string{"s3cr3t"}, Env: []protocol.NamedValue{{Name: "TOKEN", Value: "s3cr3t"}},
	}}
	c, err := NewState(info, r.policy, r.now)
	if err != nil {
		t.Fatal(err)
	}
	state, _ := json.Marshal(c.State)
	if strings.Contains(string(state), "s3cr3t") || strings.Contains(string(c.Events[0].Data), "s3cr3t") || !strings.Contains(string(state), "TOKEN") {
		t.Errorf("the state is %s", state)
	}
	if len(c.Parts) != 1 || c.Parts[0].Key != MCPPart || string(c.Parts[0].Data) != string(protocol.Marshal(info.AgentOptions.MCPServers)) {
		t.Errorf("the parts are %+v", c.Parts)
	}
	if r.s = c.State; r.s.AgentOptions().MCPServers[0].Env[0].Value != "" {
		t.Error("the options have a secret")
	}
	for _, allowed := range []protocol.SessionMCP{"", protocol.SessionMCPNone, protocol.SessionMCPHTTP} {
		in := judging
		in.MCP = allowed
		if r.do(say("m-"+string(allowed)), in); !errors.Is(r.err, ErrNeedsMCP) {
			t.Errorf("%q: %v", allowed, r.err)
		}
	}
	if r.do(InNeedsMCP{}); r.s.Status.Status != protocol.StatusQueued || !strings.Contains(r.s.Status.Detail, "sessionMCP") {
		t.Errorf("people are told %+v", r.s.Status)
	}
	in := judging
	in.MCP = protocol.SessionMCPAny
	if r.do(in); r.err != nil {
		t.Errorf("not assigned: %v", r.err)
	}
	c, err = Step(r.s, InClose{Reason: protocol.ClosedDeleted}, r.policy, r.now.Add(time.Minute))
	if err != nil || len(c.Dropped) != 1 || c.Dropped[0] != MCPPart {
		t.Errorf("at the end are dropped %v, %v", c.Dropped, err)
	}
}
