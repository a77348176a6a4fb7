package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sessionhub/protocol"
)

// block is what kind of thing was written last.
type block int

const (
	blockNone block = iota
	blockUser
	blockText
	blockThought
	blockTool
	blockNote
)

// transcript turns the events of a session into rows. Those that will not change
// any more are taken by take; what still changes (a line that is being written,
// tools that run, the plan) is given by live. Owned by one goroutine.
type transcript struct {
	paint   painter
	columns int
	me      string // whose messages need no name

	rows  []string
	last  block
	run   textRun
	text  markdown
	think wrapper
	tools map[string]*protocol.ToolCallData
	order []string // of the tools that run
	plan  []protocol.PlanEntry

	questions []protocol.ToolApprovalData // that wait for an answer, the oldest first
	status    protocol.Status
	running   string // message that is worked on, or was last
	ended     bool
}

func newTranscript(p painter, columns int) *transcript {
	t := &transcript{paint: p, tools: map[string]*protocol.ToolCallData{}}
	emit := func(cells []cell) { t.rows = append(t.rows, t.paint.row(cells)) }
	t.text.w.rows, t.think.rows = emit, emit
	t.resize(columns)
	return t
}

func (t *transcript) resize(columns int) {
	t.columns = max(columns-1, 10) // a spare column for runes that are wider than was thought
	t.text.w.width, t.think.width = t.columns, t.columns
}

// take gives the rows that are finished.
func (t *transcript) take() []string {
	rows := t.rows
	t.rows = nil
	return rows
}

// begin ends the block before, with an empty row between blocks of different
// kinds.
func (t *transcript) begin(b block) {
	if t.last == b {
		return
	}
	switch t.last {
	case blockText:
		t.text.end()
	case blockThought:
		if len(t.think.partial()) > 0 {
			t.think.line()
		}
	}
	if t.last != blockNone {
		t.rows = append(t.rows, "")
	}
	t.last = b
}

// add writes a harmless text as rows of one style.
func (t *transcript) add(s style, indent int, text string) {
	w := wrapper{width: t.columns, rows: func(c []cell) { t.rows = append(t.rows, t.paint.row(c)) }}
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		w.indent = indent
		w.text(s, strings.TrimSuffix(line, "\n"))
		w.indent = indent
		w.line()
	}
}

// note writes something that is not the agent's.
func (t *transcript) note(s style, text string) {
	t.begin(blockNote)
	t.add(s, 2, text)
}

func decode[T any](raw json.RawMessage) (v T, ok bool) { return v, json.Unmarshal(raw, &v) == nil }

// event takes the next event of the log. One that cannot be read, or is of a
// later version, is passed over.
func (t *transcript) event(e protocol.Event) {
	if e.Type != protocol.EventOutput {
		t.run.other()
	}
	switch e.Type {
	case protocol.EventStatus:
		if d, ok := decode[protocol.StatusData](e.Data); ok {
			t.onStatus(d)
		}
	case protocol.EventMessage:
		if d, ok := decode[protocol.MessageData](e.Data); ok {
			t.onMessage(d)
		}
	case protocol.EventOutput:
		if d, ok := decode[protocol.OutputData](e.Data); ok {
			d.Text = t.run.unseen(e, d)
			t.onOutput(d)
		}
	case protocol.EventToolCall:
		if d, ok := decode[protocol.ToolCallData](e.Data); ok {
			t.onTool(d)
		}
	case protocol.EventPlan:
		if d, ok := decode[protocol.PlanData](e.Data); ok {
			t.plan = d.Entries
		}
	case protocol.EventToolApproval:
		if d, ok := decode[protocol.ToolApprovalData](e.Data); ok {
			t.onQuestion(d)
		}
	case protocol.EventApprovalResolved:
		if d, ok := decode[protocol.ApprovalResolvedData](e.Data); ok {
			t.onResolved(d)
		}
	case protocol.EventComplete:
		if d, ok := decode[protocol.CompleteData](e.Data); ok {
			t.onComplete(d)
		}
	case protocol.EventClosed:
		if d, ok := decode[protocol.ClosedData](e.Data); ok {
			t.ended = true
			t.note(yellow, "The session has ended ("+oneLine(d.Reason, 40)+").")
		}
	}
}

func (t *transcript) onStatus(d protocol.StatusData) {
	t.status = d.Status
	if d.MessageID != "" {
		t.running = d.MessageID
	}
	if d.Status == protocol.StatusFailed {
		t.note(red, "The session failed: "+Neutral(d.Detail))
	}
}

func (t *transcript) onMessage(d protocol.MessageData) {
	t.begin(blockNone)
	t.last = blockUser
	text := Neutral(contentText(d.Content))
	who := ""
	if d.UserID != t.me && t.me != "" {
		who = oneLine(d.UserID, 30) + ": "
	}
	t.add(bold, 2, "› "+who+strings.ReplaceAll(text, "\n", "\n  "))
}

// contentText is the text of a message's content; what else is in it is named.
func contentText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var blocks []struct{ Type, Text, URI string }
	if json.Unmarshal(raw, &blocks) != nil {
		return "(content of an unknown form)"
	}
	var parts []string
	for _, b := range blocks {
		if b.Type == "text" {
			parts = append(parts, b.Text)
		} else {
			parts = append(parts, strings.TrimSpace("("+b.Type+") "+b.URI))
		}
	}
	return strings.Join(parts, "\n")
}

