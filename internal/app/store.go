package app

import (
	"crypto/rand"
	"os"
	"strings"

	"sessionhub/hub/memstore"
	"sessionhub/metrics"
)

// openStore opens the store that the settings name.
func (n *Node) openStore(set *metrics.Set) error {
	n.store = memstore.New(memstore.Retention{MaxEvents: n.cfg.LogMaxEvents, MaxBytes: n.cfg.LogMaxBytes})
	set.StoreUp.Set(1)
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
