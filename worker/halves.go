package worker

import (
	"bytes"
	"encoding/json"

	"sessionhub/protocol"
)

// halves joins characters that an agent has cut in two (RFC 8259, section 7). JavaScript
// agents cut a stream between UTF-16 units. A piece of text then ends in the first half of
// a surrogate pair, and the next piece begins with the second half.
//
// halves keeps the first half until the agent's next line. If the second half is not there,
// the first one was alone, and U+FFFD takes its place. The zero halves is ready. It belongs
// to the agent's reader.
type halves struct {
	half []byte // the escape of a high surrogate, as \ud83d; empty: none waits
	from halfChunk
}

// halfChunk is where a first half came from: only the next piece of the same text has the
// second.
type halfChunk struct{ session, kind string }

// chunkText is a piece of text of the agent (ACP, "Agent Reports Output"), as far
// as its ends matter.
type chunkText struct {
	from halfChunk
	text []byte // the JSON string, with its quotes
}

// lines returns the lines that replace one line of the agent.
func (h *halves) lines(line []byte) [][]byte {
	waits := len(h.half) > 0
	if !waits && !bytes.Contains(line, []byte(`\ud`)) && !bytes.Contains(line, []byte(`\uD`)) {
		return [][]byte{line}
	}
	chunk, ok := readChunk(line)
	if waits && (!ok || chunk.from != h.from) {
		return append(h.end(), h.lines(line)...) // it can end in a half of its own
	}
	if !ok {
		return [][]byte{line}
	}
	text, changed := chunk.text, false
	if waits {
		if len(text) == 2 { // nothing yet
			return [][]byte{line}
		}
		if surrogate(text[1:]) != 'l' {
			return append(h.end(), h.lines(line)...)
		}
		text = bytes.Join([][]byte{{'"'}, h.half, text[1:]}, nil)
		h.half, changed = nil, true
	}
	if at := len(text) - 1 - 6; at >= 1 && surrogate(text[at:]) == 'h' && !escaped(text, at) {
		h.half, h.from = bytes.Clone(text[at:at+6]), chunk.from
		text, changed = append(bytes.Clone(text[:at]), '"'), true
	}
	if !changed {
		return [][]byte{line}
	}
	return [][]byte{withText(line, text)}
}

// end returns the line for a first half whose second half never came.
func (h *halves) end() [][]byte {
	if len(h.half) == 0 {
		return nil
	}
	h.half = nil
	lone := encodeNotification("session/update", map[string]any{
		"sessionId": h.from.session,
		"update":    map[string]any{"sessionUpdate": h.from.kind, "content": map[string]string{"type": "text", "text": "\uFFFD"}},
	})
	return [][]byte{bytes.TrimSpace(lone)}
}

// escaped reports whether a backslash before it escapes the backslash at a place of a JSON
// string.
func escaped(text []byte, at int) bool {
	n := 0
	for n < at && text[at-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

func readChunk(line []byte) (c chunkText, ok bool) {
	var m struct {
		Method string `json:"method"`
		Params struct {
			SessionID string `json:"sessionId"`
			Update    struct {
				Kind    string `json:"sessionUpdate"`
				Content struct {
					Type string          `json:"type"`
					Text json.RawMessage `json:"text"`
				} `json:"content"`
			} `json:"update"`
		} `json:"params"`
	}
	if json.Unmarshal(line, &m) != nil || m.Method != "session/update" {
		return chunkText{}, false
	}
	u := m.Params.Update
	if u.Kind != "agent_message_chunk" && u.Kind != "agent_thought_chunk" || u.Content.Type != "text" || !isString(u.Content.Text) {
		return chunkText{}, false
	}
	return chunkText{from: halfChunk{session: m.Params.SessionID, kind: u.Kind}, text: u.Content.Text}, true
}

// withText returns a chunk's line with another text. Everything else in the line stays.
func withText(line, text []byte) []byte {
	path := []string{"params", "update", "content", "text"}
	objects := make([]map[string]json.RawMessage, len(path))
	raw := json.RawMessage(line)
	for i, key := range path {
		if json.Unmarshal(raw, &objects[i]) != nil {
			return line // cannot happen: readChunk has read the line
		}
		raw = objects[i][key]
	}
	raw = text
	for i := len(path) - 1; i >= 0; i-- {
		objects[i][path[i]] = raw
		raw = protocol.Marshal(objects[i])
	}
	return raw
}
