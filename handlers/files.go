package handlers

import (
	"context"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// workerTimeout bounds a request that a worker answers: a little more than the hub gives
// the worker.
func workerTimeout() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), (protocol.WorkerRequestSeconds+2)*time.Second)
}

// listFiles serves GET /api/sessions/:id/files.
func (s *Server) listFiles(c *fiber.Ctx) error {
	ctx, cancel := workerTimeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeFiles)
	if err != nil {
		return err
	}
	limit, err := queryLimit(c, protocol.MaxFileEntries)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Files.List(ctx, snap.State, protocol.FilesListParams{Path: c.Query("path"), After: c.Query("after"), Limit: limit})
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

// searchFiles serves GET /api/sessions/:id/files/search.
func (s *Server) searchFiles(c *fiber.Ctx) error {
	ctx, cancel := workerTimeout()
	defer cancel()
	_, snap, err := s.authorize(ctx, c, auth.ScopeFiles)
	if err != nil {
		return err
	}
	query := c.Query("query")
	if query == "" {
		return refuse(protocol.CodeInvalidRequest, "query is missing: want letters of the name")
	}
	limit, err := queryLimit(c, protocol.MaxFileMatches)
	if err != nil {
		return err
	}
	out, err := s.cfg.Hub.Files.Search(ctx, snap.State, protocol.FilesSearchParams{Query: query, Limit: limit})
	if err != nil {
		return err
	}
	return send(c, fiber.StatusOK, out)
}

// fileContent serves GET /api/sessions/:id/files/content, whole or a range of bytes (RFC
// 9110, section 14). A file is never shown as a page of the hub's origin: text is plain,
// and the policy takes away what could act.
func (s *Server) fileContent(c *fiber.Ctx) error {
	ctx, cancel := workerTimeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeFiles)
	if err != nil {
		return err
	}
	name := c.Query("path")
	if name == "" {
		return refuse(protocol.CodeInvalidRequest, "path is missing: want the path of a file in the session's directory")
	}
	file, err := s.cfg.Hub.Files.Open(ctx, snap.State, name)
	if err != nil {
		return err
	}
	about := file.About()
	tag := `"` + about.Version + `"`
	begin, end, part := int64(0), about.Size, false
	if header := c.Get(fiber.HeaderRange); header != "" && (c.Get(fiber.HeaderIfRange) == "" || c.Get(fiber.HeaderIfRange) == tag) {
		var fits bool
		if begin, end, part, fits = byteRange(header, about.Size); !fits {
			c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes */%d", about.Size))
			return refuse(protocol.CodeRange, "the file has %d bytes, and none of the range", about.Size)
		}
	}
	file.Select(begin, end)
	var body io.Reader
	if c.Method() != fiber.MethodHead {
		if body, err = s.openDownload(ctx, c, &s.downloads, who, auth.ScopeFiles, snap.State.Info.SessionID, file); err != nil {
			return err
		}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderETag, tag)
	c.Set(fiber.HeaderContentType, about.MediaType)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; sandbox")
	c.Set(fiber.HeaderContentDisposition, disposition(fileName(path.Base(about.Path), "file")))
	if part {
		c.Set(fiber.HeaderContentRange, fmt.Sprintf("bytes %d-%d/%d", begin, end-1, about.Size))
		c.Status(fiber.StatusPartialContent)
	}
	if body == nil {
		c.Set(fiber.HeaderContentLength, strconv.FormatInt(end-begin, 10))
		return nil
	}
	return c.SendStream(body, int(end-begin))
}

// byteRange reads a Range header of one range, which begins at begin and ends before end.
// Any other is ignored, as RFC 9110 allows. fits is false for a range that has no byte of
// the file.
func byteRange(header string, size int64) (begin, end int64, part, fits bool) {
	whole := func() (int64, int64, bool, bool) { return 0, size, false, true }
	text, ok := strings.CutPrefix(header, "bytes=")
	first, last, dash := strings.Cut(text, "-")
	if !ok || !dash || strings.Contains(text, ",") {
		return whole()
	}
	number := func(t string) (int64, bool) {
		n, err := strconv.ParseUint(t, 10, 62)
		return int64(n), err == nil
	}
	if first == "" {
		n, ok := number(last)
		if !ok {
			return whole()
		}
		return max(0, size-n), size, true, n > 0 && size > 0
	}
	begin, ok = number(first)
	if !ok {
		return whole()
	}
	end = size
	if last != "" {
		n, ok := number(last)
		if !ok || n < begin {
			return whole()
		}
		end = min(size, n+1)
	}
	return begin, end, true, begin < size
}
