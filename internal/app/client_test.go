package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// cutter makes connections that the test can cut.
type cutter struct {
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cutter) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err == nil {
		c.mu.Lock()
		c.conns = append(c.conns, conn)
		c.mu.Unlock()
	}
	return conn, err
}

// cut resets every connection.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	c.conns = nil
}

// goClient is a client of the hub with connections of its own.
func (h *hubUnderTest) goClient() (*client.Client, *cutter) {
	c := &cutter{}
	transport := &http.Transport{DialContext: c.dial}
	h.t.Cleanup(transport.CloseIdleConnections)
	return &client.Client{BaseURL: h.url, HTTPClient: &http.Client{Transport: transport}}, c
}

var clientTransports = map[string]client.Transport{"websocket": client.WebSocket, "sse": client.SSE}

// follow reads frames up to the first one that want accepts.
func follow(t *testing.T, s *client.Stream, want func(client.Frame) bool) []client.Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []client.Frame
	for {
		f, err := s.Next(ctx)
		if err != nil {
			t.Fatalf("after %d frames: %v", len(all), err)
		}
		if all = append(all, f); want(f) {
			return all
		}
	}
}

func TestClientTakesTheWholeWay(t *testing.T) {
	for name, transport := range clientTransports {
		t.Run(name, func(t *testing.T) {
			h := startHub(t)
			c, _ := h.goClient()
			ctx := t.Context()
			made, err := c.Create(ctx, protocol.CreateRequest{Title: "mine"}, "key-1")
			if err != nil {
				t.Fatal(err)
			}
			if again, err := c.Create(ctx, protocol.CreateRequest{Title: "mine"}, "key-1"); err != nil || again.SessionID != made.SessionID {
				t.Errorf("a repeat gave %s, %v", again.SessionID, err)
			}
			s := c.Session(made.SessionID, made.Token)
			stream := s.Stream(client.StreamOptions{Transport: transport})
			defer stream.Close()

			sent, err := s.Message(ctx, "/approve the plan", "m1")
			if err != nil || sent.MessageID != "m1" {
				t.Fatalf("%+v, %v", sent, err)
			}
			if twice, err := s.Message(ctx, "/approve the plan", "m1"); err != nil || !twice.Duplicate || twice.Seq != sent.Seq {
				t.Errorf("a repeat gave %+v, %v", twice, err)
			}
			got := follow(t, stream, func(f client.Frame) bool { return f.Type == protocol.EventToolApproval })
			pending, err := s.Approvals(ctx)
			if err != nil || len(pending) != 1 {
				t.Fatalf("%+v, %v", pending, err)
			}
			answer := protocol.ApproveRequest{InteractionID: pending[0].InteractionID, Decision: protocol.AllowOnce}
			if _, err := s.Approve(ctx, answer); err != nil {
				t.Fatal(err)
			}
			var late *client.Error
			if _, err := s.Approve(ctx, answer); !errors.As(err, &late) || late.Code != protocol.CodeApprovalResolved || late.Outcome != protocol.OutcomeSelected {
				t.Errorf("a late answer got %v", err)
			}
			got = append(got, follow(t, stream, func(f client.Frame) bool { return f.Type == protocol.EventComplete })...)
			if err := s.Cancel(ctx, ""); err != nil {
				t.Errorf("cancel of nothing: %v", err)
			}

			history, err := s.History(ctx, "", 0)
			if err != nil {
				t.Fatal(err)
			}
			events := slices.DeleteFunc(got, func(f client.Frame) bool { return f.Control() != "" })
			for i, f := range events {
				if f.Seq != uint64(i+1) || f.Cursor.Seq != f.Seq || f.Cursor.Epoch != history.Epoch {
					t.Errorf("event %d has the seq %d and the cursor %s", i, f.Seq, f.Cursor)
				}
			}
			if len(history.Events) < len(events) {
				t.Errorf("history has %d events, the stream had %d", len(history.Events), len(events))
			}
			if list, err := c.List(ctx, client.ListOptions{Limit: 5}); err != nil || len(list.Sessions) != 1 || list.Sessions[0].Title != "mine" {
				t.Errorf("%+v, %v", list, err)
			}
			if all, err := c.Providers(ctx); err != nil || len(all) == 0 {
				t.Errorf("%+v, %v", all, err)
			}

			narrow, err := s.Token(ctx, protocol.TokenRequest{Scope: "read"})
			if err != nil {
				t.Fatal(err)
			}
			var refused *client.Error
			if _, err := c.Session(made.SessionID, narrow.Token).Message(ctx, "hi", ""); !errors.As(err, &refused) || refused.Code != protocol.CodeScope {
				t.Errorf("a reader wrote: %v", err)
			}
			if err := s.Delete(ctx); err != nil {
				t.Fatal(err)
			}
			follow(t, stream, func(f client.Frame) bool { return f.Type == protocol.EventClosed })
			if _, err := stream.Next(ctx); !errors.Is(err, io.EOF) {
				t.Errorf("behind the last event came %v", err)
			}
			if _, err := s.Get(ctx); !errors.As(err, &refused) || refused.Code != protocol.CodeNotFound {
				t.Errorf("a deleted session: %v", err)
			}
		})
	}
}

