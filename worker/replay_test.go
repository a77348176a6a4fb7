package worker

import (
	"encoding/json"
	"strings"
	"testing"

	"sessionhub/protocol"
)

// What an agent replays of a message becomes a message that a user could have sent, and
// that fits into an event.
func TestReplayedMessage(t *testing.T) {
	const most = 1000
	block := func(fields ...string) string {
		var b strings.Builder
		for i := 0; i < len(fields); i += 2 {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`"` + fields[i] + `":` + string(protocol.Marshal(fields[i+1])))
		}
		return "{" + b.String() + "}"
	}
	text := func(said string) string { return block("type", "text", "text", said) }
	for name, c := range map[string]struct {
		blocks []string
		want   string // the content; empty: there is no message
	}{
		"pieces":          {[]string{text("one "), text("two")}, `"one two"`},
		"nothing":         {nil, ""},
		"white space":     {[]string{text("  "), text("\n")}, ""},
		"garbage":         {[]string{`7`, `{"type":"text"}`, `null`}, `"[text left out]"`},
		"a picture":       {[]string{text("see"), block("type", "image", "mimeType", "image/png", "data", "aGk=")}, `[{"type":"text","text":"see"},{"type":"image","mimeType":"image/png","data":"aGk="}]`},
		"a long picture":  {[]string{block("type", "image", "mimeType", "image/png", "data", strings.Repeat("a", most))}, `"[image left out]"`},
		"a link":          {[]string{block("type", "resource_link", "uri", "file:///a", "name", "a")}, `"[file:///a]"`},
		"another kind":    {[]string{block("type", "audio", "mimeType", "audio/wav", "data", "aGk=")}, `"[audio left out]"`},
		"for the model":   {[]string{text("see "), `{"type":"text","text":"Called the Read tool","annotations":{"audience":["assistant"]}}`, `{"type":"text","text":"this","annotations":{"audience":["user","assistant"]}}`}, `"see this"`},
		"a wrong picture": {[]string{block("type", "image", "mimeType", "text/html", "data", "aGk=")}, `"[image left out]"`},
	} {
		var r replay
		for _, b := range c.blocks {
			r.add(json.RawMessage(b), most)
		}
		content, ok := replayContent(r.blocks)
		if string(content) != c.want || ok != (c.want != "") {
			t.Errorf("%s: %s, %t, want %s", name, content, ok, c.want)
		}
	}
	var r replay
	for range 100 {
		r.add(json.RawMessage(text(strings.Repeat("\"ä", 40))), most)
	}
	content, _ := replayContent(r.blocks)
	if len(content) > most || !strings.HasSuffix(string(content), replayCut+`"`) || strings.Count(string(content), replayCut) != 1 {
		t.Errorf("a long text has %d bytes: %s", len(content), content)
	}
}

// A cursor of a list is read as it was written. Others are refused, whatever they hold.
func TestListCursor(t *testing.T) {
	want := listCursor{Agent: "next\x00page", Skip: 7}
	if got, err := readListCursor(want.String()); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"!", "e30=", "bnVsbA", listCursor{Skip: -1}.String(), listCursor{Agent: strings.Repeat("x", protocol.MaxAgentSessionCursor)}.String()} {
		if c, err := readListCursor(bad); err == nil && c != (listCursor{}) {
			t.Errorf("%.20q is taken: %+v", bad, c)
		}
	}
}
