package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// faults breaks the network at random until ctx ends, and then heals it. It
// counts what it broke.
func faults(ctx context.Context, p *faultproxy.Proxy, r *rand.Rand, broken *atomic.Int64) {
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
		broken.Add(1)
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
}

// Whatever the network does, a stream gives every event once and in order, and
// every message that was sent through it counts once. Messages go out until
// the network has broken often enough to show something: how fast either of
// them is depends on the machine.
func TestClientPromisesHoldOverRandomFaults(t *testing.T) {
	const fewest, most, pieces = 6, 100, 60
	const faultsNeeded, retriesNeeded = 5, 3
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
			var broken, retries, sent atomic.Int64
			var all atomic.Bool // every message was sent
			used := map[client.Transport]int{}
			var stream *client.Stream
			stream = c.Session(made.SessionID, made.Token).Stream(client.StreamOptions{
				Transport: transport, Backoff: client.Backoff{Base: 2 * time.Millisecond, Max: 30 * time.Millisecond},
				OnRetry: func(error, time.Duration) {
					used[stream.Transport()]++
					retries.Add(1)
				},
			})
			defer stream.Close()

			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer stop()
			wg.Go(func() { faults(ctx, proxy, rand.New(rand.NewPCG(seed, 1)), &broken) })
			ahead := make(chan struct{}, 3) // messages that wait or run
			enough := func(n int) bool {
				return n >= fewest && broken.Load() >= faultsNeeded && retries.Load() >= retriesNeeded
			}
			wg.Go(func() {
				for n := 0; !all.Load(); n++ {
					select {
					case ahead <- struct{}{}:
					case <-ctx.Done():
						return
					}
					all.Store(enough(n+1) || n+1 == most) // before its end can be seen
					sent.Store(int64(n + 1))
					if _, err := stream.Message(ctx, fmt.Sprintf("/stream %d 30 300", pieces), fmt.Sprint("m", n)); err != nil && ctx.Err() == nil {
						t.Errorf("message %d: %v", n, err)
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
					accepted = append(accepted, hubtest.Decode[protocol.MessageData](t, f.Data).MessageID)
				case protocol.EventOutput:
					d := hubtest.Decode[protocol.OutputData](t, f.Data)
					texts[d.MessageID] += d.Text
				case protocol.EventComplete:
					completed = append(completed, hubtest.Decode[protocol.CompleteData](t, f.Data).MessageID)
					<-ahead
				}
				return all.Load() && len(completed) == int(sent.Load())
			})
			stop()
			if n, lost := broken.Load(), retries.Load(); n < faultsNeeded || lost < retriesNeeded {
				t.Errorf("%d faults and %d connections in %d messages: too few to show anything", n, lost, most)
			} else {
				t.Logf("%d faults, %d messages, connections lost: %v", n, sent.Load(), used)
			}

			for i, seq := range seqs {
				if seq != fmt.Sprint(i+1) {
					t.Fatalf("event %d has the seq %s", i+1, seq)
				}
			}
			var want []string
			for i := range sent.Load() {
				want = append(want, fmt.Sprint("m", i))
			}
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
