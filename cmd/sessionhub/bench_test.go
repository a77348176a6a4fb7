package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sessionhub/internal/bench"
	"sessionhub/internal/testkit/valkeytest"
)

// measure runs `bench` and returns its report, which is about no loss.
func measure(t *testing.T, args ...string) bench.Report {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"bench", "--json", "--settle", "100ms", "--timeout", "60s"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	var r bench.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(stderr.String(), "no worker can join") { // its own has joined, without a key
		t.Errorf("the hub of the benchmark warns for nothing: %s", stderr.String())
	}
	if r.Loss != (bench.Loss{}) {
		t.Errorf("%+v", r.Loss)
	}
	if r.Relay != nil {
		return r // it does not look at memory
	}
	if r.Memory == nil || r.Memory.Connected <= r.Memory.Start || r.Connect.CPUMicros == nil {
		t.Errorf("memory %+v, connect %+v", r.Memory, r.Connect)
	}
	return r
}

// The whole way: this program measures another process of itself.
func TestBenchMeasuresAHubOfItsOwn(t *testing.T) {
	t.Run("fanout", func(t *testing.T) {
		r := measure(t, "--mode", "fanout", "--transport", "mixed", "--subscribers", "40", "--events", "300", "--window", "100")
		// Each turn logs more than its output: message, status and complete.
		if r.Traffic == nil || r.Traffic.Delivered < 40*300 || r.Traffic.Delivered > 40*330 || r.Traffic.Latency == nil {
			t.Errorf("%+v", r.Traffic)
		}
	})
	t.Run("sessions", func(t *testing.T) {
		r := measure(t, "--mode", "sessions", "--subscribers", "20", "--events", "20", "--rate", "40")
		if r.Options.Sessions != 20 || r.Traffic.Delivered < 20*20 || r.Traffic.Seconds < .4 {
			t.Errorf("%d sessions, %+v", r.Options.Sessions, r.Traffic)
		}
	})
	t.Run("relay", func(t *testing.T) {
		server := valkeytest.Start(t, valkeytest.Valkey(t))
		r := measure(t, "--mode", "relay", "--both", "--valkey-url", server.URL(), "--subscribers", "10", "--events", "50", "--rate", "50")
		l := r.Relay
		if l == nil || len(l.Nodes) != 3 || l.ValkeyMicros <= 0 || l.Nodes[0].CPUMicros <= 0 {
			t.Fatalf("%+v", l)
		}
		if l.Far == nil || l.Far.Samples != 500 || l.Near == nil || l.Near.Samples != 500 || l.Far.P50 <= 0 || l.Near.P50 <= 0 {
			t.Errorf("far %+v, near %+v", l.Far, l.Near)
		}
		// Each of the two sees the turn's other events too.
		if l.Added == nil || l.Added.Samples < 500 || l.Added.Samples != r.Traffic.Delivered/2 {
			t.Errorf("added %+v of %d deliveries", l.Added, r.Traffic.Delivered)
		}
	})
	t.Run("idle", func(t *testing.T) {
		profiles := t.TempDir()
		r := measure(t, "--mode", "idle", "--subscribers", "200", "--profile", profiles)
		if r.Traffic != nil || *r.Memory.Goroutines < .9 || *r.Memory.Goroutines > 1.5 {
			t.Errorf("%.2f goroutines each, %+v", *r.Memory.Goroutines, r.Traffic)
		}
		for _, kind := range []string{"heap", "goroutine"} {
			if info, err := os.Stat(filepath.Join(profiles, "idle-"+kind+".pprof")); err != nil || info.Size() == 0 {
				t.Errorf("profile %s: %v", kind, err)
			}
		}
	})
}

// report runs `bench` and reads its report, which is not one of measure's.
func report(t *testing.T, into any, args ...string) {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"bench", "--json", "--timeout", "120s", "--data-dir", t.TempDir()}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
}

// Readers of a long log have the same text before its compaction and afterwards, and a
// process has what its killed predecessor had.
func TestBenchMeasuresSessionsOnDisk(t *testing.T) {
	t.Run("history", func(t *testing.T) {
		t.Parallel()
		var r bench.HistoryReport
		report(t, &r, "--mode", "history", "--pieces", "1000", "--tools", "50", "--rounds", "2", "--compact-after", "1s")
		// 20 pieces become one event, and so do the two of a tool call.
		if r.Loss != (bench.Loss{}) || r.Before.Events+r.Before.Compacted != r.After.Events+r.After.Compacted || r.After.Compacted != 1000 || r.Store != "disk" {
			t.Errorf("%+v", r)
		}
		for _, f := range []bench.Form{r.Before, r.After} {
			if f.Stored == nil || *f.Stored <= 0 || f.RSS <= 0 || len(f.Readers) != 3 {
				t.Fatalf("%+v", f)
			}
			for _, reader := range f.Readers {
				if reader.Hash != r.Said || len(reader.Millis) == 0 {
					t.Errorf("%+v of what says %s", reader, r.Said)
				}
			}
		}
	})
	t.Run("restart", func(t *testing.T) {
		t.Parallel()
		var r bench.RestartReport
		report(t, &r, "--mode", "restart", "--subscribers", "5", "--events", "200")
		if r.Loss != (bench.Loss{}) || len(r.Restarts) != 2 {
			t.Fatalf("%+v", r)
		}
		for _, s := range r.Restarts {
			if s.Events < 1 || s.LogBytes < 200_000 || s.Files < 200_000 || s.ReadMillis <= s.UpMillis {
				t.Errorf("%+v", s)
			}
		}
	})
	t.Run("compare", func(t *testing.T) {
		t.Parallel()
		var r bench.Comparison
		report(t, &r, "--mode", "sessions", "--compare", "2", "--subscribers", "5", "--events", "20", "--settle", "0s")
		if len(r.Memory) != 2 || len(r.Disk) != 2 || r.Memory[0].Options.DataDir != "" || r.Disk[0].Options.DataDir == "" {
			t.Errorf("%+v", r)
		}
	})
}

