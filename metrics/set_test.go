package metrics

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sessionhub/protocol"
)

var providers = []string{"demo", "codex"}

func newSet(t *testing.T, read func() Gauges) (*Set, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	s := New(reg, Build{Version: "v1.2.3"}, providers)
	RegisterGauges(reg, providers, read)
	return s, reg
}

func nothing() Gauges { return Gauges{} }

// values gives every series as `name{label="value",...}`; a histogram by its
// count.
func values(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			switch {
			case m.Counter != nil:
				got[name] = m.GetCounter().GetValue()
			case m.Gauge != nil:
				got[name] = m.GetGauge().GetValue()
			case m.Histogram != nil:
				got[name] = float64(m.GetHistogram().GetSampleCount())
			default:
				t.Fatalf("%s: neither counter, gauge nor histogram", name)
			}
		}
	}
	return got
}

// changes runs do and tells which series it changed, and by how much.
func changes(t *testing.T, reg *prometheus.Registry, do func()) map[string]float64 {
	t.Helper()
	before := values(t, reg)
	do()
	got := map[string]float64{}
	for name, v := range values(t, reg) {
		if old, ok := before[name]; !ok {
			t.Errorf("%s did not exist from the start", name)
		} else if v != old {
			got[name] = v - old
		}
	}
	return got
}

