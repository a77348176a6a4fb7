package worker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"sessionhub/protocol"
)

// countTime is how long git may take to compare the files' lines and names. After that the
// changes come without counts and renames.
const countTime = 6 * time.Second

// maxChangedNames bounds the paths of one answer, in bytes. Each may grow sixfold as JSON.
const maxChangedNames = 64 << 10

// maxUntracked is how many files that git does not know are looked at.
const maxUntracked = 10_000

// beginning is what changes are counted from.
type beginning struct {
	tree   string // what the working directory is compared with: a tree or a commit
	commit string
	since  protocol.ChangesSince
}

// begin finds what base stands for. A tree that git has thrown away meanwhile is replaced by
// its commit, and a commit that is gone by the last one.
func (r *repository) begin(ctx context.Context, base string) (beginning, error) {
	commit, tree, ok := protocol.SplitGitBase(base)
	if base != "" && !ok {
		return beginning{}, refuse(protocol.CodeInvalidRequest, "base is not an id of git")
	}
	if commit != "" {
		commit = r.object(ctx, commit+"^{commit}")
	}
	if tree != "" {
		tree = r.object(ctx, tree+"^{tree}")
	}
	switch {
	case tree != "":
		return beginning{tree, commit, protocol.SinceStart}, nil
	case commit != "":
		return beginning{commit, commit, protocol.SinceStart}, nil
	}
	if last := r.object(ctx, "HEAD^{commit}"); last != "" {
		return beginning{last, last, protocol.SinceHead}, ctx.Err()
	}
	empty, err := r.output(ctx, nil, "hash-object", "-t", "tree", "--stdin")
	return beginning{strings.TrimSpace(empty), "", protocol.SinceHead}, err
}

// gitChanges answers MethodGitChanges.
func gitChanges(ctx context.Context, w *Worker, dir string, request protocol.WorkerRequest) (any, error) {
	var p protocol.GitChangesParams
	if err := decodeParams(request, &p); err != nil {
		return nil, err
	}
	list := protocol.Changes{Files: []protocol.ChangedFile{}}
	r, err := openRepository(ctx, w, dir)
	if errors.Is(err, errNoRepository) {
		return list, nil
	}
	if err != nil {
		return nil, err
	}
	defer r.close()
	begin, err := r.begin(ctx, p.Base)
	if err != nil {
		return nil, err
	}
	list.Repository, list.Base, list.Since = true, begin.commit, begin.since
	if branch, err := r.output(ctx, nil, "symbolic-ref", "--quiet", "--short", "HEAD"); err == nil {
		list.Branch = strings.ToValidUTF8(strings.TrimSuffix(branch, "\n"), "\uFFFD")
	}
	if err := r.copyIndex(ctx); err != nil {
		return nil, err
	}
	found := &changeReader{list: &list, untracked: map[string]bool{}, conflicts: map[string]bool{}, uncounted: map[string]bool{}}
	names, cut, err := r.untracked(ctx)
	if err != nil {
		return nil, err
	}
	if list.Truncated = cut; len(names) > maxUntracked {
		names, list.Truncated = names[:maxUntracked], true
	}
	if list.Truncated { // of the others git thinks that they are gone
		found.there = func(path string) bool { _, err := os.Lstat(filepath.Join(dir, path)); return err == nil }
	}
	files := names[:0:0]
	for _, name := range names {
		path := strings.TrimPrefix(name, r.prefix)
		if strings.HasSuffix(path, "/") { // another repository, which git does not look into
			found.add(protocol.ChangedFile{Path: strings.TrimSuffix(path, "/"), Status: protocol.ChangeUntracked})
			continue
		}
		files, found.untracked[path] = append(files, name), true
	}
	if err := r.listUntracked(ctx, files); err != nil {
		return nil, err
	}
	return list, r.changed(ctx, begin, found)
}

