package worker

import "encoding/json"

// promptCapabilities are the kinds of content that an agent takes in a prompt
// beside text and links, which all take (ACP, "Initialization").
type promptCapabilities struct {
	Image           bool `json:"image"`
	Audio           bool `json:"audio"`
	EmbeddedContext bool `json:"embeddedContext"`
}

// lacking names the first kind of content in a message that the agent does not
// take, or nothing.
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
