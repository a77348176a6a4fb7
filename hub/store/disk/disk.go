// Package disk keeps sessions in a directory. It is the store of a hub that runs alone and
// whose sessions outlive its process. docs/ARCHITECTURE.md, "Sessions on disk", says which
// end of a process loses what.
package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"sessionhub/hub/store"
	"sessionhub/hub/store/mem"
)

// Options say where a store is and what it keeps.
type Options struct {
	Dir       string // made with mode 0700 if it does not exist
	Retention store.Retention
	Bounds    Bounds

	// Lease is how long a worker that had sessions when the last process ended has to come
	// back. After that it counts as lost.
	Lease time.Duration

	// Worker is the worker inside this process, or empty. It ends with the process, so the
	// next process does not wait for it.
	Worker string

	// Failed is called once, if the store stops for good. Changes that it had acknowledged
	// are stored; every other call gets an error. Failed must not block.
	Failed func(error)

	Log *slog.Logger

	fs    vfs.FS // of tests
	forms []form // of tests
}

// process is the part of a store that ends with its process: watchers, workers, due times
// and queues. Open makes it anew from the sessions' states.
type process interface {
	store.DueIndex
	store.WorkQueue
	store.WorkerRegistry
	store.Slots
	store.Limiter
	store.Mail
}

// Store is a store.Store in a directory. All methods may be called concurrently. Lock
// order: record.mu before eraser.marking, sessions.mu and record.watchMu. No call waits for
// the disk under sessions.mu.
type Store struct {
	process
	*sessions
	*accounts
	mem *mem.Store // it is the process too

	opt       Options
	directory directory
	copying   atomic.Pointer[copying] // the backup that is being made
	lock      *pebble.Lock
	stop      context.CancelFunc
	wg        sync.WaitGroup
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Bounded = (*Store)(nil)
)

// Names in the directory.
const (
	formatFile    = "format"    // the number of its form
	closedFile    = "closed"    // there after a clean end; holds the mark that the store must have
	upgradingFile = "upgrading" // there during an upgrade: the number of the form that it leaves
	copyingFile   = "copying"   // there while a backup is made in the directory
	controlSocket = "control"   // where a node takes orders: see control.go
	dataDir       = "sessions"  // Pebble's
)

// Names of 'm' keys.
const (
	metaEpoch  = "epoch"
	metaClosed = "closed"
	metaWorker = "worker" // Options.Worker of the process that has the store, or had it last
	metaInside = "inside" // of those before it whose worker a session still has, as JSON, oldest first
)

const (
	memTableBytes = 16 << 20
	cacheBytes    = 32 << 20
)

// newStore returns a store that has nothing open.
func newStore(opt Options) *Store {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.fs == nil {
		opt.fs = vfs.Default
	}
	if opt.forms == nil {
		opt.forms = knownForms
	}
	db := &database{dir: opt.Dir, log: opt.Log, failed: opt.Failed, stopped: make(chan struct{})}
	s := &Store{
		opt: opt, directory: directory{fs: opt.fs, dir: opt.Dir, forms: opt.forms}, mem: mem.New(opt.Retention),
		sessions: &sessions{
			database: db, eraser: eraser{database: db}, retention: opt.Retention,
			byID: make(map[string]*record), awake: make(map[string]int), bounds: opt.Bounds,
		},
	}
	s.accounts = &accounts{base: db, users: &s.sessions.users}
	s.process = s.mem
	return s
}

// Open opens the store in a directory, or makes a new one there. No other process may have
// it open. The error says what is wrong and what to do; Open has then changed nothing that
// was there.
func Open(opt Options) (*Store, error) {
	s := newStore(opt)
	db := s.database
	db.opening.Store(true)
	lock, err := s.directory.prepare()
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", opt.Dir, err)
	}
	err = s.openFiles(lock)
	db.opening.Store(false)
	if f := db.failure.Load(); f != nil { // the cause of any result of openFiles, even of success
		_ = s.closeFiles()
		return nil, fmt.Errorf("directory %s: %w", opt.Dir, f.cause)
	}
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", opt.Dir, explain(errors.Join(err, s.closeFiles())))
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.wg.Go(func() { s.eraser.run(ctx) })
	s.takeOrders(ctx)
	return s, nil
}

