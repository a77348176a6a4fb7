package app

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// primaryOf is the number of the server that has a key.
func primaryOf(t *testing.T, c *valkeytest.Cluster, key string) int {
	t.Helper()
	answer, err := c.Servers[0].Do("CLUSTER", "KEYSLOT", "sessionhub:"+key)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := strconv.Atoi(answer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range c.Servers {
		if slot < (i+1)*16384/len(c.Servers) {
			return i
		}
	}
	t.Fatalf("slot %d", slot)
	return 0
}

// One primary of a cluster is down, and the cluster serves the slots of the others.
// So does the hub, with one worker that has sessions on all of them: the whole node
// once said 503 until that server was back.
func TestSessionsOfOtherPrimariesAreServed(t *testing.T) {
	t.Parallel()
	cluster := valkeytest.StartCluster(t, valkeytest.Valkey(t), "cluster-require-full-coverage no")
	// The user's own keys lie on a server that stays.
	const key = "the-key-of-clients"
	const down = 1 // the server that goes
	start := func() *hubUnderTest {
		return startHubEnv(t, map[string]string{"SESSIONHUB_TOKEN_SECRET": strings.Repeat("s", 32), "SESSIONHUB_API_KEY": key}, "--valkey-url", cluster.URL())
	}
	h := start()
	// So does the list of the worker's sessions: it lies where the worker's name puts it.
	for tries := 0; primaryOf(t, cluster, "held:"+h.node.name) == down; tries++ {
		if err := h.node.Stop(t.Context()); err != nil || tries > 30 {
			t.Fatalf("stop node %d to have another name: %v", tries, err)
		}
		h = start()
	}
	create := func() (s protocol.CreateResponse) {
		t.Helper()
		var answer json.RawMessage
		if resp := h.call("POST", "/api/sessions", protocol.CreateRequest{}, &answer, "X-API-Key", key); resp.StatusCode != http.StatusCreated {
			t.Fatalf("create: %d %s", resp.StatusCode, answer)
		}
		if err := json.Unmarshal(answer, &s); err != nil {
			t.Fatal(err)
		}
		return s
	}
	byServer := make(map[int]protocol.CreateResponse)
	streams := make(map[int]stream)
	for tries := 0; len(byServer) < len(cluster.Servers); tries++ {
		if tries > 15 {
			t.Fatalf("sessions on %d servers only", len(byServer))
		}
		s := create()
		i := primaryOf(t, cluster, "{"+s.SessionID+"}:session")
		if _, have := byServer[i]; have {
			continue
		}
		byServer[i] = s
		h.send(s, "hello")
		streams[i] = openSSE(t, h, s)
		until(t, streams[i], isType(protocol.EventComplete))
	}
	// A turn is under way on the server that goes: its worker waits with the rest of it.
	h.send(byServer[down], "/stream 200 20 20")
	until(t, streams[down], isType(protocol.EventOutput))
	cluster.Servers[down].Kill()
	judge.Within(t, 20*time.Second, "word that the server is away", func() bool {
		return h.call("POST", "/api/sessions/"+byServer[down].SessionID+"/messages", protocol.MessageRequest{Content: []byte(`"lost?"`)}, nil,
			"Authorization", "Bearer "+byServer[down].Token).StatusCode == http.StatusServiceUnavailable
	})
	ready := func() {
		t.Helper()
		if code := h.call("GET", "/readyz", nil, nil).StatusCode; code != http.StatusOK {
			t.Errorf("/readyz says %d", code)
		}
	}
	for i, s := range byServer {
		if i == down {
			continue
		}
		ready()
		h.send(s, "again")
		if c := completeOf(t, until(t, streams[i], isType(protocol.EventComplete))); c.StopReason != protocol.StopEndTurn {
			t.Errorf("a turn on server %d: %+v", i, c)
		}
	}
	for range 3 {
		s := create()
		h.send(s, "hello")
		until(t, openSSE(t, h, s), isType(protocol.EventComplete))
	}
	// What the worker has said of that server's session meanwhile comes behind.
	cluster.Servers[down].Restart()
	if c := completeOf(t, until(t, streams[down], isType(protocol.EventComplete))); c.StopReason != protocol.StopEndTurn {
		t.Errorf("the turn on the server that was away: %+v", c)
	}
	ready()
}
