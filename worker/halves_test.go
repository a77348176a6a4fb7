package worker

import (
	"encoding/json"
	"strings"
	"testing"
)

// What halves make of a stream is what a reader of the whole text would have
// seen, wherever the agent cut it, and nothing else in a line is touched.
func TestHalvesOfCharactersAreJoined(t *testing.T) {
	chunk := func(kind, text string) string {
		return `{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"` + kind +
			`","content":{"type":"text","text":"` + text + `"},"_meta":{"id":1}}}}`
	}
	say := func(text string) string { return chunk("agent_message_chunk", text) }
	think := func(text string) string { return chunk("agent_thought_chunk", text) }
	const tool = `{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"tool_call"}}}`
	for name, tc := range map[string]struct {
		lines []string
		want  string // the texts, with | between kinds
	}{
		"one pair":             {[]string{say(`a\ud83d`), say(`\ude00b`)}, "a😀b"},
		"capitals":             {[]string{say(`a\uD83D`), say(`\uDE00b`)}, "a😀b"},
		"each unit alone":      {[]string{say(`\ud83d`), say(`\ude00`), say(`\ud83d`), say(`\udE80`)}, "😀🚀"},
		"an empty one between": {[]string{say(`\ud83d`), say(``), say(`\ude00`)}, "😀"},
		"never another":        {[]string{say(`a\ud83d`), say(`b`)}, "a\uFFFDb"},
		"two first ones":       {[]string{say(`a\ud83d\ud83d`), say(`\ude00`)}, "a\uFFFD😀"},
		"a tool between":       {[]string{say(`a\ud83d`), tool, say(`\ude00`)}, "a\uFFFD|\uFFFD"},
		"a thought between":    {[]string{say(`a\ud83d`), think(`\ude00`), say(`b`)}, "a\uFFFD|\uFFFD|b"},
		"a half behind a half": {[]string{say(`a\ud83d`), think(`b\ud83d`), think(`\ude00`), say(`\ude00`)}, "a\uFFFD|b😀|\uFFFD"},
		"at the end":           {[]string{say(`a\ud83d`)}, "a\uFFFD"},
		"no escape":            {[]string{say(`a\\ud83d`), say(`\\ude00`)}, `a\ud83d\ude00`},
		"behind a backslash":   {[]string{say(`a\\\ud83d`), say(`\ude00`)}, `a\😀`},
		"pairs":                {[]string{say(`\ud83d\ude00`), say(`\ud83d\ude00`)}, "😀😀"},
	} {
		var h halves
		var lines [][]byte
		for _, l := range tc.lines {
			lines = append(lines, h.lines([]byte(l))...)
		}
		lines = append(lines, h.end()...)
		var got strings.Builder
		last := "agent_message_chunk"
		for _, l := range lines {
			var p struct {
				Update struct {
					Kind    string `json:"sessionUpdate"`
					Content struct{ Text string }
				}
			}
			m := parseLine(l)
			if m.kind != lineNotification || json.Unmarshal(m.params, &p) != nil {
				t.Fatalf("%s: the line became %s", name, l)
			}
			if p.Update.Kind != last && p.Update.Kind != "tool_call" || p.Update.Kind == "tool_call" {
				got.WriteByte('|')
			}
			if p.Update.Kind != "tool_call" {
				last = p.Update.Kind
			}
			got.WriteString(p.Update.Content.Text)
		}
		if got.String() != tc.want {
			t.Errorf("%s: got %q, want %q", name, got.String(), tc.want)
		}
	}
	var h halves
	h.lines([]byte(say(`\ud83d`)))
	if got := string(h.lines([]byte(say(`\ude00`)))[0]); !strings.Contains(got, `"_meta":{"id":1}`) {
		t.Errorf("the line lost something: %s", got)
	}
}

func FuzzHalves(f *testing.F) {
	f.Add(`a\ud83d`, `\ude00`)
	f.Fuzz(func(t *testing.T, first, second string) {
		line := func(text string) []byte {
			return []byte(`{"method":"session/update","params":{"sessionId":"s","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"` + text + `"}}}}`)
		}
		if !json.Valid(line(first)) || !json.Valid(line(second)) {
			t.Skip("the text is no JSON") // skip: only texts of lines are of interest
		}
		read := func(lines [][]byte) (s string) {
			for _, l := range lines {
				c, ok := readChunk(cleanLine(l))
				var text string
				if !ok || json.Unmarshal(c.text, &text) != nil {
					t.Skip("the text leaves its place in the line") // skip: only texts of lines are of interest
				}
				s += text
			}
			return s
		}
		var apart, whole halves
		got := read(append(append(apart.lines(line(first)), apart.lines(line(second))...), apart.end()...))
		want := read(append(whole.lines(line(first+second)), whole.end()...))
		if got != want {
			t.Fatalf("%q and %q read %q, together %q", first, second, got, want)
		}
	})
}
