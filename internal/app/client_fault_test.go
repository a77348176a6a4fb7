package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/faultproxy"
	"sessionhub/protocol"
)

// faults breaks the network at random until ctx ends, and then heals it.
func faults(ctx context.Context, p *faultproxy.Proxy, r *rand.Rand) (broken int) {
	defer p.Heal()
	pause := func(most int) bool {
		timer := time.NewTimer(time.Duration(1+r.IntN(most)) * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for pause(150) {
		broken++
		switch r.IntN(6) {
		case 0, 1:
			p.Cut()
			continue
		case 2:
			p.Refuse(true)
		case 3:
			p.Freeze(true)
		case 4:
			p.Drop(faultproxy.Direction(r.IntN(2)), true)
		case 5:
			p.Slow(2_000 + r.IntN(20_000))
		}
		again := pause(150)
		p.Heal()
		if !again {
			break
		}
	}
	return broken
}

// Whatever the network does, a stream gives every event once and in order, and
// every message that was sent through it counts once.
func TestClientPromisesHoldOverRandomFaults(t *testing.T) {
	const messages, pieces = 6, 60
	for name, transport := range map[string]client.Transport{"auto": client.Auto, "websocket": client.WebSocket, "sse": client.SSE} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			h := startHub(t)
			proxy, err := faultproxy.New(strings.TrimPrefix(h.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			direct, _ := h.goClient()
			made, err := direct.Create(t.Context(), protocol.CreateRequest{}, "")
			if err != nil {
				t.Fatal(err)
			}
			way := &http.Transport{}
			t.Cleanup(way.CloseIdleConnections)
			c := &client.Client{BaseURL: "http://" + proxy.Addr(), HTTPClient: &http.Client{Transport: way}}
			used := map[client.Transport]int{}
			var stream *client.Stream
			stream = c.Session(made.SessionID, made.Token).Stream(client.StreamOptions{
				Transport: transport, Backoff: client.Backoff{Base: 2 * time.Millisecond, Max: 30 * time.Millisecond},
				OnRetry: func(error, time.Duration) { used[stream.Transport()]++ },
			})
			defer stream.Close()

			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer stop()
			broken := make(chan int, 1)
			wg.Go(func() { broken <- faults(ctx, proxy, rand.New(rand.NewPCG(seed, 1))) })
			wg.Go(func() {
				for i := range messages {
					if _, err := stream.Message(ctx, fmt.Sprintf("/stream %d 30 300", pieces), fmt.Sprint("m", i)); err != nil && ctx.Err() == nil {
						t.Errorf("message %d: %v", i, err)
					}
				}
			})

			var seqs, accepted, completed []string
			texts := map[string]string{}
			follow(t, stream, func(f client.Frame) bool {
				if f.Control() != "" {
					return false
				}
				seqs = append(seqs, fmt.Sprint(f.Seq))
				switch f.Type {
				case protocol.EventMessage:
					accepted = append(accepted, decode[protocol.MessageData](t, f.Data).MessageID)
				case protocol.EventOutput:
					d := decode[protocol.OutputData](t, f.Data)
					texts[d.MessageID] += d.Text
				case protocol.EventComplete:
					completed = append(completed, decode[protocol.CompleteData](t, f.Data).MessageID)
				}
				return len(completed) == messages
			})
			stop()
			if n, retries := <-broken, used[client.WebSocket]+used[client.SSE]; n < 5 || retries < 3 {
				t.Errorf("%d faults and %d connections: too few to show anything", n, retries)
			} else {
				t.Logf("%d faults, connections lost: %v", n, used)
			}

			for i, seq := range seqs {
				if seq != fmt.Sprint(i+1) {
					t.Fatalf("event %d has the seq %s", i+1, seq)
				}
			}
			want := []string{"m0", "m1", "m2", "m3", "m4", "m5"}
			if !slices.Equal(accepted, want) || !slices.Equal(completed, want) {
				t.Errorf("accepted %v, completed %v", accepted, completed)
			}
			for id, text := range texts {
				if lines := strings.Split(strings.TrimSpace(text), "\n"); len(lines) != pieces || !strings.HasPrefix(lines[pieces-1], fmt.Sprint(pieces, " ")) {
					t.Errorf("%s has %d pieces", id, len(lines))
				}
			}
		})
	}
}
