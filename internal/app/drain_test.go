package app

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// A turn that outlasts --drain-timeout is completed with an error, and its
// streams are told to come back and end in order. Once, every stream was reset.
func TestDrainWithALongTurnEndsStreamsInOrder(t *testing.T) {
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
	fs := until(t, ws, isType(protocol.EventComplete))
	if c := completeOf(t, fs); c.Error == nil || c.Error.Code != protocol.TurnDraining || !c.Error.Retryable {
		t.Errorf("complete %+v", c)
	}
	until(t, ws, isType(protocol.EventType(protocol.ControlDraining)))
	if code := endOf(t, ws); code != websocket.StatusGoingAway {
		t.Errorf("the stream ended with %d", code)
	}
	select {
	case err := <-stopped:
		if err != nil {
			t.Errorf("the node stopped with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the node did not stop")
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
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("it took %s", d)
	}
}
