package transcript

import (
	"bytes"
	"encoding/json"
	"strings"

	"sessionhub/protocol"
)

// block is a piece of content, of a message or of a tool call. Pictures and sounds have
// their type and length only; their bytes stay in the log.
type block struct {
	Type       string          `json:"type"`
	Text       *string         `json:"text,omitempty"`
	MimeType   string          `json:"mimeType,omitempty"`
	Bytes      *int            `json:"bytes,omitempty"`
	URI        string          `json:"uri,omitempty"`
	Name       string          `json:"name,omitempty"`
	Path       string          `json:"path,omitempty"` // of a diff, as what follows
	OldText    *string         `json:"oldText,omitempty"`
	NewText    *string         `json:"newText,omitempty"`
	Hunks      []protocol.Hunk `json:"hunks,omitempty"`
	TerminalID string          `json:"terminalId,omitempty"`
	Truncated  bool            `json:"truncated,omitempty"`
}

// The types of a block that have a form of their own.
const (
	blockText     = "text"
	blockImage    = "image"
	blockAudio    = "audio"
	blockLink     = "resource_link"
	blockResource = "resource"
	blockTerminal = "terminal"
	blockWrapped  = "content" // ACP, "ToolCallContent": around another block
	blockOther    = "other"   // a block that cannot be read
)

// source is a block as ACP defines it. A field of another type than ACP's is left out.
type source struct {
	Type, Text, Data, MimeType, URI, Name, Path, TerminalID, Blob lenient
	MediaType                                                     lenient // of an attachment
	Size                                                          json.RawMessage
	OldText, NewText                                              *lenient
	Hunks                                                         json.RawMessage
	Truncated                                                     json.RawMessage
	Content, Resource                                             json.RawMessage
}

// lenient is a string. A value of another type becomes the empty string.
type lenient string

func (l *lenient) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*l = lenient(s)
	}
	return nil
}

// blocksOf reads content: a text or a list of blocks.
func blocksOf(raw json.RawMessage) []block {
	blocks := []block{}
	var text string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &text) == nil {
		return append(blocks, block{Type: blockText, Text: &text})
	}
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return blocks
	}
	for _, item := range items {
		blocks = append(blocks, blockOf(item))
	}
	return blocks
}

// blockOf reads one block.
func blockOf(raw json.RawMessage) block {
	var s source
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &s) != nil {
		return block{Type: blockOther, Bytes: length(len(raw))}
	}
	if s.Type == blockWrapped && len(s.Content) > 0 {
		b := blockOf(s.Content)
		b.Truncated = b.Truncated || string(s.Truncated) == "true"
		return b
	}
	b := block{
		Type: string(s.Type), MimeType: string(s.MimeType), URI: string(s.URI), Name: string(s.Name),
		Truncated: string(s.Truncated) == "true",
	}
	switch b.Type {
	case blockText:
		b.Text = (*string)(&s.Text)
	case blockImage, blockAudio:
		b.Bytes = length(decodedLen(string(s.Data)))
	case protocol.BlockAttachment: // its bytes are at the hub
		b.MimeType = string(s.MediaType)
		var size int
		if json.Unmarshal(s.Size, &size) == nil {
			b.Bytes = &size
		}
	case blockLink:
	case blockResource:
		var in source
		_ = json.Unmarshal(s.Resource, &in) // fields that cannot be read are left out
		b.URI, b.MimeType = string(in.URI), string(in.MimeType)
		if in.Blob != "" {
			b.Bytes = length(decodedLen(string(in.Blob)))
		} else {
			b.Text = (*string)(&in.Text)
		}
	case protocol.ContentDiff:
		b.Path, b.OldText, b.NewText = string(s.Path), (*string)(s.OldText), (*string)(s.NewText)
		if json.Unmarshal(s.Hunks, &b.Hunks) != nil {
			b.Hunks = nil
		}
	case blockTerminal:
		b.TerminalID = string(s.TerminalID)
	case "":
		return block{Type: blockOther, Bytes: length(len(raw))}
	default:
		b.Bytes = length(len(raw))
	}
	return b
}

func length(n int) *int { return &n }

// decodedLen is how many bytes a text in base64 stands for.
func decodedLen(s string) int {
	return len(strings.TrimRight(s, "=")) * 3 / 4
}

// maxScrubDepth bounds the work on a value. Deeper parts stay as they are.
const maxScrubDepth = 6

// scrub replaces pictures and sounds in a value by their length, as blocks do. Some
// agents have them in the output of a tool. The order of fields stays.
func scrub(raw json.RawMessage, depth int) json.RawMessage {
	if depth == 0 || !bytes.Contains(raw, []byte(`"data"`)) {
		return raw
	}
	switch raw[0] {
	case '[':
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return raw
		}
		for i := range items {
			items[i] = scrub(items[i], depth-1)
		}
		return joined('[', items, ']')
	case '{':
		var kind struct{ Type, Data lenient }
		names, values, ok := fieldsOf(raw)
		if !ok || json.Unmarshal(raw, &kind) != nil {
			return raw
		}
		media := (kind.Type == blockImage || kind.Type == blockAudio) && kind.Data != ""
		for i, name := range names {
			if media && string(name) == `"data"` {
				names[i], values[i] = []byte(`"bytes"`), protocol.Marshal(decodedLen(string(kind.Data)))
			} else {
				values[i] = scrub(values[i], depth-1)
			}
			values[i] = append(append(append([]byte{}, names[i]...), ':'), values[i]...)
		}
		return joined('{', values, '}')
	}
	return raw
}

// fieldsOf takes an object apart.
func fieldsOf(raw []byte) (names, values []json.RawMessage, ok bool) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if _, err := d.Token(); err != nil {
		return nil, nil, false
	}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err != nil || d.Decode(&value) != nil {
			return nil, nil, false
		}
		names, values = append(names, protocol.Marshal(name)), append(values, value)
	}
	return names, values, true
}

func joined(begin byte, parts []json.RawMessage, end byte) json.RawMessage {
	out := []byte{begin}
	for i, p := range parts {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, p...)
	}
	return append(out, end)
}
