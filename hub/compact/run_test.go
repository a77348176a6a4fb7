package compact

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"sessionhub/protocol"
)

var began = time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)

// event is an event as a store keeps it, a second after the one before it.
func event(seq uint64, t protocol.EventType, data string) protocol.Entry {
	at := began.Add(time.Duration(seq) * time.Second)
	return protocol.Entry{Seq: seq, Type: t, Tail: protocol.AppendEventTail(nil, t, at, []byte(data))}
}

func output(seq uint64, text string) protocol.Entry {
	return event(seq, protocol.EventOutput, string(protocol.Marshal(protocol.OutputData{MessageID: "m1", Text: text, Kind: "text"})))
}

// all gathers entries, and gives what they become in the end.
func all(entries []protocol.Entry) []protocol.Entry {
	g := gather{before: began.Add(1000 * time.Hour)}
	for _, e := range entries {
		g.add(e)
	}
	g.close()
	out, _ := g.take()
	return out
}

func TestRuns(t *testing.T) {
	const o, c = protocol.EventOutput, protocol.EventToolCall
	type ev struct {
		t    protocol.EventType
		data string
	}
	out := func(text string) ev { return ev{o, `{"messageId":"m1","text":"` + text + `","kind":"text"}`} }
	for name, test := range map[string]struct {
		in   []ev
		want []string // as "from-seq data"
	}{
		"text": {
			[]ev{out("a"), out("b"), out("c")},
			[]string{`1-3 {"messageId":"m1","text":"abc","kind":"text"}`},
		},
		"one alone stays": {
			[]ev{out("a"), {protocol.EventComplete, `{"messageId":"m1","stopReason":"end_turn"}`}, out("b")},
			[]string{`1-1 {"messageId":"m1","text":"a","kind":"text"}`, `2-2 {"messageId":"m1","stopReason":"end_turn"}`, `3-3 {"messageId":"m1","text":"b","kind":"text"}`},
		},
		"kinds and messages": {
			[]ev{
				out("a"), out("b"), {o, `{"messageId":"m1","text":"x","kind":"thought"}`}, {o, `{"messageId":"m1","text":"y","kind":"thought"}`},
				{o, `{"messageId":"m2","text":"z","kind":"thought"}`},
			},
			[]string{
				`1-2 {"messageId":"m1","text":"ab","kind":"text"}`, `3-4 {"messageId":"m1","text":"xy","kind":"thought"}`,
				`5-5 {"messageId":"m2","text":"z","kind":"thought"}`,
			},
		},
		"text keeps its bytes": { // two halves of a letter are one, as they are for who appends them
			[]ev{out(`\ud83d`), out(`\ude00`), out(`\"\\`), out(`é\u0000`)},
			[]string{`1-4 {"messageId":"m1","text":"\ud83d\ude00\"\\é\u0000","kind":"text"}`},
		},
		"in the background": {
			[]ev{
				{o, `{"text":"a","kind":"text"}`}, {o, `{"kind":"text","text":"b"}`}, out("c"), {o, `{"text":"d","kind":"text"}`}, {o, `{"text":"e","kind":"text","more":1}`},
				{o, `{"messageId":"","text":"f","kind":"text"}`}, {o, `{"text":"g","kind":"text"}`},
				{c, `{"toolCallId":"t1","title":"A","status":"pending"}`}, {c, `{"toolCallId":"t1","status":"completed"}`}, {c, `{"messageId":"m1","toolCallId":"t1","status":"failed"}`},
			},
			[]string{
				`1-2 {"text":"ab","kind":"text"}`, `3-3 {"messageId":"m1","text":"c","kind":"text"}`, `4-4 {"text":"d","kind":"text"}`,
				`5-5 {"text":"e","kind":"text","more":1}`, `6-6 {"messageId":"","text":"f","kind":"text"}`, `7-7 {"text":"g","kind":"text"}`,
				`8-9 {"toolCallId":"t1","title":"A","status":"completed"}`, `10-10 {"messageId":"m1","toolCallId":"t1","status":"failed"}`,
			},
		},
		"another order of the fields": {
			[]ev{{o, `{"kind":"text","text":"a","messageId":"m1"}`}, out("b")},
			[]string{`1-2 {"messageId":"m1","text":"ab","kind":"text"}`},
		},
		"more than a run keeps": {
			[]ev{out("a"), {o, `{"messageId":"m1","text":"b","kind":"text","more":1}`}, out("c"), {o, `{"messageId":"m1","text":"d","kind":"text","Text":"e"}`}, out("f")},
			[]string{
				`1-1 {"messageId":"m1","text":"a","kind":"text"}`, `2-2 {"messageId":"m1","text":"b","kind":"text","more":1}`,
				`3-3 {"messageId":"m1","text":"c","kind":"text"}`, `4-4 {"messageId":"m1","text":"d","kind":"text","Text":"e"}`,
				`5-5 {"messageId":"m1","text":"f","kind":"text"}`,
			},
		},
		"tool calls": {
			[]ev{
				{c, `{"messageId":"m1","toolCallId":"t1","title":"A","status":"pending","input":{"a":[1,{"b":"}"}]}}`},
				{c, `{"messageId":"m1","toolCallId":"t1","status":"in_progress","locations":[]}`},
				{c, `{"messageId":"m1","toolCallId":"t1","status":"completed","output":false,"content":[{"x":1}]}`},
				{c, `{"messageId":"m1","toolCallId":"t2","status":"pending"}`},
			},
			[]string{
				`1-3 {"messageId":"m1","toolCallId":"t1","title":"A","status":"completed","input":{"a":[1,{"b":"}"}]},"locations":[],"output":false,"content":[{"x":1}]}`,
				`4-4 {"messageId":"m1","toolCallId":"t2","status":"pending"}`,
			},
		},
		"what readers may take for absent": {
			[]ev{
				{c, `{"messageId":"m1","toolCallId":"t1","title":"A"}`}, {c, `{"messageId":"m1","toolCallId":"t1","title":null}`},
				{c, `{"messageId":"m1","toolCallId":"t1","Title":"B"}`}, {c, `{"messageId":"m1","toolCallId":"t1","a":1,"a":2}`},
				{c, `{"messageId":"m1","toolCallId":"t1","\u0061":1}`},
			},
			[]string{
				`1-1 {"messageId":"m1","toolCallId":"t1","title":"A"}`, `2-2 {"messageId":"m1","toolCallId":"t1","title":null}`,
				`3-3 {"messageId":"m1","toolCallId":"t1","Title":"B"}`, `4-4 {"messageId":"m1","toolCallId":"t1","a":1,"a":2}`,
				`5-5 {"messageId":"m1","toolCallId":"t1","\u0061":1}`,
			},
		},
		"others are never touched": {
			[]ev{{protocol.EventPlan, `{"entries":[]}`}, {protocol.EventPlan, `{"entries":[]}`}, {protocol.EventAgentUpdate, `{"kind":"x","raw":1}`}, {protocol.EventAgentUpdate, `{"kind":"x","raw":1}`}},
			[]string{`1-1 {"entries":[]}`, `2-2 {"entries":[]}`, `3-3 {"kind":"x","raw":1}`, `4-4 {"kind":"x","raw":1}`},
		},
	} {
		var entries []protocol.Entry
		for i, e := range test.in {
			entries = append(entries, event(uint64(i+1), e.t, e.data))
		}
		var got []string
		for _, e := range all(entries) {
			var d protocol.Event
			if err := json.Unmarshal(e.AppendJSON(nil), &d); err != nil {
				t.Fatalf("%s: %v: %s", name, err, e.AppendJSON(nil))
			}
			if !d.Time.Equal(began.Add(time.Duration(e.Seq) * time.Second)) {
				t.Errorf("%s: %d has the time %s, not that of its last event", name, e.Seq, d.Time)
			}
			got = append(got, fmt.Sprintf("%d-%d %s", e.First(), e.Seq, d.Data))
		}
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(test.want, "\n"))
		}
	}
}

