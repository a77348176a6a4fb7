package metrics

import (
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// WorkerStats is the state of a worker process at one moment.
type WorkerStats struct {
	Linked        bool
	Draining      bool
	Links         uint64
	Sessions      int
	Agents        int
	BufferedBytes int64
}

// RegisterWorker registers the metrics of a separate worker process. stats is called for
// each scrape. The hub counts what the worker's sessions do.
func RegisterWorker(reg prometheus.Registerer, build Build, stats func() WorkerStats) {
	f := factory{promauto.With(reg)}
	f.gauge("build_info", "1, labelled with this program's version.", "version", "goversion").
		WithLabelValues(build.Version, runtime.Version()).Set(1)
	gauge := func(name, help string, value func(WorkerStats) float64) {
		f.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, func() float64 { return value(stats()) })
	}
	gauge("link_up", "1 while this worker has a link to a hub.", func(s WorkerStats) float64 { return flag(s.Linked) })
	gauge("link_sessions", "Sessions that this worker holds.", func(s WorkerStats) float64 { return float64(s.Sessions) })
	gauge("link_agents", "Agents that this worker runs.", func(s WorkerStats) float64 { return float64(s.Agents) })
	gauge("link_buffered_bytes", "Events that no hub has acknowledged.", func(s WorkerStats) float64 { return float64(s.BufferedBytes) })
	gauge("draining", "1 while this process drains.", func(s WorkerStats) float64 { return flag(s.Draining) })
	f.NewCounterFunc(prometheus.CounterOpts{Namespace: namespace, Name: "links_total", Help: "Links that this worker has had."},
		func() float64 { return float64(stats().Links) })
}

func flag(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
