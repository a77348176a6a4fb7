package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/cockroachdb/pebble/v2"
)

// form is a format of the directory. A new format is needed when an older version could not
// read what this version writes. Only Upgrade leads from one format to the next. Until then
// every version that reads a store's format can serve it, also an older one.
type form struct {
	number int

	// pebble is the version of Pebble's own format. A newer Pebble must not raise it by
	// itself.
	pebble pebble.FormatMajorVersion

	// raise turns a store of the format before into one of this format. All of it is on the
	// disk when raise returns. If a process ends inside raise, raise is called again on
	// what it has left. nil: only Pebble's format changes.
	raise func(context.Context, *pebble.DB) error
}

// knownForms are the formats that this version reads, oldest first, without a hole.
var knownForms = []form{
	{number: 1, pebble: pebble.FormatValueSeparation},
}

// Errors for a directory that holds no whole store.
var (
	errNoStore   = errors.New("there is no store of sessionhub in it")
	errUpgrading = errors.New("an upgrade of it was cut short")
	errHalfCopy  = errors.New("it is half of a backup")
)

// known returns the format with a number; ok is false if this version does not read it.
func (d *directory) known(number int) (f form, ok bool) {
	i := number - d.forms[0].number
	if i < 0 || i >= len(d.forms) {
		return form{}, false
	}
	return d.forms[i], true
}

func (d *directory) newest() form { return d.forms[len(d.forms)-1] }

// readForm judges the format file. Its error is fs.ErrNotExist if there is none.
func (d *directory) readForm() error {
	text, err := d.readFile(formatFile)
	if err != nil {
		return explain(err)
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return damaged(fmt.Errorf("its file %q does not hold a number", formatFile))
	}
	f, ok := d.known(n)
	switch newest := d.newest().number; {
	case n > newest:
		return fmt.Errorf("%w: its format is %d, and this version reads %d; start a version at least as new as that one", ErrNewer, n, newest)
	case !ok:
		return fmt.Errorf("its format is %d, and this version reads %d to %d; upgrade it with a version in between", n, d.forms[0].number, newest)
	}
	d.form = f
	return nil
}

// readStore is readForm for a directory that has to be a whole store already.
func (d *directory) readStore() error {
	if err := d.readForm(); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = d.notUpgrading()
		}
		return err
	}
	names, err := d.fs.List(d.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: it does not exist", errNoStore)
	case err != nil:
		return explain(err)
	}
	return cmp.Or(halfCopy(names), fmt.Errorf("%w: name the directory that --data-dir of serve names", errNoStore))
}

// notUpgrading refuses a store that is partly of one format and partly of the next.
func (d *directory) notUpgrading() error {
	_, err := d.readFile(upgradingFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return explain(err)
	}
	return fmt.Errorf("%w: run `sessionhub upgrade --data-dir %s` again, which goes on with it", errUpgrading, d.dir)
}
