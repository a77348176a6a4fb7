package hub

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"unicode/utf8"

	"sessionhub/hub/engine"
	"sessionhub/hub/session"
	"sessionhub/hub/store"
	"sessionhub/internal/mediatype"
	"sessionhub/metrics"
	"sessionhub/protocol"
)

// Attachments are the files that people add to sessions. All methods may be called
// concurrently.
type Attachments struct{ cmd *Commands }

// ErrMediaType says that the bytes of an attachment are not what they are said to be.
var ErrMediaType = errors.New("wrong media type")

// CheckAttach says why the session cannot get one more attachment of so many bytes, or nil.
// A caller that is about to read the bytes asks first. Attach checks again.
func (a Attachments) CheckAttach(snap Snapshot, size int64) error {
	return session.CheckAttach(snap.State, size, a.cmd.cfg.MaxAttachmentsBytes)
}

// Attach adds a file to a session. declared is the media type that the caller names; empty:
// none. The attachment has the type of its bytes. A file costs its user as much as a message
// (Limits.Messages).
//
// Errors: session.ErrInvalid, session.ErrTooLarge, session.ErrSessionEnded, ErrMediaType,
// RateError, and those of the store.
func (a Attachments) Attach(ctx context.Context, id, name, declared string, data []byte) (protocol.Attachment, error) {
	cmd := a.cmd
	if err := cmd.env.ReadyFor(id); err != nil {
		return protocol.Attachment{}, err
	}
	if len(data) == 0 {
		return protocol.Attachment{}, fmt.Errorf("%w: the attachment has no bytes", session.ErrInvalid)
	}
	if len(data) > cmd.cfg.MaxAttachmentBytes {
		return protocol.Attachment{}, fmt.Errorf("%w: the attachment has more than the %d bytes of --max-attachment-bytes", session.ErrTooLarge, cmd.cfg.MaxAttachmentBytes)
	}
	kind, err := typeOf(declared, data)
	if err != nil {
		return protocol.Attachment{}, err
	}
	if name == "" {
		name = "attachment" + extension(kind)
	}
	if err := session.CheckAttachmentName(name); err != nil {
		return protocol.Attachment{}, err
	}
	snap, err := cmd.Load(ctx, id)
	if err != nil {
		return protocol.Attachment{}, err
	}
	if err := a.CheckAttach(snap, int64(len(data))); err != nil {
		return protocol.Attachment{}, err
	}
	if err := cmd.allow(ctx, metrics.LimitMessageRate, snap.State.Info.UserID, cmd.cfg.Limits.Messages); err != nil {
		return protocol.Attachment{}, err
	}
	in := session.InAttach{
		ID: "f_" + strings.ToLower(rand.Text()), Name: name, MediaType: kind, Data: data, MaxBytes: cmd.cfg.MaxAttachmentsBytes,
	}
	if _, err := cmd.engine.Decide(ctx, id, in, engine.Terms{}); err != nil {
		return protocol.Attachment{}, err
	}
	return protocol.Attachment{AttachmentID: in.ID, Name: name, MediaType: kind, Size: int64(len(data))}, nil
}

// typeOf decides the media type of an attachment: that of its bytes, if they tell it, or the
// declared one, or a text's. ErrMediaType: the declared type has a form that the bytes do not
// have.
func typeOf(declared string, data []byte) (string, error) {
	if is := mediatype.Of(data); is != "" {
		return is, nil
	}
	kind := "application/octet-stream"
	if declared != "" {
		var err error
		if kind, _, err = mime.ParseMediaType(declared); err != nil || !strings.Contains(kind, "/") || len(kind) > protocol.MaxMediaTypeBytes {
			return "", fmt.Errorf("%w: Content-Type cannot be read", ErrMediaType)
		}
	}
	if mediatype.Known(kind) {
		return "", fmt.Errorf("%w: the attachment is not %s, as its Content-Type says", ErrMediaType, kind)
	}
	if kind == "application/octet-stream" && utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 {
		kind = "text/plain"
	}
	return kind, nil
}

// extension is the end of a file's name for a media type that browsers and phones send
// without a name; empty: none.
func extension(kind string) string {
	return map[string]string{
		"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "image/heic": ".heic",
		"application/pdf": ".pdf", "text/plain": ".txt",
	}[kind]
}

// Attachment finds an attachment of a session, and a reader of its bytes. ErrNotFound.
func (a Attachments) Attachment(snap Snapshot, attachmentID string) (session.Attachment, *AttachmentReader, error) {
	found, err := snap.State.Attachments.ByID(attachmentID)
	if err != nil {
		return session.Attachment{}, nil, err
	}
	return found, &AttachmentReader{store: a.cmd.store, session: snap.State.Info.SessionID, of: found}, nil
}

// AttachmentReader reads the bytes of an attachment. It is for one goroutine.
type AttachmentReader struct {
	store   store.Parts
	session string
	of      session.Attachment
	next    int
}

// Next returns the next bytes, at most protocol.AttachmentPartBytes. After the last ones the
// error is io.EOF. ErrUnavailable: the store cannot be read, or has lost a part.
func (r *AttachmentReader) Next(ctx context.Context) ([]byte, error) {
	if r.next == r.of.Parts {
		return nil, io.EOF
	}
	part, err := store.ReadAttachment(ctx, r.store, r.session, r.of.ID, r.next)
	if err != nil {
		return nil, err
	}
	r.next++
	return part, nil
}
