package contracttest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// exchange is one raw connection whose answers are read in order.
type exchange struct {
	t    *testing.T
	c    net.Conn
	in   *bufio.Reader
	last bool // the latest answer says that the connection closes
}

func (n *node) exchange(text string) *exchange {
	n.t.Helper()
	x := &exchange{t: n.t, c: n.dial()}
	x.in = bufio.NewReader(x.c)
	x.send(text)
	return x
}

func (x *exchange) send(text string) {
	x.t.Helper()
	if _, err := io.WriteString(x.c, text); err != nil {
		x.t.Fatal(err)
	}
}

// answer reads the next answer; 100 is one.
func (x *exchange) answer() hubtest.Answer {
	x.t.Helper()
	resp, err := http.ReadResponse(x.in, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		x.t.Fatal(err)
	}
	x.last = resp.Close
	return hubtest.Answer{StatusCode: resp.StatusCode, Header: resp.Header, Body: body}
}

// What the header alone decides is refused before the body comes: the client that
// waits for 100 (Continue) gets the refusal in its place, and one that does not wait
// gets it while its body is still on the way. Once every such client was told to go
// on, and a refusal waited for 8 KiB of the body, or for 30 s.
func TestRefusedBeforeTheBody(t *testing.T) {
	n := serveEnv(t, []string{"SESSIONHUB_API_KEY=service-key-0123456789", "SESSIONHUB_WORKER_KEY=worker-key-0123456789"})
	key := "X-API-Key: service-key-0123456789\r\n"
	json := "Content-Type: application/json\r\n"
	s := n.create(`{"userId":"u1"}`, "X-API-Key", "service-key-0123456789")
	narrow := ok[protocol.TokenResponse](n, 201, "POST", s.path+"/token", `{"scope":"read"}`, s.bearer()...)
	long := "Content-Length: 1000\r\n"
	for _, c := range []struct {
		name, line, header string
		status             int
		code               protocol.Code
	}{
		{"no key", "POST /api/sessions", json + long, 401, protocol.CodeUnauthorized},
		{"no key, chunked", "POST /api/sessions", json + "Transfer-Encoding: chunked\r\n", 401, protocol.CodeUnauthorized},
		{"a bad key", "POST /api/sessions", json + "X-API-Key: guessed-0123456789\r\n" + long, 401, protocol.CodeUnauthorized},
		{"too long", "POST /api/sessions", key + json + "Content-Length: 5000000\r\n", 413, protocol.CodePayloadTooLarge},
		{"no content type", "POST /api/sessions", key + long, 415, protocol.CodeUnsupportedMedia},
		{"a form", "POST /api/sessions", key + "Content-Type: text/plain\r\n" + long, 415, protocol.CodeUnsupportedMedia},
		{"compressed", "POST /api/sessions", key + json + "Content-Encoding: gzip\r\n" + long, 415, protocol.CodeUnsupportedMedia},
		{"a narrow token", "POST " + s.path + "/messages", json + "Authorization: Bearer " + narrow.Token + "\r\n" + long, 403, protocol.CodeScope},
		{"no session", "POST /api/sessions/s_none/messages", key + json + long, 404, protocol.CodeNotFound},
		{"no route", "POST /api/nothing", key + json + long, 404, protocol.CodeNotFound},
		{"another method", "PUT /api/sessions", key + json + long, 405, protocol.CodeMethodNotAllowed},
		{"another origin", "POST /api/sessions", key + json + "Origin: https://evil.example\r\n" + long, 403, protocol.CodeOriginRefused},
		{"a stream", "GET " + s.path + "/events", key + long, 400, protocol.CodeInvalidRequest},
		{"the worker link", "GET /worker/link", "Authorization: Bearer worker-key-0123456789\r\n" + long, 400, protocol.CodeInvalidRequest},
	} {
		for _, expect := range []string{"", "Expect: 100-continue\r\n", "Expect: 100-Continue\r\n"} {
			t.Run(c.name+" "+strings.TrimSpace(expect), func(t *testing.T) {
				x := n.exchange(c.line + " HTTP/1.1\r\nHost: " + n.Host() + "\r\n" + c.header + expect + "\r\n")
				r := x.answer()
				if err := r.Problem(c.status, c.code); err != nil {
					t.Error(err)
				}
				if !x.last {
					t.Error("the answer does not say that the connection closes, and its next bytes could be the body")
				}
			})
		}
	}
}

// A client that waits for 100 (Continue) gets it when its body is to be read.
func TestContinue(t *testing.T) {
	n := serve(t)
	const body = `{"title":"told to go on"}`
	head := func(version, framing string) string {
		return "POST /api/sessions HTTP/" + version + "\r\nHost: " + n.Host() + "\r\nContent-Type: application/json\r\n" + framing + "\r\n"
	}
	created := func(x *exchange) {
		t.Helper()
		r := x.answer()
		if r.StatusCode != 201 || hubtest.Decode[protocol.CreateResponse](t, r.Body).Session.Title != "told to go on" {
			t.Errorf("%d %s", r.StatusCode, r.Body)
		}
	}
	length := fmt.Sprintf("Content-Length: %d\r\n", len(body))
	x := n.exchange(head("1.1", length+"Expect: 100-continue\r\n"))
	for range 2 { // the connection lives on
		if r := x.answer(); r.StatusCode != 100 {
			t.Fatalf("the client that waits gets %d %s", r.StatusCode, r.Body)
		}
		x.send(body)
		created(x)
		x.send(head("1.1", length+"Expect: 100-continue\r\n"))
	}

	x = n.exchange(head("1.1", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n"))
	if r := x.answer(); r.StatusCode != 100 {
		t.Fatalf("in chunks: %d %s", r.StatusCode, r.Body)
	}
	x.send(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
	created(x)

	// HTTP/1.0 knows no such answer (RFC 9110, section 10.1.1).
	x = n.exchange(head("1.0", length+"Expect: 100-continue\r\n") + body)
	created(x)

	// Behind another request, whose answer may not be out yet, the answers keep their
	// order, whether or not there is a 100 among them.
	x = n.exchange("GET /healthz HTTP/1.1\r\nHost: " + n.Host() + "\r\n\r\n" + head("1.1", length+"Expect: 100-continue\r\n") + body)
	if r := x.answer(); r.StatusCode != 200 || string(r.Body) != "ok\n" {
		t.Errorf("the first of two: %d %s", r.StatusCode, r.Body)
	}
	created(x)
}
