package disk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Fault is one thing that is wrong with a store.
type Fault struct {
	Session string // its id; empty: the whole store, or an unknown session
	What    string
	Do      string
}

// Checked counts what Check has read.
type Checked struct {
	Format   int
	Newest   int // the newest format that this version knows
	Clean    bool
	Sessions int
	Events   int
	Bytes    int64 // of events, as clients get them
	Files    int64 // bytes of the files
	Faults   int
}

// What the operator can do about a fault.
const (
	doRestore = "keep a copy of the directory, and restore a backup"
	doSession = "restore a backup, or delete the session (DELETE /api/sessions/ID) and go on without it"
	doTable   = "see which sessions are named beside it; keep a copy of the directory, and restore a backup"
)

// maxSaid is how many faults Check tells one by one for one session, or for the store as a
// whole.
const maxSaid = 10

// Check reads all of a store that no process has open, and calls tell for each fault. It
// changes nothing. Its error says why it cannot check. If the last process left the store
// without a clean end, Check reads it as the next process would.
func Check(ctx context.Context, dir string, tell func(Fault)) (Checked, error) {
	return check(ctx, Options{Dir: dir}, tell)
}

func check(ctx context.Context, opt Options, tell func(Fault)) (_ Checked, err error) {
	c := &checker{Store: newStore(opt), ctx: ctx, tell: tell, said: make(map[string]int)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("directory %s: %w", opt.Dir, err)
		}
	}()
	d := &c.directory
	if err := d.readStore(); err != nil {
		return Checked{}, err
	}
	// No process can have a store that cannot be written, such as a snapshot of a disk.
	lock, err := d.lock()
	if errors.Is(err, syscall.EROFS) {
		d.fs = readOnly{d.fs}
		lock, err = d.lock()
	}
	if errors.Is(err, ErrInUse) {
		return Checked{}, fmt.Errorf("%w; of a store that is in use, `sessionhub backup` makes a copy that can be checked", err)
	}
	if err != nil {
		return Checked{}, err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	d.fs = readOnly{d.fs}
	c.result = Checked{Format: d.form.number, Newest: d.newest().number}
	if err := c.run(lock); err != nil {
		return Checked{}, err
	}
	c.rest()
	return c.result, c.ctx.Err()
}

// checker is one Check.
type checker struct {
	*Store // recover is never called
	ctx    context.Context
	tell   func(Fault)
	said   map[string]int // faults, by session
	result Checked
	known  map[uint64]*seen // sessions that have an identity, by order

	tableOptions sstable.ReaderOptions
}

// fault tells of one fault. session is empty if the fault belongs to no session.
func (c *checker) fault(session, do, what string, args ...any) {
	c.result.Faults++
	if c.said[session]++; c.said[session] <= maxSaid {
		c.tell(Fault{session, fmt.Sprintf(what, args...), do})
	}
}

// rest tells how many faults were not told.
func (c *checker) rest() {
	for _, session := range slices.Sorted(maps.Keys(c.said)) {
		if n := c.said[session] - maxSaid; n > 0 {
			c.tell(Fault{session, fmt.Sprintf("there are %d more faults of this kind", n), "see above"})
		}
	}
}

func (c *checker) run(lock *pebble.Lock) error {
	mark, err := c.directory.readClosed()
	if err != nil {
		return explain(err)
	}
	if c.result.Clean = mark != ""; !c.result.Clean {
		if err := c.directory.checkLogs(); err != nil {
			c.fault("", doRestore, "%v", err)
		}
	}
	if c.result.Files, err = c.sizes(); err != nil {
		return explain(err)
	}
	dir := c.directory.fs.PathJoin(c.opt.Dir, dataDir)
	desc, err := pebble.Peek(dir, c.directory.fs)
	if err == nil && !desc.Exists {
		return c.nothing(mark)
	}
	if err == nil {
		opt := &pebble.Options{FS: c.directory.fs, ReadOnly: true, MemTableSize: memTableBytes, Logger: logger{c.database}, Lock: lock}
		opt.EnsureDefaults()
		c.tableOptions = opt.MakeReaderOptions()
		c.db, err = pebble.Open(dir, opt)
	}
	if err != nil {
		if errors.Is(explain(err), ErrNewer) {
			return explain(err)
		}
		c.fault("", doRestore, "the database cannot be opened: %v", err)
		return nil
	}
	c.tables(dir)
	c.all(mark)
	if err := c.down(); err != nil { // Pebble would have ended the process
		c.fault("", doRestore, "%v", err)
	}
	if err := c.db.Close(); err != nil {
		c.fault("", doRestore, "close the database: %v", err)
	}
	return nil
}

// nothing judges a directory without a database.
func (c *checker) nothing(mark string) error {
	err := c.directory.mayBeNew(mark)
	switch {
	case errors.Is(err, ErrDamaged):
		c.fault("", doRestore, "%v", err)
	case err != nil:
		return explain(err)
	}
	return nil
}

// sizes adds up the files and checks that each can be read.
func (c *checker) sizes() (all int64, err error) {
	t := target{directory: c.directory}
	_, all, err = t.size()
	return all, err
}

