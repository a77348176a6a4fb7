package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"sessionhub/internal/excerpt"
	"sessionhub/protocol"
)

// fitted holds the pieces of an event to what every piece must be.
func fitted(t testing.TB, typ protocol.EventType, data json.RawMessage, most int) []NewEvent {
	t.Helper()
	out, err := Fit(typ, data, most)
	if err != nil {
		t.Fatalf("fit %d bytes of %s into %d: %v", len(data), typ, most, err)
	}
	for _, e := range out {
		c, err := protocol.Compact(e.Data)
		if e.Type != typ || len(e.Data) > most || err != nil || string(c) != string(e.Data) {
			t.Fatalf("a piece of type %s with %d bytes (most %d): %v: %.100s", e.Type, len(e.Data), most, err, e.Data)
		}
	}
	return out
}

func joined(t testing.TB, pieces []NewEvent) string {
	t.Helper()
	var text strings.Builder
	for i, e := range pieces {
		var d protocol.OutputData
		if err := protocol.Decode(e.Data, &d); err != nil {
			t.Fatal(err)
		}
		if d.MessageID != "m1" || d.Kind != protocol.OutputThought || d.Text == "" && len(pieces) > 1 || !utf8.ValidString(d.Text) {
			t.Fatalf("piece %d: %+v", i, d)
		}
		text.WriteString(d.Text)
	}
	return text.String()
}

func output(text string) json.RawMessage {
	return protocol.Marshal(protocol.OutputData{MessageID: "m1", Text: text, Kind: protocol.OutputThought})
}

func TestEventThatFitsStaysAsItIs(t *testing.T) {
	// Also what this hub has no field for.
	data := json.RawMessage(`{"messageId":"m1","text":"hi","kind":"text","new":1}`)
	for _, typ := range protocol.EventTypes {
		if got := fitted(t, typ, data, len(data)); len(got) != 1 || string(got[0].Data) != string(data) {
			t.Errorf("%s: %s", typ, got[0].Data)
		}
	}
}

func TestLongOutputIsSplit(t *testing.T) {
	for _, unit := range []string{"x", "ä", "€", "😀", "\x00", "\"", "\\", "\n", "\u2028", "<", "a\u0301", "x€\x01😀", "👩\u200d🚀", "\r\n", "🇩🇪"} {
		for _, n := range []int{200, 1000, 5000} {
			text := strings.Repeat(unit, n)
			pieces := fitted(t, protocol.EventOutput, output(text), 256)
			if got := joined(t, pieces); got != text {
				t.Errorf("%q x %d: %d bytes became %d", unit, n, len(text), len(got))
			}
			// Nothing that is seen as one character is torn.
			for _, e := range pieces {
				if one := joined(t, []NewEvent{e}); unit != "x€\x01😀" && len(one)%len(unit) != 0 {
					t.Errorf("%q x %d: a piece of %d bytes", unit, n, len(one))
				}
			}
			// Not crumbs either.
			if most := 10 + 3*len(output(text))/(256-len(output(""))); len(pieces) > most {
				t.Errorf("%q x %d: %d pieces, want at most %d", unit, n, len(pieces), most)
			}
		}
	}
}

func TestAnyOutputIsSplit(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringN(0, 2000, 8000).Draw(rt, "text")
		most := rapid.IntRange(100, 3000).Draw(rt, "most")
		pieces, err := Fit(protocol.EventOutput, output(text), most)
		if err != nil {
			rt.Fatal(err)
		}
		var all strings.Builder
		for _, e := range pieces {
			var d protocol.OutputData
			if err := protocol.Decode(e.Data, &d); err != nil || len(e.Data) > most {
				rt.Fatalf("%d bytes, %v", len(e.Data), err)
			}
			all.WriteString(d.Text)
		}
		if all.String() != text {
			rt.Fatalf("%q became %q", text, all.String())
		}
	})
}

