package soak_test

import (
	"fmt"
	"testing"
	"time"

	"sessionhub/internal/testkit/soak"
	"sessionhub/internal/testkit/valkeytest"
)

// The same on a primary with two replicas under three Sentinels, which change the
// primary as planned and when it is killed or frozen; now and then the power of all
// fails while the replicas are behind, so that the end is lost.
// Whoever has seen something of a lost end is told so by a gap, and nobody else; no
// number stands for two events.
func TestSoakSentinel(t *testing.T) {
	const maxLag = 3 * time.Second
	set := valkeytest.StartSentinelSet(t, valkeytest.Valkey(t), 2,
		"min-replicas-to-write 1", fmt.Sprintf("min-replicas-max-lag %d", maxLag/time.Second))
	sentinels := &soak.Sentinels{Name: set.Name, URL: set.URL(), MaxLag: maxLag}
	for _, s := range set.Servers {
		sentinels.Servers = append(sentinels.Servers, s)
	}
	for _, s := range set.Watch {
		sentinels.Watch = append(sentinels.Watch, s)
	}
	soakCluster(t, soak.ClusterOptions{Sentinels: sentinels})
}