// Nodes, Valkey and the subscribers of each node are processes of their own, all of
// which have ended when it has.
func TestBenchMeasuresAClusterOfItsOwn(t *testing.T) {
	cmd := exec.Command(binary, "bench", "--json", "--mode", "cluster", "--valkey", valkeytest.Valkey(t), "--nodes", "2",
		"--subscribers", "40", "--sessions", "20", "--active", "0.5", "--rate", "10", "--hold", "2s", "--settle", "100ms", "--timeout", "100s")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var r bench.ClusterReport
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.String())
	}
	// 10 sessions with 20 pieces, and what a turn logs beside them, on two streams.
	if r.Delivered < 10*20*2 || r.Delivered > 10*30*2 || r.Latency == nil || r.Latency.Samples != r.Delivered {
		t.Errorf("delivered %d, latency %+v", r.Delivered, r.Latency)
	}
	if len(r.Nodes) != 2 || r.RSSEach <= 0 || r.Valkey.KeysEach < 1 || r.Valkey.BytesEach <= 0 || r.Nodes[1].Goroutines == nil {
		t.Errorf("nodes %+v, Valkey %+v", r.Nodes, r.Valkey)
	}
	if r.Loss != (bench.Loss{}) || r.Heartbeats.Late+r.Vanished+r.Slowed != 0 {
		t.Errorf("loss %+v, heartbeats %+v", r.Loss, r.Heartbeats)
	}
	var table strings.Builder
	r.Print(&table)
	for _, what := range []string{"node 2", "Valkey", "over 5 ms", "p99", "0 late", "lost 0"} {
		if !strings.Contains(table.String(), what) {
			t.Errorf("%q is not in: %s", what, table.String())
		}
	}
}

// With --hub the demo agent makes the events.
func TestBenchMeasuresARunningHub(t *testing.T) {
	s := startServer(t)
	r := measure(t, "--mode", "fanout", "--subscribers", "20", "--events", "100", "--hub", s.URL, "--pid", strconv.Itoa(s.Cmd.Process.Pid))
	if r.Traffic == nil || r.Traffic.Delivered < 20*100 || r.Traffic.CPUMicros == nil {
		t.Errorf("%+v", r.Traffic)
	}
}

func TestBenchExitCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		code int
		says string
	}{
		"help":           {[]string{"--help"}, 0, "-subscribers"},
		"a bad mode":     {[]string{"--mode", "x"}, 2, `--mode "x"`},
		"a bad flag":     {[]string{"--what"}, 2, "-what"},
		"all at once":    {[]string{"--what", "5", "--events", "x", "--mode", "y", "more", "--bytes", "0"}, 2, "--bytes 0"},
		"bad values":     {[]string{"--bytes", "0", "--transport", "x"}, 2, "--transport"},
		"a bad cluster":  {[]string{"--mode", "cluster", "--active", "2"}, 2, "--valkey"},
		"not a cluster":  {[]string{"--nodes", "3"}, 2, "--nodes"},
		"words":          {[]string{"fanout"}, 2, `"fanout"`},
		"nobody answers": {[]string{"--hub", "http://127.0.0.1:1"}, 1, "create session"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := program(t, nil, append([]string{"bench"}, tc.args...)...)
			if code != tc.code || !strings.Contains(out, tc.says) {
				t.Errorf("exit code %d, want %d, and %q in: %s", code, tc.code, tc.says, out)
			}
		})
	}
}

// A benchmark that is killed leaves no hub behind: that one's stdin ends.
func TestBenchHubEndsWithItsOwner(t *testing.T) {
	cmd := exec.Command(binary, "bench", "node")
	cmd.Env = append(os.Environ(), "SESSIONHUB_LISTEN=127.0.0.1:0", "SESSIONHUB_ADMIN_LISTEN=127.0.0.1:0", "SESSIONHUB_WORKER=none", "SESSIONHUB_LOG_LEVEL=error")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
	defer timer.Stop()
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
