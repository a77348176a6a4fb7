package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"sessionhub/protocol"
)

// cutMark ends a text that was too long for an event.
const cutMark = "\n[sessionhub: the rest was cut, it is over --max-event-bytes]"

// fit makes events of at most most bytes of data from one of a worker: longer
// text is split, longer tool output is cut with a mark. The common case, an
// event that fits, costs nothing.
func fit(t protocol.EventType, data json.RawMessage, most int) ([]NewEvent, error) {
	if len(data) <= most {
		return []NewEvent{{Type: t, Data: data}}, nil
	}
	out, err := shorten(t, data, most)
	if err != nil {
		return nil, err
	}
	for _, e := range out {
		if len(e.Data) > most { // what is long is an id or a name
			return nil, tooLong(t, data, most)
		}
	}
	return out, nil
}

func tooLong(t protocol.EventType, data json.RawMessage, most int) error {
	return fmt.Errorf("%w: %d bytes of %s data are over --max-event-bytes %d", ErrInvalid, len(data), t, most)
}

func shorten(t protocol.EventType, data json.RawMessage, most int) ([]NewEvent, error) {
	switch t {
	case protocol.EventOutput:
		return splitOutput(data, most)
	case protocol.EventToolCall:
		var d protocol.ToolCallData
		if err := protocol.Decode(data, &d); err != nil {
			return nil, err
		}
		return []NewEvent{{Type: t, Data: cutToolCall(d, most)}}, nil
	case protocol.EventAgentUpdate:
		var d protocol.AgentUpdateData
		if err := protocol.Decode(data, &d); err != nil {
			return nil, err
		}
		d.Raw = cutJSON(d.Raw, most-len(d.Kind)-100)
		return []NewEvent{{Type: t, Data: protocol.Marshal(d)}}, nil
	}
	return nil, tooLong(t, data, most)
}

func splitOutput(data json.RawMessage, most int) ([]NewEvent, error) {
	var d protocol.OutputData
	if err := protocol.Decode(data, &d); err != nil {
		return nil, err
	}
	var out []NewEvent
	text := d.Text
	for {
		// A byte of text is at most six of JSON (\u0000), and most often one;
		// never less, so no more than most of it has to be tried.
		n := len(text)
		if n > most {
			n = cutAt(text, most)
		}
		for {
			d.Text = text[:n]
			piece := protocol.Marshal(d)
			if len(piece) <= most || n < 8 {
				out = append(out, NewEvent{Type: protocol.EventOutput, Data: piece})
				break
			}
			n = cutAt(text, min(n*3/4, n*most/len(piece)))
		}
		if text = text[n:]; text == "" {
			return out, nil
		}
	}
}

// cutAt moves n back to the start of a character; it is at least one character.
func cutAt(s string, n int) int {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	if n == 0 {
		_, n = utf8.DecodeRuneInString(s)
	}
	return n
}

// cutToolCall shortens the parts of a tool call that can be long, the output
// first: what the tool was asked to do stays readable longest.
func cutToolCall(d protocol.ToolCallData, most int) json.RawMessage {
	d.Title = cutText(d.Title, maxTitleBytes)
	// What is over is counted on: to encode all of it again for each of very
	// many parts would take the square of its length.
	over := len(protocol.Marshal(d)) - most
	shorter := func(part *json.RawMessage, cut func(json.RawMessage, int) json.RawMessage, least int) {
		if over <= 0 || len(*part) == 0 {
			return
		}
		if short := cut(*part, max(len(*part)-over, least)); len(short) < len(*part) {
			over -= len(*part) - len(short)
			*part = short
		}
	}
	shorter(&d.Output, cutJSON, most/4)
	for i := range d.Content {
		shorter(&d.Content[i], cutContent, most/4/len(d.Content))
	}
	shorter(&d.Input, cutJSON, most/4)
	if over > 0 {
		// Very many small parts: the lists go.
		d.Content, d.Locations = []json.RawMessage{cutContent(nil, 0)}, nil
	}
	return protocol.Marshal(d)
}

// cutApproval shortens a question until it fits: one that is refused is one that
// nobody ever answers, and its agent waits. What stands for the title, the input
// and the content has the hash of the whole, so that an "always" covers no other.
func cutApproval(a protocol.ToolApprovalData, most int) protocol.ToolApprovalData {
	note := func(raw json.RawMessage) string {
		return fmt.Sprintf("%s (%d bytes, sha256 %s)", cutMark, len(raw), hashJSON(raw))
	}
	if top := min(maxTitleBytes, most/8); len(a.Title) > top {
		a.Title = a.Title[:cutAt(a.Title, top)] + note(protocol.Marshal(a.Title))
	}
	if len(a.Input) > most/4 {
		var head string
		_ = json.Unmarshal(cutJSON(a.Input, most/4), &head) // it is a string
		a.Input = protocol.Marshal(strings.TrimSuffix(head, cutMark) + note(a.Input))
	}
	size := 0
	for i, item := range a.Content {
		if size += len(item); size > most/4 {
			rest := textBlock(protocol.Marshal(note(protocol.Marshal(a.Content))))
			a.Content = append(slices.Clone(a.Content[:i]), rest)
			break
		}
	}
	return a
}

// cutJSON makes a JSON string of the beginning of a value that is too long.
func cutJSON(raw json.RawMessage, most int) json.RawMessage {
	if len(raw) <= most {
		return raw
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	}
	// Marshalled it can be longer than it is.
	for n := most; ; n = n * 3 / 4 {
		short := protocol.Marshal(cutText(text, n))
		if len(short) <= most || n < 2*len(cutMark) {
			return short
		}
	}
}

// cutContent makes a text block of an ACP tool call content that is too long.
func cutContent(raw json.RawMessage, most int) json.RawMessage {
	var c struct {
		Content struct {
			Text string `json:"text"`
		} `json:"content"`
	}
	text := string(raw)
	if json.Unmarshal(raw, &c) == nil && c.Content.Text != "" {
		text = c.Content.Text
	}
	return textBlock(cutJSON(protocol.Marshal(text+cutMark), max(most-60, 100)))
}

// textBlock makes an ACP tool call content of a JSON string.
func textBlock(text json.RawMessage) json.RawMessage {
	type block struct {
		Type string          `json:"type"`
		Text json.RawMessage `json:"text"`
	}
	return protocol.Marshal(struct {
		Type    string `json:"type"`
		Content block  `json:"content"`
	}{"content", block{"text", text}})
}

func cutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	if most <= len(cutMark) {
		return cutMark
	}
	return s[:cutAt(s, most-len(cutMark))] + cutMark
}
