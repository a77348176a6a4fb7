package hub

import (
	"context"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// gaugePage is how many sessions a scrape reads at a time.
const gaugePage = 1000

// Gauges counts what is the case now: it is asked once for each scrape.
func (h *Hub) Gauges() metrics.Gauges {
	g := metrics.Gauges{
		Sessions: make(map[protocol.Status]int), Workers: make(map[string]metrics.WorkerGauges), Queue: make(map[string]int),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	q := ListQuery{Limit: gaugePage}
	for {
		snaps, next, err := h.store.List(ctx, q)
		if err != nil {
			h.cfg.Log.Error("count sessions for a scrape", "error", err)
			break
		}
		for _, s := range snaps {
			g.Sessions[s.State.Status.Status]++
			g.ApprovalsPending += len(s.State.Approvals)
		}
		if next == "" {
			break
		}
		q.After = next
	}
	h.workers.gauges(g)
	return g
}

// gauges adds the workers of this node and the sessions that wait here.
func (d *dispatcher) gauges(g metrics.Gauges) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for l := range d.links {
		for _, p := range l.hello.Providers {
			w := g.Workers[p]
			w.Workers++
			w.Capacity += l.hello.Capacity
			g.Workers[p] = w
		}
		for _, s := range l.sessions {
			w := g.Workers[s.provider]
			w.Sessions++
			g.Workers[s.provider] = w
		}
	}
	for _, w := range d.waiting {
		g.Queue[w.provider]++
	}
}
