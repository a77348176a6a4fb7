package contracttest

import (
	"net"
	"net/http"
	"slices"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// node is a running `sessionhub serve`.
type node struct {
	*hubtest.Process
	t      *testing.T
	client *http.Client
	key    string // sent with every call that has no credential of its own
}

// serve starts a node with roomy rates, which flags can narrow.
func serve(t *testing.T, flags ...string) *node {
	t.Helper()
	return serveEnv(t, nil, flags...)
}

func serveEnv(t *testing.T, env []string, flags ...string) *node {
	t.Helper()
	n := &node{t: t, Process: hubtest.Serve(t, binary, env, flags...), client: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(n.client.CloseIdleConnections)
	return n
}

// dial opens a raw connection that lives for a minute at most.
func (n *node) dial() net.Conn {
	n.t.Helper()
	c, err := net.Dial("tcp", n.Host())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(judge.Patience))
	return c
}

// call sends a request, with the node's key if the header has no credential.
func (n *node) call(method, path, body string, header ...string) hubtest.Answer {
	n.t.Helper()
	if n.key != "" && !slices.Contains(header, "Authorization") && !slices.Contains(header, "X-API-Key") {
		header = append(slices.Clone(header), "X-API-Key", n.key)
	}
	return hubtest.Call(n.t, n.client, method, n.URL+path, body, header...)
}

// refused sends a request that has to be refused with this status and code.
func (n *node) refused(status int, code protocol.Code, method, path, body string, header ...string) {
	n.t.Helper()
	if err := n.call(method, path, body, header...).Problem(status, code); err != nil {
		n.t.Errorf("%s %s: %v", method, path, err)
	}
}

// ok sends a request that has to be answered with this status, and decodes the
// answer.
func ok[T any](n *node, status int, method, path, body string, header ...string) T {
	n.t.Helper()
	r := n.call(method, path, body, header...)
	if r.StatusCode != status {
		n.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.StatusCode, status, r.Body)
	}
	return hubtest.Decode[T](n.t, r.Body)
}

// session is a session of the node, with the token that its creation gave.
type session struct {
	protocol.CreateResponse
	n    *node
	path string
}

func (n *node) create(body string, header ...string) session {
	n.t.Helper()
	s := session{CreateResponse: ok[protocol.CreateResponse](n, http.StatusCreated, "POST", "/api/sessions", body, header...), n: n}
	s.path = "/api/sessions/" + s.SessionID
	return s
}

// bearer is the header with the session's token.
func (s session) bearer() []string { return []string{"Authorization", "Bearer " + s.Token} }

func (s session) send(text string) protocol.MessageResponse {
	s.n.t.Helper()
	body := string(protocol.Marshal(map[string]string{"content": text}))
	return ok[protocol.MessageResponse](s.n, http.StatusAccepted, "POST", s.path+"/messages", body, s.bearer()...)
}

func (s session) view() protocol.Session {
	s.n.t.Helper()
	return ok[protocol.Session](s.n, http.StatusOK, "GET", s.path, "", s.bearer()...)
}
