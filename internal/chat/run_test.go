package chat

import (
	"strings"
	"testing"

	"sessionhub/protocol"
)

func TestACompactedRunIsNotPrintedTwice(t *testing.T) {
	output := func(from, seq uint64, text string) protocol.Event {
		return protocol.Event{From: from, Seq: seq, Type: protocol.EventOutput, Data: protocol.Marshal(protocol.OutputData{MessageID: "m", Text: text, Kind: protocol.OutputText})}
	}
	plan := protocol.Event{Seq: 9, Type: protocol.EventPlan, Data: protocol.Marshal(protocol.PlanData{})}
	for name, tc := range map[string]struct {
		events []protocol.Event
		want   string
	}{
		"live":                      {[]protocol.Event{output(0, 1, "a"), output(0, 2, "a"), output(0, 3, "b")}, "aab"},
		"the cursor lay in it":      {[]protocol.Event{output(0, 1, "a"), output(0, 2, "b"), output(0, 3, "c"), output(2, 5, "bcde")}, "abcde"},
		"the cursor lay before it":  {[]protocol.Event{output(0, 1, "a"), output(2, 5, "bcde")}, "abcde"},
		"twice":                     {[]protocol.Event{output(0, 1, "a"), output(1, 3, "abc"), output(1, 5, "abcde"), output(0, 6, "f")}, "abcdef"},
		"behind something else":     {[]protocol.Event{output(0, 1, "a"), plan, output(10, 12, "ab")}, "aab"},
		"a run that is read as one": {[]protocol.Event{output(1, 5, "abcde")}, "abcde"},
	} {
		tr := newTranscript(painter{}, 80)
		for _, e := range tc.events {
			tr.event(e)
		}
		if got := strings.Join(append(tr.take(), tr.live()...), ""); got != tc.want {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
	r := textRun{}
	for i := range 1000 {
		r.unseen(output(0, uint64(i+1), ""), protocol.OutputData{Text: strings.Repeat("x", 1000)})
	}
	if r.size > maxRun || len(r.pieces) > maxRun/1000+1 {
		t.Errorf("it keeps %d bytes in %d pieces", r.size, len(r.pieces))
	}
}
