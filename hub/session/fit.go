package session

import (
	"encoding/json"
	"fmt"

	"sessionhub/internal/excerpt"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// cutMark ends a short text, such as a reason, that was too long for an event.
const cutMark = "\n[sessionhub: the rest was cut, it is over --max-event-bytes]"

// Fit makes events with at most most bytes of data from one event of a worker. Longer
// text is split. Longer tool output keeps its head and tail. An event that fits, the
// common case, costs nothing. ErrInvalid: the event cannot be made short enough.
func Fit(t protocol.EventType, data json.RawMessage, most int) ([]NewEvent, error) {
	if len(data) <= most {
		return []NewEvent{{Type: t, Data: data}}, nil
	}
	out, err := shorten(t, data, most)
	if err != nil {
		return nil, err
	}
	for _, e := range out {
		if len(e.Data) > most { // an id or a name is too long
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
		excerpt.ToolCall(&d, most)
		return []NewEvent{{Type: t, Data: protocol.Marshal(d)}}, nil
	case protocol.EventAgentUpdate:
		var d protocol.AgentUpdateData
		if err := protocol.Decode(data, &d); err != nil {
			return nil, err
		}
		d.Raw, _ = excerpt.Value(d.Raw, most-len(d.Kind)-100, false)
		return []NewEvent{{Type: t, Data: protocol.Marshal(d)}}, nil
	case protocol.EventCommands:
		var d protocol.CommandsData
		if err := protocol.Decode(data, &d); err != nil {
			return nil, err
		}
		for d.Truncated = true; len(d.AvailableCommands) > 0 && len(data) > most; data = protocol.Marshal(d) {
			d.AvailableCommands = d.AvailableCommands[:len(d.AvailableCommands)/2]
		}
		return []NewEvent{{Type: t, Data: data}}, nil
	case protocol.EventNotice:
		var d protocol.NoticeData
		if err := protocol.Decode(data, &d); err != nil {
			return nil, err
		}
		d.Title, d.Description, d.Data = CutText(d.Title, most/8), CutText(d.Description, most/8), nil
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
		// A byte of text is one to six bytes of JSON (\u0000), and most often one.
		// So a piece has at most most bytes of text.
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

// cutAt moves n back to a boundary of a rune, and of a character as people see it. The
// result is after at least one character.
func cutAt(s string, n int) int { return text.Cut(s, max(n, 1)) }
