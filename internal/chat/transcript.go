package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sessionhub/internal/text"
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
	said  text.Stream // of the block that is written
	text  markdown
	think wrapper
	tools map[string]*protocol.ToolCallData
	left  map[string]*protocol.ToolCallData // of the last turn
	order []string                          // of the tools that run
	plan  []protocol.PlanEntry
	told  told

	past      bool                        // the events tell what was, and nobody answers
	questions []protocol.ToolApprovalData // that wait for an answer, the oldest first
	status    protocol.Status
	running   string // message that is worked on; empty: none
	queue     messageQueue
	ended     bool

	background bool // what was written last, the agent has done outside of a turn
	options    sessionOptions

	elicitations []protocol.ElicitationData // of the agent, that wait, the oldest first
}

func newTranscript(p painter, columns int) *transcript {
	t := &transcript{paint: p, tools: map[string]*protocol.ToolCallData{}, left: map[string]*protocol.ToolCallData{}, queue: newMessageQueue()}
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
		t.text.feed(t.said.End())
		t.text.end()
	case blockThought:
		t.think.text(dim|italic, t.said.End())
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
	defer t.queue.event(e)
	if t.told.take(e) {
		if d, ok := decode[protocol.SessionInfoData](e.Data); ok && e.Type == protocol.EventSessionInfo {
			t.onTitle(d)
		}
		return
	}
	switch e.Type {
	case protocol.EventConfigOptions:
		if d, ok := decode[protocol.ConfigOptionsData](e.Data); ok {
			t.onOptions(d)
		}
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
	case protocol.EventElicitation:
		if q, ok := decode[protocol.ElicitationData](e.Data); ok {
			t.onElicitation(q)
		}
	case protocol.EventElicitationResolved:
		if d, ok := decode[protocol.ElicitationResolvedData](e.Data); ok {
			t.onElicited(d)
		}
	case protocol.EventAgentUpdate:
		if d, ok := decode[protocol.AgentUpdateData](e.Data); ok {
			if notice, ok := protocol.NoticeOf(d); ok { // of an earlier worker
				t.onNotice(notice)
			}
		}
	case protocol.EventNotice:
		if d, ok := decode[protocol.NoticeData](e.Data); ok {
			t.onNotice(d)
		}
	case protocol.EventQueue:
		if d, ok := decode[protocol.QueueData](e.Data); ok {
			t.onQueue(d)
		}
	case protocol.EventMessageEdited:
		if d, ok := decode[protocol.MessageEditedData](e.Data); ok {
			t.onEdited(d)
		}
	case protocol.EventSteered:
		if d, ok := decode[protocol.SteeredData](e.Data); ok {
			t.onSteered(d)
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
	t.status, t.running = d.Status, d.MessageID
	if d.Status == protocol.StatusIdle {
		t.leaveBackground()
	}
	if d.Status == protocol.StatusFailed {
		t.note(red, "The session failed: "+failed(d.Detail))
	}
}

func (t *transcript) onTitle(d protocol.SessionInfoData) {
	by := ""
	if d.By != "" && d.By != t.me {
		by = " (" + oneLine(d.By, 30) + ")"
	}
	t.note(dim, "This session is called "+oneLine(d.Title, 200)+by)
}

// onNotice shows what the worker or the agent tells people.
func (t *transcript) onNotice(d protocol.NoticeData) {
	colour := yellow
	if d.Severity == protocol.SeverityError {
		colour = red
	}
	if said := d.Text(); said != "" {
		t.note(colour, text.Prose(said))
	}
}

// failed says why a session failed, and what to do about it.
func failed(detail string) string {
	for _, code := range []protocol.Code{protocol.CodeWorkingDirectory, protocol.CodeUnknownProvider} { // what a worker refuses
		if strings.Contains(detail, string(code)) {
			return text.Prose(detail) + "; " + advice[code]
		}
	}
	return text.Prose(detail)
}

func (t *transcript) onMessage(d protocol.MessageData) {
	t.begin(blockNone)
	t.last, t.background = blockUser, false
	said := text.Prose(contentText(d.Content))
	who := ""
	if d.UserID != t.me && t.me != "" {
		who = oneLine(d.UserID, 30) + ": "
	}
	t.add(bold, 2, "› "+who+strings.ReplaceAll(said, "\n", "\n  "))
}

// contentText is the text of a message's content; what else is in it is named.
func contentText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var blocks []struct {
		Type, Text, URI, Name, MediaType string
		Size                             int64
	}
	if json.Unmarshal(raw, &blocks) != nil {
		return "(content of an unknown form)"
	}
	var parts []string
	for _, b := range blocks {
		switch b.Type {
		case "text":
			parts = append(parts, b.Text)
		case protocol.BlockAttachment:
			parts = append(parts, "(attachment) "+attachmentText(b.Name, b.MediaType, b.Size))
		default:
			parts = append(parts, strings.TrimSpace("("+b.Type+") "+b.URI))
		}
	}
	return strings.Join(parts, "\n")
}

func (t *transcript) onOutput(d protocol.OutputData) {
	t.place(d.MessageID)
	if d.Kind == protocol.OutputThought {
		t.begin(blockThought)
		t.think.text(dim|italic, t.said.Write(d.Text))
		return
	}
	t.begin(blockText)
	t.text.feed(t.said.Write(d.Text))
}

// finished reports that a tool call has ended.
func finished(status string) bool { return status == "completed" || status == "failed" }

func (t *transcript) onTool(d protocol.ToolCallData) {
	known := t.tool(d)
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
	t.place(d.MessageID)
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

// recordLines bounds what is shown of a question of the past.
const recordLines = 40

// onQuestion takes a question in. Of the past it is written down; one that waits
// is shown by who lets it be answered.
func (t *transcript) onQuestion(d protocol.ToolApprovalData) {
	t.questions = append(t.questions, d)
	switch {
	case t.past:
		t.questionTitle(d)
		lines := details(d)
		for _, l := range lines[:min(len(lines), recordLines)] {
			rows := exactRows(t.paint, t.columns, l)
			t.rows = append(t.rows, rows[:min(len(rows), recordLines)]...)
			if left := len(rows) - recordLines; left > 0 {
				t.add(yellow, 4, fmt.Sprintf("  … %d more rows of this line that are not shown", left))
			}
		}
		if left := len(lines) - recordLines; left > 0 {
			t.add(yellow, 4, fmt.Sprintf("  … %d more lines that are not shown", left))
		}
	case len(t.questions) > 1:
		title, _ := exactLine(d.Title, t.columns)
		t.note(yellow, fmt.Sprintf("? question %d waits behind the others: %s", len(t.questions), title))
	}
}

// questionTitle begins what is shown of a question. whole: nothing of the title
// is missing.
func (t *transcript) questionTitle(d protocol.ToolApprovalData) (whole bool) {
	t.begin(blockNone)
	t.last = blockNote
	begin := askedIn(d)
	title, whole := exactLine(d.Title, 4*t.columns-len(begin))
	t.add(bold|yellow, 2, begin+title)
	return whole
}

func (t *transcript) onResolved(d protocol.ApprovalResolvedData) {
	name, title := d.Outcome, ""
	t.questions = slices.DeleteFunc(t.questions, func(q protocol.ToolApprovalData) bool {
		if q.InteractionID != d.InteractionID {
			return false
		}
		title, _ = exactLine(q.Title, t.columns)
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
	} else if d.By == protocol.ByLimit {
		by = " (by the hub: " + oneLine(d.Detail, 200) + ")"
	} else if d.By != "" && d.By != t.me {
		by = " (" + oneLine(d.By, 30) + ")"
	}
	t.add(s, 2, "  → "+oneLine(name, 60)+by+": "+title)
}

func (t *transcript) onComplete(d protocol.CompleteData) {
	t.leaveTools()
	t.endPlan()
	switch d.StopReason {
	case protocol.StopEndTurn:
		t.begin(blockNone)
	case protocol.StopCancelled:
		t.note(yellow, "■ stopped")
	default:
		t.note(red, "■ "+failure(d))
	}
}

// endPlan writes the plan down as it is.
func (t *transcript) endPlan() {
	if len(t.plan) > 0 {
		t.begin(blockNone)
		t.rows = append(t.rows, t.planRows(len(t.plan))...)
		t.last, t.plan = blockNote, nil
	}
}

// failure says why a turn did not come to its end.
func failure(d protocol.CompleteData) string {
	if d.Error == nil {
		return "the turn ended: " + oneLine(d.StopReason, 40)
	}
	what := oneLine(d.Error.Code, 40) + ": " + text.Prose(d.Error.Message)
	if d.Error.Retryable {
		what += " (the message can be sent again)"
	}
	return what
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
