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

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// Bounds of transcripts. A transcript that is read slowly holds a page of the log, and the
// turns and tools in it that have not ended.
const (
	maxTranscripts        = 32               // of this node at a time
	maxTranscriptsPerUser = 4                // of this node at a time
	transcriptTime        = 10 * time.Minute // for a whole transcript; each piece has answerTimeout
	transcriptCheck       = time.Second      // the longest time between two checks of the caller
)

// transcript serves GET /api/sessions/:id/transcript. The hub makes the transcript while it
// is sent. If the hub cannot go on, the connection ends without the body's last chunk.
// Every client takes that for an error.
func (s *Server) transcript(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	format := hub.TranscriptFormat(c.Query("format", string(hub.TranscriptMarkdown)))
	if !format.Known() {
		return refuse(protocol.CodeInvalidRequest, "format must be markdown or json")
	}
	name := ""
	switch c.Query("download") {
	case "", "0":
	case "1":
		name = fileName(snap.State.Title(), snap.State.Info.SessionID) + format.Extension()
	default:
		return refuse(protocol.CodeInvalidRequest, "download must be 1 or 0")
	}
	var body *transcriptBody
	if c.Method() != fiber.MethodHead {
		conn := c.Context().Conn()
		release, err := s.transcripts.take(who.user, conn, "transcripts", maxTranscripts, maxTranscriptsPerUser, s.cfg.Metrics)
		if err != nil {
			return err
		}
		sent := false
		defer func() {
			if !sent { // an error, or a panic
				release()
			}
		}()
		body = &transcriptBody{
			server: s, what: "transcript", places: &s.transcripts, who: who, id: snap.State.Info.SessionID, conn: conn, release: release,
			from: s.cfg.Hub.Transcript(snap, format), end: time.Now().Add(transcriptTime), checked: time.Now(),
		}
		if body.piece, err = body.from.Next(ctx); err != nil { // an error answer is still possible
			return err
		}
		sent = true
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderContentType, format.MediaType())
	if name != "" {
		c.Set(fiber.HeaderContentDisposition, disposition(name))
	}
	if body == nil {
		return c.SendStatus(fiber.StatusOK)
	}
	return c.Status(fiber.StatusOK).SendStream(body)
}

// transcriptBody reads a transcript, or an attachment, for fasthttp. fasthttp calls Read and
// Close from the connection's goroutine.
type transcriptBody struct {
	server  *Server
	what    string // it is, for the log
	places  *transfers
	who     caller
	id      string
	conn    net.Conn
	from    pieces
	end     time.Time
	checked time.Time // when the caller was last judged
	piece   []byte    // made and not sent yet
	release func()
}

var errTranscriptTime = fmt.Errorf("it took longer than %v", transcriptTime)

// Read returns the next bytes. An error other than io.EOF ends the connection.
func (b *transcriptBody) Read(p []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			b.server.cfg.Log.Error("panic in an answer", "what", b.what, "session", b.id, "panic", r, "stack", stack())
			n, err = 0, errors.New("panic")
		}
	}()
	if err := b.more(); err != nil {
		if err != io.EOF {
			b.server.cfg.Log.Warn(b.what+" broken off", "session", b.id, "error", err)
		}
		return 0, err
	}
	n = copy(p, b.piece)
	b.piece = b.piece[n:]
	return n, nil
}

// more makes the next piece when the last one was sent. It first checks whether the
// transcript may go on.
func (b *transcriptBody) more() error {
	now := time.Now()
	if now.After(b.end) {
		return errTranscriptTime
	}
	if err := b.places.extend(b.conn, now); err != nil {
		return err
	}
	ctx, cancel := timeout()
	defer cancel()
	if len(b.piece) == 0 || now.Sub(b.checked) >= transcriptCheck {
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
func (b *transcriptBody) check(ctx context.Context) error {
	snap, err := b.server.cfg.Hub.Load(ctx, b.id)
	if err != nil {
		return err
	}
	return b.server.admits(b.who, snap, auth.ScopeRead)
}

// Close gives the place back. It may be called twice.
func (b *transcriptBody) Close() error {
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