// tables reads every block of every table, also blocks that no key leads to any more.
func (c *checker) tables(dir string) {
	levels, err := c.db.SSTables()
	if err != nil {
		c.fault("", doRestore, "list the tables: %v", err)
		return
	}
	done := make(map[string]bool)
	for _, table := range slices.Concat(levels...) {
		name := table.BackingSSTNum.String() + ".sst"
		if done[name] || c.ctx.Err() != nil {
			continue
		}
		done[name] = true
		if err := c.table(c.directory.fs.PathJoin(dir, name)); err != nil {
			c.fault("", doTable, "the table %s is damaged: %v", name, err)
		}
	}
}

func (c *checker) table(path string) error {
	f, err := c.directory.fs.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(c.ctx, readable, c.tableOptions)
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// all reads every key.
func (c *checker) all(mark string) {
	whole := c.identities()
	epoch := c.meta(mark)
	for _, order := range slices.Sorted(maps.Keys(c.known)) {
		if c.ctx.Err() != nil {
			return
		}
		c.session(c.known[order], epoch)
	}
	if whole { // else it is unknown which keys belong to no session
		c.strangers()
	}
}

// meta reads the store's own keys and returns the epoch.
func (c *checker) meta(mark string) (epoch string) {
	was, _, err := c.get(metaKey(metaClosed))
	if err != nil {
		c.fault("", doRestore, "read the mark of the last clean end: %v", err)
		return ""
	}
	now, ok, err := c.get(metaKey(metaEpoch))
	if err != nil {
		c.fault("", doRestore, "read the epoch: %v", err)
		return ""
	}
	if judgeEnd(mark, string(was), ok, len(c.known)) != nil {
		c.fault("", doRestore, "what was stored last before a clean end is not there")
	}
	if _, _, err := c.get(metaKey(metaWorker)); err != nil {
		c.fault("", doRestore, "read the name of the worker: %v", err)
	}
	c.accountRecords()
	return string(now)
}

// identities finds the sessions. whole says that it has found all of them.
func (c *checker) identities() (whole bool) {
	c.known = make(map[uint64]*seen)
	ids := make(map[string]bool)
	err := c.scan(kindIdentity, func(order uint64, value []byte) error {
		x := &seen{order: order}
		c.known[order] = x
		c.result.Sessions++
		if err := json.Unmarshal(value, &x.identity); err != nil {
			x.name = fmt.Sprint("number ", order)
			c.fault(x.name, doRestore, "its identity does not decode: %v", err)
			return nil
		}
		x.name = x.ID
		if ids[x.ID] {
			c.fault(x.name, doRestore, "there are two sessions with this id")
		}
		ids[x.ID] = true
		return nil
	})
	if err != nil {
		c.fault("", doRestore, "read which sessions there are: %v", err)
	}
	return err == nil
}

// strangers looks for keys that belong to no session, and for keys that no version writes.
func (c *checker) strangers() {
	it, err := c.db.NewIter(nil)
	if err != nil {
		c.fault("", doRestore, "read all keys: %v", err)
		return
	}
	var next []byte
	for ok := it.First(); ok; ok = it.SeekGE(next) {
		k := it.Key()
		switch {
		case k[0] == kindMeta || k[0] == kindGarbage:
			if next = []byte{k[0] + 1}; k[0] == kindGarbage {
				c.garbage()
			}
			continue
		case !slices.Contains([]byte{kindIdentity, kindHead, kindState, kindData}, k[0]):
			c.fault("", doRestore, "there is a key of an unknown kind, %q", k[0])
			next = []byte{k[0] + 1}
			continue
		case len(k) < 9 || k[0] != kindData && len(k) > 9:
			c.fault("", doRestore, "a key of the kind %q has %d bytes", k[0], len(k))
			next = append(slices.Clone(k), 0)
			continue
		}
		order, _ := orderOf(k[:9])
		if c.known[order] == nil {
			c.fault("", doRestore, "there is something of the kind %q of session number %d, which does not exist", k[0], order)
		}
		if next = key(k[0], order+1); order == ^uint64(0) {
			next = []byte{k[0] + 1}
		}
	}
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		c.fault("", doRestore, "read all keys: %v", err)
	}
}

// garbage reads the marks of deleted text that is still in the files.
func (c *checker) garbage() {
	if err := c.scan(kindGarbage, func(uint64, []byte) error { return nil }); err != nil {
		c.fault("", doRestore, "read what is to be erased: %v", err)
	}
}

// readOnly is a file system in which every change is refused.
type readOnly struct{ vfs.FS }

// Lock implements vfs.FS. It locks nothing: no other process has the store.
func (readOnly) Lock(string) (io.Closer, error) { return io.NopCloser(nil), nil }

// Create implements vfs.FS.
func (readOnly) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, fmt.Errorf("create %s: %w", name, syscall.EROFS)
}

// Remove implements vfs.FS.
func (readOnly) Remove(name string) error { return fmt.Errorf("remove %s: %w", name, syscall.EROFS) }

// Rename implements vfs.FS.
func (readOnly) Rename(name, _ string) error {
	return fmt.Errorf("rename %s: %w", name, syscall.EROFS)
}
