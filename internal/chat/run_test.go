package chat

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sessionhub/client"
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

// The end of a tool call is said once, also when a compacted event tells all of the call
// again, or when the call goes on behind its end.
func TestAToolIsSaidToEndOnce(t *testing.T) {
	tool := func(from, seq uint64, title, status string) client.Frame {
		d := protocol.ToolCallData{MessageID: "m", ToolCallID: "c", Title: title, Status: status}
		return client.Frame{Event: protocol.Event{From: from, Seq: seq, Type: protocol.EventToolCall, Data: protocol.Marshal(d)}}
	}
	for name, events := range map[string][]client.Frame{
		"live":                 {tool(0, 2, "count", "pending"), tool(0, 3, "", "completed"), tool(0, 4, "", "completed")},
		"the cursor lay in it": {tool(0, 2, "count", "pending"), tool(0, 3, "", "completed"), tool(2, 4, "count", "completed")},
	} {
		said, err := os.Create(filepath.Join(t.TempDir(), "said"))
		if err != nil {
			t.Fatal(err)
		}
		defer said.Close()
		p := &piped{o: Options{Err: said}, message: "m", titles: map[string]string{}, told: map[string]bool{}}
		tr := newTranscript(painter{}, 80)
		for _, f := range events {
			if err := p.frame(context.Background(), nil, f); err != nil {
				t.Fatal(err)
			}
			tr.event(f.Event)
		}
		if got, err := os.ReadFile(said.Name()); err != nil || string(got) != "sessionhub chat: tool completed: count\n" {
			t.Errorf("%s: in a pipe: %q (%v)", name, got, err)
		}
		if got := strings.Join(append(tr.take(), tr.live()...), "|"); !strings.Contains(got, "✓ count") || strings.Count(got, "count") != 1 {
			t.Errorf("%s: in a terminal: %q", name, got)
		}
	}
}
