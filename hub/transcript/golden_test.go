package transcript

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

var update = flag.Bool("update", false, "write the golden files anew")

var began = time.Date(2026, 10, 1, 9, 30, 0, 0, time.UTC)

var aSession = Session{
	SessionID: "s_1", UserID: "anna", Title: "Fix the *parser*\u202e", Provider: "demo", WorkingDirectory: "/src/`x`", CreatedAt: began,
}

// script is a log as a test writes it.
type script struct{ entries []protocol.Entry }

// add appends an event, a second after the one before it. Its data is a value, or JSON as
// a text.
func (s *script) add(t protocol.EventType, data any) {
	raw, ok := data.(string)
	if !ok {
		raw = string(protocol.Marshal(data))
	}
	seq := uint64(len(s.entries) + 1)
	at := began.Add(time.Duration(seq) * time.Second)
	s.entries = append(s.entries, protocol.Entry{Seq: seq, Type: t, Tail: protocol.AppendEventTail(nil, t, at, []byte(raw))})
}

func (s *script) message(id, user, content string) {
	s.add(protocol.EventMessage, protocol.MessageData{MessageID: id, UserID: user, Content: json.RawMessage(content)})
}

func (s *script) output(id, kind, text string) {
	s.add(protocol.EventOutput, protocol.OutputData{MessageID: id, Kind: kind, Text: text})
}

func (s *script) complete(id, reason string) {
	s.add(protocol.EventComplete, protocol.CompleteData{MessageID: id, StopReason: reason})
}

func (s *script) ask(message, interaction, title, input string) {
	s.add(protocol.EventToolApproval, protocol.ToolApprovalData{
		MessageID: message, InteractionID: interaction, ToolCallID: "t_" + interaction, Title: title, Kind: "execute", Input: json.RawMessage(input),
		Options: []protocol.ApprovalOption{{OptionID: "yes", Name: "Allow", Kind: protocol.AllowOnce}, {OptionID: "no", Name: "Reject", Kind: protocol.RejectOnce}},
	})
}

func (s *script) resolve(interaction, outcome, option, kind, by string) {
	s.add(protocol.EventApprovalResolved, protocol.ApprovalResolvedData{InteractionID: interaction, Outcome: outcome, OptionID: option, Kind: kind, By: by})
}