// A run ends where the next event finds no room.
func TestRunIsBounded(t *testing.T) {
	var entries []protocol.Entry
	for i := range 10_000 {
		entries = append(entries, output(uint64(i+1), fmt.Sprintf("%024d", i)))
	}
	entries = append(entries, output(10_001, strings.Repeat("x", 2*MaxRunBytes)), output(10_002, "y"))
	got := all(entries)
	next := uint64(1)
	for i, e := range got {
		if e.First() != next {
			t.Fatalf("%d follows %d", e.First(), next-1)
		}
		next = e.Seq + 1
		if i < len(got)-3 && (e.JSONLen() > MaxRunBytes || e.JSONLen() < MaxRunBytes-24) {
			t.Errorf("an event of %d bytes in the middle of a run", e.JSONLen())
		}
	}
	if next != 10_003 || len(got) > 10 || got[len(got)-2].From != 0 {
		t.Errorf("%d events up to %d", len(got), next-1)
	}
}

// What is too young waits, and so does the run that it ended.
func TestYoungRunsWait(t *testing.T) {
	g := gather{before: began.Add(3 * time.Second)}
	for i, text := range []string{"a", "b", "c"} {
		if !g.add(output(uint64(i+1), text)) {
			t.Fatalf("event %d is too young", i+1)
		}
	}
	if g.add(event(4, protocol.EventComplete, `{}`)) {
		t.Error("an event of a second later is old enough")
	}
	if got, _ := g.take(); len(got) != 0 {
		t.Errorf("a run was taken that ended too late: %d entries", len(got))
	}
}

