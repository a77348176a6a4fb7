package contracttest

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// Requests that no client of ours sends, and proxies, monitors and scanners do.
func TestUnusualRequests(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	host := "Host: " + n.Host() + "\r\n"
	long := "X: " + strings.Repeat("x", 20_000) + "\r\n"
	for name, c := range map[string]struct {
		request string
		status  int
		code    protocol.Code
		allow   string
	}{
		"an unknown method":           {"BREW /healthz HTTP/1.1\r\n" + host, 501, protocol.CodeNotImplemented, ""},
		"a method in small letters":   {"get /healthz HTTP/1.1\r\n" + host, 501, protocol.CodeNotImplemented, ""},
		"TRACE":                       {"TRACE /healthz HTTP/1.1\r\n" + host, 405, protocol.CodeMethodNotAllowed, "GET, HEAD"},
		"CONNECT":                     {"CONNECT " + n.Host() + " HTTP/1.1\r\n" + host, 404, protocol.CodeNotFound, ""},
		"OPTIONS *":                   {"OPTIONS * HTTP/1.1\r\n" + host, 204, "", ""},
		"OPTIONS *, another host":     {"OPTIONS * HTTP/1.1\r\nHost: evil.example\r\n", 403, protocol.CodeHostRefused, ""},
		"OPTIONS":                     {"OPTIONS /api/sessions HTTP/1.1\r\n" + host, 204, "", "GET, HEAD, POST"},
		"OPTIONS of nothing":          {"OPTIONS /nothing HTTP/1.1\r\n" + host, 404, protocol.CodeNotFound, ""},
		"absolute form":               {"GET http://" + n.Host() + "/healthz HTTP/1.1\r\n" + host, 200, "", ""},
		"absolute form, another host": {"GET http://evil.example/healthz HTTP/1.1\r\n" + host, 403, protocol.CodeHostRefused, ""},
		"HTTP/1.0":                    {"GET /healthz HTTP/1.0\r\n" + host, 200, "", ""},
		"HTTP/2.0 in clear":           {"GET /healthz HTTP/2.0\r\n" + host, 505, protocol.CodeHTTPVersion, ""},
		"no HTTP":                     {"GET /healthz FOO\r\n" + host, 400, protocol.CodeInvalidRequest, ""},
		"PUT on a stream":             {"PUT " + s.path + "/events HTTP/1.1\r\n" + host, 405, protocol.CodeMethodNotAllowed, "GET"},
		"PUT on a WebSocket":          {"PUT " + s.path + "/ws HTTP/1.1\r\n" + host, 405, protocol.CodeMethodNotAllowed, "GET"},
		"PUT on the worker link":      {"PUT /worker/link HTTP/1.1\r\n" + host, 405, protocol.CodeMethodNotAllowed, "GET"},
		"a header over 16 KiB":        {"GET /healthz HTTP/1.1\r\n" + host + long, 431, protocol.CodeHeaderTooLarge, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := n.raw(c.request + "\r\n")
			if c.code != "" {
				if err := r.Problem(c.status, c.code); err != nil {
					t.Error(err)
				}
			}
			if r.StatusCode != c.status || r.Header.Get("Allow") != c.allow {
				t.Errorf("%d, Allow %q: want %d, %q", r.StatusCode, r.Header.Get("Allow"), c.status, c.allow)
			}
		})
	}
	// What Allow names is what is taken.
	for _, path := range []string{s.path + "/events", s.path + "/ws", "/worker/link"} {
		if r := n.call("HEAD", path, ""); r.StatusCode != 405 || r.Header.Get("Allow") != "GET" {
			t.Errorf("HEAD %s: %d, Allow %q", path, r.StatusCode, r.Header.Get("Allow"))
		}
	}
}

// A request with an unknown method once was answered by the framework itself, and its
// body then read as the next request.
func TestBodyOfAnUnknownMethodIsNoRequest(t *testing.T) {
	n := serve(t)
	smuggled := "GET /api/sessions HTTP/1.1\r\nHost: " + n.Host() + "\r\n\r\n"
	r, reused := n.raw(fmt.Sprintf("BREW / HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", n.Host(), len(smuggled), smuggled))
	if err := r.Problem(501, protocol.CodeNotImplemented); err != nil || reused {
		t.Errorf("%v, reused %v", err, reused)
	}
}

