package soak

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// script feeds a record with events in short: "message m1", "output m1 text",
// "complete m1", "ask m1 i1", "resolve i1", "status idle", "tool m1 t1 {...}", "closed";
// a number in front is the seq, and two are those of a compacted event, otherwise it is
// the next one. "resume" begins another stream.
func script(lines ...string) *Record {
	r := NewRecord("r")
	seq := uint64(0)
	for _, line := range lines {
		words := strings.Split(line, " ")
		var own uint64
		if _, err := fmt.Sscan(words[0], &own); err == nil {
			seq, words = own-1, words[1:]
		}
		if words[0] == "resume" {
			r.Resume()
			continue
		}
		seq++
		e := protocol.Event{Seq: seq}
		if _, err := fmt.Sscan(words[0], &own); err == nil {
			e.From, e.Seq, seq, words = seq, own, own, words[1:]
		}
		var data any
		switch words[0] {
		case "message":
			e.Type, data = protocol.EventMessage, protocol.MessageData{MessageID: words[1], Content: []byte(`"x"`)}
		case "output":
			e.Type, data = protocol.EventOutput, protocol.OutputData{MessageID: words[1], Text: words[2]}
		case "tool":
			e.Type, data = protocol.EventToolCall, json.RawMessage(fmt.Sprintf(`{"messageId":%q,"toolCallId":%q,%s}`, words[1], words[2], words[3]))
		case "complete":
			e.Type, data = protocol.EventComplete, protocol.CompleteData{MessageID: words[1], StopReason: protocol.StopEndTurn}
		case "ask":
			e.Type, data = protocol.EventToolApproval, protocol.ToolApprovalData{MessageID: words[1], InteractionID: words[2], Input: []byte("{}")}
		case "resolve":
			e.Type, data = protocol.EventApprovalResolved, protocol.ApprovalResolvedData{InteractionID: words[1]}
		case "status":
			e.Type, data = protocol.EventStatus, protocol.StatusData{Status: protocol.Status(words[1])}
		case "closed":
			e.Type, data = protocol.EventClosed, protocol.ClosedData{Reason: protocol.ClosedDeleted}
		case "caught_up":
			e.Type, e.Seq, data = protocol.EventType(protocol.ControlCaughtUp), 0, protocol.CaughtUp{Seq: 9}
		case "gap":
			e.Type, e.Seq, data = protocol.EventType(protocol.ControlGap), 0, protocol.Gap{FromSeq: 1, ToSeq: 2}
		}
		e.Data = protocol.Marshal(data)
		r.Frame(protocol.Marshal(e))
	}
	return r
}

func TestGoodRecordHasNoFindings(t *testing.T) {
	r := script("status idle", "message m1", "status running", "output m1 a", "ask m1 i1", "message m2", "resolve i1", "output m1 b",
		"complete m1", "complete m2", "status idle", "closed")
	if found := r.Findings(); len(found) > 0 {
		t.Errorf("found %v", found)
	}
	turn, ok := r.Turn("m1")
	if !ok || turn.Text != "ab" || turn.End == nil || r.Last() != 12 || r.Status() != protocol.StatusIdle || len(r.Open()) != 0 {
		t.Errorf("turn %+v, last %d", turn, r.Last())
	}
}

// Each promise, broken once, is found.
func TestBrokenPromisesAreFound(t *testing.T) {
	for name, lines := range map[string][]string{
		"a hole":                     {"status idle", "3 status running"},
		"a repeat":                   {"status idle", "1 status idle"},
		"a message twice":            {"message m1", "message m1"},
		"output of no message":       {"output m1 a"},
		"output after the complete":  {"message m1", "complete m1", "output m1 a"},
		"two completes":              {"message m1", "complete m1", "complete m1"},
		"a complete of no message":   {"complete m1"},
		"a complete over a question": {"message m1", "ask m1 i1", "complete m1"},
		"a question twice":           {"message m1", "ask m1 i1", "ask m1 i1"},
		"a question out of a turn":   {"message m1", "complete m1", "ask m1 i1"},
		"two answers":                {"message m1", "ask m1 i1", "resolve i1", "resolve i1"},
		"an answer without question": {"resolve i1"},
		"an event after closed":      {"closed", "status idle"},
		"caught up with what is not": {"status idle", "caught_up"},
		"a gap":                      {"gap"},

		"a run in mid-stream that reaches back":   {"message m1", "output m1 a", "output m1 b", "2 4 output m1 abc"},
		"a second one behind connected":           {"message m1", "output m1 a", "output m1 b", "resume", "2 4 output m1 abc", "3 5 output m1 bcd"},
		"a run that leaves something out":         {"message m1", "3 5 output m1 abc"},
		"a run that says something else":          {"message m1", "output m1 a", "output m1 b", "resume", "2 4 output m1 axc"},
		"a run that says less":                    {"message m1", "output m1 a", "output m1 bcd", "resume", "2 4 output m1 ab"},
		"a run that takes another kind's place":   {"message m1", "tool m1 t1 \"a\":1", "output m1 b", "resume", "2 4 output m1 bc"},
		"a run in the place of a part of a run":   {"message m1", "2 4 output m1 abc", "resume", "3 5 output m1 bcd"},
		"a run that ends where the reader stands": {"message m1", "output m1 a", "output m1 b", "resume", "2 3 output m1 ab"},
	} {
		if found := script(lines...).Findings(); len(found) == 0 {
			t.Errorf("%s: nothing found", name)
		}
	}
}

