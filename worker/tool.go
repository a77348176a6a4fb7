package worker

import (
	"encoding/json"
	"strings"

	"sessionhub/internal/excerpt"
	"sessionhub/protocol"
)

// The statuses of a tool call that end it (ACP, "Tool Calls").
const (
	toolCompleted = "completed"
	toolFailed    = "failed"
)

// toolPending is the status of a call that has not begun (ACP, "Tool Calls").
const toolPending = "pending"

// Limits of the tool calls of a turn or of the background in memory, and of their short fields.
const (
	maxTools     = 10_000                       // the worker passes on further calls, but does not remember them
	maxToolBytes = protocol.MaxApprovalContents // titles, inputs and contents of open calls, for approvals
	maxToolID    = protocol.MaxToolIDBytes
	maxTitle     = excerpt.MaxTitle
	maxWord      = 64 // a kind, a status
)

// eventMargin is room for the fields of an event beside its large one.
const eventMargin = 8 << 10

// toolUpdate is an agent's description of a tool call in tool_call, tool_call_update and
// session/request_permission. An absent field leaves the known value.
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

// event is the update as an event's data, of any length.
func (u toolUpdate) event() protocol.ToolCallData {
	return protocol.ToolCallData{
		ToolCallID: u.ToolCallID,
		Title:      said(u.Title), Kind: short(u.Kind, maxWord), Status: short(u.Status, maxWord),
		Input: wholeRaw(u.Input), Output: wholeRaw(u.Output),
		Content: cleanList(u.Content), Locations: cleanList(u.Locations),
	}
}

func said(s *string) string {
	if s == nil {
		return ""
	}
	return strings.ToValidUTF8(*s, "\uFFFD")
}

func short(s *string, limit int) string { return clip(said(s), limit) }

// cleanList makes each item of a list fit to be passed on. A value that is no list counts
// as absent.
func cleanList(raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if isNull(raw) || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	clean := make([]json.RawMessage, 0, len(list))
	for _, item := range list {
		if c := wholeRaw(cleanContent(item)); c != nil {
			if isString(c) && !isString(item) {
				c = contentMark(c) // readers expect an object
			}
			clean = append(clean, c)
		}
	}
	return clean
}

func isString(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

// contentMark makes a content item (ACP, "Tool Calls: Content") of a text.
func contentMark(text json.RawMessage) json.RawMessage {
	return protocol.Marshal(map[string]any{
		"type": "content", "content": map[string]any{"type": "text", "text": text},
	})
}

// toolCalls remembers the tool calls of a turn, or of the background: which are open, and the fields that an
// approval's card shows. Owned by the session's runner.
type toolCalls struct {
	calls map[string]*toolCall
	order []string // ids as they came
	bytes int      // of the inputs and contents that are kept
}

// toolCall holds the known fields of one call. The raw values are clean. missing is the
// number of bytes that were too many to remember. With a missing part, the worker asks
// nobody about this call.
type toolCall struct {
	titleText, kindText, status string
	input                       json.RawMessage
	content                     []json.RawMessage
	missing                     int // bytes
}

func (c *toolCall) open() bool { return c.status != toolCompleted && c.status != toolFailed }

// size is how many bytes the call keeps beyond its free share.
func (c *toolCall) size() int {
	n := len(c.input) + max(0, len(c.titleText)-maxTitle)
	for _, item := range c.content {
		n += len(item)
	}
	return n
}

// forget drops the large fields.
func (c *toolCall) forget() {
	c.titleText, _ = excerpt.Text(c.titleText, maxTitle, true)
	c.input, c.content = nil, nil
}

func (t *toolCalls) known(id string) bool { return t.calls[id] != nil }

// merge adds an update to the known fields.
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
		call.forget()
	} else if size := call.size(); t.bytes+size > maxToolBytes {
		call.missing += size
		call.forget()
	}
	t.bytes += call.size()
}

func (c *toolCall) merge(u toolUpdate) {
	if u.Title != nil {
		c.titleText = said(u.Title)
	}
	if u.Kind != nil {
		c.kindText = short(u.Kind, maxWord)
	}
	if u.Status != nil {
		c.status = short(u.Status, maxWord)
	}
	if !isNull(u.Input) {
		c.input = wholeRaw(u.Input)
	}
	if !isNull(u.Content) {
		c.content = cleanList(u.Content)
	}
	if !isNull(u.Input) && !isNull(u.Content) {
		c.missing = 0 // the update has all of it anew
	}
}

// keep adds a call with what is known of it.
func (t *toolCalls) keep(id string, call *toolCall) {
	t.merge(toolUpdate{ToolCallID: id})
	if known := t.calls[id]; known != nil {
		t.bytes -= known.size()
		*known = *call
		t.bytes += known.size()
	}
}

// end notes that the worker has ended a call for its agent.
func (t *toolCalls) end(id string) {
	failed := toolFailed
	t.merge(toolUpdate{ToolCallID: id, Status: &failed})
}

// get returns the known fields of a call together with the update.
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

// An approval's card is never empty. Its input is null when the agent has not told it: an
// invented input would be equal to another's.

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
