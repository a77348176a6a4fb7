package worker

import (
	"bufio"
	"context"
	"io"
	"os"
	"path"
	"strings"
	"time"

	"sessionhub/protocol"
)

// searchTime is how long git may take to list its files. After that the directory is walked.
const searchTime = 6 * time.Second

// searchRepository shows best the files of the directory that git does not ignore, and their
// directories. truncated: there are more than it may look at. ok is false if the directory is
// in no repository, or git fails.
func searchRepository(ctx context.Context, w *Worker, dir string, best *matches) (truncated, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	r, err := openRepository(ctx, w, dir)
	if err != nil {
		return false, false
	}
	last, seen := "", 0
	list := []string{"ls-files", "--cached", "--others", "--exclude-standard", "-z"}
	err = r.stream(ctx, nil, list, func(from io.Reader) error {
		lines := bufio.NewReaderSize(from, 64<<10)
		for {
			name, err := lines.ReadString(0)
			if err != nil {
				return nil //nolint:nilerr // the end; the command's own error counts
			}
			if name = strings.TrimRight(name, "/\x00"); name == last {
				continue // a conflict is listed once for each side
			}
			if seen += 1 + best.lookAbove(name, last); seen > protocol.MaxFilesWalked {
				truncated = true
				return nil
			}
			best.look(name, protocol.FileRegular)
			last = name
		}
	})
	return truncated, err == nil
}

// lookAbove takes the directories of a path that the path before did not have, and counts
// them. git lists the new files first and then the known ones, so a directory may come twice.
func (m *matches) lookAbove(name, before string) (n int) {
	for dir := path.Dir(name); dir != "." && !strings.HasPrefix(before, dir+"/"); dir = path.Dir(dir) {
		m.look(dir, protocol.FileDirectory)
		n++
	}
	return n
}

// there gives the matches that are on the disk, with what they are there.
func (m *matches) there(root *os.Root) []protocol.FileMatch {
	out := []protocol.FileMatch{}
	for _, f := range m.list() {
		info, err := root.Lstat(f.Path)
		if err != nil {
			continue
		}
		f.Type = fileType(info.Mode())
		out = append(out, f)
	}
	return out
}