func FuzzFitOutput(f *testing.F) {
	f.Add("hello", 3, 100)
	f.Add("€😀\x00", 500, 128)
	f.Fuzz(func(t *testing.T, unit string, n, most int) {
		if n < 0 || n > 1000 || len(unit)*n > 1<<16 || most < 100 || most > 1<<16 {
			return
		}
		var d protocol.OutputData
		data := output(strings.Repeat(unit, n)) // not valid UTF-8 becomes U+FFFD here
		if err := protocol.Decode(data, &d); err != nil {
			t.Fatal(err)
		}
		if got := joined(t, fitted(t, protocol.EventOutput, data, most)); got != d.Text {
			t.Errorf("%q became %q", d.Text, got)
		}
	})
}

func TestLongToolOutputIsCut(t *testing.T) {
	const most = 8 << 10
	long := strings.Repeat("€\n", 20_000)
	content := func(s string) json.RawMessage {
		return protocol.Marshal(map[string]any{"type": "content", "content": map[string]string{"type": "text", "text": s}})
	}
	many := make([]json.RawMessage, 2000)
	for i := range many {
		many[i] = json.RawMessage(`{"path":"x"}`)
	}
	for name, d := range map[string]protocol.ToolCallData{
		"output, a string":  {Output: protocol.Marshal(long)},
		"output, an object": {Output: protocol.Marshal(map[string]string{"out": long})},
		"input":             {Input: protocol.Marshal(map[string]string{"in": long})},
		"title":             {Title: long},
		"content":           {Content: []json.RawMessage{content("short"), content(long)}},
		"a diff":            {Content: []json.RawMessage{protocol.Marshal(map[string]string{"type": "diff", "newText": long})}},
		"many locations":    {Locations: many},
		"many contents":     {Content: many},
		"all of it": {
			Title: long, Input: protocol.Marshal(long), Output: protocol.Marshal(long), Content: []json.RawMessage{content(long), content(long)}, Locations: many,
		},
	} {
		d.MessageID, d.ToolCallID, d.Kind, d.Status = "m1", "t1", "execute", "completed"
		got := fitted(t, protocol.EventToolCall, protocol.Marshal(d), most)
		var back protocol.ToolCallData
		if err := protocol.Decode(got[0].Data, &back); err != nil || len(got) != 1 {
			t.Fatalf("%s: %d pieces, %v", name, len(got), err)
		}
		if back.MessageID != "m1" || back.ToolCallID != "t1" || back.Kind != "execute" || back.Status != "completed" {
			t.Errorf("%s: %+v", name, back)
		}
		if data := string(got[0].Data); !strings.Contains(data, " left out …") && !strings.Contains(data, `"truncated":true`) {
			t.Errorf("%s: no mark", name)
		}
		if name == "output, a string" {
			var text string
			if err := json.Unmarshal(back.Output, &text); err != nil || !strings.HasPrefix(text, "€\n€") || !strings.HasSuffix(text, "€\n") || len(text) < most/16 {
				t.Errorf("%s: %d bytes are left, %v", name, len(text), err)
			}
		}
		if name == "content" && !strings.Contains(string(back.Content[0]), "short") {
			t.Errorf("the short part of the content was cut: %s", back.Content[0])
		}
	}
}

func TestLongAgentUpdateIsCut(t *testing.T) {
	data := protocol.Marshal(protocol.AgentUpdateData{Kind: "k", Raw: protocol.Marshal(strings.Repeat("\x00", 5000))})
	got := fitted(t, protocol.EventAgentUpdate, data, 1024)
	if !strings.Contains(string(got[0].Data), "left out") || !strings.Contains(string(got[0].Data), `"kind":"k"`) {
		t.Errorf("%s", got[0].Data)
	}
}