func TestClientStreamSurvivesEveryCut(t *testing.T) {
	const pieces, most = 400, 20
	for name, transport := range clientTransports {
		t.Run(name, func(t *testing.T) {
			h := startHub(t)
			c, connections := h.goClient()
			made, err := c.Create(t.Context(), protocol.CreateRequest{}, "")
			if err != nil {
				t.Fatal(err)
			}
			s := c.Session(made.SessionID, made.Token)
			cuts, retries := 0, 0
			stream := s.Stream(client.StreamOptions{
				Transport: transport, Backoff: client.Backoff{Base: 5 * time.Millisecond, Max: 20 * time.Millisecond},
				OnRetry: func(error, time.Duration) { retries++ },
			})
			defer stream.Close()
			messages := 0
			more := func() {
				messages++
				if _, err := s.Message(t.Context(), fmt.Sprintf("/stream %d 40 800", pieces), ""); err != nil {
					t.Fatal(err)
				}
			}
			more()
			last := uint64(0)
			var text strings.Builder
			follow(t, stream, func(f client.Frame) bool {
				if f.Control() != "" {
					return false
				}
				if f.Seq != last+1 {
					t.Errorf("behind %d came %d", last, f.Seq)
				}
				if last = f.Seq; last%25 == 0 {
					cuts++
					connections.cut()
				}
				if f.Type == protocol.EventOutput {
					text.WriteString(hubtest.Decode[protocol.OutputData](t, f.Data).Text)
				}
				if f.Type != protocol.EventComplete {
					return false
				}
				// What a cut found in the client's own buffer was read from there, so
				// several cuts can hit one connection: on a busy machine, most of them.
				if retries >= 3 || messages == most {
					return true
				}
				more()
				return false
			})
			lines := strings.Split(strings.TrimSpace(text.String()), "\n")
			if len(lines) != messages*pieces || !strings.HasPrefix(lines[len(lines)-1], fmt.Sprint(pieces, " ")) {
				t.Errorf("%d pieces arrived, want %d", len(lines), messages*pieces)
			}
			if cuts < 10 || retries < 3 {
				t.Errorf("%d cuts, %d connections after the first: too few to show anything", cuts, retries)
			}
		})
	}
}

func TestClientIsToldOfADrain(t *testing.T) {
	h := startHub(t)
	c, _ := h.goClient()
	made, err := c.Create(t.Context(), protocol.CreateRequest{}, "")
	if err != nil {
		t.Fatal(err)
	}
	stream := c.Session(made.SessionID, made.Token).Stream(client.StreamOptions{
		MaxAttempts: 3, Backoff: client.Backoff{Base: time.Millisecond, Max: time.Millisecond},
	})
	defer stream.Close()
	follow(t, stream, func(f client.Frame) bool { return f.Control() == protocol.ControlCaughtUp })
	stopped := make(chan error, 1)
	go func() { stopped <- h.node.Stop(context.Background()) }()
	follow(t, stream, func(f client.Frame) bool { return f.Control() == protocol.ControlDraining })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := stream.Next(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) {
		t.Errorf("after a drain without another node came %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
}
