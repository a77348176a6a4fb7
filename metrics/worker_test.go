package metrics

import (
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestWorkerSeries(t *testing.T) {
	stats := WorkerStats{}
	reg := prometheus.NewPedanticRegistry()
	RegisterWorker(reg, Build{Version: "v1"}, func() WorkerStats { return stats })
	build := `sessionhub_build_info{goversion="` + runtime.Version() + `",version="v1"}`
	want := map[string]float64{
		build: 1, "sessionhub_draining": 0, "sessionhub_link_up": 0, "sessionhub_link_agents": 0, "sessionhub_link_sessions": 0,
		"sessionhub_link_buffered_bytes": 0, "sessionhub_links_total": 0,
	}
	if got := values(t, reg); !maps.Equal(got, want) {
		t.Errorf("at the start: %v", got)
	}
	stats = WorkerStats{Linked: true, Draining: true, Links: 3, Sessions: 4, Agents: 2, BufferedBytes: 5}
	want = map[string]float64{
		build: 1, "sessionhub_draining": 1, "sessionhub_link_up": 1, "sessionhub_link_agents": 2, "sessionhub_link_sessions": 4,
		"sessionhub_link_buffered_bytes": 5, "sessionhub_links_total": 3,
	}
	if got := values(t, reg); !maps.Equal(got, want) {
		t.Errorf("later: %v", got)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}

	page, err := os.ReadFile("../docs/WORKERS.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, coded []string
	for _, m := range regexp.MustCompile("`(sessionhub_[a-z_]+)`").FindAllSubmatch(page, -1) {
		documented = append(documented, string(m[1]))
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		coded = append(coded, f.GetName())
	}
	slices.Sort(documented)
	if !slices.Equal(documented, coded) {
		t.Errorf("docs/WORKERS.md has %v, a worker %v", documented, coded)
	}
}
