package app

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

const proxyKey = "the-key-behind-the-proxy"

// behind starts a hub and a proxy before it.
func behind(t *testing.T, name string) (*frontDoor, *client.Client) {
	t.Helper()
	addr := freeAddress(t)
	h := startHubEnv(t, map[string]string{"SESSIONHUB_API_KEY": proxyKey}, "--public-url", "https://"+addr)
	d := openDoor(t, name, addr, strings.TrimPrefix(h.url, "http://"))
	return d, d.client(proxyKey)
}

// The recipes' files, in the proxies that they are for.
func TestBehindProxies(t *testing.T) {
	t.Parallel()
	for _, name := range slices.Sorted(maps.Keys(frontDoors)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			door, c := behind(t, name)
			made, err := c.Create(t.Context(), protocol.CreateRequest{}, "")
			if err != nil {
				t.Fatal(err)
			}
			if want := "https://" + door.addr + "/api/sessions/" + made.SessionID + "/events"; made.EventsURL != want {
				t.Errorf("the events are at %s, want %s", made.EventsURL, want)
			}
			s := c.Session(made.SessionID, made.Token)
			for kind, transport := range clientTransports {
				t.Run(kind, func(t *testing.T) {
					streamsAsTheyAreMade(t, s, transport)
					firstEventIsQuick(t, s, transport)
					resumesOverARestart(t, door, s, transport)
				})
			}
			t.Run("the whole way", func(t *testing.T) { takesTheWholeWay(t, c) })
			nobodyIsLeftBehind(t, s)
			pagesAreRefusedAsWithout(t, c, door, made.SessionID)
		})
	}
}

// firstEventIsQuick: of a few tries, since other tests may have the machine. What a
// proxy holds back is late each time.
func firstEventIsQuick(t *testing.T, s *client.Session, transport client.Transport) {
	t.Helper()
	best := time.Hour
	for range 10 {
		stream := s.Stream(client.StreamOptions{Transport: transport, After: "latest"})
		began := time.Now()
		follow(t, stream, func(f client.Frame) bool { return f.Control() == protocol.ControlConnected })
		best = min(best, time.Since(began))
		stream.Close()
	}
	judge.AtMost(t, "the first event, at best,", best, 100*time.Millisecond)
}

// streamsAsTheyAreMade: 20 events a second arrive one by one. Held back, even for
// half of the time, they would come late and together.
func streamsAsTheyAreMade(t *testing.T, s *client.Session, transport client.Transport) {
	t.Helper()
	stream := s.Stream(client.StreamOptions{Transport: transport, After: "latest"})
	defer stream.Close()
	follow(t, stream, func(f client.Frame) bool { return f.Control() == protocol.ControlCaughtUp })
	if _, err := s.Message(t.Context(), "/stream 24 20 20", ""); err != nil {
		t.Fatal(err)
	}
	var came []time.Time
	var late []time.Duration
	follow(t, stream, func(f client.Frame) bool {
		switch f.Type {
		case protocol.EventOutput:
			came, late = append(came, time.Now()), append(late, time.Since(f.Time))
		case protocol.EventComplete:
			// What is held back comes when the last one has been made.
			early := 0
			for _, at := range came {
				if at.Before(f.Time) {
					early++
				}
			}
			if early < len(came)/2 || early == 0 {
				t.Errorf("%d of %d pieces came before the last was made", early, len(came))
			}
			return true
		}
		return false
	})
	slices.Sort(late)
	judge.AtMost(t, "the way of half of the pieces", late[len(late)/2], 200*time.Millisecond)
}

// resumesOverARestart: the proxy is replaced in mid-stream, and nothing is lost.
func resumesOverARestart(t *testing.T, door *frontDoor, s *client.Session, transport client.Transport) {
	t.Helper()
	retries := 0
	stream := s.Stream(client.StreamOptions{
		Transport: transport, Backoff: client.Backoff{Base: 10 * time.Millisecond, Max: 100 * time.Millisecond},
		OnRetry: func(error, time.Duration) { retries++ },
	})
	defer stream.Close()
	const pieces = 60
	sent, err := s.Message(t.Context(), fmt.Sprintf("/stream %d 20 40", pieces), "")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	seq, restarted := uint64(0), false
	follow(t, stream, func(f client.Frame) bool {
		if f.Control() != "" {
			return false
		}
		if f.Seq != seq+1 {
			t.Errorf("behind %d came %d", seq, f.Seq)
		}
		seq = f.Seq
		if f.Type == protocol.EventOutput {
			if d := hubtest.Decode[protocol.OutputData](t, f.Data); d.MessageID == sent.MessageID {
				text.WriteString(d.Text)
			}
			if !restarted && strings.Count(text.String(), "\n") >= 10 {
				restarted = true
				door.stop()
				door.start()
			}
		}
		return f.Type == protocol.EventComplete && hubtest.Decode[protocol.CompleteData](t, f.Data).MessageID == sent.MessageID
	})
	if n := strings.Count(text.String(), "\n"); n != pieces || retries == 0 {
		t.Errorf("%d pieces over %d new connections", n, retries)
	}
}

// takesTheWholeWay: the client that strangers use, with its defaults, finds that the
// WebSocket gets through, asks, and is asked.
func takesTheWholeWay(t *testing.T, c *client.Client) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	made, err := c.Create(ctx, protocol.CreateRequest{}, "")
	if err != nil {
		t.Fatal(err)
	}
	stream := c.Session(made.SessionID, made.Token).Stream(client.StreamOptions{})
	defer stream.Close()
	done := make(chan error, 2)
	defer func() {
		cancel()
		for range 2 {
			<-done
		}
	}()
	big := strings.Repeat("x", 128<<10) // more than any proxy's buffer
	go func() {
		_, err := stream.Message(ctx, "/approve it\n"+big, "")
		done <- err
	}()
	got := follow(t, stream, func(f client.Frame) bool { return f.Type == protocol.EventToolApproval })
	q := hubtest.Decode[protocol.ToolApprovalData](t, got[len(got)-1].Data)
	go func() {
		_, err := stream.Approve(ctx, protocol.ApproveRequest{InteractionID: q.InteractionID, Decision: protocol.AllowOnce})
		done <- err
	}()
	got = follow(t, stream, func(f client.Frame) bool { return f.Type == protocol.EventComplete })
	if d := hubtest.Decode[protocol.CompleteData](t, got[len(got)-1].Data); d.StopReason != protocol.StopEndTurn || stream.Transport() != client.WebSocket {
		t.Errorf("%+v over %s", d, stream.Transport())
	}
}

// nobodyIsLeftBehind: streams whose clients have left end at the hub, too.
func nobodyIsLeftBehind(t *testing.T, s *client.Session) {
	t.Helper()
	judge.Within(t, 10*time.Second, "no connection is open", func() bool {
		info, err := s.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return info.Connections == protocol.Connections{}
	})
}

// pagesAreRefusedAsWithout: the proxy hands on what the hub judges pages by.
func pagesAreRefusedAsWithout(t *testing.T, c *client.Client, door *frontDoor, id string) {
	t.Helper()
	for origin, want := range map[string]int{"https://" + door.addr: http.StatusOK, "https://evil.example": http.StatusForbidden} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.BaseURL+"/api/sessions/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("X-API-Key", proxyKey)
		resp, err := c.HTTPClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || resp.ProtoMajor != 2 {
			t.Errorf("a page of %s got %d over %s, want %d over HTTP/2", origin, resp.StatusCode, resp.Proto, want)
		}
	}
}
