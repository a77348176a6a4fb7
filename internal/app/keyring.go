package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sessionhub/internal/auth"
	"sessionhub/internal/config"
)

// keyCheck is how often the keys files are looked at. A key that was taken out
// opens nothing, and its worker links are ended, within 2 s.
const keyCheck = time.Second

// keyring holds the API keys and the worker keys, and reads their files again on
// SIGHUP and when they have changed. A file that cannot be read or has a bad line
// changes nothing: the keys that were good stay good, and the log says what is
// wrong.
type keyring struct {
	log         *slog.Logger
	api, worker keySet
}

// keySet is one kind of keys: one from the environment, others from a file.
type keySet struct {
	what string // for the log
	name string // of the single key
	one  config.Secret
	path string
	keys atomic.Pointer[auth.Keys]
	seen fileMark // owned by run
}

// fileMark tells one version of a file from another.
type fileMark struct {
	at   time.Time
	size int64
}

func newKeyring(cfg config.Serve, api, workers auth.Keys, log *slog.Logger) *keyring {
	k := &keyring{
		log:    log,
		api:    keySet{what: "API keys", name: "SESSIONHUB_API_KEY", one: cfg.APIKey, path: cfg.APIKeysFile, seen: markOf(cfg.APIKeysFile)},
		worker: keySet{what: "worker keys", name: "SESSIONHUB_WORKER_KEY", one: cfg.WorkerKey, path: cfg.WorkerKeysFile, seen: markOf(cfg.WorkerKeysFile)},
	}
	k.api.keys.Store(&api)
	k.worker.keys.Store(&workers)
	return k
}

// Keys are the API keys that count now.
func (k *keyring) Keys() auth.Keys { return *k.api.keys.Load() }

// WorkerKeys are the worker keys that count now.
func (k *keyring) WorkerKeys() auth.Keys { return *k.worker.keys.Load() }

// start watches the files until ctx ends. From its return on SIGHUP is heard, and
// no longer ends the process.
func (k *keyring) start(ctx context.Context, wg *sync.WaitGroup) {
	if k.api.path == "" && k.worker.path == "" {
		return
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	wg.Go(func() {
		defer signal.Stop(hup)
		k.run(ctx, hup)
	})
}

func (k *keyring) run(ctx context.Context, hup <-chan os.Signal) {
	tick := time.NewTicker(keyCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			k.reload(&k.api, &k.worker)
			k.reload(&k.worker, &k.api)
		case <-tick.C:
			if markOf(k.api.path) != k.api.seen {
				k.reload(&k.api, &k.worker)
			}
			if markOf(k.worker.path) != k.worker.seen {
				k.reload(&k.worker, &k.api)
			}
		}
	}
}

func (k *keyring) reload(set, other *keySet) {
	if set.path == "" {
		return
	}
	set.seen = markOf(set.path) // before it is read: what changes meanwhile is seen next time
	keys, err := loadKeys(set.name, set.one, set.path)
	if err == nil {
		err = checkApart(keys, *other.keys.Load())
	}
	if err != nil {
		k.log.Error("the file of the "+set.what+" cannot be used: the keys from before stay", "error", err)
		return
	}
	set.keys.Store(&keys)
	k.log.Info(set.what+" read", "keys", keys.Len())
}

// checkApart refuses a key that would open both the API and the worker link.
func checkApart(api, workers auth.Keys) error {
	if api.Shares(workers) {
		return errors.New("one key is among both: a worker key opens the worker link and nothing else")
	}
	return nil
}

// loadKeys reads the single key and those of the file.
func loadKeys(name string, one config.Secret, path string) (auth.Keys, error) {
	keys := auth.ServiceKey(name, one.Reveal())
	if path == "" {
		return keys, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return auth.Keys{}, err
	}
	defer f.Close()
	more, err := auth.ParseKeys(f)
	if err != nil {
		return auth.Keys{}, fmt.Errorf("%s: %w", path, err)
	}
	return keys.With(more), nil
}

func markOf(path string) fileMark {
	info, err := os.Stat(path)
	if err != nil {
		return fileMark{}
	}
	return fileMark{at: info.ModTime(), size: info.Size()}
}
