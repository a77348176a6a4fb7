package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/faultproxy"
	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/soak"
	"sessionhub/protocol"
)

// The worker of docs/WORKERS.md, in another language and short, works: it answers,
// is cancelled, comes back over a broken link without a loss or a repeat, and
// stops what is taken from it.
func TestWorkerInAnotherLanguage(t *testing.T) {
	t.Parallel()
	const recipe = "../../docs/worker.mjs"
	text, err := os.ReadFile(recipe)
	if err != nil {
		t.Fatal(err)
	}
	code := 0
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
			code++
		}
	}
	if code > 60 {
		t.Errorf("it has %d lines of code: the page promises 60", code)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is missing: see scripts/need.sh node")
	}
	f := newFarm(t, nil)
	proxy, err := faultproxy.New(strings.TrimPrefix(f.hub.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	w, err := soak.Launch(node, []string{"SESSIONHUB_WORKER_KEY=" + workerKey}, "--experimental-websocket", recipe, "ws://"+proxy.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Kill()
		if t.Failed() {
			t.Logf("the worker's words:\n%s", w.Said())
		}
	})
	judge.Within(t, 20*time.Second, "it has a link", func() bool { return strings.Contains(f.hub.Said(), "worker joined") })
	echo := protocol.CreateRequest{Provider: "echo"}

	s := f.session(echo)
	long := strings.Repeat("word ", 99) + "end"
	s.say(long, "m1")
	s.runs("m1")
	for range 4 {
		time.Sleep(time.Second) // the fault's own rhythm
		proxy.Cut()
	}
	s.endsWell("m1")
	if turn, _ := s.record.Turn("m1"); turn.Text != long {
		t.Errorf("it answered %q", turn.Text)
	}

	s.say(long, "m2")
	s.say("the next", "m3")
	s.runs("m2")
	if err := s.Cancel(t.Context(), "m2"); err != nil {
		t.Fatal(err)
	}
	if c := s.end("m2", 10*time.Second); c.StopReason != protocol.StopCancelled {
		t.Errorf("complete %+v", c)
	}
	s.endsWell("m3")

	// A deleted session's place is free, and its turn publishes no more.
	gone := f.session(echo)
	gone.say(long, "m1")
	gone.runs("m1")
	if err := gone.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.say("and now", "m4")
	s.endsWell("m4")
	s.fine()
	gone.fine()
	if strings.Contains(w.Said(), "the hub says") {
		t.Error("the hub complains of its frames")
	}
}
