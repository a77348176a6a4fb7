package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// place is where a hub that is started keeps its sessions: in its memory, in a directory
// that is made for the run, or in a Valkey that is started for it. Its methods are for one
// goroutine.
type place struct {
	dir    string        // empty: there is none
	valkey *valkeyServer // nil: there is none
}

// newPlace makes the place that the options name. close must be called unless it fails.
func newPlace(ctx context.Context, o Options) (*place, error) {
	p := &place{}
	var err error
	switch {
	case o.DataDir != "":
		p.dir, err = os.MkdirTemp(o.DataDir, "sessionhub-bench-")
	case o.Mode == ModeHistory && o.Server != "":
		p.valkey, err = startValkey(ctx, o.Server)
	}
	return p, err
}

func (p *place) name() string {
	switch {
	case p.dir != "":
		return "disk"
	case p.valkey != nil:
		return "valkey"
	}
	return "memory"
}

// settings tell the hub.
func (p *place) settings() []string {
	switch {
	case p.dir != "":
		return []string{"SESSIONHUB_DATA_DIR=" + p.dir}
	case p.valkey != nil:
		return []string{"SESSIONHUB_VALKEY_URL=redis://" + p.valkey.addr, "SESSIONHUB_TOKEN_SECRET=" + rand.Text() + rand.Text()}
	}
	return nil
}

// stored is how many bytes are kept outside of the hub's process: of the files, or of
// Valkey's memory. nil: none are.
func (p *place) stored(ctx context.Context) (*int64, error) {
	var n int64
	var err error
	switch {
	case p.dir != "":
		n, err = filesBytes(p.dir)
	case p.valkey != nil:
		var u valkeyUsage
		u, err = p.valkey.usage(ctx)
		n = u.used
	default:
		return nil, nil
	}
	return &n, err
}

// files calls do for each file below a directory. One that goes meanwhile is left out.
func files(dir string, do func(path string, size int64) error) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				err = do(path, info.Size())
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

func filesBytes(dir string) (n int64, err error) {
	err = files(dir, func(_ string, size int64) error { n += size; return nil })
	return n, err
}

// close forgets what was kept; the hub has ended.
func (p *place) close() error {
	switch {
	case p.dir != "":
		return os.RemoveAll(p.dir)
	case p.valkey != nil:
		return p.valkey.close()
	}
	return nil
}
