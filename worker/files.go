package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"sessionhub/internal/mediatype"
	"sessionhub/protocol"
)

// The worker reads files through os.Root: a path, or a link in it, that leads out of the
// session's directory is refused by the system calls themselves (openat), also while
// somebody changes the links.

// openDir opens a session's directory, which ResolveDir has found. It goes from the worker's
// root: meanwhile somebody could have put a link in the directory's place, or above it.
func (w *Worker) openDir(dir string) (*os.Root, error) {
	bound := w.cfg.Root
	if w.cfg.Worktrees != "" && within(w.cfg.Worktrees, dir) { // a session's worktree, which the worker has found itself
		bound = w.cfg.Worktrees
	}
	real, err := filepath.EvalSymlinks(bound)
	if err != nil {
		return nil, err
	}
	name, err := filepath.Rel(real, dir)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenRoot(name)
}

// localPath makes a path of a request relative to the session's directory.
func localPath(dir, p string) (string, error) {
	switch {
	case len(p) > protocol.MaxPathBytes:
		return "", refuse(protocol.CodeInvalidRequest, "path is longer than %d bytes", protocol.MaxPathBytes)
	case hasNUL(p) || !utf8.ValidString(p):
		return "", refuse(protocol.CodeInvalidRequest, "path has a NUL byte, or is not valid UTF-8")
	case filepath.IsAbs(p):
		clean := filepath.Clean(p)
		if !within(dir, clean) {
			return "", outside(p)
		}
		rel, err := filepath.Rel(dir, clean)
		if err != nil {
			return "", outside(p)
		}
		return rel, nil
	}
	clean := filepath.Clean(filepath.FromSlash(p)) // of "": "."
	if !filepath.IsLocal(clean) {
		return "", outside(p)
	}
	return clean, nil
}

func outside(p string) error {
	return refuse(protocol.CodePathNotAllowed, "%q is not in the session's directory", clip(p, 200))
}

// fileError makes the client's error of a failed system call.
func fileError(p string, err error) error {
	var refused *protocol.RequestError
	p = clip(p, 200)
	switch {
	case errors.As(err, &refused), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return refuse(protocol.CodeNotFound, "there is no %q", p)
	case errors.Is(err, fs.ErrPermission):
		return refuse(protocol.CodePathNotAllowed, "the worker may not read %q", p)
	case errors.Is(err, syscall.ELOOP), isEscape(err):
		return refuse(protocol.CodePathNotAllowed, "%q leads out of the session's directory, or in a circle", p)
	}
	return err
}

// isEscape reports whether os.Root has refused a path. Its error has no name.
func isEscape(err error) bool {
	var pe *fs.PathError
	return errors.As(err, &pe) && pe.Err != nil && strings.Contains(pe.Err.Error(), "escapes")
}

// openFile opens a file or a directory of the session. A pipe does not make it wait.
func openFile(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func fileType(mode fs.FileMode) protocol.FileType {
	switch {
	case mode.IsRegular():
		return protocol.FileRegular
	case mode.IsDir():
		return protocol.FileDirectory
	case mode&fs.ModeSymlink != 0:
		return protocol.FileLink
	}
	return protocol.FileOther
}

// namesAtOnce is how many names of a directory are read between two looks at the time.
const namesAtOnce = 4096

// listFiles answers MethodFilesList. A directory of any size is listed: only the names of
// the page are kept.
func listFiles(ctx context.Context, w *Worker, dir string, r protocol.WorkerRequest) (any, error) {
	var p protocol.FilesListParams
	if err := decodeParams(r, &p); err != nil {
		return nil, err
	}
	limit := p.Limit
	if limit <= 0 || limit > protocol.MaxFileEntries {
		limit = protocol.MaxFileEntries
	}
	name, err := localPath(dir, p.Path)
	if err != nil {
		return nil, err
	}
	root, err := w.openDir(dir)
	if err != nil {
		return nil, fileError(p.Path, err)
	}
	defer root.Close()
	f, info, err := openFile(root, name)
	if err != nil {
		return nil, fileError(p.Path, err)
	}
	defer f.Close()
	if !info.IsDir() {
		return nil, refuse(protocol.CodeInvalidRequest, "%q is no directory", clip(p.Path, 200))
	}
	names, err := firstNames(ctx, f, p.After, limit+1)
	if err != nil {
		return nil, fileError(p.Path, err)
	}
	list := protocol.FileList{Path: filepath.ToSlash(name), Entries: []protocol.FileEntry{}}
	if list.Path == "." {
		list.Path = ""
	}
	for i, n := range names {
		if i == limit {
			list.NextAfter = names[limit-1]
			break
		}
		info, err := root.Lstat(filepath.Join(name, n))
		if err != nil {
			continue // it went meanwhile
		}
		list.Entries = append(list.Entries, protocol.FileEntry{
			Name: n, Type: fileType(info.Mode()), Size: info.Size(), ModifiedAt: info.ModTime().UTC(),
		})
	}
	return list, nil
}

// firstNames gives the first names of a directory behind after, in order. Names that are no
// valid UTF-8 are left out: JSON cannot carry them.
func firstNames(ctx context.Context, dir *os.File, after string, most int) ([]string, error) {
	var names []string
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch, err := dir.Readdirnames(namesAtOnce)
		for _, n := range batch {
			if n > after && utf8.ValidString(n) {
				names = append(names, n)
			}
		}
		if len(names) > 2*namesAtOnce || err != nil {
			slices.Sort(names)
			names = names[:min(len(names), most)]
		}
		switch {
		case errors.Is(err, io.EOF):
			return names, nil
		case err != nil:
			return nil, err
		}
	}
}

