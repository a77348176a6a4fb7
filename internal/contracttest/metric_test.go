package contracttest

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/scrape"
	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// metrics reads every series of the node.
func (n *node) metrics() scrape.Series {
	n.t.Helper()
	resp, err := n.client.Get(n.Admin + "/metrics")
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := scrape.Read(resp.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	return all
}

// Every series of the contract exists from the start, and what has not happened
// is zero; then each that one node can move has moved.
func TestMetrics(t *testing.T) {
	n := serve(t, "--max-connections-per-session", "2", "--max-queued-messages", "1", "--max-message-bytes", "4KiB")
	judge.Within(t, 5e9, "the embedded worker has joined", func() bool { return n.metrics()[`sessionhub_workers{provider="demo"}`] == 1 })
	start := n.metrics()
	families := `connections{transport="websocket"} connections{transport="sse"} connections{transport="worker"}
		connections_opened_total{transport="websocket"} connections_opened_total{transport="sse"}
		connections_closed_total{reason="client_closed",transport="websocket"} connections_closed_total{reason="slow",transport="sse"}
		connection_duration_seconds_count{transport="sse"} connections_rejected_total{reason="unauthorized",transport="sse"}
		sessions{status="idle"} sessions{status="requires_action"} sessions{status="failed"} sessions_created_total{provider="demo"}
		sessions_ended_total{reason="deleted"} events_appended_total{type="output"} events_appended_total{type="closed"}
		events_delivered_total{transport="websocket"} bytes_delivered_total{transport="sse"} delivery_seconds_count relay_seconds_count
		append_seconds_count resumes_total{result="complete"} resumes_total{result="gap"} gaps_total{reason="trimmed"}
		gaps_total{reason="epoch_changed"} slow_subscribers_closed_total commands_total{result="ok",type="message"}
		commands_total{result="refused",type="approve"} approvals_pending approval_wait_seconds_count workers{provider="demo"}
		worker_capacity{provider="demo"} worker_sessions{provider="demo"} worker_lost_total queue_depth{provider="demo"}
		turns_total{provider="demo",stop_reason="end_turn"} turns_total{provider="demo",stop_reason="error"} turn_seconds_count{provider="demo"}
		limit_rejections_total{limit="queued_messages"} limit_rejections_total{limit="message_bytes"}
		auth_failures_total{reason="origin"} store_errors_total{op="append"} store_up draining`
	for name := range strings.FieldsSeq(families) {
		v, there := start["sessionhub_"+name]
		if !there {
			t.Errorf("there is no sessionhub_%s", name)
		}
		if want := map[string]float64{"store_up": 1, `workers{provider="demo"}`: 1, `worker_capacity{provider="demo"}`: 8}[name]; v != want && !strings.Contains(name, `transport="worker"`) {
			t.Errorf("sessionhub_%s begins with %v, want %v", name, v, want)
		}
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(start)), func(s string) bool { return strings.HasPrefix(s, "sessionhub_build_info{") }) {
		t.Error("there is no build_info")
	}
	for series := range start {
		if strings.HasPrefix(series, "sessionhub_") && (strings.Contains(series, "s_") && strings.Contains(series, `="s_`)) {
			t.Errorf("a series carries an id: %s", series)
		}
	}

	s := n.create(`{}`)
	ws, sse := s.ws(""), s.sse("")
	ws.until("caught_up")
	sse.until("caught_up")
	n.refused(429, protocol.CodeConnectionLimit, "GET", s.path+"/events", "", s.bearer()...)
	if m := n.metrics(); m[`sessionhub_connections{transport="websocket"}`] != 1 || m[`sessionhub_connections{transport="sse"}`] != 1 {
		t.Errorf("%v and %v connections", m[`sessionhub_connections{transport="websocket"}`], m[`sessionhub_connections{transport="sse"}`])
	}
	s.send("/approve this?")
	q := hubtest.Decode[protocol.ToolApprovalData](t, ws.until("tool_approval").Data)
	if m := n.metrics(); m["sessionhub_approvals_pending"] != 1 || m[`sessionhub_sessions{status="requires_action"}`] != 1 || m[`sessionhub_worker_sessions{provider="demo"}`] != 1 {
		t.Errorf("while a question is open: %v pending, %v sessions, %v at the worker", m["sessionhub_approvals_pending"], m[`sessionhub_sessions{status="requires_action"}`], m[`sessionhub_worker_sessions{provider="demo"}`])
	}
	s.send("waits")
	n.refused(429, protocol.CodeQueueFull, "POST", s.path+"/messages", `{"content":"x"}`, s.bearer()...)
	n.refused(413, protocol.CodePayloadTooLarge, "POST", s.path+"/messages", `{"content":"`+strings.Repeat("x", 5000)+`"}`, s.bearer()...)
	n.refused(404, protocol.CodeNotFound, "POST", s.path+"/approve", `{"interactionId":"x","decision":"allow_once"}`, s.bearer()...)
	n.refused(401, protocol.CodeUnauthorized, "GET", s.path+"/events", "", "Authorization", "Bearer a.b.c")
	n.refused(403, protocol.CodeOriginRefused, "GET", s.path, "", "Origin", "https://evil.example")
	ws.command("approve", "a", `{"interactionId":"`+q.InteractionID+`","decision":"allow_once"}`)
	ws.until("complete")
	ws.until("complete")
	s.turn(ws, "/fail")
	resumed := n.strayStream()
	resumed.close()
	if r := n.call("DELETE", s.path, "", s.bearer()...); r.StatusCode != 204 {
		t.Fatal(r.StatusCode)
	}
	ws.rest()
	sse.rest()
	moved := `connections_opened_total{transport="websocket"} connections_opened_total{transport="sse"}
		connections_closed_total{reason="session_ended",transport="websocket"} connection_duration_seconds_count{transport="sse"}
		connections_rejected_total{reason="unauthorized",transport="sse"} connections_rejected_total{reason="connection_limit",transport="sse"}
		sessions_created_total{provider="demo"} sessions_ended_total{reason="deleted"} events_appended_total{type="output"}
		events_appended_total{type="closed"} events_delivered_total{transport="websocket"} events_delivered_total{transport="sse"}
		bytes_delivered_total{transport="websocket"} bytes_delivered_total{transport="sse"} delivery_seconds_count append_seconds_count
		resumes_total{result="gap"} gaps_total{reason="epoch_changed"} commands_total{result="ok",type="message"}
		commands_total{result="ok",type="approve"} commands_total{result="refused",type="approve"} approval_wait_seconds_count
		turns_total{provider="demo",stop_reason="end_turn"} turns_total{provider="demo",stop_reason="error"} turn_seconds_count{provider="demo"}
		limit_rejections_total{limit="queued_messages"} limit_rejections_total{limit="message_bytes"}
		limit_rejections_total{limit="connections_per_session"} auth_failures_total{reason="origin"} auth_failures_total{reason="token_invalid"}`
	judge.Within(t, 5e9, "the streams are counted as closed", func() bool {
		return n.metrics()[`sessionhub_connections_closed_total{reason="session_ended",transport="sse"}`] == 1
	})
	end := n.metrics()
	for name := range strings.FieldsSeq(moved) {
		if end["sessionhub_"+name] <= start["sessionhub_"+name] {
			t.Errorf("sessionhub_%s stands still at %v", name, end["sessionhub_"+name])
		}
	}
	if c := end[`sessionhub_connections{transport="websocket"}`] + end[`sessionhub_connections{transport="sse"}`] + end["sessionhub_approvals_pending"]; c != 0 {
		t.Errorf("connections and questions that are gone: %v", c)
	}
}

// strayStream opens a stream of another session with a cursor that its
// log never had.
func (n *node) strayStream() *stream {
	other := n.create(`{}`)
	st := other.ws("?after=other-3")
	st.until("gap")
	return st
}

// The operators' listener: metrics, health, profiles.
func TestAdminListener(t *testing.T) {
	n := serve(t)
	for path, want := range map[string]int{"/metrics": 200, "/healthz": 200, "/readyz": 200, "/debug/pprof/": 200, "/api/sessions": 404} {
		resp, err := n.client.Get(n.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", path, resp.StatusCode, want)
		}
	}
	if resp, err := http.Post(n.Admin+"/metrics", "text/plain", nil); err != nil || resp.StatusCode != 405 {
		t.Errorf("POST /metrics: %v %v", resp, err)
	} else {
		_ = resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}
