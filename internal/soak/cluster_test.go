package soak_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/soak"
	"sessionhub/internal/valkeytest"
	"sessionhub/protocol"
)

// Three nodes on a real Valkey, two workers, fifty sessions of five users, and
// everything is killed, stopped, drained and cut off at random: nobody loses an
// event, gets one twice, or waits for ever; no limit is exceeded; no process is
// left.
//
// SOAK is how long (1m; `make soak` takes 5m), SOAK_SEED repeats a run's choices.
func TestSoakCluster(t *testing.T) {
	const (
		nodes, workers  = 3, 2
		users, sessions = 5, 10 // of each user
		drain           = 5 * time.Second
	)
	duration, lease := length(t)
	seed := seed(t)
	t.Logf("seed %d: SOAK=%s SOAK_SEED=%d repeats the choices of this run", seed, duration, seed)

	dir := t.TempDir()
	providers, workspace := filepath.Join(dir, "providers.yaml"), filepath.Join(dir, "workspace")
	if err := os.Mkdir(workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprint("cluster-", seed)
	if err := os.WriteFile(providers, protocol.Marshal(map[string]any{ // JSON is YAML
		"demo": map[string]any{"command": string(program), "args": []string{"demo-agent"}, "env": map[string]string{"SOAK_MARK": mark}},
	}), 0o600); err != nil {
		t.Fatal(err)
	}
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	cluster, err := soak.NewCluster(t.Context(), soak.ClusterOptions{
		Bin: program, Store: server, Nodes: nodes, Drain: drain,
		Env: []string{
			"SESSIONHUB_API_KEY=soak-api-key", "SESSIONHUB_WORKER_KEY=soak-key", "SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32),
		},
		Flags: []string{
			"--worker-lease", lease.String(), "--rate-sessions", "1000/s:1000", "--rate-messages", "1000/s:1000",
			"--max-sessions-per-user", fmt.Sprint(sessions), "--max-connections-per-user", "1000",
			"--log-max-events", "1000000", "--log-max-bytes", "256MiB", "--providers-file", providers,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	fleet, err := soak.NewFleet(soak.FleetOptions{
		Bin: program, Hubs: []string{cluster.Balanced()}, Key: "soak-key", Workers: workers, Lease: lease, Mark: "SOAK_MARK=" + mark,
		Flags: []string{"--worker-capacity", "30", "--workspace-root", workspace, "--workspace", "soak", "--providers-file", providers},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()
	var groups []soak.Group
	for i := range users {
		groups = append(groups, soak.DemoAgents(sessions, protocol.CreateRequest{UserID: fmt.Sprint("user-", i)}))
	}

	report, err := soak.Run(t.Context(), soak.Options{
		Groups: groups, URLs: cluster.URLs(), APIKey: "soak-api-key", Duration: duration, Every: time.Second, Churn: 5 * time.Second,
		Settle: 30 * time.Second, Seed: seed, Faults: append(cluster.Faults(), fleet.Faults()...),
		Heal: func() error {
			if err := cluster.Heal(); err != nil {
				return err
			}
			return fleet.Heal()
		},
		StoreRestarts: true, MaxSessions: sessions, Logf: t.Logf,
	})
	t.Log(report)
	if err != nil {
		t.Error(err)
	}
	if len(report.Findings) > 0 {
		t.Errorf("%d findings", len(report.Findings))
	}
	for transport, n := range report.Gaps {
		if n > 0 {
			t.Errorf("%d gaps on %s, although the store lost nothing", n, transport)
		}
	}
	if report.Events < 20*uint64(duration/time.Second) {
		t.Errorf("only %d events: the run proves little", report.Events)
	}
	left(t, "an agent after its session", 10*time.Second, func() []int { return soak.Marked("SOAK_MARK=" + mark) })
	if t.Failed() {
		t.Log(cluster.Said())
	}

	ctx, cancel := context.WithTimeout(t.Context(), drain+30*time.Second)
	defer cancel()
	if err := fleet.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := cluster.Stop(ctx); err != nil {
		t.Error(err)
	}
	left(t, "a process of the program", 5*time.Second, func() []int { return soak.Named(string(program)) })
}
