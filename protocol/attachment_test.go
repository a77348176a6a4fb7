package protocol

import (
	"encoding/json"
	"errors"
	"testing"
)

// Every block that refers to an attachment is found, however it is written, and everything
// else stays as it is.
func TestMapAttachments(t *testing.T) {
	to := func(at int, b AttachmentBlock) (json.RawMessage, error) {
		if b.AttachmentID == "none" {
			return nil, errors.ErrUnsupported
		}
		return Marshal(map[string]any{"at": at, "id": b.AttachmentID}), nil
	}
	for content, want := range map[string]string{
		`"attachment"`: `"attachment"`,
		`[{"type":"text","text":"an attachment"}]`:                                          `[{"type":"text","text":"an attachment"}]`,
		`[{"text":"{\"type\":\"attachment\"}","type":"text"}]`:                              `[{"text":"{\"type\":\"attachment\"}","type":"text"}]`,
		`[{"type":"text","text":"1.0 ","x":1.0},{"type":"attachment","attachmentId":"f1"}]`: `[{"type":"text","text":"1.0 ","x":1.0},{"at":1,"id":"f1"}]`,
		`[{"type":"\u0061ttachment","attachmentId":"f1"}]`:                                  `[{"at":0,"id":"f1"}]`,
		`[{"type":"attachmen\u0074","\u0061ttachmentId":"f1"}]`:                             `[{"at":0,"id":"f1"}]`,
		`[1,null,"attachment",{"type":7}]`:                                                  `[1,null,"attachment",{"type":7}]`,
		``:                                                                                  ``,
	} {
		if got, err := MapAttachments(json.RawMessage(content), to); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", content, got, err, want)
		}
	}
	for _, bad := range []string{`[{"type":"attachment","attachmentId":"none"}]`, `[{"type":"attachment","attachmentId":7}]`, `[attachment`} {
		if got, err := MapAttachments(json.RawMessage(bad), to); err == nil {
			t.Errorf("%s: %s", bad, got)
		}
	}
}
