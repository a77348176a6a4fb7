package transcript

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// What lists of sessions show and search of a log.

// LastLine is the last line that the agent has written in the last turn, or the title of a tool
// call behind it. turns is how many ends of turns lie behind the text: 1 at rest, else 0.
func LastLine(entries []protocol.Entry, turns int) string {
	said := ""
	for _, e := range slices.Backward(entries) {
		switch e.Type {
		case protocol.EventOutput:
			var d protocol.OutputData
			if decodeEntry(e, &d) == nil && d.Kind == protocol.OutputText {
				said = d.Text + said
			}
			if len(said) > 4*protocol.MaxInboxTextBytes {
				return lastLineOf(said)
			}
		case protocol.EventToolCall:
			var d protocol.ToolCallData
			if line := lastLineOf(said); line != "" {
				return line
			}
			if decodeEntry(e, &d) == nil && d.Title != "" {
				return lastLineOf(d.Title)
			}
		case protocol.EventComplete:
			if turns--; turns < 0 {
				return lastLineOf(said)
			}
		}
	}
	return lastLineOf(said)
}

// lastLineOf is the last line of a text that is not blank.
func lastLineOf(said string) string {
	lines := strings.Split(strings.TrimSpace(said), "\n")
	return text.Clip(text.Line(lines[len(lines)-1]), protocol.MaxInboxTextBytes)
}

// Finder looks for a text in what was said in events that come in order. The pieces of an
// output are one text, with one space for any white space. It belongs to one goroutine.
type Finder struct {
	Want string // in lower case, with one space for any white space

	of   string // message and kind of the output that is open
	tail string // of it: its end, where the text could begin
}

// Event takes the next event, and reports whether the text was found.
func (f *Finder) Event(e protocol.Entry) bool {
	switch e.Type {
	case protocol.EventOutput:
		var d protocol.OutputData
		if decodeEntry(e, &d) != nil {
			return false
		}
		if of := d.Kind + " " + d.MessageID; of != f.of {
			f.of, f.tail = of, ""
		}
		return f.text(d.Text)
	case protocol.EventMessage:
		var d protocol.MessageData
		if decodeEntry(e, &d) != nil {
			return false
		}
		f.of = ""
		for _, said := range textsOf(d.Content) {
			if f.tail = ""; f.text(said) {
				return true
			}
		}
		f.tail = ""
	}
	return false
}

// text takes the next piece of a text.
func (f *Finder) text(piece string) bool {
	all := f.tail + strings.ToLower(piece)
	folded := strings.Join(strings.Fields(all), " ")
	if last, _ := utf8.DecodeLastRuneInString(all); unicode.IsSpace(last) {
		folded += " "
	}
	if strings.Contains(folded, f.Want) {
		return true
	}
	f.tail = folded[max(0, len(folded)-len(f.Want)):]
	return false
}

// textsOf are the texts of a message's content.
func textsOf(content json.RawMessage) (texts []string) {
	var said string
	if protocol.DecodePart(content, &said) == nil {
		return []string{said}
	}
	var blocks []struct{ Type, Text string }
	_ = protocol.DecodePart(content, &blocks) // checked when it was accepted
	for _, b := range blocks {
		if b.Type == "text" {
			texts = append(texts, b.Text)
		}
	}
	return texts
}

// DataOf is the data of a stored event.
func DataOf(e protocol.Entry) (json.RawMessage, error) {
	var whole struct{ Data json.RawMessage }
	err := json.Unmarshal(append([]byte{'{'}, e.Tail[min(1, len(e.Tail)):]...), &whole)
	return whole.Data, err
}

// decodeEntry reads a stored event's data.
func decodeEntry(e protocol.Entry, into any) error {
	raw, err := DataOf(e)
	if err != nil {
		return err
	}
	return protocol.DecodePart(raw, into)
}