// rich has something of everything.
func rich() []protocol.Entry {
	var s script
	s.add(protocol.EventStatus, `{"status":"idle"}`)
	s.message("m1", "anna", `"Please run the tests.\n\n# not a heading of the hub\n<b>nor this</b>"`)
	s.add(protocol.EventStatus, `{"status":"running","messageId":"m1"}`)
	s.output("m1", "thought", "They are ")
	s.output("m1", "thought", "in `go test`.")
	s.output("m1", "text", "I run **them**:\n\n```sh\ngo test ./... > <out>\n```\n")
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t_i1","title":"go test","kind":"execute","status":"pending","input":{"command":"go test ./..."}}`)
	s.ask("m1", "i1", "go test ./...", `{"command":"go test ./..."}`)
	s.add(protocol.EventStatus, `{"status":"requires_action","messageId":"m1"}`)
	s.message("m2", "bert", `[{"type":"text","text":"And this picture?"},{"type":"image","mimeType":"image/png","data":"aGVsbG8h"},{"type":"resource_link","uri":"file:///a_b.go","name":"a_b.go"}]`)
	s.resolve("i1", "selected", "yes", protocol.AllowOnce, "anna")
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t_i1","status":"in_progress"}`)
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t_i1","status":"completed","output":"ok\r\u001b[31mPASS\u001b[0m\n`+"```"+`\nend of the fence?","content":[{"type":"content","content":{"type":"text","text":"log"}}]}`)
	s.output("m1", "text", "Half \U0001F600 a smile, ")
	s.output("m1", "text", "\u202edlrow</blockquote> ![p](http://x) 漢字 e\u0301\n- item")
	s.add(protocol.EventPlan, `{"messageId":"m1","entries":[{"content":"first","priority":"high","status":"pending"}]}`)
	s.add(protocol.EventPlan, `{"messageId":"m1","entries":[{"content":"first [x](y)","priority":"high","status":"completed"},{"content":"second","priority":"low","status":"in_progress"}]}`)
	s.ask("m1", "i2", "rm -rf build\u200b", `"rm -rf build"`)
	s.resolve("i2", "selected", "yes", protocol.AllowOnce, protocol.ByRule)
	s.ask("m1", "i3", "curl evil", `{}`)
	s.resolve("i3", "expired", "", "", "")
	s.ask("m1", "i4", "later", `{}`)
	s.resolve("i4", "cancelled", "", "", "")
	s.ask("m1", "i5", "huge", `{}`)
	s.add(protocol.EventApprovalResolved, `{"interactionId":"i5","outcome":"cancelled","by":"limit","detail":"9 MiB"}`)
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t_edit","title":"Edit a.go","kind":"edit","status":"failed","content":[{"type":"diff","path":"/src/a.go","oldText":"a\nb\nc\n","newText":"a\nB`+"````"+`\nc\n"},{"type":"diff","path":"b.go","sha256":"x","hunks":[{"oldStart":4,"oldLines":1,"newStart":4,"newLines":1,"lines":["-x","+y"]}],"truncated":true}],"output":{"image":{"type":"image","mimeType":"image/png","data":"aGVsbG8h"},"code":1}}`)
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t_open","title":"Never ends","status":"in_progress"}`)
	s.add(protocol.EventAgentUpdate, `{"kind":"usage_update","raw":{"used":1}}`)
	s.add(protocol.EventComplete, `{"messageId":"m1","stopReason":"end_turn","usage":{"inputTokens":3}}`)
	s.add(protocol.EventStatus, `{"status":"running","messageId":"m2"}`)
	s.output("m2", "text", "A picture of `a` <https://example.org>.")
	s.message("m3", "anna", `"taken back"`)
	s.complete("m3", protocol.StopCancelled)
	s.add(protocol.EventAgentUpdate, `{"kind":"processes_ended","raw":{"message":"2 processes were ended: *node*","reason":"agent","processes":[]}}`)
	s.add(protocol.EventComplete, `{"messageId":"m2","stopReason":"error","error":{"code":"agent_crashed","message":"exit <status> 1","retryable":true}}`)
	s.message("m4", "anna", `"Once more"`)
	s.add(protocol.EventStatus, `{"status":"requires_action","messageId":"m4"}`)
	s.output("m4", "text", "Half done")
	s.ask("m4", "i6", "still open", `{}`)
	s.message("m5", "anna", `"and then this"`)
	return s.entries
}

// behind is a log with work in the background, beside a turn and behind it.
func behind() []protocol.Entry {
	var s script
	s.add(protocol.EventStatus, `{"status":"idle"}`)
	s.message("m1", "anna", `"Run the tests, and go on"`)
	s.output("m1", "text", "They run. ")
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t_late","title":"go test","kind":"execute","status":"in_progress"}`)
	s.complete("m1", protocol.StopEndTurn)
	s.add(protocol.EventStatus, `{"status":"running"}`)
	s.output("", "text", "Tests ")
	s.output("", "text", "pass.")
	s.output("", "thought", "What now?")
	s.add(protocol.EventToolCall, `{"toolCallId":"t_late","status":"completed","output":"ok"}`)
	s.add(protocol.EventToolCall, `{"toolCallId":"t_i1","title":"git push","kind":"execute","status":"pending","input":{"command":"git push"}}`)
	s.ask("", "i1", "git push", `{"command":"git push"}`)
	s.add(protocol.EventStatus, `{"status":"requires_action"}`)
	s.add(protocol.EventPlan, `{"entries":[{"content":"push","priority":"high","status":"pending"}]}`)
	s.add(protocol.EventPlan, `{"entries":[{"content":"push","priority":"high","status":"in_progress"}]}`)
	s.message("m2", "anna", `"And now?"`)
	s.output("m2", "text", "I wait.")
	s.resolve("i1", "selected", "yes", protocol.AllowOnce, "anna")
	s.add(protocol.EventToolCall, `{"toolCallId":"t_i1","status":"completed"}`)
	s.add(protocol.EventToolCall, `{"messageId":"m2","toolCallId":"t_open","title":"Never ends"}`)
	s.add(protocol.EventToolCall, `{"toolCallId":"t_on","title":"Watch","status":"in_progress"}`)
	s.complete("m2", protocol.StopEndTurn)
	s.add(protocol.EventStatus, `{"status":"running"}`)
	s.add(protocol.EventPlan, `{"entries":[{"content":"watch","priority":"low","status":"pending"}]}`)
	s.add(protocol.EventStatus, `{"status":"idle"}`)
	s.add(protocol.EventStatus, `{"status":"running"}`)
	s.ask("", "i2", "rm -rf build", `{}`)
	s.add(protocol.EventToolCall, `{"toolCallId":"t_now","title":"Look","status":"in_progress"}`)
	return s.entries
}

