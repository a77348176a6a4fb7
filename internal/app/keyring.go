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

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/internal/config"
)

const (
	// keyCheck is how often the keys files are looked at, which costs a stat each. A
	// key that was taken out opens nothing, and what it had opened has ended, within
	// 2 s: this leaves most of them to the streams that take nothing.
	keyCheck = 250 * time.Millisecond
	// markSettles is when a file's time tells its versions apart: some file systems
	// count in steps of two seconds. Until then the file is read at each look.
	markSettles = 3 * time.Second
)

// keyring holds the API keys and the worker keys, and reads their files again on
// SIGHUP and when they have changed. A file that cannot be read or has a bad line
// changes nothing: the keys that were good stay good, and the log says what is
// wrong. Each node reads its own files.
type keyring struct {
	log         *slog.Logger
	api, worker keySet
	changed     func() // called after a change of the API keys; set by start
}

// keySet is one kind of keys: one from the environment, others from a file.
type keySet struct {
	what string // for the log
	name string // of the single key
	one  config.Secret
	path string
	keys atomic.Pointer[auth.Keys]

	// Owned by run. The keys that a node starts with can be older than its keyring,
	// since it waits for its store in between: so seen begins empty, and the first
	// look reads the file again.
	seen  fileMark
	wrong string // the fault of the file that the log has told last
}

// fileMark tells one version of a file from another; the zero value is that of no
// file. A file that takes the place of another one can have its size and its time.
type fileMark struct {
	info    os.FileInfo
	settled bool // it was looked at long enough after its last change
}

func newKeyring(cfg config.Serve, api, workers auth.Keys, log *slog.Logger) *keyring {
	k := &keyring{
		log:    log,
		api:    keySet{what: "API keys", name: "SESSIONHUB_API_KEY", one: cfg.APIKey, path: cfg.APIKeysFile},
		worker: keySet{what: "worker keys", name: "SESSIONHUB_WORKER_KEY", one: cfg.WorkerKey, path: cfg.WorkerKeysFile},
	}
	k.api.keys.Store(&api)
	k.worker.keys.Store(&workers)
	return k
}

// Keys are the API keys that count now.
func (k *keyring) Keys() auth.Keys { return *k.api.keys.Load() }

// WorkerKeys are the worker keys that count now.
func (k *keyring) WorkerKeys() auth.Keys { return *k.worker.keys.Load() }

// holds is hub.Config.KeyHolds. What a key opened itself is bound to that key; a
// token is bound to the name of the key that it came from, whose hash may change.
func (k *keyring) holds(user string, g hub.Grant) bool {
	switch {
	case g.KeyID != "":
		return k.Keys().Has(g.KeyID)
	case g.Key != "":
		return k.Keys().CanMake(g.Key, user)
	}
	return true
}

// start watches the files until ctx ends, and calls changed when the API keys are
// others. From its return on SIGHUP is heard, and no longer ends the process.
func (k *keyring) start(ctx context.Context, wg *sync.WaitGroup, changed func()) {
	k.changed = changed
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
			k.reload(&k.api, &k.worker, true)
			k.reload(&k.worker, &k.api, true)
		case <-tick.C:
			if !k.api.seen.is(k.api.path) {
				k.reload(&k.api, &k.worker, false)
			}
			if !k.worker.seen.is(k.worker.path) {
				k.reload(&k.worker, &k.api, false)
			}
		}
	}
}

// reload reads a file. The log tells of what has changed; of all when it was asked
// for.
func (k *keyring) reload(set, other *keySet, asked bool) {
	if set.path == "" {
		return
	}
	set.seen = markOf(set.path) // before it is read: what changes meanwhile is seen next time
	keys, err := loadKeys(set.name, set.one, set.path)
	if err == nil {
		err = checkApart(keys, *other.keys.Load())
	}
	if err != nil {
		if _, unread := errors.AsType[*os.PathError](err); unread {
			set.seen = fileMark{} // what lets the file be read again may not change its time
		}
		if asked || set.wrong != err.Error() {
			set.wrong = err.Error()
			k.log.Error("the file of the "+set.what+" cannot be used: the keys from before stay", "error", err)
		}
		return
	}
	changed := !keys.Equal(*set.keys.Load())
	if changed || asked || set.wrong != "" {
		k.log.Info(set.what+" read", "keys", keys.Len())
	}
	set.wrong = ""
	if changed {
		set.keys.Store(&keys)
		if set == &k.api {
			k.changed()
		}
		if other.wrong != "" { // perhaps a key of this file stood in its way
			k.reload(other, set, false)
		}
	}
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
	// A time far ahead of this clock is not reached soon: it has settled as well.
	return fileMark{info: info, settled: time.Since(info.ModTime()).Abs() > markSettles}
}

// is reports whether the file at a path is surely still the one that was marked.
func (m fileMark) is(path string) bool {
	if path == "" {
		return true
	}
	now := markOf(path)
	if m.info == nil || now.info == nil {
		return m.info == nil && now.info == nil
	}
	return m.settled && os.SameFile(m.info, now.info) && m.info.ModTime().Equal(now.info.ModTime()) && m.info.Size() == now.info.Size()
}
