package worker

import (
	"bytes"
	"encoding/json"
	"fmt"

	"sessionhub/internal/mediatype"
	"sessionhub/protocol"
)

// promptCapabilities are the kinds of content that an agent accepts in a prompt. Every
// agent also accepts text and links (ACP, "Initialization").
type promptCapabilities struct {
	Image           bool `json:"image"`
	Audio           bool `json:"audio"`
	EmbeddedContext bool `json:"embeddedContext"`
}

// lacking names the first kind of content in a message that the agent does not accept. It
// is empty if there is none.
func (c promptCapabilities) lacking(content json.RawMessage) string {
	var blocks []struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(content, &blocks) != nil {
		return "" // a text
	}
	for _, b := range blocks {
		switch {
		case b.Type == "image" && !c.Image:
			return "images"
		case b.Type == "audio" && !c.Audio:
			return "audio"
		case b.Type == "resource" && !c.EmbeddedContext:
			return "embedded resources"
		}
	}
	return ""
}

// mediaBlock is the part of a content block that describes its bytes (ACP, "Content").
type mediaBlock struct {
	Type     string `json:"type"`
	Data     string `json:"data"`
	MimeType string `json:"mimeType"`
	Resource struct {
		Blob     string `json:"blob"`
		MimeType string `json:"mimeType"`
	} `json:"resource"`
}

// problem says how the bytes differ from their mimeType. It is empty if they do not.
func (b mediaBlock) problem() string {
	switch {
	case b.Type == "image" || b.Type == "audio":
		return mediatype.Problem(b.MimeType, b.Data)
	case b.Type == "resource" && b.Resource.Blob != "":
		return mediatype.Problem(b.Resource.MimeType, b.Resource.Blob)
	}
	return ""
}

// mislabelled describes the first image or sound of a message whose bytes are not of its
// mimeType, or is empty. The agent would keep it in its history, and its model would
// refuse every message from then on.
func mislabelled(content json.RawMessage) string {
	var blocks []mediaBlock
	if json.Unmarshal(content, &blocks) != nil {
		return "" // a text
	}
	for i, b := range blocks {
		if problem := b.problem(); problem != "" {
			return fmt.Sprintf("content[%d]: %s", i, problem)
		}
	}
	return ""
}

// mayBeMedia saves most texts a parser. Texts come in many pieces.
func mayBeMedia(raw json.RawMessage) bool { return bytes.Contains(raw, []byte("mimeType")) }

// cleanBlock returns a content block of the agent. A block whose bytes are not of its
// mimeType becomes a text that says so.
func cleanBlock(raw json.RawMessage) json.RawMessage {
	var b mediaBlock
	if !mayBeMedia(raw) || json.Unmarshal(raw, &b) != nil {
		return raw
	}
	problem := b.problem()
	if problem == "" {
		return raw
	}
	return protocol.Marshal(map[string]string{
		"type": "text", "text": fmt.Sprintf("[%s left out: %s]", b.Type, problem),
	})
}

// cleanContent is cleanBlock for a content item of a tool call.
func cleanContent(raw json.RawMessage) json.RawMessage {
	var item struct {
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	}
	if !mayBeMedia(raw) || json.Unmarshal(raw, &item) != nil || item.Type != "content" {
		return raw
	}
	block := cleanBlock(item.Content)
	if string(block) == string(item.Content) {
		return raw
	}
	item.Content = block
	return protocol.Marshal(item)
}
