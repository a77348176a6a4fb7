package chat

import (
	"slices"

	"sessionhub/protocol"
)

// place says where what the agent does outside of a turn begins, and keeps it apart from
// the answers to messages. An empty messageID stands for the background.
func (t *transcript) place(messageID string) {
	background := messageID == ""
	if background == t.background {
		return
	}
	t.background = background
	t.begin(blockNone)
	if background {
		t.note(dim, "In the background:")
	}
}

// inBackground reports that the agent works although no turn runs.
func (t *transcript) inBackground() bool {
	return t.running == "" && (t.status == protocol.StatusRunning || t.status == protocol.StatusRequiresAction)
}

// askedIn begins the title of a question.
func askedIn(d protocol.ToolApprovalData) string {
	if d.MessageID == "" {
		return "? In the background: "
	}
	return "? "
}

// tool gives what is known of a tool call. One that a turn has left can go on in the
// background.
func (t *transcript) tool(d protocol.ToolCallData) *protocol.ToolCallData {
	known := t.tools[d.ToolCallID]
	if known == nil {
		known = &protocol.ToolCallData{MessageID: d.MessageID, ToolCallID: d.ToolCallID}
		if before := t.left[d.ToolCallID]; before != nil && d.MessageID == "" {
			known.Title, known.Kind = before.Title, before.Kind
		}
		t.tools[d.ToolCallID] = known
		t.order = append(t.order, d.ToolCallID)
	}
	return known
}

// endTools ends the open tool calls of a turn, or of the background.
func (t *transcript) endTools(background bool) {
	for _, id := range slices.Clone(t.order) {
		if d := t.tools[id]; (d.MessageID == "") == background {
			t.endTool(d)
		}
	}
}

// leaveBackground ends the background of a session that is idle. A tool call that is open
// is one of a lost worker.
func (t *transcript) leaveBackground() {
	t.endTools(true)
	t.endPlan()
}

// leaveTools ends the tool calls of a turn that is over. Those of the background go on.
func (t *transcript) leaveTools() {
	t.endTools(false)
	clear(t.left)
	for id, d := range t.tools {
		if d.MessageID != "" || finished(d.Status) {
			t.left[id] = d
			delete(t.tools, id)
		}
	}
}
