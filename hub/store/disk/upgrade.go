package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
)

// Upgraded tells what an upgrade has done. It did nothing if From and To are the same.
type Upgraded struct{ From, To int }

// Upgrade raises the format of the store in a directory, step by step, to the newest that
// this version knows. No process may have the store open. Nothing else raises a format, so
// an older version can serve the store until then. The end of ctx cuts the upgrade short.
// The next Upgrade continues one that was cut short; until then nothing else opens the
// store.
func Upgrade(ctx context.Context, dir string) (Upgraded, error) {
	return upgrade(ctx, Options{Dir: dir})
}

func upgrade(ctx context.Context, opt Options) (u Upgraded, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("directory %s: %w", opt.Dir, err)
		}
	}()
	s := newStore(opt)
	if err := s.directory.readStore(); err != nil && !errors.Is(err, errUpgrading) {
		return u, err
	}
	lock, err := s.directory.lock()
	if err != nil {
		return u, err
	}
	s.lock = lock
	s.opening.Store(true) // a failure is told to the caller alone
	defer func() { err = errors.Join(err, s.closeFiles()) }()
	leaves, err := s.directory.leaves()
	if err != nil {
		return u, err
	}
	u = Upgraded{From: leaves.number, To: s.directory.newest().number}
	if u.From == u.To {
		return u, nil
	}
	s.directory.form = leaves
	if err = s.openDB(); err == nil {
		err = s.raise(ctx, leaves)
	}
	if failed := s.down(); failed != nil { // the cause of any result
		err = failed
	}
	if err != nil {
		err = explain(err)
	}
	return u, err
}

// leaves returns the format that at least a part of the store still has.
func (d *directory) leaves() (form, error) {
	if err := d.readForm(); err != nil {
		return form{}, err
	}
	text, err := d.readFile(upgradingFile)
	if errors.Is(err, fs.ErrNotExist) {
		return d.form, nil
	}
	if err != nil {
		return form{}, explain(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return form{}, damaged(fmt.Errorf("its file %q does not hold a number", upgradingFile))
	}
	f, ok := d.known(n)
	if !ok {
		return form{}, fmt.Errorf("%w by a version that knew format %d: run `sessionhub upgrade` of that version", errUpgrading, n)
	}
	return f, nil
}

// raise takes the steps. Each step first notes on the disk that it has begun, then raises
// the number, then changes the data. So no version takes a store inside a step for a whole
// store.
func (s *Store) raise(ctx context.Context, at form) error {
	clean, err := s.endedCleanly()
	if err != nil {
		return err
	}
	if err := s.directory.dropClosed(); err != nil {
		return err
	}
	for at.number < s.directory.newest().number {
		next, _ := s.directory.known(at.number + 1)
		if err := s.directory.writeFile(upgradingFile, strconv.Itoa(at.number)); err != nil {
			return err
		}
		if err := s.directory.writeFile(formatFile, strconv.Itoa(next.number)); err != nil {
			return err
		}
		if next.raise != nil {
			if err := next.raise(ctx, s.db); err != nil {
				return fmt.Errorf("the step to format %d: %w; run `sessionhub upgrade` again, which goes on with it", next.number, err)
			}
		}
		if s.db.FormatMajorVersion() < next.pebble {
			if err := s.db.RatchetFormatMajorVersion(next.pebble); err != nil {
				return err
			}
		}
		if err := s.down(); err != nil {
			return err
		}
		at = next
	}
	if err := s.flush(ctx); err != nil {
		return err
	}
	if err := s.directory.remove(upgradingFile); err != nil {
		return err
	}
	if clean {
		return s.closeCleanly()
	}
	return nil
}

// endedCleanly reports whether the last process ended cleanly.
func (s *Store) endedCleanly() (bool, error) {
	mark, err := s.directory.readClosed()
	if err != nil {
		return false, err
	}
	was, _, err := s.get(metaKey(metaClosed))
	if err != nil {
		return false, err
	}
	_, known, err := s.get(metaKey(metaEpoch))
	if err != nil {
		return false, err
	}
	return mark != "", judgeEnd(mark, string(was), known, 0)
}