// elicitations are the agent's own questions, with every outcome.
func elicitations() []protocol.Entry {
	var s script
	elicit := func(message, interaction, text, schema string) {
		s.add(protocol.EventElicitation, protocol.ElicitationData{
			MessageID: message, InteractionID: interaction, Mode: protocol.ElicitForm, Message: text, RequestedSchema: json.RawMessage(schema),
		})
	}
	resolve := func(interaction, outcome, content, by string) {
		d := protocol.ElicitationResolvedData{InteractionID: interaction, Outcome: outcome, By: by}
		if content != "" {
			d.Content = json.RawMessage(content)
		}
		s.add(protocol.EventElicitationResolved, d)
	}
	resolve("q0", protocol.OutcomeAccepted, `{"a":"its question is not kept"}`, "anna")
	s.message("m1", "anna", `"Set it up"`)
	elicit("m1", "q1", "Which *database*?\n# and where", `{"type":"object","properties":{`+
		`"db":{"type":"string","title":"Data_base","oneOf":[{"const":"pg","title":"Postgres"},{"const":"my","title":"MySQL\u202e"}]},`+
		`"parts":{"type":"array","items":{"type":"string","enum":["api","web"]}},"copies":{"type":"integer"},"name":{"type":"string"},"dry":{"type":"boolean"}}}`)
	resolve("q1", protocol.OutcomeAccepted, `{"db":"my","parts":["api","web"],"name":"a\nb|","dry":true}`, "anna")
	elicit("m1", "q2", "Sure?", `{}`)
	resolve("q2", protocol.OutcomeDeclined, "", "bert")
	elicit("m1", "q3", "Still there?", `{"type":"object","properties":{"all":{"type":"array","items":{"enum":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17","18","19","20","21","22"]}}}}`)
	resolve("q3", protocol.OutcomeExpired, "", "")
	s.add(protocol.EventElicitation, protocol.ElicitationData{MessageID: "m1", InteractionID: "q4", Mode: protocol.ElicitURL, Message: "Log in", URL: "https://login.example.org/?a_b=1"})
	resolve("q4", protocol.OutcomeAccepted, "", protocol.ByAgent)
	elicit("m1", "q5", "Open?", `{"type":"object","properties":{"x":{"type":"number"}}}`)
	s.complete("m1", protocol.StopEndTurn)
	elicit("", "q6", "And in the background?", `{}`)
	resolve("q6", protocol.OutcomeCancelled, "", "anna")
	return s.entries
}

// transcribe makes a whole transcript.
func transcribe(f Format, entries []protocol.Entry) string {
	m := New(f, aSession)
	var out strings.Builder
	for _, e := range entries {
		m.Event(e)
		out.Write(m.Take())
	}
	m.End(m.Last())
	out.Write(m.Take())
	return out.String()
}

// The golden files are what a person reads. Look at the difference of each change.
func TestGolden(t *testing.T) {
	trimmed := rich()[3:]
	var ended script
	ended.add(protocol.EventStatus, `{"status":"idle"}`)
	ended.message("m1", "anna", `"hi"`)
	ended.add(protocol.EventStatus, `{"status":"failed","detail":"working_directory_not_allowed"}`)
	ended.complete("m1", protocol.StopError)
	ended.add(protocol.EventClosed, `{"reason":"failed"}`)
	for name, entries := range map[string][]protocol.Entry{"rich": rich(), "trimmed": trimmed, "ended": ended.entries, "empty": nil, "background": behind(), "questions": elicitations()} {
		for _, f := range Formats {
			got, path := transcribe(f, entries), filepath.Join("testdata", name+f.Extension())
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s is not what the code makes; run: go test ./hub/transcript -update\n%s", path, got)
			}
			if f == JSON && !json.Valid([]byte(got)) {
				t.Errorf("%s is no JSON", path)
			}
		}
	}
}