// What cannot be made shorter is refused, never stored too long.
func TestWhatCannotBeCutIsRefused(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		t    protocol.EventType
		data any
	}{
		"a plan":           {protocol.EventPlan, protocol.PlanData{MessageID: long}},
		"an output's id":   {protocol.EventOutput, protocol.OutputData{MessageID: long, Text: long}},
		"a tool call's id": {protocol.EventToolCall, protocol.ToolCallData{ToolCallID: long}},
		"an update's kind": {protocol.EventAgentUpdate, protocol.AgentUpdateData{Kind: long, Raw: []byte("{}")}},
		"not the data":     {protocol.EventOutput, map[string]any{"text": 5, "x": long}},
		"not a tool call":  {protocol.EventToolCall, map[string]any{"content": 5, "x": long}},
	} {
		if got, err := Fit(c.t, protocol.Marshal(c.data), 1024); err == nil {
			t.Errorf("%s: %d pieces of %d bytes", name, len(got), len(got[0].Data))
		} else if strings.HasPrefix(name, "a") && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzFitToolCall(f *testing.F) {
	f.Add("title", `{"a":1}`, "text", 10)
	f.Fuzz(func(t *testing.T, title, raw, text string, n int) {
		const most = 4096
		if n < 0 || n > 200 || len(text)*n > 1<<16 || len(title) > 1<<16 {
			return
		}
		in, err := protocol.Compact([]byte(raw))
		if err != nil {
			in = []byte("{}")
		}
		data := protocol.Marshal(protocol.ToolCallData{
			MessageID: "m1", ToolCallID: "t1", Title: title, Input: in, Output: protocol.Marshal(strings.Repeat(text, n)),
			Content: []json.RawMessage{in, protocol.Marshal(map[string]any{"content": map[string]string{"text": strings.Repeat(text, n)}})},
		})
		fitted(t, protocol.EventToolCall, data, most)
	})
}

func TestCutTextKeepsCharactersWhole(t *testing.T) {
	for most := range 200 {
		s := CutText(strings.Repeat("€", 100), most)
		if !utf8.ValidString(s) || len(s) > max(most, len(cutMark)+3) || !strings.HasSuffix(s, cutMark) {
			t.Errorf("most %d: %d bytes %q", most, len(s), s)
		}
	}
	for n := range 8 {
		if got := cutAt("€€€", n); got%3 != 0 || got == 0 || got > max(n, 3) {
			t.Errorf("cutAt(%d) = %d", n, got)
		}
	}
	if s := fmt.Sprint(CutText("short", 5)); s != "short" {
		t.Errorf("%q", s)
	}
}

// A question that is too long is asked all the same, cut: refused, nobody ever
// answered it, and its agent waited. Those that differ only in what was cut stay
// different for the rules.
func TestLongQuestionIsCut(t *testing.T) {
	const most = 4 << 10
	options := []protocol.ApprovalOption{opt("y", protocol.AllowOnce), opt("n", protocol.RejectOnce)}
	long := strings.Repeat("\u0001x", 20<<10)
	for name, questions := range map[string][2]protocol.ToolApprovalData{
		"input": {{Input: protocol.Marshal(map[string]string{"text": long + "1"})}, {Input: protocol.Marshal(map[string]string{"text": long + "2"})}},
		"text":  {{Input: protocol.Marshal(long + "1")}, {Input: protocol.Marshal(long + "2")}},
		"title": {{Title: long + "1"}, {Title: long + "2"}},
		"content": {
			{Content: []json.RawMessage{json.RawMessage(`{"type":"content"}`), protocol.Marshal(long + "1")}},
			{Content: []json.RawMessage{json.RawMessage(`{"type":"content"}`), protocol.Marshal(long + "2")}},
		},
	} {
		rules := make(map[Rule]bool)
		for _, q := range questions {
			q.InteractionID, q.Options, q.Kind = "i1", options, "edit"
			a, again := q, q
			if !excerpt.Approval(&a, most) || !excerpt.Approval(&again, most) || !a.Truncated {
				t.Errorf("%s: was not cut", name)
			}
			if raw := protocol.Marshal(a); len(raw) > most || a.InteractionID != "i1" || len(a.Options) != 2 || !strings.Contains(string(raw), "left out") {
				t.Errorf("%s: %d bytes: %.300s", name, len(raw), raw)
			}
			rules[RuleFor(a)] = true
			if RuleFor(a) != RuleFor(again) {
				t.Errorf("%s: the same question twice makes two rules", name)
			}
		}
		if len(rules) != 2 {
			t.Errorf("%s: two questions make %d rules", name, len(rules))
		}
	}
}
