package metrics

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// page is what docs/METRICS.md says.
type page struct {
	metrics map[string]map[string]docMetric // by the section's title and the metric's name
	values  map[string][]string             // by "label" or "label of metric"
}

type docMetric struct {
	kind, labels, meaning string
}

// The sections of the page that list metrics: what stands above all others, and
// one for another kind of process.
const (
	hubSection    = ""
	workerSection = "A worker of its own"
)

var (
	metricRow = regexp.MustCompile("^\\| `(sessionhub_[a-z_]+)` \\| ([a-z]+) \\| ?([a-z_` ]*?) ?\\| (.+) \\|$")
	valueRow  = regexp.MustCompile("^\\| `([a-z_.]+)` \\| .+ \\|$")
	heading   = regexp.MustCompile("^### (`[a-z_]+`(?: of `sessionhub_[a-z_]+`)?)$")
)

func readPage(t *testing.T) page {
	t.Helper()
	raw, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	p := page{map[string]map[string]docMetric{hubSection: {}, workerSection: {}}, map[string][]string{}}
	section, of := hubSection, ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSuffix(line, "\n")
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section, of = title, ""
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			of = strings.ReplaceAll(m[1], "`", "")
			continue
		}
		switch m, v := metricRow.FindStringSubmatch(line), valueRow.FindStringSubmatch(line); {
		case m != nil && p.metrics[section] != nil:
			if _, twice := p.metrics[section][m[1]]; twice {
				t.Errorf("%s stands there twice", m[1])
			}
			p.metrics[section][m[1]] = docMetric{m[2], strings.ReplaceAll(m[3], "`", ""), m[4]}
		case v != nil && of != "":
			p.values[of] = append(p.values[of], v[1])
		case strings.HasPrefix(line, "| `"):
			t.Errorf("a row that this test does not understand: %s", line)
		}
	}
	return p
}

// The page and the registries name the same metrics, types, labels and values:
// an operator finds every one in it, and nothing else.
func TestPageOfMetrics(t *testing.T) {
	doc := readPage(t)
	_, hub := newSet(t, nothing)
	worker := prometheus.NewPedanticRegistry()
	RegisterWorker(worker, Build{Version: "v1.2.3"}, func() WorkerStats { return WorkerStats{} })
	used := map[string]bool{}
	doc.compare(t, hubSection, hub, used)
	doc.compare(t, workerSection, worker, used)
	for title := range doc.values {
		if !used[title] {
			t.Errorf("docs/METRICS.md lists values for %s, which no metric has", title)
		}
	}
}

// compare holds a section to a registry, and notes which lists of values were
// used.
func (p page) compare(t *testing.T, section string, reg *prometheus.Registry, used map[string]bool) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	rest := maps.Clone(p.metrics[section])
	for _, f := range families {
		labels := map[string][]string{} // with the values that they have
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = append(labels[l.GetName()], l.GetValue())
			}
		}
		got, ok := rest[f.GetName()]
		delete(rest, f.GetName())
		kind, names := strings.ToLower(f.GetType().String()), strings.Join(slices.Sorted(maps.Keys(labels)), " ")
		switch {
		case !ok:
			t.Errorf("docs/METRICS.md %q has no row for %s: %s", section, f.GetName(), f.GetHelp())
		case got.kind != kind || got.labels != names:
			t.Errorf("docs/METRICS.md %q: %s is a %s with the labels %q, want %s with %q", section, f.GetName(), got.kind, got.labels, kind, names)
		case !strings.HasPrefix(got.meaning, f.GetHelp()):
			t.Errorf("docs/METRICS.md %q: %s means %q; want it to begin as the help of the metric, %q", section, f.GetName(), got.meaning, f.GetHelp())
		}
		for label, values := range labels {
			p.compareValues(t, label, f.GetName(), values, used)
		}
	}
	for name := range rest {
		t.Errorf("docs/METRICS.md %q has a row for %s, which is no metric", section, name)
	}
}

// compareValues holds the list of a label's values to those that there are.
func (p page) compareValues(t *testing.T, label, metric string, values []string, used map[string]bool) {
	t.Helper()
	switch label {
	case "provider", "version", "goversion": // said in words on the page
		return
	}
	title := label + " of " + metric
	if _, own := p.values[title]; !own {
		title = label
	}
	used[title] = true
	slices.Sort(values)
	values = slices.Compact(values)
	if listed := slices.Sorted(slices.Values(p.values[title])); !slices.Equal(listed, values) {
		t.Errorf("docs/METRICS.md lists for %s of %s\n%v, want\n%v", label, metric, listed, values)
	}
}
