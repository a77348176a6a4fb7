package client

import (
	"context"
	"io"
	"net/http"
	"net/url"

	"sessionhub/protocol"
)

// AddAttachment adds a file to the session. name is the file's name without a path; the hub
// makes one if it is empty. mediaType may be empty: the hub looks at the bytes first anyway.
// A message refers to the file by an AttachmentContent.
//
// It reads file once, to its end. It is not repeated: a repeat would add another file. A file
// over a limit of the hub is an *Error with protocol.CodePayloadTooLarge.
func (s *Session) AddAttachment(ctx context.Context, name, mediaType string, file io.Reader) (protocol.Attachment, error) {
	q := url.Values{}
	if name != "" {
		q.Set("name", name)
	}
	var out protocol.Attachment
	err := s.client.do(ctx, call{
		op: "add attachment", method: http.MethodPost, path: s.path("/attachments"), query: q, token: s.bearer(), file: file, mediaType: mediaType,
	}, &out)
	return out, err
}

// Attachment opens the bytes of a file of the session. Reading fails if the hub broke it off.
// The caller must close it.
func (s *Session) Attachment(ctx context.Context, attachmentID string) (io.ReadCloser, error) {
	resp, err := s.client.send(ctx, call{
		op: "read attachment", method: http.MethodGet, path: s.path("/attachments/" + url.PathEscape(attachmentID)), token: s.bearer(),
	})
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// AttachmentContent is the content of a message with a text, which may be empty, and files of
// the session: see Session.MessageContent.
func AttachmentContent(text string, files ...protocol.Attachment) []byte {
	var blocks []any
	if text != "" {
		blocks = append(blocks, map[string]string{"type": "text", "text": text})
	}
	for _, f := range files {
		blocks = append(blocks, protocol.AttachmentBlock{Type: protocol.BlockAttachment, AttachmentID: f.AttachmentID})
	}
	return protocol.Marshal(blocks)
}
