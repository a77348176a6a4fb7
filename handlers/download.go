package handlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
)

// Bounds of downloads. A download that is read slowly holds one piece: of a transcript a page
// of the log, and the turns and tools in it that have not ended.
const (
	maxDownloads        = 32               // of this node at a time
	maxDownloadsPerUser = 4                // of this node at a time
	downloadTime        = 10 * time.Minute // for a whole one; each piece has answerTimeout
	downloadCheck       = time.Second      // the longest time between two checks of the caller
)

// pieces are a download that is made while it is sent. Next gives the next piece, which is
// valid until the next call, and io.EOF after the last one.
type pieces interface {
	Next(ctx context.Context) ([]byte, error)
}

// openDownload makes the body of an answer of pieces. The first piece is made here, so an
// error answer is still possible. If a later piece cannot be made, the connection ends
// without the body's end. Every client takes that for an error. The caller gives the body
// to fasthttp, which closes it.
func (s *Server) openDownload(ctx context.Context, c *fiber.Ctx, places *transfers, who caller, scope auth.Scope, id string, from pieces) (io.ReadCloser, error) {
	conn := c.Context().Conn()
	release, err := places.take(who.user, conn, s.cfg.Metrics)
	if err != nil {
		return nil, err
	}
	opened := false
	defer func() {
		if !opened { // an error, or a panic
			release()
		}
	}()
	body := &downloadBody{
		server: s, places: places, who: who, scope: scope, id: id, conn: conn, release: release,
		from: from, end: time.Now().Add(downloadTime), checked: time.Now(),
	}
	if body.piece, err = from.Next(ctx); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	opened = true
	return body, nil
}

// downloadBody reads a download for fasthttp. fasthttp calls Read and Close from the
// connection's goroutine.
type downloadBody struct {
	server  *Server
	places  *transfers
	who     caller
	id      string
	conn    net.Conn
	scope   auth.Scope
	from    pieces
	end     time.Time
	checked time.Time // when the caller was last judged
	piece   []byte    // made and not sent yet
	release func()
}

var errDownloadTime = fmt.Errorf("it took longer than %v", downloadTime)

// Read returns the next bytes. An error other than io.EOF ends the connection.
func (b *downloadBody) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			b.server.cfg.Log.Error("panic in an answer", "what", b.places.what, "session", b.id, "panic", r, "stack", stack())
			n, err = 0, errors.New("panic")
		}
	}()
	if err := b.more(); err != nil {
		if err != io.EOF {
			b.server.cfg.Log.Warn("an answer was broken off", "what", b.places.what, "session", b.id, "error", err)
		}
		return 0, err
	}
	n = copy(p, b.piece)
	b.piece = b.piece[n:]
	return n, nil
}

// more makes the next piece when the last one was sent. It first checks whether the
// download may go on.
func (b *downloadBody) more() error {
	now := time.Now()
	if now.After(b.end) {
		return errDownloadTime
	}
	if err := b.places.extend(b.conn, now); err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	if len(b.piece) == 0 || now.Sub(b.checked) >= downloadCheck {
		if err := b.check(ctx); err != nil {
			return err
		}
		b.checked = now
	}
	if len(b.piece) > 0 {
		return nil
	}
	var err error
	b.piece, err = b.from.Next(ctx)
	return err
}

// check checks the caller against the session as it is now.
func (b *downloadBody) check(ctx context.Context) error {
	snap, err := b.server.cfg.Hub.Load(ctx, b.id)
	if err != nil {
		return err
	}
	return b.server.admits(b.who, snap, b.scope)
}

// Close gives the place back. It may be called twice.
func (b *downloadBody) Close() error {
	b.release()
	return nil
}

// maxFileName bounds the name of a file, in characters.
const maxFileName = 60

// fileName makes a file name of a title that is valid on every system: letters, digits, and
// "-_." between them.
func fileName(title, otherwise string) string {
	name := strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.", r) {
			return r
		}
		return ' '
	}, title)
	runes := []rune(strings.Join(strings.Fields(name), "-"))
	name = strings.Trim(string(runes[:min(len(runes), maxFileName)]), "-_.")
	if name == "" {
		return otherwise
	}
	return name
}

// disposition is the header of a file to be saved (RFC 6266). It has the name in all
// scripts, and an ASCII name for older clients.
func disposition(name string) string {
	plain := strings.Map(func(r rune) rune {
		if r > unicode.MaxASCII || r == '"' || r == '\\' || r == '%' {
			return '_'
		}
		return r
	}, name)
	return `attachment; filename="` + plain + `"; filename*=UTF-8''` + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}
