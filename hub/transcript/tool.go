package transcript

import (
	"encoding/json"
	"slices"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// toolData is a tool_call with its fields as they are. A field that is present replaces
// the earlier one, even if it is empty.
type toolData struct {
	MessageID  lenient
	ToolCallID lenient
	Title      json.RawMessage
	Kind       json.RawMessage
	Status     json.RawMessage
	Input      json.RawMessage
	Output     json.RawMessage
	Content    json.RawMessage
	Locations  json.RawMessage
}

func (m *Maker) onTool(d toolData, time string) {
	messageID, id := string(d.MessageID), string(d.ToolCallID)
	if m.run == nil || m.run.messageID != messageID || m.run.id != id {
		m.settle()
		m.enter(messageID)
		m.run = m.tool(messageID, id)
	}
	t := m.run
	t.time = time
	for _, f := range []struct {
		kept *json.RawMessage
		said json.RawMessage
	}{
		{&t.title, d.Title}, {&t.kind, d.Kind}, {&t.status, d.Status}, {&t.input, d.Input},
		{&t.output, d.Output}, {&t.content, d.Content}, {&t.locations, d.Locations},
	} {
		if said := present(f.said); said != nil {
			*f.kept = said
		}
	}
}

// tool finds an open tool, or opens it.
func (m *Maker) tool(messageID, id string) *openTool {
	for _, t := range m.tools {
		if t.id == id && t.messageID == messageID {
			return t
		}
	}
	t := &openTool{messageID: messageID, id: id}
	var title string
	if title, t.continued = m.titles.of(messageID, id); title != "" {
		t.title = protocol.Marshal(title)
	}
	m.tools = append(m.tools, t)
	return t
}

// settle is called between two events that do not change the same tool. In a compacted
// log, events that change the same tool are one. So nothing is decided between those.
func (m *Maker) settle() {
	t := m.run
	if t == nil {
		return
	}
	m.run = nil
	if s := wordOf(t.status); s == "completed" || s == "failed" {
		m.tools = slices.DeleteFunc(m.tools, func(o *openTool) bool { return o == t })
		m.writeTool(t, false)
	}
	m.bound()
}

// bound writes the oldest held entries until the rest is within the bounds.
func (m *Maker) bound() {
	size := 0
	for _, t := range m.tools {
		size += t.size()
	}
	for _, q := range m.asked {
		size += q.size
	}
	for len(m.tools) > maxHeldCount || size > maxHeld && len(m.tools) > 0 {
		t := m.tools[0]
		m.tools, size = m.tools[1:], size-t.size()
		m.writeTool(t, false)
	}
	for len(m.asked) > maxHeldCount || size > maxHeld && len(m.asked) > 0 {
		q := m.asked[0]
		m.asked, size = m.asked[1:], size-q.size
		m.write(q.entry)
	}
}

func (t *openTool) size() int {
	return 200 + len(t.title) + len(t.input) + len(t.output) + len(t.content) + len(t.locations)
}

// maxTitle bounds a title that is kept for later, in bytes.
const maxTitle = 200

// writeTool writes a tool as it is now. stopped says that its turn is over.
func (m *Maker) writeTool(t *openTool, stopped bool) {
	e := tool{
		Type: typeTool, MessageID: t.messageID, ToolCallID: t.id, Title: wordOf(t.title), Kind: wordOf(t.kind), Status: wordOf(t.status),
		Stopped: stopped, Continued: t.continued, Time: t.time, Input: t.input, Output: t.output, Locations: t.locations,
	}
	if len(t.content) > 0 {
		e.Content = blocksOf(t.content)
	}
	e.Input, e.Output = scrub(e.Input, maxScrubDepth), scrub(e.Output, maxScrubDepth)
	m.titles.keep(t.messageID, t.id, text.Clip(e.Title, maxTitle))
	m.write(e)
}

// wordOf gives a text, or the JSON of a value that stands where a text should.
func wordOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return string(raw)
	}
	return s
}

// questionData is a tool_approval with its values as they are.
type questionData struct {
	MessageID     string
	InteractionID string
	ToolCallID    string
	Title         string
	Kind          string
	Input         json.RawMessage
	Content       json.RawMessage
	Options       []protocol.ApprovalOption
	Truncated     bool
}

// onQuestion holds a question back until it is answered.
func (m *Maker) onQuestion(d questionData, time string, size int) {
	m.enter(d.MessageID)
	e := decision{
		Type: typeDecision, MessageID: d.MessageID, InteractionID: d.InteractionID, ToolCallID: d.ToolCallID,
		Title: d.Title, Kind: d.Kind, Input: scrub(present(d.Input), maxScrubDepth), Truncated: d.Truncated,
		Options: d.Options, AskedAt: time, Outcome: outcomePending,
	}
	if present(d.Content) != nil {
		e.Content = blocksOf(d.Content)
	}
	m.asked.hold(d.InteractionID, e, size)
	m.bound()
}

func (m *Maker) onAnswer(d protocol.ApprovalResolvedData, time string) {
	e := answered(&m.asked, d.InteractionID, decision{Type: typeDecision, InteractionID: d.InteractionID})
	e.Outcome, e.By, e.Detail, e.Time = d.Outcome, d.By, d.Detail, time
	if d.OptionID != "" {
		e.Option = &protocol.ApprovalOption{OptionID: d.OptionID, Kind: d.Kind}
		for _, o := range e.Options {
			if o.OptionID == d.OptionID {
				e.Option.Name = o.Name
			}
		}
	}
	m.write(e)
}
