package chat

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestNeutralShowsWhatWouldAct(t *testing.T) {
	for in, want := range map[string]string{
		"plain ünïcode 漢字 👩‍🚀\tand\nlines": "plain ünïcode 漢字 👩‍🚀\tand\nlines",
		"\x1b[2J\x1b]0;title\x07":          "␛[2J␛]0;title␇",
		"a\r\nb\rc":                        "a\nb␍c",
		"\u009b31m\u0085\x7f\x00":          "\ufffd31m\ufffd␡␀",
		"evil\u202etxt.exe\u2066\u200f":    "evil\ufffdtxt.exe\ufffd\ufffd",
		"tag\U000e0041":                    "tag\ufffd",
		"two\u2028lines":                   "two\ufffdlines",
	} {
		if got := Neutral(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestHarmlessJSONMeansTheSame(t *testing.T) {
	text := "\x1b[31m \u009b2J \u202e \U000e0041 漢字"
	raw, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		t.Fatal(err)
	}
	got := harmlessJSON(raw)
	var back map[string]string
	if err := json.Unmarshal(got, &back); err != nil || back["text"] != text {
		t.Errorf("%s: %q, %v", got, back, err)
	}
	if strings.ContainsFunc(string(got), unsafe) || !strings.Contains(string(got), "漢字") {
		t.Errorf("got %q", got)
	}
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
		protocol.EventApprovalResolved: protocol.ApprovalResolvedData{InteractionID: "i", Outcome: text, By: text},
		protocol.EventStatus:           protocol.StatusData{Status: protocol.StatusFailed, Detail: text},
		protocol.EventComplete:         protocol.CompleteData{StopReason: text, Error: &protocol.TurnError{Code: text, Message: text}},
		protocol.EventClosed:           protocol.ClosedData{Reason: text},
		protocol.EventAgentUpdate:      protocol.AgentUpdateData{Kind: text, Raw: protocol.Marshal(text)},
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
	tr.me = "me"
	for _, e := range hostileEvents(text) {
		tr.event(e)
		rows := append(tr.take(), tr.live()...)
		for _, q := range tr.questions {
			rows = append(rows, choiceRows(tr.paint, q, 40)...)
		}
		for _, row := range rows {
			if bare := ours.ReplaceAllString(row, ""); strings.ContainsFunc(bare, unsafe) || strings.ContainsAny(bare, "\n\t") {
				t.Fatalf("%s wrote %q", e.Type, row)
			}
		}
	}
}
