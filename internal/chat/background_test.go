package chat

import (
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

// plain are rows without their style.
func plain(rows []string) string { return ours.ReplaceAllString(strings.Join(rows, "|"), "") }

// What an agent does outside of a turn stands apart from the answers, and a turn's end does
// not end it.
func TestBackgroundStandsApart(t *testing.T) {
	tr := newTranscript(painter{}, 80)
	event := func(kind protocol.EventType, data any) {
		tr.event(protocol.Event{Type: kind, Data: protocol.Marshal(data)})
	}
	output := func(id, text string) {
		event(protocol.EventOutput, protocol.OutputData{MessageID: id, Text: text, Kind: protocol.OutputText})
	}
	tool := func(id, call, title, status string) {
		event(protocol.EventToolCall, protocol.ToolCallData{MessageID: id, ToolCallID: call, Title: title, Status: status})
	}
	output("m1", "answer")
	tool("m1", "t1", "go test", "in_progress")
	event(protocol.EventComplete, protocol.CompleteData{MessageID: "m1", StopReason: protocol.StopEndTurn})
	event(protocol.EventStatus, protocol.StatusData{Status: protocol.StatusRunning})
	if !tr.inBackground() {
		t.Error("it is not in the background")
	}
	output("", "on its ")
	output("", "own")
	tool("", "t1", "", "completed")
	tool("", "b1", "watch", "in_progress")
	event(protocol.EventMessage, protocol.MessageData{MessageID: "m2", Content: []byte(`"and?"`)})
	event(protocol.EventStatus, protocol.StatusData{Status: protocol.StatusRunning, MessageID: "m2"})
	if tr.inBackground() || tr.running != "m2" {
		t.Errorf("running %q", tr.running)
	}
	output("m2", "turn")
	output("", "beside it")
	output("m2", "turn again")
	event(protocol.EventComplete, protocol.CompleteData{MessageID: "m2", StopReason: protocol.StopEndTurn})
	if live := plain(tr.live()); live != "⋯ watch" {
		t.Errorf("live %q", live)
	}
	tool("", "b1", "", "failed")
	tool("", "b2", "of a lost worker", "in_progress")
	event(protocol.EventStatus, protocol.StatusData{Status: protocol.StatusIdle})
	want := "answer||- go test||In the background:||on its own||✓ go test||› and?||turn||In the background:||beside it||turn again||In the background:||✗ watch|- of a lost worker"
	if got := plain(tr.take()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A question of the background says so. Ctrl-C stops the background without the id of a
// message, which could be a later one's.
func TestQuestionInTheBackground(t *testing.T) {
	tr := newTranscript(painter{}, 80)
	tr.past = true
	tr.event(protocol.Event{Type: protocol.EventToolApproval, Data: protocol.Marshal(protocol.ToolApprovalData{InteractionID: "i", Title: "git push"})})
	tr.event(protocol.Event{Type: protocol.EventStatus, Data: protocol.Marshal(protocol.StatusData{Status: protocol.StatusRequiresAction})})
	if got := plain(tr.take()); !strings.HasPrefix(got, "? In the background: git push|") {
		t.Errorf("got %q", got)
	}
	c := &conversation{transcript: tr, since: time.Now()}
	if !c.working() || !tr.inBackground() || tr.running != "" {
		t.Errorf("working %v, running %q", c.working(), tr.running)
	}
	tr.event(protocol.Event{Type: protocol.EventStatus, Data: protocol.Marshal(protocol.StatusData{Status: protocol.StatusRunning})})
	c.link = "websocket"
	c.editor = newEditor(&history{})
	if got := c.state(); !strings.HasPrefix(got, "working in the background 0s") {
		t.Errorf("state %q", got)
	}
}
