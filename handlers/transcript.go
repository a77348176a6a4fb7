package handlers

import (
	"io"

	"github.com/gofiber/fiber/v2"

	"sessionhub/hub"
	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// transcript serves GET /api/sessions/:id/transcript. The hub makes the transcript while it
// is sent.
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
	var body io.Reader
	if c.Method() != fiber.MethodHead {
		if body, err = s.openDownload(ctx, c, &s.downloads, who, auth.ScopeRead, snap.State.Info.SessionID, s.cfg.Hub.Transcript(snap, format)); err != nil {
			return err
		}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set(fiber.HeaderContentType, format.MediaType())
	if name != "" {
		c.Set(fiber.HeaderContentDisposition, disposition(name))
	}
	if body == nil {
		return c.SendStatus(fiber.StatusOK)
	}
	return c.SendStream(body)
}
