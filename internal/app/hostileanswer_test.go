package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// A worker answers a request with what it likes, over another node than the client's. The
// client gets an answer of the API's form, and nothing of the worker's becomes a header of
// its own, a page, or the answer to somebody else's request.
func TestHostileAnswersOfAWorker(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	env := map[string]string{"SESSIONHUB_TOKEN_SECRET": clusterEnv["SESSIONHUB_TOKEN_SECRET"], "SESSIONHUB_WORKER_KEY": testWorkerKey}
	near := startHubEnv(t, env, "--valkey-url", server.URL(), "--worker", "none")
	far := startHubEnv(t, env, "--valkey-url", server.URL(), "--worker", "none")
	s := far.create(protocol.CreateRequest{})
	var l *link
	join := func() {
		t.Helper()
		l = near.dialLink(testWorkerKey)
		l.send(protocol.FrameHello, protocol.Hello{
			Worker: "w1", Version: "1", Workspace: "ws", Capacity: 1, Providers: []string{"demo"}, Requests: protocol.WorkerMethods,
		})
		l.want(protocol.FrameWelcome)
	}
	join()
	judge.Within(t, patience, "both nodes see the worker", func() bool {
		var list protocol.Providers
		far.call("GET", "/api/providers", nil, &list)
		return list.Providers[0].Workers == 1
	})
	// ask sends a request, and answers it by do.
	ask := func(path string, do func(r protocol.WorkerRequest)) hubtest.Answer {
		t.Helper()
		got := make(chan hubtest.Answer, 1)
		go func() { got <- far.call("GET", "/api/sessions/"+s.SessionID+path, nil, nil) }()
		do(hubtest.Decode[protocol.WorkerRequest](t, l.want(protocol.FrameRequest).Data))
		return <-got
	}
	result := func(raw string) func(protocol.WorkerRequest) {
		return func(r protocol.WorkerRequest) {
			l.send(protocol.FrameResponse, protocol.WorkerResponse{ID: "made up", Result: json.RawMessage(`{"files":[{"path":"made up"}]}`)})
			l.send(protocol.FrameResponse, protocol.WorkerResponse{ID: r.ID, Result: json.RawMessage(raw)})
			l.send(protocol.FrameResponse, protocol.WorkerResponse{ID: r.ID, Result: json.RawMessage(`{"files":[{"path":"again"}]}`)})
		}
	}
	piece := func(change map[string]any) string {
		p := map[string]any{"path": "a", "size": 2, "modifiedAt": "2026-01-01T00:00:00Z", "mediaType": "text/plain", "version": "v", "offset": 0, "data": "YWI="}
		for k, v := range change {
			p[k] = v
		}
		return string(protocol.Marshal(p))
	}
	const content, changes = "/files/content?path=a", "/changes"
	for _, c := range []struct {
		path, result string
		want         string // status and code
	}{
		{content, piece(nil), "200 "},
		{content, piece(map[string]any{"mediaType": "text/html\r\nSet-Cookie: a=b"}), "200 "},
		{content, piece(map[string]any{"mediaType": strings.Repeat("x", 100_000)}), "200 "},
		{content, piece(map[string]any{"mediaType": "text/html; charset=utf-8"}), "200 "},
		{content, piece(map[string]any{"version": "v\"\r\nSet-Cookie: a=b"}), "502 worker_failed"},
		{content, piece(map[string]any{"version": strings.Repeat("v", 100_000)}), "502 worker_failed"},
		{content, piece(map[string]any{"path": "x\r\nSet-Cookie: a=b"}), "200 "},
		{content, piece(map[string]any{"offset": 1}), "502 worker_failed"},
		{content, piece(map[string]any{"size": -1}), "502 worker_failed"},
		{content, `[]`, "502 worker_failed"},
		{content, `"` + strings.Repeat("x", protocol.MaxRequestResult) + `"`, "413 payload_too_large"},
		{changes, `null`, "200 "},
		{changes, `{"files":7}`, "502 worker_failed"},
		{"/files", `null`, "200 "},
		{"/files/search?query=a", `{}`, "200 "},
		{"/changes/diff?path=a", `{"offset":3}`, "502 worker_failed"},
		{"/changes/diff?path=a&offset=3", `{"offset":3,"nextOffset":2}`, "502 worker_failed"},
	} {
		a := ask(c.path, result(c.result))
		var p protocol.Problem
		if a.StatusCode != http.StatusOK {
			_ = protocol.Decode(a.Body, &p)
		}
		if got := fmt.Sprintf("%d %s", a.StatusCode, p.Code); got != c.want {
			t.Errorf("%s of %.80s: %s, want %s", c.path, c.result, got, c.want)
		}
		if a.Header.Get("Set-Cookie") != "" || strings.Contains(a.Header.Get("Content-Type"), "html") || len(a.Body) > 2000 {
			t.Errorf("%s of %.80s: %v, %d bytes", c.path, c.result, a.Header, len(a.Body))
		}
		if strings.Contains(string(a.Body), "null") || strings.Contains(string(a.Body), "again") || strings.Contains(string(a.Body), "made up") {
			t.Errorf("%s of %.80s: %s", c.path, c.result, a.Body)
		}
	}
	for code, want := range map[protocol.Code]string{
		"unauthorized": "502 worker_failed", "x\r\ny": "502 worker_failed", "internal": "502 worker_failed", "not_found": "404 not_found", "no_worker": "503 no_worker",
	} {
		a := ask(changes, func(r protocol.WorkerRequest) {
			l.send(protocol.FrameResponse, protocol.WorkerResponse{ID: r.ID, Error: &protocol.RequestError{Code: code, Detail: strings.Repeat("x", 100_000)}})
		})
		var p protocol.Problem
		_ = protocol.Decode(a.Body, &p)
		if got := fmt.Sprintf("%d %s", a.StatusCode, p.Code); got != want || len(a.Body) > 5000 {
			t.Errorf("code %q: %s, %d bytes, want %s", code, got, len(a.Body), want)
		}
	}
	// It is gone in the middle of an answer.
	a := ask(changes, func(protocol.WorkerRequest) { _ = l.ws.CloseNow() })
	if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("a worker that is gone: %d %s", a.StatusCode, a.Body)
	}
}
