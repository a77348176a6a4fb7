package chat

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// acts reports that a rune does something to a terminal rather than be seen.
func acts(r rune) bool {
	return r < 0x20 || r >= 0x7f && r <= 0x9f || r >= 0x2028 && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

// ours is what this package itself writes into a row.
var ours = regexp.MustCompile("\x1b\\[[0-9;]*m")

// hostile is in every text of every event that an agent or another user writes.
const hostile = "x\x1b[2J\x1b]52;c;aGk=\x07\u009b31m\u202ey\r\x08\x7f"

func hostileEvents(text string) []protocol.Event {
	data := map[protocol.EventType]any{
		protocol.EventMessage: protocol.MessageData{MessageID: "m", UserID: text, Content: protocol.Marshal(text)},
		protocol.EventOutput:  protocol.OutputData{Text: "# " + text + "\n```" + text + "\n" + text + "\n```\n- " + text},
		protocol.EventToolCall: protocol.ToolCallData{
			ToolCallID: "t", Title: text, Kind: text, Status: "in_progress",
		},
		protocol.EventPlan: protocol.PlanData{Entries: []protocol.PlanEntry{{Content: text, Status: text}}},
		protocol.EventToolApproval: protocol.ToolApprovalData{
			InteractionID: "i", Title: text, Input: protocol.Marshal(map[string]string{"command": text, text: text}),
			Content: []json.RawMessage{protocol.Marshal(map[string]string{"type": "diff", "path": text, "oldText": text, "newText": text + "\n" + text})},
			Options: []protocol.ApprovalOption{{OptionID: text, Name: text, Kind: text}},
		},
		protocol.EventConfigOptions: protocol.ConfigOptionsData{
			ConfigOptions: []protocol.ConfigOption{{ID: text, Name: text, Type: protocol.ConfigSelect, CurrentValue: protocol.TextValue(text)}}, Changed: []string{text}, By: text,
		},
		protocol.EventApprovalResolved: protocol.ApprovalResolvedData{InteractionID: "i", Outcome: text, By: text},
		protocol.EventStatus:           protocol.StatusData{Status: protocol.StatusFailed, Detail: text},
		protocol.EventComplete:         protocol.CompleteData{StopReason: text, Error: &protocol.TurnError{Code: text, Message: text}},
		protocol.EventClosed:           protocol.ClosedData{Reason: text},
		protocol.EventAgentUpdate:      protocol.AgentUpdateData{Kind: protocol.NoticeAgentExited, Raw: protocol.Marshal(map[string]string{"message": text})},
		protocol.EventSessionInfo:      protocol.SessionInfoData{Title: text, By: text},
		protocol.EventCommands: protocol.CommandsData{AvailableCommands: []protocol.AgentCommand{
			{Name: text, Description: text, Input: &protocol.AgentCommandInput{Hint: text}},
		}},
		protocol.EventUsage:  protocol.UsageData{Cost: &protocol.Cost{Currency: text}},
		protocol.EventNotice: protocol.NoticeData{Kind: text, Severity: protocol.Severity(text), Title: text, Description: text},
		protocol.EventElicitation: protocol.ElicitationData{
			InteractionID: "q", Mode: protocol.ElicitForm, Message: text, RequestedSchema: protocol.Marshal(map[string]any{
				"properties": map[string]any{"a": map[string]any{"type": "string", "title": text, "description": text, "enum": []string{text}}},
			}),
		},
		protocol.EventElicitationResolved: protocol.ElicitationResolvedData{
			InteractionID: "q", Outcome: protocol.OutcomeAccepted, By: text, Content: protocol.Marshal(map[string]string{"a": text}),
		},
	}
	events := make([]protocol.Event, 0, len(data)+1)
	for _, kind := range protocol.EventTypes {
		if kind == protocol.EventComplete { // a thought, too
			events = append(events, protocol.Event{Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{Text: text, Kind: protocol.OutputThought})})
		}
		events = append(events, protocol.Event{Type: kind, Data: protocol.Marshal(data[kind])})
	}
	return events
}

func TestEndedProcessesAreShown(t *testing.T) {
	tr := newTranscript(painter{}, 80)
	for _, raw := range []string{`{"message":"ended with it: node (4211)"}`, `null`, `7`, `{}`} {
		tr.event(protocol.Event{Type: protocol.EventAgentUpdate, Data: protocol.Marshal(protocol.AgentUpdateData{Kind: protocol.NoticeProcessesEnded, Raw: json.RawMessage(raw)})})
	}
	if got := strings.TrimSpace(ours.ReplaceAllString(strings.Join(tr.take(), "\n"), "")); got != "ended with it: node (4211)" {
		t.Errorf("shown is %q", got)
	}
}

// Nothing that comes over the wire reaches the terminal as a command.
func TestTranscriptIsHarmless(t *testing.T) {
	checkHarmless(t, hostile)
}

func FuzzTranscriptIsHarmless(f *testing.F) {
	for _, s := range []string{hostile, "**\x1b**", "`\x1b`", "> \x1b\n\\\x1b", "1. \x1b\t\x9b", "+", "+00`", strings.Repeat("漢", 200)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) { checkHarmless(t, text) })
}

func checkHarmless(t *testing.T, text string) {
	t.Helper()
	tr := newTranscript(painter{color: true}, 40)
	tr.me, tr.past = "me", true
	for _, e := range hostileEvents(text) {
		tr.event(e)
		rows := append(tr.take(), tr.live()...)
		for _, q := range tr.questions {
			c := &conversation{paint: tr.paint, transcript: tr, screen: &screen{columns: 40, rows: 30}, editor: newEditor(&history{}), front: &asking{d: q}}
			rows = append(rows, c.questionRows(true)...)
		}
		tr.note(dim, tr.told.commandLines())
		tr.note(dim, usageLines(&protocol.SessionUsage{Cost: &protocol.Cost{Currency: text}}))
		rows = append(rows, tr.take()...)
		for _, row := range rows {
			if bare := ours.ReplaceAllString(row, ""); strings.ContainsFunc(bare, acts) || strings.ContainsAny(bare, "\n\t") {
				t.Fatalf("%s wrote %q", e.Type, row)
			}
		}
	}
}
