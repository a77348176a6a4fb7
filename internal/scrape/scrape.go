// Package scrape reads what an admin listener says under /metrics, as Prometheus
// does: the text format of
// https://prometheus.io/docs/instrumenting/exposition_formats/.
package scrape

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Series are the values of one scrape. A key is written as in the text, its labels
// in the order of their names:
//
//	sessionhub_commands_total{result="ok",type="message"}
//
// A histogram has its _bucket, _sum and _count.
type Series map[string]float64

// Read reads the text to its end.
func Read(r io.Reader) (Series, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(r)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{}, slices.Collect(maps.Values(families))...)
	if err != nil {
		return nil, fmt.Errorf("read metrics: %w", err)
	}
	out := make(Series, len(samples))
	for _, s := range samples {
		out[key(s.Metric)] = float64(s.Value)
	}
	return out, nil
}

func key(m model.Metric) string {
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if name != model.MetricNameLabel {
			labels = append(labels, fmt.Sprintf("%s=%q", name, string(m[name])))
		}
	}
	if len(labels) == 0 {
		return string(m[model.MetricNameLabel])
	}
	return string(m[model.MetricNameLabel]) + "{" + strings.Join(labels, ",") + "}"
}
