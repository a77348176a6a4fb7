package hubtest

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestReadSSE(t *testing.T) {
	for text, want := range map[string]Frame{
		": hello\n\n":    {Name: "comment"},
		"retry: 100\n\n": {Name: "retry", ID: "100"},
		"\n\n: late\n\n": {Name: "comment"},
		":\n\nid: 1\n\n": {Name: "comment"},
		"id: e-1\nevent: output\ndata: {\"type\":\"output\",\"seq\":1}\n\n": {
			ID: "e-1", Name: "output", Raw: `{"type":"output","seq":1}`, Event: protocol.Event{Type: protocol.EventOutput, Seq: 1},
		},
	} {
		f, err := ReadSSE(bufio.NewReader(strings.NewReader(text)))
		if err != nil || f.Name != want.Name || f.ID != want.ID || f.Raw != want.Raw || f.Type != want.Type || f.Seq != want.Seq {
			t.Errorf("%q: %+v, %v", text, f, err)
		}
	}
	for name, text := range map[string]string{
		"no SSE":       "HTTP/1.1 200 OK\n\n",
		"another type": "event: error\ndata: {\"type\":\"output\"}\n\n",
		"no JSON":      "event: output\ndata: {\n\n",
		"cut":          "event: output\ndata: {\"type\":\"output\"}\n",
	} {
		if f, err := ReadSSE(bufio.NewReader(strings.NewReader(text))); err == nil {
			t.Errorf("%s is read as %+v", name, f)
		}
	}
}

// An error that lacks a part of RFC 9457 or of the hub's promise is found.
func TestProblem(t *testing.T) {
	good := func() Answer {
		return Answer{StatusCode: 503, Body: []byte(`{"type":"t","title":"x","detail":"d","status":503,"code":"unavailable"}`),
			Header: http.Header{"Content-Type": {"application/problem+json"}, "X-Content-Type-Options": {"nosniff"}, "Retry-After": {"1"}}}
	}
	if err := good().Problem(503, protocol.CodeUnavailable); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Answer){
		"status":      func(a *Answer) { a.StatusCode = 500 },
		"type":        func(a *Answer) { a.Header.Set("Content-Type", "application/json") },
		"no JSON":     func(a *Answer) { a.Body = []byte("down") },
		"code":        func(a *Answer) { a.Body = []byte(strings.Replace(string(a.Body), "unavailable", "internal", 1)) },
		"no detail":   func(a *Answer) { a.Body = []byte(strings.Replace(string(a.Body), `"d"`, `""`, 1)) },
		"the inside":  func(a *Answer) { a.Body = []byte(strings.Replace(string(a.Body), `"d"`, `"json: bad"`, 1)) },
		"no nosniff":  func(a *Answer) { a.Header.Del("X-Content-Type-Options") },
		"Retry-After": func(a *Answer) { a.Header.Set("Retry-After", "0") },
	} {
		a := good()
		if spoil(&a); a.Problem(503, protocol.CodeUnavailable) == nil {
			t.Errorf("%s: it passes", name)
		}
	}
}
