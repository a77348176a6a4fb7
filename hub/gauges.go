package hub

import (
	"context"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Gauges counts what is the case now: it is asked once for each scrape. What
// belongs to no node is told by one node of the cluster alone.
func (h *Hub) Gauges() metrics.Gauges {
	g := metrics.Gauges{
		Sessions: make(map[protocol.Status]int), Workers: make(map[string]metrics.WorkerGauges), Queue: make(map[string]int),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	census, ours, err := h.store.Census(ctx)
	switch {
	case err != nil:
		h.cfg.Log.Error("count sessions for a scrape", "error", err)
	case ours:
		g.Sessions, g.ApprovalsPending, g.Queue = census.Sessions, census.ApprovalsPending, census.Queue
	}
	h.workers.gauges(g)
	return g
}

// gauges adds the workers of this node.
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
}
