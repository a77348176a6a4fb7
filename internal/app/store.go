package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sessionhub/hub/store"
	"sessionhub/hub/store/disk"
	"sessionhub/hub/store/mem"
	"sessionhub/hub/store/valkey"
	"sessionhub/internal/auth"
	"sessionhub/metrics"
)

// storeTimeout is how long a node waits at its start for a Valkey that does not
// answer yet. Whoever starts nodes starts them again.
const storeTimeout = 30 * time.Second

// openStore opens the store that the settings name. One on disk keeps a secret for
// tokens, if the settings have none: then p gets its signer.
func (n *Node) openStore(ctx context.Context, set *metrics.Set, p *parts) error {
	if n.cfg.DataDir != "" {
		return n.openDisk(ctx, set, p)
	}
	if n.cfg.ValkeyURL == "" {
		n.store = mem.New(store.Retention{MaxEvents: n.cfg.LogMaxEvents, MaxBytes: n.cfg.LogMaxBytes})
		set.StoreUp.Set(1)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	store, err := valkey.Open(ctx, valkey.Options{
		URL:       n.cfg.ValkeyURL,
		Retention: store.Retention{MaxEvents: n.cfg.LogMaxEvents, MaxBytes: n.cfg.LogMaxBytes},
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

// onDisk is the store in --data-dir, and its secret if the settings have none.
type onDisk struct {
	store  *disk.Store
	secret string
	err    error
}

// openGrace is how long the opening of the store may go on when the node is told to end:
// a store that is open is closed cleanly.
const openGrace = 3 * time.Second

// openDisk opens the store in --data-dir. When ctx ends, it ends within openGrace. No call
// to a disk that hangs can be given up, so what waits for one is left behind. It ends with
// the process, as in a crash, or closes the store when the disk answers.
func (n *Node) openDisk(ctx context.Context, set *metrics.Set, p *parts) error {
	opened := make(chan onDisk, 1)
	go func() { opened <- n.readDisk(set) }()
	var d onDisk
	select {
	case d = <-opened:
	case <-ctx.Done():
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			if late := <-opened; late.store != nil {
				late.store.Close()
			}
		}()
		select {
		case <-closed:
		case <-time.After(openGrace):
			n.log.Warn("the disk hangs: the node ends without the store", "directory", n.cfg.DataDir)
		}
		return fmt.Errorf("--data-dir: %w", ctx.Err())
	}
	if d.store != nil {
		n.store = d.store
		n.ends = append(n.ends, d.store.Close)
	}
	if d.err != nil {
		return fmt.Errorf("--data-dir: %w", d.err)
	}
	set.StoreUp.Set(1)
	if d.secret == "" {
		return nil
	}
	var err error
	p.signer, err = auth.NewSigner([][]byte{[]byte(d.secret)}, n.cfg.TokenTTL)
	return err
}

// readDisk is the part of openDisk that waits for the disk.
func (n *Node) readDisk(set *metrics.Set) (d onDisk) {
	d.store, d.err = disk.Open(disk.Options{
		Dir: n.cfg.DataDir, Retention: store.Retention{MaxEvents: n.cfg.LogMaxEvents, MaxBytes: n.cfg.LogMaxBytes},
		Bounds: disk.Bounds{MaxBytes: n.cfg.DataMaxBytes, MaxSessions: n.cfg.DataMaxSessions},
		Lease:  n.cfg.WorkerLease, Worker: n.embedded(), Log: n.log,
		Failed: func(err error) {
			set.StoreUp.Set(0)
			select {
			case n.failed <- fmt.Errorf("--data-dir: %w", err):
			default: // the node ends already
			}
		},
	})
	if d.err == nil && !n.cfg.TokenSecret.IsSet() {
		d.secret, d.err = disk.Secret(n.cfg.DataDir) // behind Open: nobody else has the directory
	}
	return d
}

// embedded names the worker inside this process, if there is one.
func (n *Node) embedded() string {
	if n.worker == nil {
		return ""
	}
	return n.name
}

// keptIn says for the banner where the sessions are, and how long.
func (n *Node) keptIn() string {
	switch {
	case n.cfg.ValkeyURL != "":
		return "in Valkey"
	case n.cfg.DataDir != "":
		dir, err := filepath.Abs(n.cfg.DataDir)
		if err != nil {
			return n.cfg.DataDir
		}
		return dir
	}
	return "in memory, until this process ends (--data-dir keeps them)"
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
