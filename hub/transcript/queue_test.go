package transcript

import (
	"strings"
	"testing"

	"sessionhub/protocol"
)

// A transcript says what the agent was told: an edited message as it ran, and a message
// that a turn took in at that place.
func TestQueueInTheTranscript(t *testing.T) {
	var s script
	s.message("m1", "anna", `"one"`)
	s.output("m1", "text", "begin")
	s.message("m2", "anna", `"two"`)
	s.message("m3", "anna", `"three"`)
	s.add(protocol.EventMessageEdited, `{"messageId":"m2","content":"two, better","userId":"ben"}`)
	s.add(protocol.EventMessage, `{"messageId":"s1","content":"left","userId":"ben","delivery":"steer"}`)
	s.add(protocol.EventQueue, `{"messageIds":["s1","m3","m2"],"held":[]}`)
	s.add(protocol.EventSteered, `{"messageId":"s1","into":"m1","outcome":"injected"}`)
	s.output("m1", "text", "end")
	s.complete("m1", protocol.StopEndTurn)
	s.complete("s1", protocol.StopEndTurn)
	got := words(entriesOf(t, transcribe(JSON, s.entries)), "messageId", "into", "editedBy", "stopReason", "status")
	want := strings.Join([]string{
		"message m1", "answer m1", "message s1 m1", "answer m1", "completion m1 end_turn",
		"message m3", "unfinished m3 queued", "message m2 ben", "unfinished m2 queued",
	}, "\n")
	if got != want {
		t.Errorf("it says\n%s\nwant\n%s", got, want)
	}
	page := transcribe(Markdown, s.entries)
	for _, says := range []string{"> two, better", "Edited by ben", "Taken in by the turn of the message `m1`"} {
		if !strings.Contains(page, says) {
			t.Errorf("%q is not on the page:\n%s", says, page)
		}
	}
	if strings.Contains(page, "> two\n") {
		t.Error("the old text is on the page")
	}
}
