package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/protocol"
)

// Gauges holds the present values, as their owner knows them. A provider without an entry
// has zeros.
type Gauges struct {
	Sessions         map[protocol.Status]int
	ApprovalsPending int
	Workers          map[string]WorkerGauges // by provider
	Queue            map[string]int          // sessions that wait for a worker, by provider
}

// WorkerGauges counts the workers that offer one provider. The capacity of a worker with
// several providers counts for each of them.
type WorkerGauges struct {
	Workers  int // live
	Capacity int // most running agents at once
	Sessions int // assigned
}

// RegisterGauges reports what read returns, with one call for each scrape. read may be
// called concurrently, and must answer from memory: a scrape waits for it. providers is the
// list that New got. RegisterGauges panics if reg already holds one of the names.
func RegisterGauges(reg prometheus.Registerer, providers []string, read func() Gauges) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	reg.MustRegister(&gauges{
		providers: withOther(providers),
		read:      read,
		sessions:  desc("sessions", "Sessions that can be read, by status.", "status"),
		approvals: desc("approvals_pending", "Questions of agents without an answer."),
		workers:   desc("workers", "Live workers that offer the provider.", "provider"),
		capacity:  desc("worker_capacity", "Most running agents of the workers that offer the provider; shared by a worker's providers.", "provider"),
		assigned:  desc("worker_sessions", "Sessions assigned to a worker.", "provider"),
		queue:     desc("queue_depth", "Sessions that wait for a worker.", "provider"),
	})
}

// gauges is the collector behind RegisterGauges. Immutable.
type gauges struct {
	providers []string
	read      func() Gauges

	sessions, approvals, workers, capacity, assigned, queue *prometheus.Desc
}

func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.sessions, g.approvals, g.workers, g.capacity, g.assigned, g.queue} {
		ch <- d
	}
}

func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	now := g.read()
	emit := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	for _, s := range protocol.Statuses {
		emit(g.sessions, now.Sessions[s], string(s))
	}
	emit(g.approvals, now.ApprovalsPending)

	workers, queue := g.fold(now)
	for _, p := range g.providers {
		emit(g.workers, workers[p].Workers, p)
		emit(g.capacity, workers[p].Capacity, p)
		emit(g.assigned, workers[p].Sessions, p)
		emit(g.queue, queue[p], p)
	}
}

// fold adds the providers that have no series of their own to "other".
func (g *gauges) fold(now Gauges) (map[string]WorkerGauges, map[string]int) {
	own := make(map[string]bool, len(g.providers))
	for _, p := range g.providers {
		own[p] = true
	}
	workers, queue := map[string]WorkerGauges{}, map[string]int{}
	label := func(p string) string {
		if own[p] {
			return p
		}
		return ProviderOther
	}
	for p, w := range now.Workers {
		sum := workers[label(p)]
		sum.Workers += w.Workers
		sum.Capacity += w.Capacity
		sum.Sessions += w.Sessions
		workers[label(p)] = sum
	}
	for p, n := range now.Queue {
		queue[label(p)] += n
	}
	return workers, queue
}