// changed reads the changed files: first what git knows without reading them, which names the
// large and the unreadable ones, and then the others with counts and renames. If git fails all
// the same, or takes too long, the first answer counts.
func (r *repository) changed(ctx context.Context, begin beginning, found *changeReader) error {
	args := append([]string{"diff-index", "--raw", "-z"}, diffOptions...)
	plain, cut, err := r.fields(ctx, append(args, begin.tree, "--", ".")...)
	if err != nil {
		return err
	}
	found.list.Truncated = found.list.Truncated || cut
	unmerged, _, err := r.fields(ctx, "ls-files", "--unmerged", "-z", "--", ".")
	if err != nil {
		return err
	}
	for _, record := range unmerged {
		_, path, _ := strings.Cut(record, "\t")
		found.conflicts[path] = true
	}
	unread := map[string]*bytes.Buffer{"--assume-unchanged": {}, "--force-remove": {}}
	for i := 0; i+1 < len(plain); i += 2 {
		if path := plain[i+1]; r.isLarge(path) || !r.isReadable(path) {
			if found.untracked[path] {
				unread["--force-remove"].WriteString(path + "\x00")
			} else {
				unread["--assume-unchanged"].WriteString(path + "\x00")
			}
			found.read(plain[i : i+2])
			found.leaveOut(path, r.isLarge(path))
		}
	}
	short, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	for how, names := range unread {
		if names.Len() == 0 {
			continue
		}
		if _, err := r.output(short, names.Bytes(), "update-index", how, "-z", "--stdin"); err != nil {
			return err
		}
	}
	args = append([]string{"diff", "--raw", "--numstat", "-z", "--find-renames", "-l400"}, diffOptions...)
	counted, cut, err := r.fields(short, append(args, begin.tree, "--", ".")...)
	if err == nil {
		found.list.Truncated = found.list.Truncated || cut
		found.read(counted)
		found.dropEqual()
		return nil
	}
	found.read(plain)
	return ctx.Err()
}

// maxCompared is the size of a file beyond which it is neither read nor compared. A diff calls
// it binary. It is core.bigFileThreshold too.
const maxCompared = 16 << 20

func (r *repository) isLarge(path string) bool {
	info, err := os.Lstat(filepath.Join(r.dir, path))
	return err == nil && info.Mode().IsRegular() && info.Size() > maxCompared
}

// isReadable is false for a file that the worker may not read. git would give up at it.
func (r *repository) isReadable(path string) bool {
	name := filepath.Join(r.dir, path)
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		return true // git does not read it
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return !errors.Is(err, fs.ErrPermission)
	}
	_ = f.Close()
	return true
}

// changeReader makes a list of what git prints.
type changeReader struct {
	list      *protocol.Changes
	untracked map[string]bool
	conflicts map[string]bool
	uncounted map[string]bool        // files that are not read
	modules   []string               // submodules
	there     func(path string) bool // nil: what git calls deleted is
	at        map[string]int         // where a path is in the list
	bytes     int
}

// add puts a file into the list if it still fits.
func (c *changeReader) add(f protocol.ChangedFile) {
	if !utf8.ValidString(f.Path) || !utf8.ValidString(f.OldPath) {
		c.list.Unnamed++
		return
	}
	if _, known := c.at[f.Path]; known {
		return
	}
	c.bytes += len(f.Path) + len(f.OldPath)
	if len(c.list.Files) >= protocol.MaxChangedFiles || c.bytes > maxChangedNames {
		c.list.Truncated = true
		return
	}
	if c.at == nil {
		c.at = map[string]int{}
	}
	c.at[f.Path] = len(c.list.Files)
	c.list.Files = append(c.list.Files, f)
}

// leaveOut marks a file that is not compared.
func (c *changeReader) leaveOut(path string, binary bool) {
	c.uncounted[path] = true
	if i, ok := c.at[path]; ok {
		c.list.Files[i].Binary = binary
	}
}

// dropEqual drops the submodules of which only the index says that they have changed.
func (c *changeReader) dropEqual() {
	c.list.Files = slices.DeleteFunc(c.list.Files, func(f protocol.ChangedFile) bool {
		return f.Additions == nil && !f.Binary && f.Status == protocol.ChangeModified && slices.Contains(c.modules, f.Path)
	})
}

// read takes the fields of "--raw --numstat -z": first ":modes ids status", then one path, or
// two of a rename; after all of them "added TAB deleted TAB path", or two paths behind.
func (c *changeReader) read(fields []string) {
	next := func() string {
		if len(fields) == 0 {
			return ""
		}
		f := fields[0]
		fields = fields[1:]
		return f
	}
	for len(fields) > 0 {
		record := next()
		if strings.HasPrefix(record, ":") {
			words := strings.Fields(record)
			f := protocol.ChangedFile{Status: statusOf(words[len(words)-1])}
			module := len(words) > 1 && words[1] == "160000"
			if f.Status == protocol.ChangeRenamed {
				f.OldPath = next()
			}
			f.Path = next()
			switch {
			case c.conflicts[f.Path]:
				f.Status = protocol.ChangeConflicted
			case f.Status == protocol.ChangeAdded && c.untracked[f.Path]:
				f.Status = protocol.ChangeUntracked
			}
			if module {
				c.modules = append(c.modules, f.Path)
			}
			if f.Path != "" && (f.Status != protocol.ChangeDeleted || c.there == nil || !c.there(f.Path)) {
				c.add(f)
			}
			continue
		}
		counts := strings.SplitN(record, "\t", 3)
		if len(counts) < 3 {
			return
		}
		path := counts[2]
		if path == "" { // a rename
			_ = next()
			path = next()
		}
		i, known := c.at[path]
		if !known || c.uncounted[path] {
			continue
		}
		f := &c.list.Files[i]
		added, err1 := strconv.Atoi(counts[0])
		deleted, err2 := strconv.Atoi(counts[1])
		if err1 != nil || err2 != nil {
			f.Binary = true
			continue
		}
		f.Additions, f.Deletions = &added, &deleted
	}
}

