package hub

import (
	"context"
	"time"

	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Gauges gives the present counts; it is called once for each scrape. Counts of the whole
// cluster are reported by one of its nodes only.
func (h *Hub) Gauges() metrics.Gauges {
	g := metrics.Gauges{
		Sessions: make(map[protocol.Status]int), Workers: make(map[string]metrics.WorkerGauges), Queue: make(map[string]int),
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	census, ours, err := h.store.Census(ctx)
	switch {
	case err != nil:
		h.env.Log.Error("count sessions for a scrape", "error", err)
	case ours:
		g.Sessions, g.ApprovalsPending, g.Queue = census.Sessions, census.ApprovalsPending, census.Queue
	}
	h.fleet.Gauges(g)
	return g
}
