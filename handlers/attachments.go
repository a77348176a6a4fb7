package handlers

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"sessionhub/internal/auth"
	"sessionhub/protocol"
)

// Bounds of attachments that are on their way. A node holds an upload in memory until it is
// whole, and a part of a download.
const (
	maxUploads                    = 32       // of this node at a time
	maxUploadsPerUser             = 4        // of this node at a time
	uploadPace                    = 64 << 10 // bytes in a second that an upload needs, after bodyTimeout
	maxAttachmentDownloads        = 64       // of this node at a time: those with more than one part
	maxAttachmentDownloadsPerUser = 8        // of this node at a time
)

// uploadPath reports whether a request is for postAttachment. guard needs to know before
// there is a route.
func uploadPath(c *fiber.Ctx) bool {
	path, ours := strings.CutPrefix(c.Path(), "/api/sessions/")
	_, leaf, _ := strings.Cut(strings.TrimSuffix(path, "/"), "/")
	return ours && c.Method() == fiber.MethodPost && leaf == "attachments"
}

// checkLength refuses a body that its header says to be too long.
func (s *Server) checkLength(c *fiber.Ctx) error {
	in := incomingOf(c)
	switch {
	case in == nil:
	case uploadPath(c):
		if in.length > s.cfg.MaxAttachmentBytes {
			return s.attachmentTooLarge()
		}
	case in.length > s.cfg.MaxMessageBytes:
		return fiber.ErrRequestEntityTooLarge
	}
	return nil
}

func (s *Server) attachmentTooLarge() error {
	return refuse(protocol.CodePayloadTooLarge, "an attachment has at most the %d bytes of --max-attachment-bytes", s.cfg.MaxAttachmentBytes)
}

// postAttachment adds the body to the session as a file. It reads the body when the caller
// may send one and the session has room for it.
func (s *Server) postAttachment(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeWrite)
	if err != nil {
		return err
	}
	declared, err := attachmentType(c)
	if err != nil {
		return err
	}
	in := incomingOf(c)
	if in == nil {
		return refuse(protocol.CodeInvalidRequest, "the attachment has no bytes: they are the body of the request")
	}
	if err := s.cfg.Hub.CheckAttach(snap, int64(max(in.length, 1))); err != nil {
		return err
	}
	release, err := s.uploads.take(who.user, c.Context().Conn(), s.cfg.Metrics)
	if err != nil {
		return err
	}
	defer release()
	data, err := s.upload(in)
	if err != nil {
		return err
	}
	store, cancel := timeout() // the body has taken its time
	defer cancel()
	id := snap.State.Info.SessionID
	if _, _, err := s.admitTo(store, c, who, auth.ScopeWrite); err != nil { // nor may it be revoked by now
		return err
	}
	out, err := s.cfg.Hub.Attach(store, id, c.Query("name"), declared, data)
	if err != nil {
		return err
	}
	s.audit("attachment added", who, id, "attachment", out.AttachmentID, "bytes", out.Size)
	out.URI = s.basePath + "/api/sessions/" + id + "/attachments/" + out.AttachmentID
	return send(c, fiber.StatusCreated, out)
}

// attachmentType reads the declared type of an upload. It refuses what the forms of a web
// page declare: the body is the file itself.
func attachmentType(c *fiber.Ctx) (string, error) {
	if e := c.Get(fiber.HeaderContentEncoding); e != "" && !strings.EqualFold(e, "identity") {
		return "", refuse(protocol.CodeUnsupportedMedia, "the body must not be compressed")
	}
	declared := c.Get(fiber.HeaderContentType)
	if declared == "" {
		return "", nil
	}
	kind, _, err := mime.ParseMediaType(declared)
	if err != nil || strings.HasPrefix(kind, "multipart/") || kind == fiber.MIMEApplicationForm {
		return "", refuse(protocol.CodeUnsupportedMedia,
			"the body must be the file itself, declared as Content-Type: its media type, or application/octet-stream")
	}
	return kind, nil
}

// upload reads a file of at most MaxAttachmentBytes. It takes memory only for what has
// arrived.
func (s *Server) upload(in *incoming) ([]byte, error) {
	most := s.cfg.MaxAttachmentBytes
	expected := most
	if !in.chunked() {
		expected = in.length
	}
	patience := bodyTimeout + time.Duration(expected/uploadPace)*time.Second
	if in.conn != nil {
		if err := in.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return nil, fmt.Errorf("wait for an attachment: %w", err)
		}
	}
	data, err := io.ReadAll(io.LimitReader(in, int64(most)+1))
	var late net.Error
	switch {
	case errors.As(err, &late) && late.Timeout() && s.stopping.Load():
		return nil, errStopping
	case errors.As(err, &late) && late.Timeout():
		return nil, refuse(protocol.CodeRequestTimeout, "the attachment did not come within %v", patience)
	case err != nil:
		return nil, refuse(protocol.CodeInvalidRequest, "the body broke off or is not well-formed")
	case len(data) > most:
		return nil, s.attachmentTooLarge()
	}
	return data, nil
}

// getAttachment answers with the bytes of an attachment. They never change, and are never
// shown as a page of the hub.
func (s *Server) getAttachment(c *fiber.Ctx) error {
	ctx, cancel := timeout()
	defer cancel()
	who, snap, err := s.authorize(ctx, c, auth.ScopeRead)
	if err != nil {
		return err
	}
	found, from, err := s.cfg.Hub.Attachment(snap, c.Params("attachmentId"))
	if err != nil {
		return err
	}
	head := func() {
		// A browser keeps it for this credential only.
		c.Set(fiber.HeaderCacheControl, "private, max-age=31536000, immutable")
		c.Vary(fiber.HeaderAuthorization, "X-API-Key", fiber.HeaderCookie)
		c.Set(fiber.HeaderETag, `"`+found.ID+`"`)
	}
	if strings.Contains(c.Get(fiber.HeaderIfNoneMatch), `"`+found.ID+`"`) {
		head()
		return c.SendStatus(fiber.StatusNotModified)
	}
	var first []byte
	var body io.Reader
	switch {
	case c.Method() == fiber.MethodHead:
	case found.Parts == 1:
		first, err = from.Next(ctx)
	default:
		body, err = s.openDownload(ctx, c, &s.attachments, who, auth.ScopeRead, snap.State.Info.SessionID, from)
	}
	if err != nil {
		return err
	}
	head()
	c.Set(fiber.HeaderContentType, found.MediaType)
	c.Set(fiber.HeaderContentDisposition, disposition(found.Name))
	c.Set(fiber.HeaderContentSecurityPolicy, "sandbox; default-src 'none'")
	switch {
	case c.Method() == fiber.MethodHead:
		c.Response().SkipBody = true
		c.Response().Header.SetContentLength(int(found.Size))
		return nil
	case found.Parts == 1:
		return c.Send(first)
	}
	return c.SendStream(body, int(found.Size))
}
