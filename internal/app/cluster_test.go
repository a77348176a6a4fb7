package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/hub/valkeystore"
	"sessionhub/internal/valkeytest"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// clusterEnv is what all nodes of a hub have in common.
var clusterEnv = map[string]string{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32)}

// startNodes starts nodes on one Valkey: the first one runs agents, the others do not.
func startNodes(t *testing.T, server *valkeytest.Server, n int, flags ...string) []*hubUnderTest {
	t.Helper()
	nodes := make([]*hubUnderTest, n)
	for i := range nodes {
		own := append([]string{"--valkey-url", server.URL()}, flags...)
		if i > 0 {
			own = append(own, "--worker", "none")
		}
		nodes[i] = startHubEnv(t, clusterEnv, own...)
	}
	return nodes
}

// A session is made on one node, worked on by the second one's worker, steered
// and watched on all.
func TestNodesServeOneSession(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 3)
	a, b, c := nodes[0], nodes[1], nodes[2]
	s := b.create(protocol.CreateRequest{WorkingDirectory: a.root})
	onB, onC := openSSE(t, b, s), openSSE(t, c, s)
	c.send(s, "/write across.txt over three nodes")
	question, _ := pendingApproval(t, onC)
	if code, problem := b.approve(s, protocol.ApproveRequest{InteractionID: question.InteractionID, Decision: protocol.AllowOnce}); code != http.StatusOK {
		t.Fatalf("approve on another node: %d %+v", code, problem)
	}
	done := completeOf(t, until(t, onC, isType(protocol.EventComplete)))
	if done.StopReason != protocol.StopEndTurn {
		t.Fatalf("the turn ended with %+v", done)
	}
	until(t, onB, isType(protocol.EventComplete))
	if code, problem := a.approve(s, protocol.ApproveRequest{InteractionID: question.InteractionID, Decision: protocol.RejectOnce}); code != http.StatusConflict || problem.Code != protocol.CodeApprovalResolved {
		t.Errorf("a second answer on the third node: %d %+v", code, problem)
	}

	// The bytes of an event are the same everywhere.
	var histories []json.RawMessage
	for _, n := range nodes {
		var h json.RawMessage
		n.call("GET", "/api/sessions/"+s.SessionID+"/history", nil, &h, "Authorization", "Bearer "+s.Token)
		histories = append(histories, h)
	}
	if string(histories[0]) != string(histories[1]) || string(histories[1]) != string(histories[2]) {
		t.Errorf("histories differ:\n%s\n%s\n%s", histories[0], histories[1], histories[2])
	}

	var view protocol.Session
	waitFor(t, 10*time.Second, "the count of streams", func() bool {
		a.call("GET", "/api/sessions/"+s.SessionID, nil, &view, "Authorization", "Bearer "+s.Token)
		return view.Connections.SSE == 2
	})
	began := time.Now()
	b.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
	until(t, onC, isType(protocol.EventClosed))
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the other node's stream ended after %s", d)
	}
	for _, n := range nodes {
		n.want(http.StatusNotFound, protocol.CodeNotFound, "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
	}
}

// A token that is revoked on one node ends its streams on another within 2 s, and
// a ticket is taken once in all.
func TestCredentialsHoldOnAllNodes(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2)
	a, b := nodes[0], nodes[1]
	s := a.create(protocol.CreateRequest{})
	var ticket protocol.TicketResponse
	a.call("POST", "/api/sessions/"+s.SessionID+"/ticket", nil, &ticket, "Authorization", "Bearer "+s.Token)
	path := "/api/sessions/" + s.SessionID + "/events?ticket=" + ticket.Ticket
	stream, err := b.sse(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.close()
	until(t, stream, isType(protocol.EventStatus))
	resp, err := http.Get(b.url + path)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("a ticket from another node: %v, %v", resp, err)
	}
	_ = resp.Body.Close()
	a.want(http.StatusUnauthorized, protocol.CodeUnauthorized, "GET", path, nil)

	began := time.Now()
	a.want(http.StatusNoContent, "", "DELETE", "/api/sessions/"+s.SessionID+"/token", nil, "Authorization", "Bearer "+s.Token)
	for {
		if _, err := stream.next(t.Context()); err != nil {
			break
		}
	}
	if d := time.Since(began); d > 2*time.Second {
		t.Errorf("the stream of a revoked token ended after %s", d)
	}
	b.want(http.StatusUnauthorized, protocol.CodeTokenRevoked, "GET", "/api/sessions/"+s.SessionID, nil, "Authorization", "Bearer "+s.Token)
}

// Limits and keys count over all nodes.
func TestLimitsHoldOverAllNodes(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	nodes := startNodes(t, server, 2, "--max-sessions-per-user", "5", "--max-connections-per-user", "3")
	var made []protocol.CreateResponse
	for i := range 6 {
		var s protocol.CreateResponse
		resp := nodes[i%2].call("POST", "/api/sessions", protocol.CreateRequest{}, &s, "Idempotency-Key", fmt.Sprint("key-", i))
		if want := map[bool]int{true: http.StatusCreated, false: http.StatusTooManyRequests}[i < 5]; resp.StatusCode != want {
			t.Fatalf("session %d: %d, want %d", i, resp.StatusCode, want)
		}
		made = append(made, s)
	}
	var again protocol.CreateResponse
	nodes[1].call("POST", "/api/sessions", protocol.CreateRequest{}, &again, "Idempotency-Key", "key-0")
	if again.SessionID != made[0].SessionID {
		t.Errorf("the same key on another node made %s, not %s", again.SessionID, made[0].SessionID)
	}
	for i := range 3 {
		stream, err := nodes[i%2].sse(t.Context(), made[i], "")
		if err != nil {
			t.Fatal(err)
		}
		defer stream.close()
		until(t, stream, isType(protocol.EventStatus))
	}
	nodes[1].want(http.StatusTooManyRequests, protocol.CodeConnectionLimit, "GET", "/api/sessions/"+made[4].SessionID+"/events", nil, "Authorization", "Bearer "+made[4].Token)
	var list protocol.SessionList
	nodes[1].call("GET", "/api/sessions", nil, &list)
	if len(list.Sessions) != 5 {
		t.Errorf("%d sessions are listed on the other node, want 5", len(list.Sessions))
	}
}

// The names by which the store tells its failed calls are those of the metric.
func TestStoreOpsAreTheMetrics(t *testing.T) {
	if !slices.Equal(valkeystore.Ops, metrics.StoreOps) {
		t.Errorf("the store names %v\nthe metric has %v", valkeystore.Ops, metrics.StoreOps)
	}
}
