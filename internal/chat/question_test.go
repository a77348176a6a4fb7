package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sessionhub/protocol"
)

func lines(ls []styledLine) string {
	var all []string
	for _, l := range ls {
		all = append(all, l.text)
	}
	return strings.Join(all, "\n")
}

func TestDetailsShowWhatIsAskedFor(t *testing.T) {
	diff := func(before, after string) json.RawMessage {
		return protocol.Marshal(map[string]string{"type": "diff", "path": "/w/a.go", "oldText": before, "newText": after})
	}
	for name, tc := range map[string]struct {
		in   protocol.ToolApprovalData
		want string
	}{
		"command":      {protocol.ToolApprovalData{Input: json.RawMessage(`{"command":"rm -r x\nls","cwd":"/"}`)}, "$ rm -r x\nls"},
		"words":        {protocol.ToolApprovalData{Input: json.RawMessage(`{"command":["git","push"]}`)}, "$ git push"},
		"other input":  {protocol.ToolApprovalData{Input: json.RawMessage(`{"url":"x"}`)}, "{\n  \"url\": \"x\"\n}"},
		"nothing":      {protocol.ToolApprovalData{Input: json.RawMessage(`{}`)}, ""},
		"diff":         {protocol.ToolApprovalData{Content: []json.RawMessage{diff("a\nb\nc\n", "a\nB\nB2\nc\n")}}, "/w/a.go\n- b\n+ B\n+ B2"},
		"new file":     {protocol.ToolApprovalData{Content: []json.RawMessage{diff("", "a\nb")}}, "/w/a.go\n+ a\n+ b"},
		"other blocks": {protocol.ToolApprovalData{Content: []json.RawMessage{json.RawMessage(`{"type":"content"}`), json.RawMessage(`5`)}}, ""},
	} {
		if got := lines(details(tc.in)); got != tc.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tc.want)
		}
	}
}

// A command that is too long to be shown must not look as if it was all there.
func TestDetailsSayWhatTheyLeaveOut(t *testing.T) {
	long := details(protocol.ToolApprovalData{Input: protocol.Marshal(map[string]string{"command": "true" + strings.Repeat(" ", maxDetailBytes) + "; rm -r /"})})
	if len(long) != 1 || !strings.HasSuffix(long[0].text, "… 15 more bytes that are not shown") {
		t.Errorf("got %q", long[0].text[len(long[0].text)-60:])
	}
	many := details(protocol.ToolApprovalData{Input: protocol.Marshal(map[string]string{"command": strings.Repeat("echo\n", maxDetailLines+5)})})
	if len(many) != maxDetailLines+1 || !strings.HasPrefix(many[maxDetailLines].text, "… 5 more lines") {
		t.Errorf("%d lines, the last %q", len(many), many[len(many)-1].text)
	}
}

func TestChoices(t *testing.T) {
	q := protocol.ToolApprovalData{Options: []protocol.ApprovalOption{
		{OptionID: "a", Kind: protocol.AllowAlways}, {OptionID: "b", Kind: protocol.AllowOnce}, {OptionID: "c", Kind: protocol.AllowOnce},
		{OptionID: "d", Kind: protocol.RejectOnce}, {OptionID: "e", Kind: "later"},
	}}
	var got []string
	for _, r := range "yAnN12345678\x00aY" {
		o, ok := chosen(q, r)
		got = append(got, fmt.Sprint(o.OptionID, ok))
	}
	if all := strings.Join(got, " "); all != "btrue atrue dtrue false atrue btrue ctrue dtrue etrue false false false false false false" {
		t.Errorf("got %s", all)
	}
}

// What an option would allow stands at the end of its name, as codex-acp words it.
func TestLongOptionsAreShownWhole(t *testing.T) {
	const name = "Yes, and don't ask again for commands that start with `git push --force-with-lease`"
	d := protocol.ToolApprovalData{Options: []protocol.ApprovalOption{
		{OptionID: "a", Name: "Yes", Kind: protocol.AllowOnce},
		{OptionID: "b", Name: name, Kind: protocol.AllowAlways},
		{OptionID: "c", Name: "No", Kind: protocol.RejectOnce},
	}}
	rows := choiceRows(painter{}, d, 40)
	var all strings.Builder
	for _, r := range rows {
		if visible(r) > 40 {
			t.Errorf("a row is wider than the terminal: %q", r)
		}
		all.WriteString(strings.TrimPrefix(r, "      "))
	}
	if !strings.Contains(all.String(), name) || !strings.Contains(all.String(), "Yes") || !strings.Contains(all.String(), "No") {
		t.Errorf("the options read %q", rows)
	}
}