// A page that traces its requests adds headers to each: the browser asks for them first.
func TestTraceHeadersPassThePreflight(t *testing.T) {
	n := serve(t, "--allowed-origins", "https://page.example")
	r := n.call("OPTIONS", "/api/sessions", "", "Origin", "https://page.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,baggage,content-type,sentry-trace,traceparent,tracestate")
	allowed := strings.ToLower(r.Header.Get("Access-Control-Allow-Headers"))
	for _, name := range []string{"authorization", "content-type", "traceparent", "tracestate", "baggage", "sentry-trace"} {
		if r.StatusCode != 204 || !strings.Contains(allowed, name) {
			t.Errorf("%d, %s is not among %q", r.StatusCode, name, allowed)
		}
	}
}

// Where a client goes on, by the names that clients in the field use.
func TestNamesOfACursor(t *testing.T) {
	n := serve(t)
	s := n.create(`{}`)
	st := s.ws("")
	s.turn(st, "/stream 9")
	for _, c := range []struct {
		query, header string
		first         uint64
	}{
		{"", "", 1},
		{"?after=3", "", 4},
		{"?lastEventId=4", "", 5},
		{"?after=2&lastEventId=4", "", 5},
		{"?lastEventId=4&after=2", "", 5},
		{"?lastEventId=4&after=2", "6", 7},
		{"?after=2&after=5", "", 6},
		{"?lastEventId=2&lastEventId=5", "", 6},
		{"?after=3&lastEventId=", "", 4},
	} {
		header := s.bearer()
		if c.header != "" {
			header = append(header, "Last-Event-ID", c.header)
		}
		first := func(way string, st *stream) {
			t.Helper()
			for {
				f, err := st.next()
				if err != nil {
					t.Fatal(err)
				}
				if f.Seq != 0 {
					if f.Seq != c.first {
						t.Errorf("%s%s, Last-Event-ID %q: it begins with %d, want %d", way, c.query, c.header, f.Seq, c.first)
					}
					return
				}
			}
		}
		first("/events", s.sse(c.query, header...))
		page := ok[protocol.History](n, 200, "GET", s.path+"/history"+c.query, "", header...)
		if e := hubtest.Decode[protocol.Event](t, page.Events[0]); e.Seq != c.first {
			t.Errorf("/history%s, Last-Event-ID %q: it begins with %d, want %d", c.query, c.header, e.Seq, c.first)
		}
		if c.header == "" {
			first("/ws", s.ws(c.query))
		}
	}
	for _, query := range []string{"?lastEventId=nonsense", "?after=1&after=nonsense", "?after=1&lastEventId=nonsense"} {
		for _, route := range []string{"/events", "/history", "/ws"} {
			n.refused(400, protocol.CodeInvalidRequest, "GET", s.path+route+query, "", s.bearer()...)
		}
	}
}

// The node ends the wait for the rest of a request when it stops: the client was not
// late, which 408 would say. Of a connection over which nothing came it says nothing. Half
// a request once held the stop up for 8 s and made the node fail.
func TestStopInTheMiddleOfARequest(t *testing.T) {
	t.Parallel()
	n := serve(t, "--worker", "none")
	half := "GET /api/sessions HTTP/1.1\r\nHost: " + n.Host() + "\r\nX-Half"
	fresh, silent := n.exchange(half), n.exchange("")
	kept := n.exchange("GET /healthz HTTP/1.1\r\nHost: " + n.Host() + "\r\n\r\n")
	if r := kept.answer(); r.StatusCode != 200 {
		t.Fatal(r.StatusCode)
	}
	kept.send(half)
	body := n.exchange("POST /api/sessions HTTP/1.1\r\nHost: " + n.Host() + "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	halves := map[string]*exchange{"fresh": fresh, "kept": kept, "body": body}
	for name, x := range halves {
		judge.Within(t, 5*time.Second, name+": the node has read the half", func() bool {
			unread, _, found := hubtest.Queues(t, x.c)
			return found && unread == 0
		})
	}
	n.Terminate()
	for name, x := range halves {
		resp, err := http.ReadResponse(bufio.NewReader(x.in), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		body, _ := io.ReadAll(resp.Body)
		if err := (hubtest.Answer{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}).Problem(503, protocol.CodeUnavailable); err != nil || !resp.Close {
			t.Errorf("%s: %v, closes %v", name, err, resp.Close)
		}
	}
	if said, err := io.ReadAll(silent.in); len(said) > 0 || err != nil {
		t.Errorf("nothing was sent, and the answer is %q, %v", said, err)
	}
	<-n.Ended
	if code := n.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
