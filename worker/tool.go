package worker

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"

	"sessionhub/protocol"
)

// The statuses of a tool call that end it (ACP, "Tool Calls").
const (
	toolCompleted = "completed"
	toolFailed    = "failed"
)

// Limits of what is kept about a turn's tool calls, and of their short fields.
const (
	maxTools     = 10_000  // further ones are passed on, but not remembered
	maxToolBytes = 4 << 20 // inputs and contents of open calls, for approvals
	maxToolID    = 1 << 10
	maxTitle     = 4 << 10
	maxWord      = 64 // a kind, a status
)

// eventMargin is room for the fields of an event beside its large one.
const eventMargin = 8 << 10

// toolUpdate is what an agent says about a tool call in tool_call,
// tool_call_update and session/request_permission. What is absent stays as it was.
type toolUpdate struct {
	ToolCallID string          `json:"toolCallId"`
	Title      *string         `json:"title"`
	Kind       *string         `json:"kind"`
	Status     *string         `json:"status"`
	Input      json.RawMessage `json:"rawInput"`
	Output     json.RawMessage `json:"rawOutput"`
	Content    json.RawMessage `json:"content"`
	Locations  json.RawMessage `json:"locations"`
}

// event is the update as an event's data.
func (u toolUpdate) event(limit int) protocol.ToolCallData {
	return protocol.ToolCallData{
		ToolCallID: u.ToolCallID,
		Title:      shortTitle(u.Title), Kind: short(u.Kind, maxWord), Status: short(u.Status, maxWord),
		Input: cleanRaw(u.Input, limit), Output: cleanRaw(u.Output, limit),
		Content: cleanList(u.Content, limit), Locations: cleanList(u.Locations, limit),
	}
}

func short(s *string, limit int) string {
	if s == nil {
		return ""
	}
	return clip(*s, limit)
}

// shortTitle keeps titles apart that differ only in what is cut: some agents
// (gemini) have the command in the title alone, and the hub's "always" rules
// compare it.
func shortTitle(s *string) string {
	text := short(s, maxTitle)
	if s != nil && len(*s) > maxTitle {
		text += fmt.Sprintf(" [cut: %d bytes, sha256 %x]", len(*s), sha256.Sum256([]byte(*s)))
	}
	return text
}

// cleanList returns a list with each item fit to be passed on. What is no list
// is absent.
func cleanList(raw json.RawMessage, limit int) []json.RawMessage {
	var list []json.RawMessage
	if isNull(raw) || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	clean := make([]json.RawMessage, 0, len(list))
	for _, item := range list {
		if c := cleanRaw(item, limit); c != nil {
			if c[0] == '"' && !isString(item) {
				c = contentMark(c) // readers expect an object
			}
			clean = append(clean, c)
		}
	}
	return clean
}

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

// contentMark makes a content item (ACP, "Tool Calls: Content") of a mark.
func contentMark(text json.RawMessage) json.RawMessage {
	return protocol.Marshal(map[string]any{
		"type": "content", "content": map[string]any{"type": "text", "text": text},
	})
}

// fit cuts a tool call or an approval where it is too long: the output first,
// then content, input and locations, until it fits. It returns the length of what
// is left, which can be over the limit by ids and options alone.
func (s *session) fit(data any) int {
	limit := s.w.cfg.MaxEventBytes - eventMargin
	size := len(protocol.Marshal(data))
	if size > limit {
		share := limit / 8
		var cuts []func()
		switch d := data.(type) {
		case *protocol.ToolCallData:
			cuts = []func(){
				func() { d.Output = cleanRaw(d.Output, share) },
				func() { d.Content = cutList(d.Content, share) },
				func() { d.Input = cleanRaw(d.Input, share) },
				func() { d.Locations = cutList(d.Locations, share) },
			}
		case *protocol.ToolApprovalData:
			cuts = []func(){
				func() { d.Content = cutList(d.Content, share) },
				func() { d.Input = cleanRaw(d.Input, share) },
			}
		}
		for _, cut := range cuts {
			cut()
			if size = len(protocol.Marshal(data)); size <= limit {
				break
			}
		}
	}
	return size
}

// cutList keeps the items at the beginning that fit in limit bytes, and says how
// many are missing. The hash is there for the same reason as that of mark.
func cutList(list []json.RawMessage, limit int) []json.RawMessage {
	size := 0
	for i, item := range list {
		if size += len(item) + 1; size > limit {
			sum := sha256.Sum256(protocol.Marshal(list[i:]))
			note := fmt.Sprintf("[cut: %d of %d items, sha256 %x]", len(list)-i, len(list), sum)
			return append(list[:i:i], contentMark(protocol.Marshal(note)))
		}
	}
	return list
}

// toolCalls remembers the tool calls of one turn: which are open, and what an
// approval's card needs. Owned by the session's runner.
type toolCalls struct {
	calls map[string]*toolCall
	order []string // ids as they came
	bytes int      // of the inputs and contents that are kept
}

// toolCall is what is known about one. The raw values are clean.
type toolCall struct {
	titleText, kindText, status string
	input                       json.RawMessage
	content                     []json.RawMessage
}

func (c *toolCall) open() bool { return c.status != toolCompleted && c.status != toolFailed }

func (c *toolCall) size() int {
	n := len(c.input)
	for _, item := range c.content {
		n += len(item)
	}
	return n
}

func (t *toolCalls) known(id string) bool { return t.calls[id] != nil }

// merge takes an update in.
func (t *toolCalls) merge(u toolUpdate) {
	call := t.calls[u.ToolCallID]
	if call == nil {
		if len(t.order) >= maxTools {
			return
		}
		if t.calls == nil {
			t.calls = make(map[string]*toolCall)
		}
		call = &toolCall{}
		t.calls[u.ToolCallID] = call
		t.order = append(t.order, u.ToolCallID)
	}
	t.bytes -= call.size()
	call.merge(u)
	if !call.open() {
		call.input, call.content = nil, nil
	} else if t.bytes+call.size() > maxToolBytes {
		// The mark's hash keeps different inputs apart.
		call.input, call.content = cleanRaw(call.input, maxTitle), nil
	}
	t.bytes += call.size()
}

func (c *toolCall) merge(u toolUpdate) {
	if u.Title != nil {
		c.titleText = shortTitle(u.Title)
	}
	if u.Kind != nil {
		c.kindText = short(u.Kind, maxWord)
	}
	if u.Status != nil {
		c.status = short(u.Status, maxWord)
	}
	if !isNull(u.Input) {
		c.input = cleanRaw(u.Input, DefaultMaxEventBytes)
	}
	if !isNull(u.Content) {
		c.content = cleanList(u.Content, DefaultMaxEventBytes)
	}
}

// get returns what is known about a call, with the update on top.
func (t *toolCalls) get(u toolUpdate) *toolCall {
	card := &toolCall{}
	if known := t.calls[u.ToolCallID]; known != nil {
		*card = *known
	}
	card.merge(u)
	return card
}

// open returns the ids of the calls that have not ended, in their order.
func (t *toolCalls) open() []string {
	var ids []string
	for _, id := range t.order {
		if t.calls[id].open() {
			ids = append(ids, id)
		}
	}
	return ids
}

// What an approval's card shows is never empty. Its input is null when nobody
// told it: an invented one would be equal to another's.

func (c *toolCall) title() string {
	switch {
	case c.titleText != "":
		return c.titleText
	case c.kindText != "":
		return c.kindText
	}
	return "Tool call"
}

func (c *toolCall) kind() string {
	if c.kindText == "" {
		return "other" // ACP, "Tool Kinds": the default
	}
	return c.kindText
}
