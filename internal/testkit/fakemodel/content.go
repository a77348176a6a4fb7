package fakemodel

import (
	"encoding/json"
	"slices"
	"strings"
)

// contentTexts reads what OpenAI and Anthropic both allow as content: a string,
// or a list of parts of which those with a text count.
func contentTexts(raw json.RawMessage) []string {
	var plain string
	if json.Unmarshal(raw, &plain) == nil {
		return []string{plain}
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) != nil {
		return nil // an image or a form that no script looks at
	}
	var texts []string
	for _, part := range parts {
		if part.Text != "" {
			texts = append(texts, part.Text)
		}
	}
	return texts
}

// contextTags begin the texts that agents put into the user's role on their own:
// codex the first three, claude the next ones (the last two of these are a file and an
// image that were attached). The last one begins the worker's note about attached files.
var contextTags = [...]string{
	"<environment_context>", "<user_instructions>", "<turn_aborted>", "<system-reminder>", "<context ref=", "[Image: ", "<attached_files>",
}

// taskNotification begins what claude tells its model when a command in the background
// has ended. It stands for a text of the user.
const taskNotification = "<task-notification>"

// userText is the last of the texts that the user wrote, or "".
func userText(texts []string) string {
	last := ""
	for _, text := range texts {
		text = strings.TrimSpace(text)
		ofAgent := slices.ContainsFunc(contextTags[:], func(tag string) bool { return strings.HasPrefix(text, tag) })
		switch {
		case strings.Contains(text, taskNotification): // some wrap it into a reminder
			last = taskNotification
		case text != "" && !ofAgent:
			last = text
		}
	}
	return last
}

// properties reads the schemas of a tool's arguments. One that is not a plain
// type (a union, say) is left with its name only.
func properties(raw map[string]json.RawMessage) map[string]Property {
	read := make(map[string]Property, len(raw))
	for name, schema := range raw {
		var property Property
		_ = json.Unmarshal(schema, &property) // what does not fit stays zero
		read[name] = property
	}
	return read
}
