package transcript

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// entriesOf reads the JSON form.
func entriesOf(t *testing.T, raw string) (out []map[string]any) {
	t.Helper()
	var body struct{ Entries []map[string]any }
	if err := json.Unmarshal([]byte(raw), &body); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return body.Entries
}

// words names entries by some of their fields.
func words(entries []map[string]any, fields ...string) string {
	var out []string
	for _, e := range entries {
		word := fmt.Sprint(e["type"])
		for _, f := range fields {
			if v, ok := e[f]; ok {
				word += fmt.Sprint(" ", v)
			}
		}
		out = append(out, word)
	}
	return strings.Join(out, "\n")
}

// What is held back has a bound. What is over it is written, and nothing is lost: what
// comes later is an entry of its own.
func TestHeldBackIsBounded(t *testing.T) {
	var s script
	s.message("m1", "anna", `"hi"`)
	for i := range maxHeldCount + 2 {
		s.add(protocol.EventToolCall, fmt.Sprintf(`{"messageId":"m1","toolCallId":"t%d","title":"tool %[1]d","status":"in_progress"}`, i))
	}
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t1","status":"completed","output":"late"}`)
	s.complete("m1", protocol.StopEndTurn)
	got := entriesOf(t, transcribe(JSON, s.entries))
	var of []map[string]any
	for _, e := range got {
		if id := e["toolCallId"]; id == "t0" || id == "t1" || id == "t2" {
			of = append(of, e)
		}
	}
	want := "tool t0 tool 0 in_progress\ntool t1 tool 1 in_progress\ntool t1 tool 1 completed true late\ntool t2 tool 2 in_progress true"
	if said := words(of, "toolCallId", "title", "status", "continued", "output", "stopped"); said != want {
		t.Errorf("it says\n%s\nwant\n%s", said, want)
	}

	s = script{}
	s.message("m1", "anna", `"hi"`)
	s.output("m1", "text", "a")
	long := string(protocol.Marshal(strings.Repeat("x", 1<<20)))
	for i := range 5 {
		s.message(fmt.Sprint("q", i), "anna", long)
	}
	s.output("m1", "text", "b")
	s.complete("m1", protocol.StopEndTurn)
	s.output("q0", "text", "c")
	m := New(JSON, Session{})
	held := 0
	for _, e := range s.entries {
		m.Event(e)
		sum := 0
		for _, w := range m.waiting {
			sum += w.size
		}
		held = max(held, sum)
	}
	if held > maxHeld {
		t.Errorf("%d bytes are held", held)
	}
	m.End(m.Last())
	want = "message m1\nanswer m1 a\nmessage q0\nmessage q1\nanswer m1 b\ncompletion m1\nanswer q0 c\nunfinished q0\nmessage q2\nunfinished q2"
	if said := words(entriesOf(t, string(m.Take())), "messageId", "text"); !strings.HasPrefix(said, want) {
		t.Errorf("it says\n%s\nwant\n%s", said, want)
	}
}

// Two halves of a character are one, also where something lies between them in the log.
func TestHalvesOfACharacter(t *testing.T) {
	var s script
	piece := func(text string) {
		s.add(protocol.EventOutput, `{"messageId":"m1","kind":"text","text":"`+text+`"}`)
	}
	piece(`\ud83d`)
	s.add(protocol.EventToolCall, `{"messageId":"m1","toolCallId":"t","status":"in_progress"}`)
	piece(`\ude00 \\ud83d`)
	piece(`\\\ud83d`)
	s.complete("m1", protocol.StopEndTurn)
	got := entriesOf(t, transcribe(JSON, s.entries))
	if want := "\U0001F600 \\ud83d\\\uFFFD"; got[0]["text"] != want {
		t.Errorf("got %q, want %q", got[0]["text"], want)
	}
}

// A text of the background can be the last of a log: nothing completes it.
func TestTextOfTheBackgroundAtTheEnd(t *testing.T) {
	var s script
	s.output("", "text", "on its ")
	s.output("", "text", "own")
	if got := words(entriesOf(t, transcribe(JSON, s.entries)), "text"); got != "answer on its own" {
		t.Errorf("it says %s", got)
	}
	if got := transcribe(Markdown, s.entries); !strings.HasSuffix(got, "\n## In the background\n\n### Answer\n\n> on its own\n") {
		t.Errorf("it says\n%s", got)
	}
}

// Whatever a log has, it makes JSON, and no panic.
func FuzzEvents(f *testing.F) {
	types := protocol.EventTypes
	f.Add(uint8(4), `{"messageId":1,"toolCallId":null,"title":{},"content":{"a":[1]},"status":7,"output":{"data":"x","type":"image"}}`)
	f.Add(uint8(1), `{"messageId":"m","content":[null,1,{"type":"image","data":5},{"type":"resource","resource":[]},{"type":"content","content":{"type":"content"}}]}`)
	f.Add(uint8(6), `{"messageId":"m","interactionId":"i","options":[{}],"content":[{"type":"diff","hunks":3}]}`)
	f.Add(uint8(2), `{"messageId":"m","text":"\ud83d","kind":"thought"}`)
	f.Add(uint8(0), `[]`)
	f.Add(uint8(2), `{"text":"own","kind":"text"}`)
	f.Add(uint8(0x23), `{"text":"own","kind":"text","toolCallId":"t","status":"idle"}`)
	f.Fuzz(func(t *testing.T, kind uint8, data string) {
		if raw, err := protocol.Compact([]byte(data)); err == nil {
			var s script
			s.message("m", "anna", `"hi"`)
			s.add(types[int(kind)%len(types)], string(raw))
			s.add(types[int(kind/16)%len(types)], string(raw))
			if got := transcribe(JSON, s.entries); !json.Valid([]byte(got)) {
				t.Errorf("%s makes %s", raw, got)
			}
			transcribe(Markdown, s.entries)
		}
	})
}