// openFiles opens the database and reads what is in it.
func (s *Store) openFiles(lock *pebble.Lock) error {
	s.lock = lock
	if err := s.openDB(); err != nil {
		return err
	}
	return s.recover()
}

func (s *Store) closeFiles() (err error) {
	if s.db != nil {
		err = s.db.Close()
	}
	return errors.Join(err, s.lock.Close())
}

func (s *Store) openDB() error {
	// After a clean end everything is in tables, and the mark tells whether all of it is
	// there.
	mark, err := s.directory.readClosed()
	if err != nil {
		return err
	}
	if err := s.directory.mayBeNew(mark); err != nil {
		return err
	}
	if mark == "" {
		if err := s.directory.checkLogs(); err != nil {
			return err
		}
	}
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	listener := &pebble.EventListener{
		BackgroundError: s.background,
		FlushEnd:        func(i pebble.FlushInfo) { s.worked(i.Err) },
		CompactionEnd:   func(i pebble.CompactionInfo) { s.worked(i.Err) },
		WriteStallBegin: func(pebble.WriteStallBeginInfo) { s.stall(true) },
		WriteStallEnd:   func() { s.stall(false) },
		DataCorruption: func(i pebble.DataCorruptionInfo) {
			if s.down() != nil {
				return // the failed store caused this error
			}
			s.opt.Log.Error("store: a file is damaged", "file", i.Path, "error", i.Details)
		},
	}
	s.db, err = pebble.Open(s.opt.fs.PathJoin(s.opt.Dir, dataDir), &pebble.Options{
		FS: outside{volume{s.opt.fs, s.database}, s.opt.fs, &s.copying}, Cache: cache, MemTableSize: memTableBytes,
		FormatMajorVersion: s.directory.form.pebble, Logger: logger{s.database}, EventListener: listener, Lock: s.lock,
	})
	return err
}

// closeTime is how long Close waits for running calls and for the tables. They take longer
// only if the disk hangs. After that, running calls have leaveTime to see that the store
// has failed.
const (
	closeTime = 20 * time.Second
	leaveTime = 2 * time.Second
)

// Close ends the store, within closeTime and leaveTime. All accepted changes are stored
// already. A clean end says that no call was running, so that the next Open goes on in the
// same epoch. After Close, every other method returns an error.
func (s *Store) Close() {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.end()
	}()
	select {
	case <-ended:
		return
	case <-time.After(closeTime):
	}
	s.fail(fmt.Errorf("the disk was not done after %s", closeTime))
	select {
	case <-ended:
	case <-time.After(leaveTime):
		s.opt.Log.Error("store: the disk hangs, and the store ends without it") // the next process reads the log
	}
}

func (s *Store) end() {
	s.stop()
	s.wg.Wait()
	s.closed.Store(true)
	s.gate.Lock() // waits for running calls
	defer s.gate.Unlock()
	if s.down() == nil {
		if err := s.closeCleanly(); err != nil {
			s.opt.Log.Warn("store: it did not end cleanly: open clients are told of a new epoch", "error", err)
		}
	}
	if err := s.closeFiles(); err != nil {
		s.opt.Log.Error("store: close", "error", err)
	}
}

// closeCleanly moves everything to tables, whose checksums the next Open reads. It then
// writes the mark of a clean end, both in the database and in the directory. The two marks
// show if the log was cut short.
func (s *Store) closeCleanly() error {
	mark := newEpoch()
	if err := s.db.Set(metaKey(metaClosed), []byte(mark), pebble.Sync); err != nil {
		return err
	}
	if err := s.flush(context.Background()); err != nil { // also an error of Set, which reports none when the log cannot be written
		return err
	}
	return s.directory.writeFile(closedFile, mark)
}

// Available implements store.Store.
func (s *Store) Available(string) error { return s.down() }

// Shared implements store.Store: no other process may have the directory.
func (s *Store) Shared() bool { return false }

// newEpoch names an epoch by 60 random bits: no two logs that a client meets share one.
func newEpoch() string { return strings.ToLower(rand.Text()[:12]) }
