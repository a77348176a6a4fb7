package scrape

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"net/http/httptest"
)

// What the library writes is read, whatever a label holds.
func TestReadsWhatTheListenerSays(t *testing.T) {
	reg := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "up", Help: "Help with \\ and \"."})
	said := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "said_total", Help: "h"}, []string{"who", "a"})
	took := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "took_seconds", Help: "h", Buckets: []float64{1}})
	reg.MustRegister(up, said, took)
	up.Set(1.5)
	said.WithLabelValues(`a "b" } c`, "x").Add(3)
	took.Observe(0.5)
	took.Observe(2)
	rec := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{}).ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	got, err := Read(rec.Body)
	if err != nil {
		t.Fatal(err)
	}
	want := Series{
		"up": 1.5, `said_total{a="x",who="a \"b\" } c"}`: 3,
		`took_seconds_bucket{le="1"}`: 1, `took_seconds_bucket{le="+Inf"}`: 2, "took_seconds_sum": 2.5, "took_seconds_count": 2,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v of %v, want %v", got, slices.Sorted(maps.Keys(got)), want)
	}
}

func TestRefusesWhatIsNoMetrics(t *testing.T) {
	for _, text := range []string{"<html></html>\n", "up one\n", "up{a=\"b\" 1\n"} {
		if got, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
