package app

import (
	"context"
	"slices"
	"testing"

	"sessionhub/worker"
)

// A worker that dies takes its agents with it. What they knew comes back with
// another worker of the same workspace: the hub has kept the agent's own id of
// the session.
func TestRealAgentRemembersOnAnotherWorker(t *testing.T) {
	t.Parallel()
	for _, agent := range realAgents {
		t.Run(agent.name, func(t *testing.T) {
			t.Parallel() // most of it is the lease of the lost worker
			b := startBench(t, agent)
			c := b.converse(t, "moved").in(t)
			c.answers("the word is larkspur")
			old := agentProcesses(t, c.dir)
			if err := b.node.worker.Close(); err != nil { // without a word to the hub
				t.Fatal(err)
			}
			c.gone(old...)
			b.attachWorker(t)
			// The lost worker has not received the next message, so the other one runs it.
			c.remembers("the word is larkspur", true)
			if again := agentProcesses(t, c.dir); len(again) == 0 || slices.Equal(old, again) {
				t.Errorf("agents %v, before: %v", again, old)
			}
			c.remove()
		})
	}
}

// attachWorker runs another worker of the hub's workspace until the test ends.
func (b *bench) attachWorker(t *testing.T) {
	t.Helper()
	cfg := workerConfig(b.node.cfg, "another", nil, nil, b.node.log)
	var err error
	if cfg.Providers, err = worker.LoadProviders(b.providers); err != nil {
		t.Fatal(err)
	}
	w, err := worker.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- w.Run(ctx, b.node.AttachWorker) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ran; err != nil {
			t.Errorf("the other worker: %v", err)
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}
