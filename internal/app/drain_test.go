package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// drained reads a stream to the end of its node, which must come in order and behind the
// whole log, and gives the complete of the turn that was under way. A draining frame is
// not of the log: it can come before or behind the last events.
func drained(t *testing.T, ws *wsStream) (complete protocol.CompleteData) {
	t.Helper()
	fs, code := restOf(t, ws)
	var status protocol.Status
	told := 0
	for _, f := range fs {
		switch f.Type {
		case protocol.EventComplete:
			complete = hubtest.Decode[protocol.CompleteData](t, f.Data)
		case protocol.EventStatus:
			status = hubtest.Decode[protocol.StatusData](t, f.Data).Status
		case protocol.EventType(protocol.ControlDraining):
			told++
		}
	}
	if told != 1 || code != websocket.StatusGoingAway || status != protocol.StatusIdle {
		t.Errorf("told of the drain %d times, then closed with %d at the status %q; the last frame is %s", told, code, status, last(fs))
	}
	return complete
}

// A turn that outlasts --drain-timeout is completed with an error, and its
// streams are told to come back and end in order. Once, every stream was reset.
func TestDrainWithALongTurnEndsStreamsInOrder(t *testing.T) {
	t.Parallel()
	h := startHub(t, "--drain-timeout", "1s")
	s := h.create(protocol.CreateRequest{})
	ws, err := h.ws(t.Context(), s, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	h.send(s, "/slow 60")
	until(t, ws, isType(protocol.EventOutput))
	stopped := make(chan error, 1)
	go func() { stopped <- h.node.Stop(context.WithoutCancel(t.Context())) }()
	if c := drained(t, ws); c.Error == nil || c.Error.Code != protocol.TurnDraining || !c.Error.Retryable {
		t.Errorf("complete %+v", c)
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("the node stopped with %v", err)
		}
	case <-time.After(patience):
		t.Error("the node did not stop")
	}
}

// Messages that wait behind a turn that the drain cuts off run on another node.
// Once, the next one was on its way to the worker that ended, was never run, and
// was completed with an error, after seconds: nobody had stored the release.
func TestDrainLeavesWhatWaitsToAnotherNode(t *testing.T) {
	t.Parallel()
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	a := startHubEnv(t, clusterEnv, "--valkey-url", server.URL(), "--drain-timeout", "200ms")
	s := a.create(protocol.CreateRequest{})
	a.send(s, "/slow 60")
	until(t, openSSE(t, a, s), isType(protocol.EventOutput))
	b := startHubEnv(t, clusterEnv, "--valkey-url", server.URL(), "--workspace-root", a.root)
	onB := openSSE(t, b, s)
	waiting := []string{b.send(s, "one").MessageID, b.send(s, "two").MessageID}

	if err := a.node.Stop(t.Context()); err != nil {
		t.Errorf("the node stopped with %v", err)
	}
	if c := completeOf(t, until(t, onB, isType(protocol.EventComplete))); c.Error == nil || c.Error.Code != protocol.TurnDraining {
		t.Errorf("the turn that was cut off: %+v", c)
	}
	for _, id := range waiting {
		if c := completeOf(t, until(t, onB, isType(protocol.EventComplete))); c.MessageID != id || c.StopReason != protocol.StopEndTurn {
			t.Errorf("%s waited: %+v (%+v)", id, c, c.Error)
		}
	}
}

// What a draining node answers ends the connection. Clients behind a balancer of
// connections kept theirs, and were refused over it again and again, although other
// nodes would have taken them.
func TestDrainingNodeKeepsNoConnection(t *testing.T) {
	h := startHub(t, "--drain-timeout", "30s")
	s := h.create(protocol.CreateRequest{})
	ws, err := h.ws(t.Context(), s, "0")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.close()
	m := h.send(s, "/slow 60") // until that is cancelled the node waits, or for its timeout
	until(t, ws, isType(protocol.EventOutput))
	get := func(path string) *http.Response {
		resp, err := http.Get(h.url + path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		return resp
	}
	if get("/readyz").Close {
		t.Error("a node at work closes a connection")
	}
	stopped := make(chan error, 1)
	go func() { stopped <- h.node.Stop(context.WithoutCancel(t.Context())) }()
	judge.Within(t, 10*time.Second, "the node drains", func() bool { return get("/readyz").StatusCode == http.StatusServiceUnavailable })
	for _, path := range []string{"/readyz", "/healthz", "/api/sessions/" + s.SessionID, "/api/sessions/" + s.SessionID + "/events"} {
		if resp := get(path); !resp.Close {
			t.Errorf("%s: %s, and the connection stays", path, resp.Status)
		}
	}
	h.call("POST", "/api/sessions/"+s.SessionID+"/cancel", protocol.CancelRequest{MessageID: m.MessageID}, nil, "Authorization", "Bearer "+s.Token)
	if err := <-stopped; err != nil {
		t.Errorf("the node stopped with %v", err)
	}
}

// Browsers hold connections in reserve over which they send nothing. A stop waited
// for them until its time was over, and failed.
func TestStopDoesNotWaitForSilentConnections(t *testing.T) {
	h := startHub(t)
	for _, text := range []string{"", "GET /healthz HTTP/1.1\r\nHost: x"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	h.call("GET", "/healthz", nil, nil) // they were accepted before it
	began := time.Now()
	if err := h.node.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	judge.AtMost(t, "the stop", time.Since(began), 4*time.Second)
}
