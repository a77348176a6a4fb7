package disk

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"sessionhub/hub/store"
)

// Errors of Open that callers branch on.
var (
	ErrInUse   = errors.New("another sessionhub has it")
	ErrNewer   = errors.New("a newer sessionhub wrote it")
	ErrDamaged = errors.New("its files are damaged")
	ErrForeign = errors.New("it is not empty, and holds no sessions of sessionhub")
)

// failure is why a store has stopped for good.
type failure struct {
	cause error
	told  error // the cause, as every caller gets it
}

// down says why the store has stopped for good, or nil.
func (d *database) down() error {
	if f := d.failure.Load(); f != nil {
		return f.told
	}
	return nil
}

// enter begins a call's use of the store's files; gate.RUnlock ends it.
func (d *database) enter() error {
	if err := d.open(); err != nil { // Close holds the gate, or waits for it
		return err
	}
	d.gate.RLock()
	err := d.open()
	if err != nil {
		d.gate.RUnlock()
	}
	return err
}

// open says why the store takes no calls, or nil.
func (d *database) open() error {
	if err := d.down(); err != nil {
		return err
	}
	if d.closed.Load() {
		return fmt.Errorf("%w: the store is closed", store.ErrUnavailable)
	}
	return nil
}

// fail stops the store for good. After a failed write or fsync, the state of the disk is
// unknown. A second fsync can report success although data is lost. From here on, the
// volume keeps the disk as it is.
func (d *database) fail(err error) {
	err = explain(err)
	f := &failure{cause: err, told: fmt.Errorf("%w: %w", store.ErrUnreachable, err)}
	if !d.failure.CompareAndSwap(nil, f) {
		return
	}
	close(d.stopped)
	if d.opening.Load() {
		return // Open returns the error
	}
	d.log.Error("store: it has stopped for good; everything that was accepted before is stored", "directory", d.dir, "error", f.told)
	if d.failed != nil {
		d.failed(f.told)
	}
}

// write judges the error of a write, and returns what Pebble is told. Pebble writes a
// failed table again, unless the disk is full. Any other failed write stops the store.
func (d *database) write(err error, rewritable bool) error {
	if err == nil {
		return nil
	}
	if rewritable && !hopeless(err) {
		select {
		case <-time.After(retryPause):
		case <-d.stopped:
		}
		return err
	}
	d.fail(err)
	return nil
}

// hopeless reports whether another attempt at a failed write is useless, because an
// operator has to act first.
func hopeless(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// patience is how long Pebble may fail to write tables before the store stops. Appends go
// on meanwhile, until Pebble's memory is full. Then they wait without a word, for a write
// that the disk has failed to make all that time.
const patience = 30 * time.Second

// apart separates troubles: two errors that are further apart belong to different troubles.
const apart = patience / 3

// trouble says that Pebble's work in the background fails.
type trouble struct {
	mu          sync.Mutex
	since, last time.Time // of its errors; zero without trouble
	logged      time.Time
	stalled     time.Time // since when appends wait for that work; zero if they do not wait
}

// background takes an error of Pebble's work on tables. Pebble retries that work at once
// and for ever. During Open, the error ends the start. A damaged table does not stop the
// store while appends go on: the rest can be read.
func (d *database) background(err error) {
	if d.down() != nil {
		return // the failed store caused this error
	}
	if d.opening.Load() || hopeless(err) {
		d.fail(err)
		return
	}
	t, now := &d.trouble, time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() || now.Sub(t.last) > apart {
		t.since = now
	}
	t.last = now
	if now.Sub(t.logged) >= time.Minute {
		t.logged = now
		d.log.Error("store: work on its files failed, and is tried again", "error", explain(err))
	}
	hurts := !errors.Is(err, pebble.ErrCorruption) || !t.stalled.IsZero() && now.Sub(t.stalled) >= patience
	if hurts && now.Sub(t.since) >= patience {
		d.fail(fmt.Errorf("its files could not be written for %s: %w", now.Sub(t.since).Round(time.Second), err))
	}
}

// worked takes the end of a piece of that work.
func (d *database) worked(err error) {
	if err != nil {
		return // background gets the error
	}
	d.trouble.mu.Lock()
	defer d.trouble.mu.Unlock()
	d.trouble.since = time.Time{}
}

// stall notes that appends have begun or ceased to wait for Pebble's work on tables.
func (d *database) stall(stalled bool) {
	d.trouble.mu.Lock()
	defer d.trouble.mu.Unlock()
	d.trouble.stalled = time.Time{}
	if stalled {
		d.trouble.stalled = time.Now()
	}
}

// explain adds to an error of Pebble what the operator can do.
func explain(err error) error {
	switch {
	case errors.Is(err, ErrDamaged):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("the disk is full: free some space and start again (%w)", err)
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fmt.Errorf("it cannot be written: give this user the right to, or name another directory (%w)", err)
	case strings.Contains(err.Error(), "unknown format major version"): // Pebble has no error of its own for it
		return fmt.Errorf("%w: start a version at least as new as that one (%w)", ErrNewer, err)
	case errors.Is(err, pebble.ErrCorruption):
		return damaged(err)
	}
	return err
}

func damaged(err error) error {
	return fmt.Errorf("%w: keep a copy of the directory, and restore a backup or name another directory (%w)", ErrDamaged, err)
}

// logger takes Pebble's log. Pebble's own Fatalf would end the process.
type logger struct{ d *database }

func (l logger) Infof(format string, args ...any) {}
func (l logger) Errorf(format string, args ...any) {
	if l.d.down() != nil {
		return // the failed store caused this message
	}
	l.d.log.Error("store: " + fmt.Sprintf(format, args...))
}

func (l logger) Fatalf(format string, args ...any) {
	for _, a := range args {
		if err, ok := a.(error); ok {
			l.d.fail(err) // which keeps what it wraps
			return
		}
	}
	l.d.fail(fmt.Errorf(format, args...))
}
