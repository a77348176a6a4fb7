package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"regexp"

	"sessionhub/hub/fleet"
	"sessionhub/hub/session"
	"sessionhub/internal/mediatype"
	"sessionhub/protocol"
)

// Files are the files of sessions' working directories. Their workers read them: see
// fleet.Fleet.Ask for the errors. All methods may be called concurrently.
type Files struct{ rooms }

// ask sends a request about a session to its worker, and reads the result into out.
func (f Files) ask(ctx context.Context, s *session.State, method protocol.WorkerMethod, params, out any) error {
	worktree := ""
	if s.Info.Worktree != nil {
		worktree = s.Info.Worktree.ID
	}
	return f.fleet.Ask(ctx, fleet.AskedOf(s), protocol.WorkerRequest{
		Worktree: worktree, Method: method, SessionID: s.Info.SessionID, Provider: s.Info.Provider, WorkingDirectory: s.Info.WorkingDirectory,
		Params: protocol.Marshal(params),
	}, out)
}

// list is all as JSON has a list: an empty one is not null.
func list[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

// List gives a page of a directory.
func (f Files) List(ctx context.Context, s *session.State, p protocol.FilesListParams) (out protocol.FileList, err error) {
	err = f.ask(ctx, s, protocol.MethodFilesList, p, &out)
	out.Entries = list(out.Entries)
	return out, err
}

// Search finds files by their names.
func (f Files) Search(ctx context.Context, s *session.State, p protocol.FilesSearchParams) (out protocol.FileMatches, err error) {
	err = f.ask(ctx, s, protocol.MethodFilesSearch, p, &out)
	out.Files = list(out.Files)
	return out, err
}

// Read gives a piece of a file. The piece is what was asked for: at p.Offset, and no longer
// than p.Limit.
func (f Files) Read(ctx context.Context, s *session.State, p protocol.FilesReadParams) (out protocol.FilePiece, err error) {
	if err = f.ask(ctx, s, protocol.MethodFilesRead, p, &out); err != nil {
		return out, err
	}
	if out.Offset != p.Offset || len(out.Data) > p.Limit || out.Size < 0 {
		return out, &protocol.RequestError{Code: protocol.CodeWorkerFailed, Detail: fmt.Sprintf("the worker gave another piece of the file than that at %d", p.Offset)}
	}
	if !fileVersion.MatchString(out.Version) {
		return out, &protocol.RequestError{Code: protocol.CodeWorkerFailed, Detail: "the worker gave a version of the file that is none"}
	}
	out.MediaType = fileType(out.MediaType)
	return out, nil
}

// fileVersion is what a version may be: it becomes a header.
var fileVersion = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// fileType is the media type of a file of a worker. Of others than those that only show
// something, it is that of any bytes.
func fileType(of string) string {
	kind, _, err := mime.ParseMediaType(of)
	switch {
	case err != nil || len(of) > protocol.MaxMediaTypeBytes:
	case kind == "text/plain":
		return "text/plain; charset=utf-8"
	case mediatype.Known(kind), kind == "application/pdf":
		return kind
	}
	return "application/octet-stream"
}

// baseOf is what the changes of a session are counted from.
func baseOf(s *session.State) string {
	if s.Info.Worktree != nil {
		return s.Info.Worktree.Commit
	}
	return s.GitBase
}

// Changes gives the files that have changed since the session began.
func (f Files) Changes(ctx context.Context, s *session.State) (out protocol.Changes, err error) {
	err = f.ask(ctx, s, protocol.MethodGitChanges, protocol.GitChangesParams{Base: baseOf(s)}, &out)
	out.Files = list(out.Files)
	return out, err
}

// Diff gives a page of what has changed in one file since the session began.
func (f Files) Diff(ctx context.Context, s *session.State, p protocol.GitDiffParams) (out protocol.FileDiff, err error) {
	p.Base = baseOf(s)
	if err = f.ask(ctx, s, protocol.MethodGitDiff, p, &out); err != nil {
		return out, err
	}
	if out.Offset != p.Offset || (out.NextOffset != 0 && out.NextOffset <= p.Offset) {
		return out, &protocol.RequestError{Code: protocol.CodeWorkerFailed, Detail: fmt.Sprintf("the worker gave another piece of the diff than that at %d", p.Offset)}
	}
	return out, nil
}

// File is a file, or a part of one, that is read piece by piece. It belongs to one
// goroutine, and nothing has to be closed.
type File struct {
	files Files
	state *session.State
	path  string
	first protocol.FilePiece
	at    int64 // where the next piece begins
	end   int64
	ready []byte // the first piece, until Next gives it
}

// ErrFileChanged says that a file has changed while it was read.
var ErrFileChanged = errors.New("the file has changed while it was read")

// Open looks at a file, and reads its first piece if it is whole in that.
func (f Files) Open(ctx context.Context, s *session.State, path string) (*File, error) {
	first, err := f.Read(ctx, s, protocol.FilesReadParams{Path: path, Limit: protocol.MaxFilePiece})
	if err != nil {
		return nil, err
	}
	return &File{files: f, state: s, path: path, first: first, end: first.Size, ready: first.Data}, nil
}

// About has what is known of the file but for its bytes.
func (f *File) About() protocol.FilePiece { return f.first }

// Select makes Next give the bytes from begin to before end. It is called before Next.
func (f *File) Select(begin, end int64) {
	f.at, f.end = begin, min(end, f.first.Size)
	if n := int64(len(f.ready)); begin < n {
		f.ready = f.ready[begin:min(n, f.end)]
	} else {
		f.ready = nil
	}
}

// Next gives the next piece, and io.EOF after the last one. ErrFileChanged: the file is not
// the one that was opened any more.
func (f *File) Next(ctx context.Context) ([]byte, error) {
	if len(f.ready) > 0 {
		piece := f.ready
		f.ready, f.at = nil, f.at+int64(len(piece))
		return piece, nil
	}
	if f.at >= f.end {
		return nil, io.EOF
	}
	most := int(min(f.end-f.at, protocol.MaxFilePiece))
	piece, err := f.files.Read(ctx, f.state, protocol.FilesReadParams{Path: f.path, Offset: f.at, Limit: most})
	switch {
	case err != nil:
		return nil, err
	case piece.Version != f.first.Version || len(piece.Data) == 0:
		return nil, ErrFileChanged
	}
	f.at += int64(len(piece.Data))
	return piece.Data, nil
}