// A log says the same in every form, and a run takes the place of what it stands for.
func TestFormsOfOneLog(t *testing.T) {
	pieces := script("message m1", "output m1 a", "output m1 b", "output m1 c", "tool m1 t1 \"a\":1,\"b\":2", "tool m1 t1 \"b\":3", "output m1 d", "complete m1")
	for name, other := range map[string]*Record{
		"all of it compacted":   script("message m1", "2 4 output m1 abc", "5 6 tool m1 t1 \"a\":1,\"b\":3", "7 output m1 d", "complete m1"),
		"in two runs":           script("message m1", "2 3 output m1 ab", "4 output m1 c", "5 6 tool m1 t1 \"a\":1,\"b\":3", "7 output m1 d", "complete m1"),
		"from within the texts": script("message m1", "output m1 a", "output m1 b", "resume", "2 4 output m1 abc", "5 6 tool m1 t1 \"a\":1,\"b\":3", "7 output m1 d", "complete m1"),
		"from within the tool":  script("message m1", "2 4 output m1 abc", "tool m1 t1 \"a\":1,\"b\":2", "resume", "5 6 tool m1 t1 \"a\":1,\"b\":3", "7 output m1 d", "complete m1"),
		"a run by a longer one": script("message m1", "2 3 output m1 ab", "resume", "2 4 output m1 abc", "5 6 tool m1 t1 \"a\":1,\"b\":3", "7 output m1 d", "complete m1"),
	} {
		found := append(other.Findings(), pieces.Compare(other)...)
		if turn, _ := other.Turn("m1"); turn.Text != "abcd" || len(found) > 0 {
			t.Errorf("%s: %q, %v", name, turn.Text, found)
		}
	}
	for name, other := range map[string]*Record{
		"another text":          script("message m1", "2 4 output m1 abx", "5 6 tool m1 t1 \"a\":1,\"b\":3", "7 output m1 d", "complete m1"),
		"another border":        script("message m1", "2 3 output m1 abc", "4 6 tool m1 t1 \"a\":1,\"b\":3", "7 output m1 d", "complete m1"),
		"a field of the tool's": script("message m1", "2 4 output m1 abc", "5 6 tool m1 t1 \"a\":1,\"b\":2", "7 output m1 d", "complete m1"),
	} {
		if len(pieces.Compare(other)) == 0 {
			t.Errorf("%s: nothing found", name)
		}
	}
}

func TestCompareFindsOtherBytes(t *testing.T) {
	a := script("status idle", "message m1", "output m1 a")
	for name, c := range map[string]struct {
		other *Record
		found bool
	}{
		"the same": {script("status idle", "message m1", "output m1 a"), false},
		"another":  {script("status idle", "message m1", "output m1 b"), true},
		"shorter":  {script("status idle", "message m1"), true},
	} {
		if found := a.Compare(c.other); (len(found) > 0) != c.found {
			t.Errorf("%s: %v", name, found)
		}
	}
}

func TestCheckStream(t *testing.T) {
	ended := func(text, reason string) Turn {
		return Turn{MessageID: "m", Text: text, End: &protocol.CompleteData{MessageID: "m", StopReason: reason}}
	}
	const one, two, three = "1 xx\n", "2 xx\n", "3 xx\n"
	for name, c := range map[string]struct {
		turn Turn
		good bool
	}{
		"all":               {ended(one+two+three, protocol.StopEndTurn), true},
		"cut by an error":   {ended(one+two, protocol.StopError), true},
		"cut, but well":     {ended(one+two, protocol.StopEndTurn), false},
		"a hole":            {ended(one+three, protocol.StopEndTurn), false},
		"a hole, cut":       {ended(one+three, protocol.StopError), false},
		"a repeat":          {ended(one+one+two+three, protocol.StopEndTurn), false},
		"out of order":      {ended(two+one+three, protocol.StopEndTurn), false},
		"more than was due": {ended(one+two+three+three, protocol.StopEndTurn), false},
	} {
		if err := CheckStream(c.turn, 3, 5); (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}
