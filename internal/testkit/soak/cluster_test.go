package soak_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/soak"
	"sessionhub/internal/testkit/valkeytest"
	"sessionhub/protocol"
)

// Three nodes on a real Valkey, two workers, fifty sessions of five users, and
// everything is killed, stopped, drained and cut off at random, while logs are compacted: nobody loses an
// event, gets one twice, or waits for ever; no limit is exceeded; no process is
// left.
//
// SOAK is how long (1m; `make soak` takes 5m), SOAK_SEED repeats a run's choices.
func TestSoakCluster(t *testing.T) {
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	report := soakCluster(t, soak.ClusterOptions{Store: server})
	for transport, n := range report.Gaps {
		if n > 0 {
			t.Errorf("%d gaps on %s, although the store lost nothing", n, transport)
		}
	}
}

// soakCluster is a run of three nodes on the store that the options name.
func soakCluster(t *testing.T, o soak.ClusterOptions) soak.Report {
	t.Helper()
	const (
		nodes, workers  = 3, 2
		users, sessions = 5, 10 // of each user
		drain           = 5 * time.Second
	)
	limits := soak.Limits{
		Sessions: sessions, UserStreams: 60, SessionStreams: 15, Queued: 32, MessageRate: 30, MessageBurst: 60, Provider: "nobody",
	}
	if o.Sentinels != nil {
		limits.Resets = o.Sentinels.Losses
	}
	duration, lease := length(t)
	seed := seed(t)
	t.Logf("seed %d: SOAK=%s SOAK_SEED=%d repeats the choices of this run", seed, duration, seed)

	dir := t.TempDir()
	nodeProviders, providers, workspace := filepath.Join(dir, "nodes.yaml"), filepath.Join(dir, "workers.yaml"), filepath.Join(dir, "workspace")
	if err := os.Mkdir(workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	mark := fmt.Sprint("cluster-", seed)
	demo := map[string]any{"command": string(program), "args": []string{"demo-agent"}, "env": map[string]string{"SOAK_MARK": mark}}
	for file, known := range map[string]map[string]any{ // JSON is YAML
		providers:     {"demo": demo},
		nodeProviders: {"demo": demo, limits.Provider: demo},
	} {
		if err := os.WriteFile(file, protocol.Marshal(known), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o.Bin, o.Nodes, o.Drain = program, nodes, drain
	o.Env = []string{
		"SESSIONHUB_API_KEY=soak-api-key", "SESSIONHUB_WORKER_KEY=soak-key", "SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32),
	}
	o.Flags = []string{
		"--worker-lease", lease.String(), "--rate-sessions", "1000/s:1000",
		"--rate-messages", fmt.Sprintf("%g/s:%d", limits.MessageRate, limits.MessageBurst), "--max-queued-messages", fmt.Sprint(limits.Queued),
		"--max-sessions-per-user", fmt.Sprint(limits.Sessions), "--max-connections-per-user", fmt.Sprint(limits.UserStreams),
		"--max-connections-per-session", fmt.Sprint(limits.SessionStreams),
		"--log-max-events", "1000000", "--log-max-bytes", "256MiB", "--compact-after", compactAfter, "--providers-file", nodeProviders,
	}
	cluster, err := soak.NewCluster(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	limits.Nodes = cluster.Processes
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
		Settle: settle(), Seed: seed, Faults: append(cluster.Faults(), fleet.Faults()...),
		Heal: func() error {
			if err := cluster.Heal(); err != nil {
				return err
			}
			return fleet.Heal()
		},
		StoreRestarts: true, StoreLoses: o.Sentinels != nil, Limits: limits, Logf: t.Logf,
	})
	verdict(t, report, report.Findings, err)
	if report.Events < 20*uint64(duration/time.Second) || uint64(report.Kept) > report.Events/2 || report.Within == 0 {
		t.Error("too little came: the run proves little")
	}
	left(t, "an agent after its session", func() []int { return soak.Marked("SOAK_MARK=" + mark) })
	if t.Failed() {
		keep(t, "nodes", cluster.Said())
		keep(t, "workers", fleet.Said())
	}

	ctx, cancel := context.WithTimeout(t.Context(), drain+judge.Patience)
	defer cancel()
	if err := fleet.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := cluster.Stop(ctx); err != nil {
		t.Error(err)
	}
	left(t, "a process of the program", func() []int { return soak.Named(string(program)) })
	return report
}
