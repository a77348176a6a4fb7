package session

import (
	"encoding/base64"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"

	"sessionhub/internal/mediatype"
	"sessionhub/protocol"
)

// maxContentBlocks bounds the blocks of one message. Their size is bounded by
// --max-message-bytes.
const maxContentBlocks = 1000

// contentBlock holds the fields of a content block that the hub checks (ACP, "Content").
// The worker knows its agent, so the worker decides which types the agent takes.
type contentBlock struct {
	Type     string  `json:"type"`
	Text     *string `json:"text"`
	Data     *string `json:"data"`
	MimeType string  `json:"mimeType"`
	URI      string  `json:"uri"`
	Name     string  `json:"name"`

	AttachmentID string `json:"attachmentId"`

	Resource *struct {
		URI      string  `json:"uri"`
		Text     *string `json:"text"`
		Blob     *string `json:"blob"`
		MimeType string  `json:"mimeType"`
	} `json:"resource"`
}

const wantContent = `content must be a non-empty string or an array of blocks, not all of them empty, like {"type":"text","text":"..."}`

// CheckContent accepts a string or an array of content blocks that is not empty as a
// whole. It returns the content as compact JSON. A refusal is ErrInvalid, with the
// reason.
func CheckContent(raw []byte) ([]byte, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, wantContent)
	}
	content, err := protocol.Compact(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: content: %w", ErrInvalid, err)
	}
	var text string
	if protocol.Decode(content, &text) == nil && content[0] == '"' {
		if strings.TrimSpace(text) == "" {
			return nil, fmt.Errorf("%w: %s", ErrInvalid, wantContent)
		}
		return content, nil
	}
	var blocks []contentBlock
	if content[0] != '[' || protocol.Decode(content, &blocks) != nil || len(blocks) == 0 {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, wantContent)
	}
	if len(blocks) > maxContentBlocks {
		return nil, fmt.Errorf("%w: content has more than %d blocks", ErrInvalid, maxContentBlocks)
	}
	attached := make(map[string]bool)
	for i, b := range blocks {
		problem := b.problem()
		if b.Type == protocol.BlockAttachment && problem == "" {
			switch {
			case attached[b.AttachmentID]:
				problem = "the message has this attachment already"
			case len(attached) == protocol.MaxMessageAttachments:
				problem = fmt.Sprintf("a message has at most %d attachments", protocol.MaxMessageAttachments)
			}
			attached[b.AttachmentID] = true
		}
		if problem != "" {
			return nil, fmt.Errorf("%w: content[%d]: %s", ErrInvalid, i, problem)
		}
	}
	if !slices.ContainsFunc(blocks, func(b contentBlock) bool { return b.Type != "text" || strings.TrimSpace(*b.Text) != "" }) {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, wantContent)
	}
	return content, nil
}

// problem says what is wrong with a block; empty: nothing.
func (b contentBlock) problem() string {
	switch b.Type {
	case "text":
		if b.Text == nil {
			return "a text block needs a text"
		}
	case "image", "audio":
		kind, _, err := mime.ParseMediaType(b.MimeType)
		if err != nil || !strings.HasPrefix(kind, b.Type+"/") {
			return "a block of type " + b.Type + " needs a mimeType of " + b.Type + "/..."
		}
		if b.Data == nil || !isBase64(*b.Data) {
			return "a block of type " + b.Type + " needs data in base64"
		}
		return mediatype.Problem(b.MimeType, *b.Data)
	case "resource_link":
		if !isURI(b.URI) || b.Name == "" {
			return "a resource_link needs a uri and a name"
		}
	case "resource":
		r := b.Resource
		if r == nil || !isURI(r.URI) || (r.Text == nil) == (r.Blob == nil) {
			return "a resource needs a uri, and either text or blob"
		}
		if r.Blob != nil && !isBase64(*r.Blob) {
			return "the blob of a resource must be base64"
		}
		if r.Blob != nil {
			return mediatype.Problem(r.MimeType, *r.Blob)
		}
	case protocol.BlockAttachment:
		if b.AttachmentID == "" || len(b.AttachmentID) > protocol.MaxMessageIDBytes {
			return "a block of type attachment needs the attachmentId of an attachment of the session"
		}
	default:
		return "a block is of type text, image, audio, resource_link, resource or attachment"
	}
	return ""
}

func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return s != "" && err == nil
}

func isURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != ""
}