func statusOf(letters string) protocol.ChangeStatus {
	switch letters[:1] {
	case "A", "C":
		return protocol.ChangeAdded
	case "D":
		return protocol.ChangeDeleted
	case "R":
		return protocol.ChangeRenamed
	case "U":
		return protocol.ChangeConflicted
	}
	return protocol.ChangeModified
}

// gitDiff answers MethodGitDiff. It reads the whole diff for each page, so a page is of the
// diff as it is now, and Version shows a change.
func gitDiff(ctx context.Context, w *Worker, dir string, request protocol.WorkerRequest) (any, error) {
	var p protocol.GitDiffParams
	if err := decodeParams(request, &p); err != nil {
		return nil, err
	}
	if p.Offset < 0 {
		return nil, refuse(protocol.CodeInvalidRequest, "offset must not be negative")
	}
	var paths []string
	for _, path := range []string{p.Path, p.OldPath} {
		if path == "" && len(paths) == 1 {
			break
		}
		name, err := localPath(dir, path)
		if err != nil {
			return nil, err
		}
		paths = append(paths, filepath.ToSlash(name))
	}
	r, err := openRepository(ctx, w, dir)
	if errors.Is(err, errNoRepository) {
		return nil, refuse(protocol.CodeNotFound, "the session's directory is in no git repository")
	}
	if err != nil {
		return nil, err
	}
	defer r.close()
	begin, err := r.begin(ctx, p.Base)
	if err != nil {
		return nil, err
	}
	if err := r.copyIndex(ctx); err != nil {
		return nil, err
	}
	names, _, err := r.untracked(ctx, paths[0])
	if err != nil {
		return nil, err
	}
	if len(names) == 1 && names[0] == r.prefix+paths[0] {
		if err := r.listUntracked(ctx, names); err != nil {
			return nil, err
		}
	}
	diff := func(kind ...string) []string {
		return append(append(append([]string{"diff", "--find-renames"}, diffOptions...), kind...), append([]string{begin.tree, "--"}, paths...)...)
	}
	large := r.isLarge(paths[0])
	names = diff("--name-only", "-z")
	if large {
		names[0] = "diff-index" // it does not read the file
	}
	changed, _, err := r.fields(ctx, names...)
	if err != nil {
		return nil, err
	}
	if len(changed) == 0 || len(changed) > len(paths)+1 || changed[0] != paths[0] && changed[len(changed)-1] != paths[0] {
		return nil, refuse(protocol.CodeNotFound, "%q is no file that has changed", clip(p.Path, 200))
	}
	if large {
		return diffPage(paths, fmt.Sprintf("diff --git a/%s b/%s\nBinary files differ: a file over %d MiB is not compared\n", paths[0], paths[0], maxCompared>>20), p.Offset)
	}
	var text []byte
	err = r.stream(ctx, nil, diff("--patch", "--unified=3", "--src-prefix=a/", "--dst-prefix=b/"), func(from io.Reader) (err error) {
		text, err = io.ReadAll(io.LimitReader(from, protocol.MaxDiffBytes+1))
		return err
	})
	if err != nil {
		return nil, err
	}
	return diffPage(paths, string(text), p.Offset)
}

// diffPage cuts a page out of a diff, at the end of a line if it has one.
func diffPage(paths []string, text string, offset int) (protocol.FileDiff, error) {
	page := protocol.FileDiff{Path: paths[0], Offset: offset}
	if len(paths) > 1 {
		page.OldPath = paths[1]
	}
	if page.Truncated = len(text) > protocol.MaxDiffBytes; page.Truncated {
		text = text[:protocol.MaxDiffBytes]
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	sum := sha256.Sum256([]byte(text))
	page.Version, page.Size = hex.EncodeToString(sum[:8]), len(text)
	if offset > len(text) {
		return page, refuse(protocol.CodeInvalidRequest, "the diff has only %d bytes", len(text))
	}
	rest := text[offset:]
	if len(rest) > protocol.MaxDiffPage {
		end := strings.LastIndexByte(rest[:protocol.MaxDiffPage], '\n') + 1
		for end == 0 || !utf8.RuneStart(rest[end]) {
			if end == 0 {
				end = protocol.MaxDiffPage
			} else {
				end--
			}
		}
		rest, page.NextOffset = rest[:end], offset+end
	}
	page.Diff = strings.ToValidUTF8(rest, "\uFFFD") // an offset of the client's own may begin in a letter
	return page, nil
}
