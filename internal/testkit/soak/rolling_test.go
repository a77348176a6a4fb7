package soak_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
	"sessionhub/internal/testkit/soak"
	"sessionhub/internal/testkit/valkeytest"
)

// Three nodes are restarted one after the other, by SIGTERM, under hundreds of
// clients whose sessions are at work: nobody loses an event, no turn ends
// otherwise than well, and the clients come back a few at a time.
//
// SOAK_CLIENTS is how many (600; `make soak-restart` takes 3000).
func TestRollingRestart(t *testing.T) {
	clients := 600
	if text := os.Getenv("SOAK_CLIENTS"); text != "" {
		var err error
		if clients, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	const sessions, drain = 20, 30 * time.Second
	workspace := filepath.Join(t.TempDir(), "workspace")
	if err := os.Mkdir(workspace, 0o700); err != nil {
		t.Fatal(err)
	}
	server := valkeytest.Start(t, valkeytest.Valkey(t))
	cluster, err := soak.NewCluster(t.Context(), soak.ClusterOptions{
		Bin: program, Store: server, Nodes: 3, Drain: drain, AskReady: true,
		Env: []string{
			"SESSIONHUB_API_KEY=soak-api-key", "SESSIONHUB_WORKER_KEY=soak-key", "SESSIONHUB_TOKEN_SECRET=" + strings.Repeat("s", 32),
		},
		Flags: []string{
			"--rate-messages", "1000/s:1000", "--max-connections-per-user", fmt.Sprint(clients), "--max-connections-per-session", fmt.Sprint(clients),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	fleet, err := soak.NewFleet(soak.FleetOptions{
		Bin: program, Hubs: []string{cluster.Balanced()}, Key: "soak-key", Workers: 2, Lease: 15 * time.Second,
		Flags: []string{"--worker-capacity", fmt.Sprint(sessions), "--workspace-root", workspace, "--workspace", "soak"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer fleet.Close()

	report, err := soak.Roll(t.Context(), soak.RollOptions{
		Cluster: cluster, APIKey: "soak-api-key", Clients: clients, Sessions: sessions, Pause: 2 * time.Second, Logf: t.Logf,
	})
	verdict(t, report, report.Findings, err)
	moved := 0
	for i, x := range report.Restarts {
		moved += x.Streams
		if x.Most > x.Limit() {
			t.Errorf("restart %d: %d clients came back in one second; the limit is %d", i, x.Most, x.Limit())
		}
	}
	if moved < clients {
		t.Errorf("only %d streams were moved: the nodes did not have all clients", moved)
	}
	if report.Turns < sessions {
		t.Errorf("only %d turns: the run proves little", report.Turns)
	}
	if t.Failed() {
		keep(t, "nodes", cluster.Said())
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
}