// FuzzRun: whatever the events are, what they become says the same to a reader who
// appends texts and merges tool calls; it has the length that was foretold; and to compact
// it in parts changes nothing of what it says.
func FuzzRun(f *testing.F) {
	f.Add(`{"messageId":"m1","text":"a","kind":"text"}`, `{"messageId":"m1","text":"\ud83d","kind":"text"}`, `{"messageId":"m1","text":"\ude00","kind":"text"}`, false)
	f.Add(`{"text":"a","kind":"text"}`, `{"text":"\ud83d","kind":"text"}`, `{"messageId":"m1","text":"\ude00","kind":"text"}`, false)
	f.Add(`{"messageId":"m","toolCallId":"t","title":"A","input":{"a":1}}`, `{"messageId":"m","toolCallId":"t","status":"x"}`, `{"messageId":"m","toolCallId":"t","title":"B","content":[]}`, true)
	f.Add(`{"toolCallId":"t","a":null}`, `{"toolCallId":"t","A":[{}],"a":1}`, `{"toolCallId":"t","a":2,"a":3}`, true)
	f.Fuzz(func(t *testing.T, a, b, c string, tool bool) {
		kind := protocol.EventOutput
		if tool {
			kind = protocol.EventToolCall
		}
		var entries []protocol.Entry
		for i, data := range []string{a, b, c} {
			compact, err := protocol.Compact([]byte(data))
			if err != nil || len(compact) == 0 || compact[0] != '{' {
				return
			}
			entries = append(entries, event(uint64(i+1), kind, string(compact)))
		}
		want := read(t, entries)
		for split := range 3 {
			got := append(all(entries[:split]), all(entries[split:])...)
			for _, e := range got {
				if !json.Valid(e.AppendJSON(nil)) || len(e.AppendJSON(nil)) != e.JSONLen() {
					t.Fatalf("no JSON: %s", e.AppendJSON(nil))
				}
				if e.From != 0 {
					if r, ok := begin(entries[e.From-1]); ok {
						for _, next := range entries[e.From:e.Seq] {
							r.add(next)
						}
						if r.size() != e.JSONLen() {
							t.Fatalf("foretold %d bytes, it has %d: %s", r.size(), e.JSONLen(), e.AppendJSON(nil))
						}
					}
				}
			}
			if said := read(t, got); !reflect.DeepEqual(said, want) {
				t.Fatalf("split at %d: %v, want %v", split, said, want)
			}
			if said := read(t, all(got)); !reflect.DeepEqual(said, want) {
				t.Fatalf("compacted again: %v, want %v", said, want)
			}
		}
	})
}

// read reads events as a client does: texts of a kind and message behind each other, tool
// calls merged by id. Each event that is neither stands for itself.
func read(t *testing.T, entries []protocol.Entry) []string {
	var out []string
	var last string // what the end of out can be added to
	calls := map[string]map[string]string{}
	for _, e := range entries {
		var ev struct {
			Data map[string]json.RawMessage `json:"data"`
		}
		if err := json.Unmarshal(e.AppendJSON(nil), &ev); err != nil {
			t.Fatal(err)
		}
		if e.Type == protocol.EventToolCall {
			id := string(ev.Data["toolCallId"])
			if calls[id] == nil {
				calls[id] = map[string]string{}
			}
			for name, value := range ev.Data {
				calls[id][name] = string(value)
			}
			continue
		}
		text := string(ev.Data["text"])
		of := string(ev.Data["messageId"]) + string(ev.Data["kind"])
		if len(text) < 2 || text[0] != '"' {
			of = ""
		}
		if of != "" && of == last {
			out[len(out)-1] += text[1 : len(text)-1]
			continue
		}
		out = append(out, of+strings.Trim(text, `"`))
		last = of
	}
	return append(out, fmt.Sprint(calls))
}
