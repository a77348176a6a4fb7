package main

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/soak"
	"sessionhub/protocol"
)

// Sessions go where most places are free; when there is none they wait, and start
// in the order of their messages.
func TestWorkersShareByFreePlaces(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil)
	small, large := f.worker("--worker-capacity", "1"), f.worker("--worker-capacity", "3")
	var running []*watched
	for i := range 4 {
		s := f.session(protocol.CreateRequest{})
		s.say("/slow 100", "m")
		s.runs("m")
		running = append(running, s)
		if i < 2 && f.holds(small) != 0 {
			t.Errorf("after %d sessions the small worker has %d", i+1, f.holds(small))
		}
	}
	if f.holds(small) != 1 || f.holds(large) != 3 {
		t.Errorf("the workers have %d and %d sessions", f.holds(small), f.holds(large))
	}
	var waiting []*watched
	for range 3 {
		s := f.session(protocol.CreateRequest{})
		s.say("/slow 100", "m")
		judge.Within(t, 5*time.Second, "it is queued", func() bool { return s.is(protocol.StatusQueued) })
		waiting = append(waiting, s)
	}
	for i, s := range waiting {
		if err := running[i].Delete(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.runs("m")
		for _, later := range waiting[i+1:] {
			if !later.is(protocol.StatusQueued) {
				t.Errorf("when %d ran, a later one was %s", i, later.record.Status())
			}
		}
		s.fine()
	}
}

