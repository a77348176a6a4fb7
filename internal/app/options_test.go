package app

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// An option is set on a node without workers, reaches the agent of another one, and is seen
// on both. One that is set while no agent runs holds for the next.
func TestOptionsOverTwoNodes(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2, "--agent-idle", "300ms")
	a, b := nodes[0], nodes[1]
	s := b.create(protocol.CreateRequest{WorkingDirectory: a.root})
	bearer := []string{"Authorization", "Bearer " + s.Token}
	onB := openSSE(t, b, s)
	set := func(h *hubUnderTest, id, value string) {
		t.Helper()
		var set protocol.SetOptionResponse
		if resp := h.call("PATCH", "/api/sessions/"+s.SessionID+"/options", protocol.SetOptionRequest{ConfigID: id, Value: protocol.TextValue(value)}, &set, bearer...); resp.StatusCode != http.StatusAccepted {
			t.Fatalf("set %s: %d", id, resp.StatusCode)
		}
	}
	inMode := func(mode string) func(hubtest.Frame) bool {
		return func(f hubtest.Frame) bool {
			return f.Type == protocol.EventConfigOptions && hubtest.Decode[protocol.ConfigOptionsData](t, f.Data).Mode == mode
		}
	}
	a.send(s, "/slow 2")
	until(t, onB, inMode("ask"))
	set(b, "mode", "auto")
	until(t, onB, inMode("auto"))
	until(t, onB, isType(protocol.EventComplete))
	judge.Within(t, 20*time.Second, "the end of the idle agent", func() bool {
		return metric(t, a, `sessionhub_worker_sessions{provider="demo"}`) == 0
	})
	set(b, "mode", "ask")
	until(t, onB, inMode("ask"))
	set(a, "mode", "auto")
	until(t, onB, inMode("auto"))
	b.send(s, "/model")
	until(t, onB, func(f hubtest.Frame) bool {
		return f.Type == protocol.EventOutput && strings.Contains(string(f.Data), "mode auto")
	})
}

// A worker of an earlier version does not know which modes are allowed: it would give the
// agent any. A session that names a mode waits for another worker, and says why; the others
// run.
func TestEarlierWorkerGetsNoSessionWithAMode(t *testing.T) {
	h := startHubEnv(t, map[string]string{"SESSIONHUB_WORKER_KEY": testWorkerKey}, "--worker", "none")
	earlier := h.dialLink(testWorkerKey)
	earlier.hello()
	s := h.create(protocol.CreateRequest{AgentOptions: protocol.AgentOptions{Mode: "auto"}})
	other := h.create(protocol.CreateRequest{AgentOptions: protocol.AgentOptions{Model: "demo-large"}})
	sub := openSSE(t, h, s)
	h.send(s, "hello")
	until(t, sub, func(f hubtest.Frame) bool {
		return f.Type == protocol.EventStatus && strings.Contains(string(f.Data), "update the workers")
	})
	h.send(other, "hello")
	if got := hubtest.Decode[protocol.Assign](t, earlier.want(protocol.FrameAssign).Data); got.SessionID != other.SessionID {
		t.Errorf("the worker of an earlier version got %+v", got)
	}
	newer := h.dialLink(testWorkerKey)
	newer.send(protocol.FrameHello, protocol.Hello{
		Worker: "w2", Version: "2", Workspace: "ws", Capacity: 1, Providers: []string{"demo"}, Commands: []protocol.WorkerCommandType{protocol.WorkerSetOption},
	})
	newer.want(protocol.FrameWelcome)
	if got := hubtest.Decode[protocol.Assign](t, newer.want(protocol.FrameAssign).Data); got.SessionID != s.SessionID || got.AgentOptions.Mode != "auto" {
		t.Errorf("the other worker got %+v", got)
	}
}

// A worker of an earlier version would leave MCP servers out without a word, and another may
// not allow them. A session that brings some is refused, or waits for a worker that allows
// them. That one gets their secrets.
func TestSessionWithMCPServersWaitsForItsWorker(t *testing.T) {
	h := startHubEnv(t, map[string]string{"SESSIONHUB_WORKER_KEY": testWorkerKey}, "--worker", "none")
	servers := []protocol.MCPServer{{Name: "docs", Type: "http", URL: "https://mcp.example.org", Headers: []protocol.NamedValue{{Name: "X-Key", Value: "s3cr3t"}}}}
	request := protocol.CreateRequest{AgentOptions: protocol.AgentOptions{MCPServers: servers}}
	s := h.create(request) // nobody is there to say no
	if got := s.Session.AgentOptions.MCPServers; len(got) != 1 || got[0].URL != "" || got[0].Headers[0] != (protocol.NamedValue{Name: "X-Key"}) {
		t.Errorf("the session shows %+v", got)
	}
	earlier := h.dialLink(testWorkerKey)
	earlier.hello()
	other := h.create(protocol.CreateRequest{})
	sub := openSSE(t, h, s)
	h.send(s, "hello")
	until(t, sub, func(f hubtest.Frame) bool {
		return f.Type == protocol.EventStatus && strings.Contains(string(f.Data), "sessionMCP of its provider must allow them")
	})
	h.want(http.StatusForbidden, protocol.CodeMCPNotAllowed, "POST", "/api/sessions", request)
	h.send(other, "hello")
	if got := hubtest.Decode[protocol.Assign](t, earlier.want(protocol.FrameAssign).Data); got.SessionID != other.SessionID {
		t.Errorf("the worker of an earlier version got %+v", got)
	}
	newer := h.dialLink(testWorkerKey)
	newer.send(protocol.FrameHello, protocol.Hello{
		Worker: "w2", Version: "2", Workspace: "ws", Capacity: 1, Providers: []string{"demo"},
		Details: map[string]protocol.ProviderDetails{"demo": {Capabilities: &protocol.ProviderCapabilities{SessionMCP: protocol.SessionMCPHTTP}}},
	})
	newer.want(protocol.FrameWelcome)
	got := hubtest.Decode[protocol.Assign](t, newer.want(protocol.FrameAssign).Data)
	if got.SessionID != s.SessionID || !reflect.DeepEqual(got.AgentOptions.MCPServers, servers) {
		t.Errorf("the other worker got %+v", got)
	}
	h.create(request)
	request.AgentOptions.MCPServers = append(servers, protocol.MCPServer{Name: "files", Command: "x"})
	h.want(http.StatusForbidden, protocol.CodeMCPNotAllowed, "POST", "/api/sessions", request)
}
