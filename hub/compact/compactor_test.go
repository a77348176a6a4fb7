package compact

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sessionhub/hub/engine"
	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
	"sessionhub/metrics"
)

// A compactor remembers the sessions that this node checks, and soon forgets those that
// another node checks now. It does not look at all of them each time: that cost ten
// thousand steps for each of ten thousand busy sessions.
func TestSessionsThatAnotherNodeChecksAreForgotten(t *testing.T) {
	st := mem.New(store.Retention{})
	env := engine.NewEnv("n1", engine.DefaultTimers, metrics.New(prometheus.NewRegistry(), metrics.Build{}, nil), slog.New(slog.DiscardHandler), st.Available)
	c := NewCompactor(env, st, time.Minute)
	pending := store.Snapshot{Last: 1}
	now := time.Now()
	for i := range 2 * queueLength {
		if next := c.Schedule(fmt.Sprint("s", i), pending, now); !next.Equal(now.Add(time.Minute)) {
			t.Fatalf("the next check is in %s", next.Sub(now))
		}
	}
	pruned := c.nextPrune
	if c.Schedule("s0", pending, now.Add(30*time.Second)); c.nextPrune != pruned {
		t.Error("all sessions were looked at twice in a minute")
	}
	c.Schedule("s0", pending, now.Add(3*time.Minute)) // s1 and the others went elsewhere
	if n := len(c.nextCheck); n != 1 {
		t.Errorf("%d sessions are remembered, want 1", n)
	}
	c.Schedule("s0", store.Snapshot{Last: 1, Compacted: 1}, now.Add(4*time.Minute))
	if n := len(c.nextCheck); n != 0 {
		t.Errorf("%d sessions are remembered, want none", n)
	}
}