func (t *transcript) onOutput(d protocol.OutputData) {
	text := Neutral(d.Text)
	if d.Kind == protocol.OutputThought {
		t.begin(blockThought)
		t.think.text(dim|italic, text)
		return
	}
	t.begin(blockText)
	t.text.feed(text)
}

// finished reports that a tool call has ended.
func finished(status string) bool { return status == "completed" || status == "failed" }

func (t *transcript) onTool(d protocol.ToolCallData) {
	known := t.tools[d.ToolCallID]
	if known == nil {
		known = &protocol.ToolCallData{ToolCallID: d.ToolCallID}
		t.tools[d.ToolCallID] = known
		t.order = append(t.order, d.ToolCallID)
	}
	was := finished(known.Status)
	if d.Title != "" {
		known.Title = d.Title
	}
	if d.Kind != "" {
		known.Kind = d.Kind
	}
	if d.Status != "" {
		known.Status = d.Status
	}
	if finished(known.Status) && !was {
		t.endTool(known)
	}
}

func (t *transcript) endTool(d *protocol.ToolCallData) {
	t.order = slices.DeleteFunc(t.order, func(id string) bool { return id == d.ToolCallID })
	t.begin(blockTool)
	switch d.Status {
	case "completed":
		t.add(green, 2, "✓ "+t.toolTitle(d))
	case "failed":
		t.add(red, 2, "✗ "+t.toolTitle(d))
	default:
		t.add(dim, 2, "- "+t.toolTitle(d))
	}
}

func (t *transcript) toolTitle(d *protocol.ToolCallData) string {
	title := d.Title
	if title == "" {
		title = d.Kind
	}
	return oneLine(title, 2*t.columns)
}

func (t *transcript) onQuestion(d protocol.ToolApprovalData) {
	t.questions = append(t.questions, d)
	t.begin(blockNone)
	t.last = blockNote
	t.add(bold|yellow, 2, "? "+oneLine(d.Title, 4*t.columns))
	for _, l := range details(d) {
		t.add(l.s, 4, "  "+l.text)
	}
}

func (t *transcript) onResolved(d protocol.ApprovalResolvedData) {
	name := d.Outcome
	t.questions = slices.DeleteFunc(t.questions, func(q protocol.ToolApprovalData) bool {
		if q.InteractionID != d.InteractionID {
			return false
		}
		for _, o := range q.Options {
			if d.Outcome == protocol.OutcomeSelected && o.OptionID == d.OptionID {
				name = o.Name
			}
		}
		return true
	})
	t.begin(blockNote)
	s, by := dim, ""
	if strings.HasPrefix(d.Kind, "allow") {
		s = green
	} else if d.Outcome == protocol.OutcomeSelected {
		s = red
	}
	if d.By == protocol.ByRule {
		by = " (as always)"
	} else if d.By != "" && d.By != t.me {
		by = " (" + oneLine(d.By, 30) + ")"
	}
	t.add(s, 2, "  → "+oneLine(name, 60)+by)
}

func (t *transcript) onComplete(d protocol.CompleteData) {
	for _, id := range slices.Clone(t.order) {
		t.endTool(t.tools[id])
	}
	clear(t.tools)
	if len(t.plan) > 0 {
		t.begin(blockNone)
		t.rows = append(t.rows, t.planRows(len(t.plan))...)
		t.last, t.plan = blockNote, nil
	}
	switch d.StopReason {
	case protocol.StopEndTurn:
		t.begin(blockNone)
	case protocol.StopCancelled:
		t.note(yellow, "■ stopped")
	default:
		t.note(red, "■ "+failure(d))
	}
}

// failure says why a turn did not come to its end.
func failure(d protocol.CompleteData) string {
	if d.Error == nil {
		return "the turn ended: " + oneLine(d.StopReason, 40)
	}
	return oneLine(d.Error.Code, 40) + ": " + Neutral(d.Error.Message)
}

// live is what still changes.
func (t *transcript) live() []string {
	var rows []string
	switch t.last {
	case blockText:
		if cells := t.text.partial(); len(cells) > 0 {
			rows = append(rows, t.paint.row(cells))
		}
	case blockThought:
		if cells := t.think.partial(); len(cells) > 0 {
			rows = append(rows, t.paint.row(cells))
		}
	}
	const most = 4
	for i, id := range t.order {
		if i == most {
			rows = append(rows, t.paint.paint(dim, fmt.Sprintf("  … %d more", len(t.order)-most)))
			break
		}
		rows = append(rows, t.paint.paint(cyan, "⋯ "+oneLine(t.toolTitle(t.tools[id]), t.columns-2)))
	}
	return append(rows, t.planRows(8)...)
}

func (t *transcript) planRows(most int) []string {
	var rows []string
	for i, e := range t.plan {
		if i == most {
			return append(rows, t.paint.paint(dim, fmt.Sprintf("  … %d more", len(t.plan)-most)))
		}
		mark, s := "○ ", style(0)
		switch e.Status {
		case "completed":
			mark, s = "● ", dim
		case "in_progress":
			mark, s = "◐ ", bold
		}
		rows = append(rows, t.paint.paint(s, mark+oneLine(e.Content, t.columns-2)))
	}
	return rows
}
