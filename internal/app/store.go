package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"sessionhub/hub/memstore"
	"sessionhub/hub/valkeystore"
	"sessionhub/metrics"
)

// storeTimeout is how long a node waits at its start for a Valkey that does not
// answer yet. Whoever starts nodes starts them again.
const storeTimeout = 30 * time.Second

// openStore opens the store that the settings name.
func (n *Node) openStore(ctx context.Context, set *metrics.Set) error {
	if n.cfg.ValkeyURL == "" {
		n.store = memstore.New(memstore.Retention{MaxEvents: n.cfg.LogMaxEvents, MaxBytes: n.cfg.LogMaxBytes})
		set.StoreUp.Set(1)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	store, err := valkeystore.Open(ctx, valkeystore.Options{
		URL:       n.cfg.ValkeyURL,
		Retention: valkeystore.Retention{MaxEvents: n.cfg.LogMaxEvents, MaxBytes: n.cfg.LogMaxBytes},
		Log:       n.log, Failed: set.StoreFailed,
		Relayed: func(d time.Duration) { set.RelaySeconds.Observe(d.Seconds()) },
		Up: func(up bool) {
			value := 0.0
			if up {
				value = 1
			}
			set.StoreUp.Set(value)
		},
	})
	if err != nil {
		return fmt.Errorf("--valkey-url: %w", err)
	}
	n.store = store
	n.ends = append(n.ends, store.Close)
	return nil
}

// nodeName names this process: a host can run several, and one that is started
// anew is another.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	return host + "-" + strings.ToLower(rand.Text()[:8])
}
