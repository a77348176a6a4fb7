package client

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"sessionhub/protocol"
)

// The methods of this file ask the session's worker about its working directory. They need
// the scope files, which a token has only if it was asked for. An answer takes up to 20 s.
// Without a worker the *Error has protocol.CodeNoWorker.

// Files lists a page of a directory; "" is the working directory. after is the NextAfter of
// the page before, or empty. limit 0 is the hub's most.
func (s *Session) Files(ctx context.Context, path, after string, limit int) (protocol.FileList, error) {
	var out protocol.FileList
	err := s.do(ctx, "list files", http.MethodGet, "/files", fileQuery(limit, "path", path, "after", after), nil, &out)
	return out, err
}

// SearchFiles finds files by letters of their names, the best match first. limit 0 is the
// hub's most.
func (s *Session) SearchFiles(ctx context.Context, query string, limit int) (protocol.FileMatches, error) {
	var out protocol.FileMatches
	err := s.do(ctx, "search files", http.MethodGet, "/files/search", fileQuery(limit, "query", query), nil, &out)
	return out, err
}

// File opens a file. Reading fails if the hub broke it off, or if the file changed meanwhile.
// The caller must close it.
func (s *Session) File(ctx context.Context, path string) (io.ReadCloser, error) {
	resp, err := s.client.send(ctx, call{
		op: "read file", method: http.MethodGet, path: s.path("/files/content"), query: fileQuery(0, "path", path), token: s.bearer(),
	})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Changes lists what git sees as changed since the session began.
func (s *Session) Changes(ctx context.Context) (protocol.Changes, error) {
	var out protocol.Changes
	err := s.do(ctx, "list changes", http.MethodGet, "/changes", nil, nil, &out)
	return out, err
}

// Diff reads a page of a changed file's diff. offset is the NextOffset of the page before,
// or 0. Pages fit together if their Version is the same.
func (s *Session) Diff(ctx context.Context, file protocol.ChangedFile, offset int) (protocol.FileDiff, error) {
	q := fileQuery(0, "path", file.Path, "oldPath", file.OldPath)
	if offset > 0 {
		q.Set("offset", strconv.Itoa(offset))
	}
	var out protocol.FileDiff
	err := s.do(ctx, "read diff", http.MethodGet, "/changes/diff", q, nil, &out)
	return out, err
}

// fileQuery makes a query of names and values. What is empty is left out.
func fileQuery(limit int, pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}
