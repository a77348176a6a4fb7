package hubtest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/coder/websocket"

	"sessionhub/protocol"
)

// Frame is what a stream gave: a logged event, or a control frame with Seq 0.
type Frame struct {
	protocol.Event
	ID   string // SSE only: the event's id, or the time of a retry
	Name string // SSE only: the event's name; "comment" and "retry" for what has no data
	Raw  string
}

// ReadSSE reads one event, comment or retry as the hub writes them: a field, a colon
// and a space (https://html.spec.whatwg.org/multipage/server-sent-events.html).
func ReadSSE(in *bufio.Reader) (Frame, error) {
	var f Frame
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return f, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ": ")
		switch {
		case strings.HasPrefix(line, ":"):
			f.Name = "comment"
		case line == "" && f.Raw != "":
			if err := json.Unmarshal([]byte(f.Raw), &f.Event); err != nil {
				return f, err
			}
			if string(f.Type) != f.Name {
				return f, fmt.Errorf("event %q carries type %q", f.Name, f.Type)
			}
			return f, nil
		case line == "":
			if f.Name == "comment" || f.Name == "retry" {
				return f, nil
			}
		case field == "retry":
			f.Name, f.ID = "retry", value
		case field == "id":
			f.ID = value
		case field == "event":
			f.Name = value
		case field == "data":
			f.Raw = value
		default:
			return f, fmt.Errorf("a line that is no SSE: %q", line)
		}
	}
}

// ReadSocket reads one frame.
func ReadSocket(ctx context.Context, c *websocket.Conn) (Frame, error) {
	_, raw, err := c.Read(ctx)
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Raw: string(raw)}
	return f, json.Unmarshal(raw, &f.Event)
}
