package app

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"sessionhub/internal/auth"
	"sessionhub/internal/config"
)

// keyCheck is how often the keys file is looked at.
const keyCheck = 2 * time.Second

// keyring holds the API keys and reads their file again on SIGHUP and when it
// has changed. A file that cannot be read or has a bad line changes nothing: the
// keys that were good stay good, and the log says what is wrong.
type keyring struct {
	cfg  config.Serve
	log  *slog.Logger
	keys atomic.Pointer[auth.Keys]
	seen fileMark // owned by run
}

// fileMark tells one version of a file from another.
type fileMark struct {
	at   time.Time
	size int64
}

func newKeyring(cfg config.Serve, keys auth.Keys, log *slog.Logger) *keyring {
	k := &keyring{cfg: cfg, log: log, seen: markOf(cfg.APIKeysFile)}
	k.keys.Store(&keys)
	return k
}

// Keys are those that count now.
func (k *keyring) Keys() auth.Keys { return *k.keys.Load() }

// run watches the file until ctx ends.
func (k *keyring) run(ctx context.Context) {
	if k.cfg.APIKeysFile == "" {
		return
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	tick := time.NewTicker(keyCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			k.reload()
		case <-tick.C:
			if now := markOf(k.cfg.APIKeysFile); now != k.seen {
				k.reload()
			}
		}
	}
}

func (k *keyring) reload() {
	k.seen = markOf(k.cfg.APIKeysFile) // before it is read: what changes meanwhile is seen next time
	keys, err := loadKeys(k.cfg)
	if err != nil {
		k.log.Error("the API keys file cannot be used: the keys from before stay", "error", err)
		return
	}
	k.keys.Store(&keys)
	k.log.Info("API keys read", "keys", keys.Len())
}

func markOf(path string) fileMark {
	info, err := os.Stat(path)
	if err != nil {
		return fileMark{}
	}
	return fileMark{at: info.ModTime(), size: info.Size()}
}
