package app

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sessionhub/client"
	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/protocol"
)

// follower reads several sessions over one channel and judges each event: its seq is the one
// after the last.
type follower struct {
	t    *testing.T
	ch   *client.Channel
	seqs map[string]uint64
	done map[string]int // ends of turns
}

func followAll(t *testing.T, c *client.Client, o client.StreamOptions, ids []string) *follower {
	t.Helper()
	f := &follower{t: t, ch: c.Channel(client.ChannelOptions{Stream: o}), seqs: map[string]uint64{}, done: map[string]int{}}
	t.Cleanup(f.ch.Close)
	var all []protocol.Subscription
	for _, id := range ids {
		all = append(all, protocol.Subscription{SessionID: id})
	}
	if err := f.ch.Subscribe(t.Context(), all...); err != nil {
		t.Fatal(err)
	}
	return f
}

// until reads until enough says so, after each event.
func (f *follower) until(enough func() bool) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), patience)
	defer cancel()
	for !enough() {
		u, err := f.ch.Next(ctx)
		if err != nil {
			f.t.Fatalf("at %v, done %v: %v", f.seqs, f.done, err)
		}
		switch {
		case u.Err != nil:
			f.t.Fatalf("%s ended: %v", u.SessionID, u.Err)
		case u.Control() == protocol.ControlGap:
			f.t.Fatalf("a gap in %s: %s", u.SessionID, u.Raw)
		case u.Control() != "":
			continue
		case u.First() != f.seqs[u.SessionID]+1:
			f.t.Fatalf("after %d of %s came %d", f.seqs[u.SessionID], u.SessionID, u.First())
		}
		f.seqs[u.SessionID] = u.Seq
		if u.Type == protocol.EventComplete {
			f.done[u.SessionID]++
		}
	}
}

func createMany(t *testing.T, c *client.Client, n int, r protocol.CreateRequest) (ids []string) {
	t.Helper()
	for range n {
		made, err := c.Create(t.Context(), r, "")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, made.SessionID)
	}
	return ids
}

// Whatever the network does, a channel gives every event of every session once and in order.
// Messages go out until the network has broken often enough to show something.
func TestChannelPromisesHoldOverRandomFaults(t *testing.T) {
	const sessions, fewest, most = 5, 3, 60
	const faultsNeeded, retriesNeeded = 8, 4
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
			ids := createMany(t, direct, sessions, protocol.CreateRequest{})
			way := &http.Transport{}
			t.Cleanup(way.CloseIdleConnections)
			c := &client.Client{BaseURL: "http://" + proxy.Addr(), HTTPClient: &http.Client{Transport: way}}
			var broken, retries atomic.Int64
			f := followAll(t, c, client.StreamOptions{
				Transport: transport, Backoff: client.Backoff{Base: 2 * time.Millisecond, Max: 30 * time.Millisecond},
				OnRetry: func(error, time.Duration) { retries.Add(1) },
			}, ids)
			ctx, stop := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer stop()
			wg.Go(func() { faults(ctx, proxy, rand.New(rand.NewPCG(seed, 1)), &broken) })
			turns := 0
			for ; turns < fewest || turns < most && (broken.Load() < faultsNeeded || retries.Load() < retriesNeeded); turns++ {
				for _, id := range ids {
					if _, err := direct.Session(id, "").Message(ctx, "/stream 40 30 300", fmt.Sprint("m", turns)); err != nil {
						t.Fatal(err)
					}
				}
				f.until(func() bool {
					for _, id := range ids {
						if f.done[id] <= turns {
							return false
						}
					}
					return true
				})
			}
			if n, lost := broken.Load(), retries.Load(); n < faultsNeeded || lost < retriesNeeded {
				t.Errorf("%d faults and %d connections in %d turns: too few to show anything", n, lost, turns)
			} else {
				t.Logf("%d faults, %d connections lost, %d turns", n, lost, turns)
			}
		})
	}
}
