package contracttest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// A node is killed while all sessions of a channel write. The channel goes on with all of
// them on the other node, each event once and in order.
func TestChannelOutlivesItsNode(t *testing.T) {
	const sessions = 12
	for _, transport := range []client.Transport{client.WebSocket, client.SSE} {
		t.Run(transport.String(), func(t *testing.T) {
			t.Parallel()
			server := valkeytest.Start(t, valkeytest.Valkey(t))
			env := []string{"SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32)}
			works := hubtest.Serve(t, binary, env, "--valkey-url", server.URL(), "--worker-capacity", "16")
			dies := hubtest.Serve(t, binary, env, "--valkey-url", server.URL(), "--worker", "none")
			proxy, err := faultproxy.New(dies.Host())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			way := &http.Transport{}
			t.Cleanup(way.CloseIdleConnections)
			direct := &client.Client{BaseURL: works.URL, HTTPClient: &http.Client{Transport: way}}
			c := &client.Client{BaseURL: "http://" + proxy.Addr(), HTTPClient: &http.Client{Transport: way}}
			ch := c.Channel(client.ChannelOptions{Stream: client.StreamOptions{
				Transport: transport, Backoff: client.Backoff{Base: 20 * time.Millisecond, Max: 100 * time.Millisecond},
			}})
			defer ch.Close()
			var all []protocol.Subscription
			for range sessions {
				made, err := direct.Create(t.Context(), protocol.CreateRequest{WorkingDirectory: works.Root}, "")
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, protocol.Subscription{SessionID: made.SessionID})
			}
			if err := ch.Subscribe(t.Context(), all...); err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				if _, err := direct.Session(s.SessionID, "").Message(t.Context(), "/stream 150 20 200", "m1"); err != nil {
					t.Fatal(err)
				}
			}

			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			seqs, begun, over := map[string]uint64{}, 0, 0
			for over < sessions {
				u, err := ch.Next(ctx)
				if err != nil {
					t.Fatalf("at %v: %v", seqs, err)
				}
				if u.Err != nil || u.Control() == protocol.ControlGap {
					t.Fatalf("%s: %v %s", u.SessionID, u.Err, u.Raw)
				}
				if u.Control() != "" {
					continue
				}
				if last := seqs[u.SessionID]; u.First() != last+1 {
					t.Fatalf("after %d of %s came %d", last, u.SessionID, u.First())
				}
				seqs[u.SessionID] = u.Seq
				if u.Type == protocol.EventComplete {
					over++
				}
				if u.Type != protocol.EventOutput || u.Seq < 20 {
					continue
				}
				if begun++; begun == 2*sessions {
					if over > 0 {
						t.Fatal("turns were over before the node was killed")
					}
					if err := dies.Cmd.Process.Kill(); err != nil {
						t.Fatal(err)
					}
					<-dies.Ended
					proxy.Retarget(works.Host())
				}
			}
		})
	}
}