// A worker with one user's key gets that user's sessions only: another's wait.
func TestWorkerOfOneUser(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	line := func(name, user, key string) string {
		return fmt.Sprintf("%s:%s:%x\n", name, user, sha256.Sum256([]byte(key)))
	}
	if err := os.WriteFile(path, []byte(line("a", "alice", "key-of-alice")+line("s", "*", "key-of-all")), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFarm(t, []string{"SESSIONHUB_WORKER_KEYS_FILE=" + path, "SESSIONHUB_API_KEY=service"})
	f.key = "service"
	f.workerWith(f.hub.URL, "key-of-alice")
	alice, bob := f.session(protocol.CreateRequest{UserID: "alice"}), f.session(protocol.CreateRequest{UserID: "bob"})
	bob.say("hello", "m1")
	alice.say("hello", "m1")
	alice.endsWell("m1")
	if !bob.is(protocol.StatusQueued) {
		t.Errorf("bob's session is %s", bob.record.Status())
	}
	f.workerWith(f.hub.URL, "key-of-all")
	bob.endsWell("m1")
	alice.fine()
	bob.fine()
}

// What the command refuses, and with which exit code.
func TestWorkerCommandRefusals(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil)
	broken := filepath.Join(t.TempDir(), "providers.yaml")
	if err := os.WriteFile(broken, []byte("codex: {args: 5}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := []string{"SESSIONHUB_WORKER_KEY=some-key"}
	for _, c := range []struct {
		name string
		env  []string
		args []string
		code int
		says []string
	}{
		{"help", nil, []string{"--help"}, exitOK, []string{"--hub", "--workspace-root", "SESSIONHUB_WORKER_KEY"}},
		{"nothing", nil, nil, exitUsage, []string{"--hub", "SESSIONHUB_WORKER_KEY"}},
		{"the key as a flag", nil, []string{"--hub", "ws://h", "--worker-key", "some-key"}, exitUsage, []string{"--worker-key", "SESSIONHUB_WORKER_KEY"}},
		{"every bad value", key, []string{"--hub", "ftp://user:pass-word@h", "--worker-capacity", "0", "--name", "a\nb"}, exitUsage, []string{"--hub", "--worker-capacity", "--name"}},
		{"bad files", key, []string{"--hub", "ws://h", "--providers-file", broken, "--workspace-root", "/nowhere/at/all"}, exitUsage, []string{"codex", "workspace root"}},
		{"a wrong key", key, []string{"--hub", f.hub.URL}, exitFailed, []string{"refuses", "the worker key is not known"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out := program(t, c.env, append([]string{"worker"}, c.args...)...)
			if code != c.code {
				t.Errorf("exit code %d, want %d:\n%s", code, c.code, out)
			}
			for _, s := range c.says {
				if !strings.Contains(out, s) {
					t.Errorf("it does not say %q:\n%s", s, out)
				}
			}
			if strings.Contains(out, "some-key") || strings.Contains(out, "pass-word") {
				t.Errorf("it prints a secret:\n%s", out)
			}
		})
	}
}

// A worker that starts before its hub waits for it.
func TestWorkerWaitsForItsHub(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	early, err := soak.Binary(binary).Worker("http://"+addr, workerKey, "--workspace-root", t.TempDir(), "--admin-listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(early.Kill)
	if _, err := early.Find(t.Context(), "no link to the hub"); err != nil {
		t.Fatal(err)
	}
	admin, err := early.Find(t.Context(), `metrics +(http://\S+)/metrics`)
	if err != nil {
		t.Fatal(err)
	}
	answers := func(path string, status int) bool {
		t.Helper()
		resp, err := http.Get(admin + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode == status
	}
	if !answers("/healthz", 200) || !answers("/readyz", 503) {
		t.Error("without a link it must be healthy and not ready")
	}
	f := newFarm(t, nil, "--listen", addr)
	s := f.session(protocol.CreateRequest{})
	s.say("hello", "m1")
	s.endsWell("m1")
	if !answers("/readyz", 200) {
		t.Error("with a link it must be ready")
	}
}

// A session goes on where its files are.
func TestSessionStaysInItsWorkspace(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil, "--worker-lease", "3s")
	first := f.worker("--workspace", "disk-a")
	s := f.session(protocol.CreateRequest{})
	s.say("hello", "m1")
	s.endsWell("m1")
	first.Kill()
	f.worker("--workspace", "disk-b")
	fresh := f.session(protocol.CreateRequest{})
	fresh.say("hello", "m1")
	fresh.endsWell("m1")
	judge.Within(t, 10*time.Second, "the worker is lost", func() bool { return strings.Contains(f.hub.Said(), `"worker lost"`) })
	s.say("hello", "m2")
	judge.Within(t, 10*time.Second, "it is queued", func() bool { return s.is(protocol.StatusQueued) })
	f.worker("--workspace", "disk-a")
	s.endsWell("m2")
	s.fine()
}

// kill -9 of a worker in the middle of turns, one with a question: within the
// lease and 5 s each has its one complete, the question is closed in the same
// step, and the next message runs on another worker of the workspace.
func TestKilledWorkerLosesItsTurns(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil)
	victim := f.worker("--worker-capacity", "2")
	asks, streams := f.session(protocol.CreateRequest{}), f.session(protocol.CreateRequest{})
	asks.say("/approve may I?", "m1")
	asks.say("hello", "m2") // waits behind it
	streams.say("/stream 100000 20 50", "m1")
	streams.runs("m1")
	judge.Within(t, 20*time.Second, "it asks", func() bool { return len(asks.record.Open()) == 1 })
	f.worker()
	victim.Kill()
	killed := time.Now()
	for _, s := range []*watched{asks, streams} {
		c := s.end("m1", 21*time.Second)
		if c.StopReason != protocol.StopError || c.Error == nil || c.Error.Code != protocol.TurnWorkerLost || !c.Error.Retryable {
			t.Errorf("complete %+v %+v", c, c.Error)
		}
	}
	took := time.Since(killed)
	if took < 10*time.Second {
		t.Errorf("they were lost after %v, before the worker's lease was over", took)
	}
	judge.AtMost(t, "the loss", took, 20*time.Second)
	asks.endsWell("m2")
	streams.say("hello", "m2")
	streams.endsWell("m2")
	page, err := asks.History(t.Context(), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, raw := range page.Events {
		var e protocol.Event
		if err := protocol.Decode(raw, &e); err != nil {
			t.Fatal(err)
		}
		order = append(order, string(e.Type))
	}
	i := slices.Index(order, "approval_resolved")
	if i < 0 || i+1 >= len(order) || order[i+1] != "complete" {
		t.Errorf("the log is %v", order)
	}
	for _, s := range []*watched{asks, streams} {
		s.fine()
	}
}

// A worker that stands still for 5 s is not missed. For 25 s: its sessions are
// lost, and when it runs on it is told to end its agents.
func TestStoppedWorker(t *testing.T) {
	t.Parallel()
	mark := fmt.Sprintf("STOPPED_MARK=%d", os.Getpid())
	providers := filepath.Join(t.TempDir(), "providers.yaml")
	text := fmt.Sprintf("demo: {command: %s, args: [demo-agent], env: {STOPPED_MARK: \"%d\"}}\n", binary, os.Getpid())
	if err := os.WriteFile(providers, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFarm(t, nil)
	w := f.worker("--providers-file", providers)
	s := f.session(protocol.CreateRequest{})
	stop := func(d time.Duration) {
		t.Helper()
		if err := w.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(d) // it is this time that is tested
	}
	run := func() {
		if err := w.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	s.say("/stream 200 20 50", "m1")
	s.runs("m1")
	stop(5 * time.Second)
	run()
	s.endsWell("m1")
	if turn, _ := s.record.Turn("m1"); soak.CheckStream(turn, 200, 20) != nil {
		t.Error(soak.CheckStream(turn, 200, 20))
	}
	s.say("/slow 1000", "m2")
	s.runs("m2")
	if n := len(soak.Marked(mark)); n == 0 {
		t.Error("no agent has the mark: the test proves nothing")
	}
	stop(21 * time.Second)
	if c := s.end("m2", 4*time.Second); c.Error == nil || c.Error.Code != protocol.TurnWorkerLost {
		t.Errorf("complete %+v %+v", c, c.Error)
	}
	run()
	judge.Within(t, 10*time.Second, "its agent is ended", func() bool { return len(soak.Marked(mark)) == 0 })
	s.say("hello", "m3")
	s.endsWell("m3")
	s.fine()
}

// SIGTERM to a worker: its short turn ends, its idle session is given back at
// once, a long turn is handed over with a retryable error; it exits with 0, and
// another worker of the workspace goes on.
func TestTerminatedWorkerHandsOver(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil)
	w := f.worker("--drain-timeout", "4s")
	idle, quick, long := f.session(protocol.CreateRequest{}), f.session(protocol.CreateRequest{}), f.session(protocol.CreateRequest{})
	idle.say("hello", "m1")
	idle.endsWell("m1")
	quick.say("/slow 2", "m1")
	long.say("/slow 1000", "m1")
	quick.runs("m1")
	long.runs("m1")
	f.worker()
	if err := w.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	judge.Within(t, 3*time.Second, "the idle session is given back", func() bool { return f.holds(w) <= 2 })
	idle.say("hello", "m2")
	idle.endsWell("m2")
	quick.endsWell("m1")
	if c := long.end("m1", 10*time.Second); c.Error == nil || c.Error.Code != protocol.TurnDraining || !c.Error.Retryable {
		t.Errorf("complete %+v %+v", c, c.Error)
	}
	select {
	case <-w.Done():
	case <-time.After(judge.Patience):
		t.Fatal("it does not end")
	}
	if w.ExitCode() != 0 {
		t.Errorf("exit code %d", w.ExitCode())
	}
	for _, s := range []*watched{quick, long} {
		s.say("hello", "m2")
		s.endsWell("m2")
		s.fine()
	}
	if strings.Contains(f.hub.Said(), `"worker lost"`) {
		t.Error("a worker was lost")
	}
}

// A second signal ends a drain at once, and every agent with it.
func TestSecondSignalEndsAWorker(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil)
	w := f.worker()
	s := f.session(protocol.CreateRequest{})
	s.say("/slow 1000", "m1")
	s.runs("m1")
	for _, most := range []time.Duration{0, 5 * time.Second} {
		if err := w.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if most == 0 {
			judge.Within(t, 5*time.Second, "it drains", func() bool { return strings.Contains(w.Said(), "stopping") })
			continue
		}
		select {
		case <-w.Done():
		case <-time.After(most):
			t.Fatal("it goes on")
		}
	}
	if w.ExitCode() != exitFailed {
		t.Errorf("exit code %d: what it had was not handed over", w.ExitCode())
	}
}

// A link that breaks every second loses nothing and repeats nothing, and nobody
// who watches can tell.
func TestFlappingLink(t *testing.T) {
	t.Parallel()
	f := newFarm(t, nil)
	proxy, err := faultproxy.New(strings.TrimPrefix(f.hub.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	f.workerWith("ws://"+proxy.Addr(), workerKey, "--worker-capacity", "5")
	var all []*watched
	for range 5 {
		s := f.session(protocol.CreateRequest{})
		s.say("/stream 500 50 50", "m1")
		s.runs("m1")
		all = append(all, s)
	}
	for range 10 {
		time.Sleep(time.Second) // the fault's own rhythm
		proxy.Cut()
	}
	for _, s := range all {
		s.endsWell("m1")
		turn, _ := s.record.Turn("m1")
		if err := soak.CheckStream(turn, 500, 50); err != nil {
			t.Error(err)
		}
		s.fine()
	}
	if _, total := proxy.Connections(); total < 10 {
		t.Errorf("the link was made %d times: the test proves nothing", total)
	}
}