// TestNames lists the contract: a name, a type or a label that changes here
// breaks somebody's dashboard.
func TestNames(t *testing.T) {
	_, reg := newSet(t, nothing)
	want := strings.Fields(`
		append_seconds:HISTOGRAM
		approval_wait_seconds:HISTOGRAM
		approvals_pending:GAUGE
		auth_failures_total{reason}:COUNTER
		build_info{goversion,version}:GAUGE
		bytes_delivered_total{transport}:COUNTER
		commands_total{result,type}:COUNTER
		connection_duration_seconds{transport}:HISTOGRAM
		connections_closed_total{reason,transport}:COUNTER
		connections_opened_total{transport}:COUNTER
		connections_rejected_total{reason,transport}:COUNTER
		connections{transport}:GAUGE
		cost_total{currency,provider}:COUNTER
		delivery_seconds:HISTOGRAM
		draining:GAUGE
		events_appended_total{type}:COUNTER
		events_compacted_total:COUNTER
		events_delivered_total{transport}:COUNTER
		feed_readers:GAUGE
		feed_refreshes_total:COUNTER
		gaps_total{reason}:COUNTER
		limit_rejections_total{limit}:COUNTER
		queue_depth{provider}:GAUGE
		relay_seconds:HISTOGRAM
		resumes_total{result}:COUNTER
		sessions_created_total{provider}:COUNTER
		sessions_ended_total{reason}:COUNTER
		sessions{status}:GAUGE
		slow_subscribers_closed_total:COUNTER
		store_errors_total{op}:COUNTER
		store_up:GAUGE
		subscriptions{transport}:GAUGE
		tokens_total{kind,provider}:COUNTER
		turn_seconds{provider}:HISTOGRAM
		turns_total{provider,stop_reason}:COUNTER
		worker_capacity{provider}:GAUGE
		worker_lost_total:COUNTER
		worker_request_seconds{method}:HISTOGRAM
		worker_requests_total{method,result}:COUNTER
		worker_sessions{provider}:GAUGE
		workers{provider}:GAUGE
	`)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "sessionhub_")
		if !ours {
			t.Errorf("%s: without our prefix", f.GetName())
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if len(labels) > 0 {
			name += "{" + strings.Join(labels, ",") + "}"
		}
		got = append(got, name+":"+f.GetType().String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("metrics are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPrometheusLint(t *testing.T) {
	_, reg := newSet(t, nothing)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestEverySeriesExistsAtZero(t *testing.T) {
	_, reg := newSet(t, nothing)
	got := values(t, reg)
	info := fmt.Sprintf("sessionhub_build_info{goversion=%q,version=%q}", runtime.Version(), "v1.2.3")
	if got[info] != 1 {
		t.Errorf("%s is %v, want 1", info, got[info])
	}
	delete(got, info)
	for name, v := range got {
		if v != 0 {
			t.Errorf("%s starts at %v", name, v)
		}
	}
	// The whole product of the sets, counted for the vectors with two labels.
	count := func(prefix string) (n int) {
		for name := range got {
			if strings.HasPrefix(name, prefix+"{") {
				n++
			}
		}
		return n
	}
	for prefix, want := range map[string]int{
		"sessionhub_connections_closed_total":   3 * len(CloseReasons),
		"sessionhub_connections_rejected_total": 3 * len(RejectReasons),
		"sessionhub_commands_total":             (len(protocol.CommandTypes) + 2) * len(CommandResults),
		"sessionhub_turns_total":                3 * len(protocol.StopReasons), // demo, codex, other
		"sessionhub_turn_seconds":               3,
		"sessionhub_tokens_total":               3 * len(TokenKinds),
		"sessionhub_cost_total":                 3 * len(Currencies),
		"sessionhub_worker_requests_total":      len(protocol.WorkerMethods) * len(RequestResults),
		"sessionhub_queue_depth":                3,
		"sessionhub_sessions":                   len(protocol.Statuses),
		"sessionhub_events_appended_total":      len(protocol.EventTypes),
		"sessionhub_auth_failures_total":        len(AuthFailures),
		"sessionhub_store_errors_total":         len(StoreOps),
		"sessionhub_limit_rejections_total":     len(Limits),
	} {
		if n := count(prefix); n != want {
			t.Errorf("%s has %d series at the start, want %d", prefix, n, want)
		}
	}
}

func TestEachMethodCountsItsSeries(t *testing.T) {
	s, reg := newSet(t, nothing)
	for _, c := range []struct {
		name string
		do   func()
		want map[string]float64
	}{
		{"stream opened", func() { s.StreamOpened(TransportSSE) }, map[string]float64{
			`connections{transport="sse"}`: 1, `connections_opened_total{transport="sse"}`: 1}},
		{"stream resumed", func() { s.StreamOpened(TransportWebSocket); s.Resumed(true, false) }, map[string]float64{
			`connections{transport="websocket"}`: 1, `connections_opened_total{transport="websocket"}`: 1,
			`resumes_total{result="complete"}`: 1}},
		{"stream resumed with a gap", func() { s.StreamOpened(TransportWebSocket); s.Resumed(false, true) }, map[string]float64{
			`connections{transport="websocket"}`: 1, `connections_opened_total{transport="websocket"}`: 1,
			`resumes_total{result="gap"}`: 1}},
		{"stream closed", func() { s.StreamClosed(TransportSSE, CloseSlow, time.Second) }, map[string]float64{
			`connections{transport="sse"}`: -1, `connections_closed_total{reason="slow",transport="sse"}`: 1,
			`connection_duration_seconds{transport="sse"}`: 1}},
		{"stream rejected", func() { s.StreamRejected(TransportWorker, protocol.CodeUnauthorized) }, map[string]float64{
			`connections_rejected_total{reason="unauthorized",transport="worker"}`: 1}},
		{"live delivery", func() { s.Delivered(TransportWebSocket, 3, 600, time.Now().UnixNano()) }, map[string]float64{
			`events_delivered_total{transport="websocket"}`: 3, `bytes_delivered_total{transport="websocket"}`: 600,
			`delivery_seconds`: 1}},
		{"replayed delivery", func() { s.Delivered(TransportSSE, 2, 400, 0) }, map[string]float64{
			`events_delivered_total{transport="sse"}`: 2, `bytes_delivered_total{transport="sse"}`: 400}},
		{"heartbeat", func() { s.Delivered(TransportSSE, 0, 14, 0) }, map[string]float64{
			`bytes_delivered_total{transport="sse"}`: 14}},
		{"events compacted", func() { s.Compacted(3) }, map[string]float64{"events_compacted_total": 3}},
		{"event appended", func() { s.EventAppended(protocol.EventOutput) }, map[string]float64{
			`events_appended_total{type="output"}`: 1}},
		{"session created", func() { s.SessionCreated("codex") }, map[string]float64{
			`sessions_created_total{provider="codex"}`: 1}},
		{"unknown provider", func() { s.SessionCreated("../../x") }, map[string]float64{
			`sessions_created_total{provider="other"}`: 1}},
		{"session ended", func() { s.SessionEnded(protocol.ClosedExpired) }, map[string]float64{
			`sessions_ended_total{reason="expired"}`: 1}},
		{"turn ended", func() { s.TurnEnded("demo", protocol.StopEndTurn) }, map[string]float64{
			`turns_total{provider="demo",stop_reason="end_turn"}`: 1}},
		{"turn of an unknown provider", func() { s.TurnEnded("else", protocol.StopError); s.TurnSeconds("else", time.Second) }, map[string]float64{
			`turns_total{provider="other",stop_reason="error"}`: 1, `turn_seconds{provider="other"}`: 1}},
		{"tokens", func() {
			s.Tokens("demo", protocol.Tokens{Input: 1, Output: 2, CachedRead: 3, CachedWrite: 4, Thought: 5, Total: 15})
		}, map[string]float64{
			`tokens_total{kind="input",provider="demo"}`: 1, `tokens_total{kind="output",provider="demo"}`: 2, `tokens_total{kind="cached_read",provider="demo"}`: 3,
			`tokens_total{kind="cached_write",provider="demo"}`: 4, `tokens_total{kind="thought",provider="demo"}`: 5}},
		{"cost", func() {
			s.Cost("else", protocol.Cost{Amount: .5, Currency: "USD"})
			s.Cost("demo", protocol.Cost{Amount: 2, Currency: "XAU"})
			s.Cost("demo", protocol.Cost{Amount: -2, Currency: "USD"})
		}, map[string]float64{
			`cost_total{currency="usd",provider="other"}`: .5, `cost_total{currency="other",provider="demo"}`: 2}},
		{"gap", func() { s.Gap(protocol.GapTrimmed) }, map[string]float64{`gaps_total{reason="trimmed"}`: 1}},
		{"command", func() { s.Command(protocol.CommandApprove, "") }, map[string]float64{
			`commands_total{result="ok",type="approve"}`: 1}},
		{"command refused", func() { s.Command(protocol.CommandMessage, protocol.CodeQueueFull) }, map[string]float64{
			`commands_total{result="refused",type="message"}`: 1}},
		{"command failed", func() { s.Command(protocol.CommandMessage, protocol.CodeUnavailable) }, map[string]float64{
			`commands_total{result="failed",type="message"}`: 1}},
		{"limit", func() { s.LimitRejected(LimitQueuedMessages) }, map[string]float64{
			`limit_rejections_total{limit="queued_messages"}`: 1}},
		{"auth", func() { s.AuthFailed(AuthOrigin) }, map[string]float64{`auth_failures_total{reason="origin"}`: 1}},
		{"request to a worker", func() { s.WorkerRequest(protocol.MethodGitDiff, RequestTimeout, time.Second) }, map[string]float64{
			`worker_requests_total{method="git.diff",result="timeout"}`: 1, `worker_request_seconds{method="git.diff"}`: 1}},
		{"store", func() { s.StoreFailed("append") }, map[string]float64{`store_errors_total{op="append"}`: 1}},
		{"fields", func() {
			s.AppendSeconds.Observe(.001)
			s.RelaySeconds.Observe(.001)
			s.ApprovalWait.Observe(1)
			s.SlowClosed.Inc()
			s.WorkerLost.Inc()
			s.StoreUp.Set(1)
			s.Draining.Set(1)
			s.FeedReaders.Inc()
			s.FeedRefreshes.Inc()
		}, map[string]float64{`append_seconds`: 1, `relay_seconds`: 1, `approval_wait_seconds`: 1, `slow_subscribers_closed_total`: 1,
			`worker_lost_total`: 1, `store_up`: 1, `draining`: 1, `feed_readers`: 1, `feed_refreshes_total`: 1}},
		{"outside the closed sets", func() {
			s.StreamClosed(TransportWorker, "x", 0)
			s.StreamOpened(TransportWorker)
			s.StreamRejected(TransportWorker, "x")
			s.EventAppended("x")
			s.SessionEnded("x")
			s.TurnEnded("demo", "x")
			s.Gap("x")
			s.Command("x", "")
			s.LimitRejected("x")
			s.AuthFailed("x")
			s.StoreFailed("x")
			s.WorkerRequest("x", RequestOK, 0)
		}, map[string]float64{ // only what has no such label
			`connections_opened_total{transport="worker"}`: 1, `connection_duration_seconds{transport="worker"}`: 1}},
	} {
		got := changes(t, reg, c.do)
		want := map[string]float64{}
		for name, v := range c.want {
			want["sessionhub_"+name] = v
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s changed %v, want %v", c.name, got, want)
		}
	}
}

// TestDeliveryIsNeverNegative: the wall clock can be set back between the
// arrival of an event and its write.
func TestDeliveryIsNeverNegative(t *testing.T) {
	s, reg := newSet(t, nothing)
	s.Delivered(TransportSSE, 1, 1, time.Now().Add(time.Hour).UnixNano())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sessionhub_delivery_seconds" {
			if sum := f.GetMetric()[0].GetHistogram().GetSampleSum(); sum != 0 {
				t.Fatalf("sum of delays is %v, want 0", sum)
			}
			return
		}
	}
	t.Fatal("no delivery_seconds")
}

func TestGaugesAreReadAtTheScrape(t *testing.T) {
	var mu sync.Mutex
	now := Gauges{}
	_, reg := newSet(t, func() Gauges {
		mu.Lock()
		defer mu.Unlock()
		return now
	})
	got := changes(t, reg, func() {
		mu.Lock()
		defer mu.Unlock()
		now = Gauges{
			Sessions:         map[protocol.Status]int{protocol.StatusRunning: 4, "x": 9},
			ApprovalsPending: 2,
			Workers: map[string]WorkerGauges{
				"demo": {Workers: 1, Capacity: 8, Sessions: 3},
				"mine": {Workers: 2, Capacity: 4, Sessions: 1},
				"his":  {Workers: 1, Capacity: 2, Sessions: 1},
			},
			Queue: map[string]int{"codex": 5, "mine": 1, "his": 1},
		}
	})
	want := map[string]float64{
		`sessionhub_sessions{status="running"}`:        4,
		`sessionhub_approvals_pending`:                 2,
		`sessionhub_workers{provider="demo"}`:          1,
		`sessionhub_worker_capacity{provider="demo"}`:  8,
		`sessionhub_worker_sessions{provider="demo"}`:  3,
		`sessionhub_workers{provider="other"}`:         3,
		`sessionhub_worker_capacity{provider="other"}`: 6,
		`sessionhub_worker_sessions{provider="other"}`: 2,
		`sessionhub_queue_depth{provider="codex"}`:     5,
		`sessionhub_queue_depth{provider="other"}`:     2,
	}
	if !maps.Equal(got, want) {
		t.Errorf("changed %v, want %v", got, want)
	}
}

func TestTransportsHaveNames(t *testing.T) {
	var got []string
	for _, tr := range Transports {
		got = append(got, tr.String())
	}
	if want := []string{"websocket", "sse", "worker"}; !slices.Equal(got, want) {
		t.Errorf("transports are %v, want %v", got, want)
	}
	if s := transports.String(); s != "unknown" {
		t.Errorf("beyond the last: %q", s)
	}
}

// TestHotPathAllocatesNothing: Delivered and EventAppended run for each event
// and each write.
func TestHotPathAllocatesNothing(t *testing.T) {
	s, _ := newSet(t, nothing)
	now := time.Now().UnixNano()
	if n := testing.AllocsPerRun(100, func() {
		s.Delivered(TransportWebSocket, 1, 200, now)
		s.EventAppended(protocol.EventOutput)
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func BenchmarkDelivered(b *testing.B) {
	s := New(prometheus.NewRegistry(), Build{}, providers)
	now := time.Now().UnixNano()
	for b.Loop() {
		s.Delivered(TransportWebSocket, 1, 200, now)
	}
}
