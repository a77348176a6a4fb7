package soak

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// health asks nodes whether they are ready, as a load balancer does. Close ends it
// and waits for its goroutine.
type health struct {
	nodes  func() []string
	client http.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	ready []string
}

const (
	healthEvery   = 200 * time.Millisecond
	healthTimeout = time.Second
)

func newHealth(nodes func() []string) *health {
	ctx, cancel := context.WithCancel(context.Background())
	h := &health{nodes: nodes, cancel: cancel, ready: nodes()}
	h.client = http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: healthTimeout}
	h.wg.Go(func() {
		for ctx.Err() == nil {
			h.look(ctx)
			sleep(ctx, healthEvery)
		}
	})
	return h
}

func (h *health) Close() {
	h.cancel()
	h.wg.Wait()
}

// addrs are the nodes that were ready when they were asked last.
func (h *health) addrs() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready
}

func (h *health) look(ctx context.Context) {
	var ready []string
	for _, addr := range h.nodes() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
		if err != nil {
			continue
		}
		resp, err := h.client.Do(req)
		if err != nil {
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			ready = append(ready, addr)
		}
	}
	h.mu.Lock()
	h.ready = ready
	h.mu.Unlock()
}
