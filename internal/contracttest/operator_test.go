package contracttest

import (
	"encoding/json"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/internal/testkit/judge"
	"sessionhub/protocol"
)

// For --drain-delay a node says that it is not ready and serves as before: a load
// balancer has to see the one before the listener closes. It once closed at once.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	n := serve(t, "--drain-delay", "4s")
	n.client.Transport.(*http.Transport).DisableKeepAlives = true // every request over a new connection
	s := n.create(`{}`)
	n.Terminate()
	started := time.Now()
	judge.Within(t, 3*time.Second, "it is not ready", func() bool { return n.call("GET", "/readyz", "").StatusCode == 503 })
	n.refused(503, protocol.CodeUnavailable, "GET", "/readyz", "")
	resp, err := n.client.Get(n.Admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 503 {
		t.Errorf("the admin listener says %d", resp.StatusCode)
	}
	if r := n.call("GET", "/healthz", ""); r.StatusCode != 200 {
		t.Errorf("it says of its health %d", r.StatusCode)
	}
	n.create(`{}`)
	st := s.ws("")
	if c := s.turn(st, "hello"); c.StopReason != "end_turn" {
		t.Errorf("a turn within the delay: %+v", c)
	}
	st.until("draining")
	if took := time.Since(started); took < 3*time.Second {
		t.Errorf("the drain began after %v", took)
	}
	<-n.Ended
	if code := n.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// A second SIGTERM skips the delay, and the drain is as ever: what runs may finish.
func TestSecondSignalSkipsTheDrainDelay(t *testing.T) {
	t.Parallel()
	n := serve(t, "--drain-delay", "1h", "--drain-timeout", "30s")
	s := n.create(`{}`)
	st := s.ws("")
	s.send("/slow 2")
	st.until("output")
	n.Terminate()
	judge.Within(t, 3*time.Second, "it is not ready", func() bool { return n.call("GET", "/readyz", "").StatusCode == 503 })
	n.Terminate()
	if c := hubtest.Decode[protocol.CompleteData](t, st.until("complete").Data); c.StopReason != "end_turn" {
		t.Errorf("the turn ended with %+v", c)
	}
	<-n.Ended
	if code := n.Cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// 0.0.0.0 is IPv4 alone; [::] and no host at all are both.
func TestListenersOfEachFamily(t *testing.T) {
	hosts := []string{"127.0.0.1"}
	if six, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		_ = six.Close()
		hosts = append(hosts, "::1")
	} else {
		t.Logf("this machine has no IPv6, so only IPv4 is tried: %v", err)
	}
	for _, c := range []struct {
		listen   string
		on4, on6 bool
	}{
		{"0.0.0.0:0", true, false},
		{"[::]:0", true, true},
		{":0", true, true},
		{"[::1]:0", false, true},
		{"127.0.0.1:0", true, false},
		{"localhost:0", true, false},
	} {
		if !c.on4 && len(hosts) == 1 {
			continue // nothing to bind
		}
		n := serve(t, "--listen", c.listen, "--admin-listen", c.listen, "--allow-anonymous")
		for _, url := range []string{n.URL, n.Admin} {
			_, port, err := net.SplitHostPort(strings.TrimPrefix(url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range hosts {
				want := c.on4
				if host == "::1" {
					want = c.on6
				}
				conn, err := net.DialTimeout("tcp", net.JoinHostPort(host, port), 5*time.Second)
				if err == nil {
					_ = conn.Close()
				}
				if (err == nil) != want {
					t.Errorf("%s, %s: %v", c.listen, host, err)
				}
			}
		}
	}
}

// With --log-format json whoever collects what the program prints can read each line as
// JSON: the banner, the log, what agents write on stderr, and why it ends.
func TestEveryLineIsJSON(t *testing.T) {
	t.Parallel()
	lines := func(what, text string) (msgs string) {
		t.Helper()
		for line := range strings.Lines(text) {
			var record struct{ Msg, Error string }
			if err := json.Unmarshal([]byte(line), &record); err != nil || record.Msg == "" {
				t.Errorf("%s: %q: %v", what, line, err)
			}
			msgs += record.Msg + " " + record.Error + "\n"
		}
		return msgs
	}
	n := serve(t, "--log-format", "json", "--log-level", "debug")
	if banner := lines("banner", n.Banner); !strings.Contains(banner, "workspace "+n.Root) {
		t.Errorf("the banner is %q", banner)
	}
	s := n.create(`{"agentOptions":{"mode":"auto"}}`)
	st := s.ws("")
	s.turn(st, "/run echo to stderr >&2; exit 3")
	s.turn(st, "/crash")
	n.raw("BREW / HTTP/1.1\r\nHost: " + n.Host() + "\r\n\r\n")
	n.raw("\x16\x03\x01 nonsense\r\n\r\n")
	n.Terminate()
	<-n.Ended
	lines("log", n.Log.String())

	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"a bad setting":         {[]string{"serve", "--log-format", "json", "--drain-delay", "soon"}, "--drain-delay"},
		"a bad file":            {[]string{"serve", "--log-format", "json", "--providers-file", "/nowhere", "--listen", "127.0.0.1:0"}, "--providers-file"},
		"an address in use":     {[]string{"serve", "--log-format", "json", "--listen", n.Host(), "--admin-listen", "127.0.0.1:0", "--workspace-root", n.Root}, "--listen"},
		"a worker without keys": {[]string{"worker", "--log-format", "json", "--hub", "ws://127.0.0.1:1"}, "SESSIONHUB_WORKER_KEY"},
	} {
		if name == "an address in use" {
			l, err := net.Listen("tcp", n.Host())
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		cmd := exec.CommandContext(t.Context(), binary, c.args...)
		cmd.Env = hubtest.Environment()
		out, _ := cmd.CombinedOutput()
		if got := lines(name, string(out)); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
