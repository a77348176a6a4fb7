package contracttest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sessionhub/protocol"
)

// node is a running `sessionhub serve`.
type node struct {
	t          *testing.T
	cmd        *exec.Cmd
	url, admin string
	root       string
	client     *http.Client
	log        *buffer

	banner string
	ended  chan struct{} // closed when the process has ended
	key    string        // sent with every call that has no credential of its own
}

// buffer is a bytes.Buffer for a writer and a reader.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// cleanEnv is the environment without settings of the program.
func cleanEnv(more ...string) []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "SESSIONHUB_") {
			env = append(env, v)
		}
	}
	return append(env, more...)
}

// serve starts a node with roomy rates, which flags can narrow.
func serve(t *testing.T, flags ...string) *node {
	t.Helper()
	return serveEnv(t, nil, flags...)
}

func serveEnv(t *testing.T, env []string, flags ...string) *node {
	t.Helper()
	n := &node{t: t, root: t.TempDir(), log: &buffer{}, client: &http.Client{Transport: &http.Transport{}}, ended: make(chan struct{})}
	n.cmd = exec.Command(binary, append([]string{
		"serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--workspace-root", n.root, "--drain-timeout", "2s",
		"--rate-sessions", "1000/s:1000", "--rate-messages", "1000/s:1000",
	}, flags...)...)
	n.cmd.Env = cleanEnv(env...)
	n.cmd.Stderr = n.log
	out, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(out)
	for n.url == "" || n.admin == "" {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("the node did not start: %v\n%s%s", err, n.banner, n.log)
		}
		n.banner += line
		if m := regexp.MustCompile(`dashboard +(http://\S+)/`).FindStringSubmatch(line); m != nil {
			n.url = m[1]
		}
		if m := regexp.MustCompile(`metrics +(http://\S+)/metrics`).FindStringSubmatch(line); m != nil {
			n.admin = m[1]
		}
	}
	if rest, err := in.ReadString('\n'); err == nil { // the workspace
		n.banner += rest
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = n.cmd.Wait()
		close(n.ended)
	}()
	t.Cleanup(func() {
		n.client.CloseIdleConnections()
		_ = n.cmd.Process.Kill()
		<-n.ended
		if t.Failed() {
			log := n.log.String()
			t.Logf("the end of the node's log:\n%s", log[max(0, len(log)-4000):])
		}
	})
	return n
}

// terminate sends SIGTERM, which drains.
func (n *node) terminate() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
}

// host is what a raw connection dials.
func (n *node) host() string { return strings.TrimPrefix(n.url, "http://") }

// dial opens a raw connection that lives for a minute at most.
func (n *node) dial() net.Conn {
	n.t.Helper()
	c, err := net.Dial("tcp", n.host())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// call sends a request. header are names and values in turn; "Host" sets that.
func (n *node) call(method, path, body string, header ...string) reply {
	n.t.Helper()
	req, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if n.key != "" {
		req.Header.Set("X-API-Key", n.key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		switch name, value := header[i], header[i+1]; name {
		case "Host":
			req.Host = value
		case "Authorization":
			req.Header.Del("X-API-Key")
			req.Header.Set(name, value)
		default:
			req.Header.Set(name, value)
		}
	}
	resp, err := n.client.Do(req)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{resp.StatusCode, resp.Header, raw}
}

// refused sends a request that has to be refused with this status and code, as
// RFC 9457 has it.
func (n *node) refused(status int, code protocol.Code, method, path, body string, header ...string) {
	n.t.Helper()
	r := n.call(method, path, body, header...)
	what := method + " " + path
	if err := r.problem(status, code); err != nil {
		n.t.Errorf("%s: %v", what, err)
	}
}

// problem checks that the answer is this error, with all that belongs to one.
func (r reply) problem(status int, code protocol.Code) error {
	var p struct {
		Type, Title, Detail string
		Status              int
		Code                protocol.Code
	}
	if r.status != status {
		return errors.New("status " + strconv.Itoa(r.status) + ", want " + strconv.Itoa(status) + ": " + string(r.body))
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		return errors.New("the error is " + got)
	}
	if err := json.Unmarshal(r.body, &p); err != nil {
		return err
	}
	if p.Code != code || p.Status != status || p.Type == "" || p.Title == "" || p.Detail == "" {
		return errors.New("the problem is " + string(r.body))
	}
	if regexp.MustCompile(`Go |protocol\.|json: |hub\.|0x[0-9a-f]{6}`).MatchString(p.Detail) {
		return errors.New("the detail speaks of the program's inside: " + p.Detail)
	}
	if r.header.Get("X-Content-Type-Options") != "nosniff" {
		return errors.New("the error lacks nosniff")
	}
	later := status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	if seconds, err := strconv.Atoi(r.header.Get("Retry-After")); later && (err != nil || seconds < 1) {
		return errors.New("Retry-After is " + strconv.Quote(r.header.Get("Retry-After")))
	}
	return nil
}

// ok sends a request that has to be answered with this status, and decodes the
// answer.
func ok[T any](n *node, status int, method, path, body string, header ...string) T {
	n.t.Helper()
	r := n.call(method, path, body, header...)
	if r.status != status {
		n.t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.body)
	}
	return decode[T](n.t, r.body)
}

func decode[T any](t *testing.T, raw []byte) T {
	t.Helper()
	var v T
	if len(raw) == 0 {
		return v
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return v
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

// within waits until ok says so.
func within(t *testing.T, most time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(most); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", most, what)
		}
	}
}