// readFile answers MethodFilesRead.
func readFile(_ context.Context, w *Worker, dir string, r protocol.WorkerRequest) (any, error) {
	var p protocol.FilesReadParams
	if err := decodeParams(r, &p); err != nil {
		return nil, err
	}
	if p.Offset < 0 || p.Limit < 0 {
		return nil, refuse(protocol.CodeInvalidRequest, "offset and limit must not be negative")
	}
	name, err := localPath(dir, p.Path)
	if err != nil {
		return nil, err
	}
	root, err := w.openDir(dir)
	if err != nil {
		return nil, fileError(p.Path, err)
	}
	defer root.Close()
	f, info, err := openFile(root, name)
	if err != nil {
		return nil, fileError(p.Path, err)
	}
	defer f.Close()
	if !info.Mode().IsRegular() {
		return nil, refuse(protocol.CodeInvalidRequest, "%q is no file", clip(p.Path, 200))
	}
	piece := protocol.FilePiece{
		Path: filepath.ToSlash(name), Size: info.Size(), ModifiedAt: info.ModTime().UTC(), Offset: p.Offset,
		Version: fmt.Sprintf("%x-%x", info.Size(), info.ModTime().UnixNano()),
	}
	head := make([]byte, sniffBytes)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fileError(p.Path, err)
	}
	piece.MediaType = mediaTypeOf(head[:n])
	piece.Data = make([]byte, min(p.Limit, protocol.MaxFilePiece))
	n, err = f.ReadAt(piece.Data, p.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fileError(p.Path, err)
	}
	piece.Data = piece.Data[:n]
	return piece, nil
}

// sniffBytes is how much of a file is looked at to tell text from other data.
const sniffBytes = 8 << 10

// mediaTypeOf tells what a file is by its first bytes. Text is text, whatever it says: a
// page shown as HTML or SVG could act as its user.
func mediaTypeOf(head []byte) string {
	if t := mediatype.Of(head); t != "" {
		return t
	}
	whole := head
	for cut := 0; cut < utf8.UTFMax-1 && len(head) == sniffBytes && !utf8.Valid(whole); cut++ {
		whole = whole[:len(whole)-1] // the last letter is cut
	}
	if utf8.Valid(whole) && !slices.Contains(whole, 0) {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// searchFiles answers MethodFilesSearch.
func searchFiles(ctx context.Context, w *Worker, dir string, r protocol.WorkerRequest) (any, error) {
	var p protocol.FilesSearchParams
	if err := decodeParams(r, &p); err != nil {
		return nil, err
	}
	if len(p.Query) > protocol.MaxFileQuery {
		return nil, refuse(protocol.CodeInvalidRequest, "query is longer than %d bytes", protocol.MaxFileQuery)
	}
	root, err := w.openDir(dir)
	if err != nil {
		return nil, fileError("", err)
	}
	defer root.Close()
	best := newMatches(p.Query, p.Limit)
	if truncated, ok := searchRepository(ctx, w, dir, best); ok {
		return protocol.FileMatches{Files: best.there(root), Truncated: truncated}, ctx.Err()
	}
	best.found = nil
	walked := 0
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return nil //nolint:nilerr // a directory that cannot be read has no matches
		case name == ".":
			return nil
		case walked >= protocol.MaxFilesWalked:
			return fs.SkipAll
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		}
		walked++
		best.look(name, fileType(entry.Type()))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return protocol.FileMatches{Files: best.list(), Truncated: walked >= protocol.MaxFilesWalked}, nil
}

// matches keeps the best matches of a search.
type matches struct {
	query string // in lower case
	most  int
	found []match
}

type match struct {
	protocol.FileMatch
	rank int // less is better
}

func newMatches(query string, most int) *matches {
	if most <= 0 || most > protocol.MaxFileMatches {
		most = protocol.MaxFileMatches
	}
	return &matches{query: strings.ToLower(query), most: most}
}

// look takes a path that fits the query.
func (m *matches) look(name string, t protocol.FileType) {
	rank, ok := rankOf(strings.ToLower(name), m.query)
	if !ok || !utf8.ValidString(name) {
		return
	}
	m.found = append(m.found, match{protocol.FileMatch{Path: name, Type: t}, rank})
	if len(m.found) >= 4*protocol.MaxFileMatches {
		m.trim()
	}
}

func (m *matches) trim() {
	slices.SortFunc(m.found, func(a, b match) int {
		if a.rank != b.rank {
			return a.rank - b.rank
		}
		if len(a.Path) != len(b.Path) {
			return len(a.Path) - len(b.Path)
		}
		return strings.Compare(a.Path, b.Path)
	})
	m.found = slices.CompactFunc(m.found, func(a, b match) bool { return a.Path == b.Path })
	m.found = m.found[:min(len(m.found), m.most)]
}

func (m *matches) list() []protocol.FileMatch {
	m.trim()
	out := make([]protocol.FileMatch, 0, len(m.found))
	for _, f := range m.found {
		out = append(out, f.FileMatch)
	}
	return out
}

// rankOf says how well a path fits a query: its last name is the query, begins with it or
// holds it; the path holds it; the path has its letters in this order.
func rankOf(name, query string) (rank int, ok bool) {
	last := path.Base(name)
	switch {
	case last == query:
		return 0, true
	case strings.HasPrefix(last, query):
		return 1, true
	case strings.Contains(last, query):
		return 2, true
	case strings.Contains(name, query):
		return 3, true
	}
	rest := name
	for _, letter := range query {
		i := strings.IndexRune(rest, letter)
		if i < 0 {
			return 0, false
		}
		rest = rest[i+utf8.RuneLen(letter):]
	}
	return 4, true
}
