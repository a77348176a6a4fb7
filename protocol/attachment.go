package protocol

import (
	"bytes"
	"encoding/json"
)

// Limits of attachments. The bytes of one attachment, and of all attachments of a session,
// are bounded by the settings of the hub.
const (
	MaxAttachments         = 256       // of one session
	MaxMessageAttachments  = 32        // that one message refers to
	MaxAttachmentNameBytes = 255       // of an attachment's name
	MaxMediaTypeBytes      = 100       // of its media type
	AttachmentPartBytes    = 512 << 10 // of each part but the last
)

// BlockAttachment is the type of a content block that refers to an attachment.
const BlockAttachment = "attachment"

// Attachment is a file that a user has added to a session. It answers POST attachments. URI
// is the path of its bytes at the hub.
type Attachment struct {
	AttachmentID string `json:"attachmentId"`
	Name         string `json:"name"`
	MediaType    string `json:"mediaType"`
	Size         int64  `json:"size"` // in bytes
	URI          string `json:"uri"`
}

// AttachmentBlock is a content block of a message that refers to an attachment. A client
// sends the type and the id. The hub adds the rest.
type AttachmentBlock struct {
	Type         string `json:"type"` // BlockAttachment
	AttachmentID string `json:"attachmentId"`
	Name         string `json:"name,omitempty"`
	MediaType    string `json:"mediaType,omitempty"`
	Size         int64  `json:"size,omitempty"` // in bytes
}

// MapAttachments replaces each block of a message that refers to an attachment by what
// replace returns for it. Other content stays as it is. content is compact JSON, as
// Compact returns it, or JSON that was made by Marshal. at is the block's index.
func MapAttachments(content json.RawMessage, replace func(at int, b AttachmentBlock) (json.RawMessage, error)) (json.RawMessage, error) {
	// Saves most messages a parser. An escape could hide the type.
	if !bytes.HasPrefix(content, []byte("[")) || !bytes.Contains(content, []byte(BlockAttachment)) && !bytes.Contains(content, []byte(`\u`)) {
		return content, nil
	}
	var blocks []json.RawMessage
	if err := Decode(content, &blocks); err != nil {
		return nil, err
	}
	changed := false
	for i, raw := range blocks {
		var kind struct {
			Type string `json:"type"`
		}
		if Decode(raw, &kind) != nil || kind.Type != BlockAttachment {
			continue
		}
		var b AttachmentBlock
		if err := Decode(raw, &b); err != nil {
			return nil, err
		}
		to, err := replace(i, b)
		if err != nil {
			return nil, err
		}
		blocks[i], changed = to, true
	}
	if !changed {
		return content, nil
	}
	return Marshal(blocks), nil
}
