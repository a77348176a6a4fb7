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
	content := func(raw string) protocol.ToolApprovalData {
		return protocol.ToolApprovalData{Content: []json.RawMessage{json.RawMessage(raw)}}
	}
	input := func(raw string) protocol.ToolApprovalData {
		return protocol.ToolApprovalData{Input: json.RawMessage(raw)}
	}
	long := strings.Repeat("line\n", 100)
	for name, tc := range map[string]struct {
		in   protocol.ToolApprovalData
		want string
	}{
		"command":      {input(`{"call_id":"7","command":"rm -r x\nls","cwd":"/","env":{"A":"b"}}`), "$ rm -r x\nls\ncwd: /\nenv: {\n  \"A\": \"b\"\n}\ncall_id: 7"},
		"words":        {input(`{"command":["git","push"]}`), "$ git push"},
		"quoted words": {input(`{"command":["rm","a b","it's; ls","ünï"]}`), `$ rm 'a b' 'it'\''s; ls' ünï`},
		"other input":  {input(`{"url":"x"}`), "url: x"},
		"a list":       {input(`["x"]`), "[\n  \"x\"\n]"},
		"cut input":    {input(`"the beginning [cut]"`), "the beginning [cut]"},
		"nothing":      {input(`{}`), "The agent gave no details but this title."},
		"diff":         {protocol.ToolApprovalData{Content: []json.RawMessage{diff("a\nb\nc\n", "a\nB\nB2\nc\n")}}, "/w/a.go\n@@ from line 2\n- b\n+ B\n+ B2"},
		"new file":     {protocol.ToolApprovalData{Content: []json.RawMessage{diff("", "a\nb")}}, "/w/a.go\n+ a\n+ b"},
		"other ends":   {protocol.ToolApprovalData{Content: []json.RawMessage{diff("a\n", "a\r\n")}}, "/w/a.go\n- a\n+ a\r"},
		"hunks":        {content(`{"type":"diff","path":"p","hunks":[{"oldStart":3,"oldLines":2,"newStart":3,"newLines":2,"lines":[" a","-b","+c"]}]}`), "p\n@@ -3,2 +3,2 @@\n a\n-b\n+c"},
		"text":         {content(`{"type":"content","content":{"type":"text","text":"why\nso","truncated":true}}`), "why\nso\n… it goes on"},
		"image":        {content(`{"type":"content","content":{"type":"image","mimeType":"image/png","data":"aaaa"}}`), "(image, image/png: this terminal does not show it)"},
		"unknown":      {content(`{"type":"later","x":5}`), "{\n  \"type\": \"later\",\n  \"x\": 5\n}"},
		"no object":    {content(`5`), "5"},
		"the same text twice": {protocol.ToolApprovalData{
			Content: []json.RawMessage{diff("", long)}, Input: protocol.Marshal(map[string]string{"content": long, "path": "/w/a.go"}),
		}, "/w/a.go\n" + strings.Repeat("+ line\n", 100) + "content: (as above)\npath: /w/a.go"},
	} {
		if got := lines(details(tc.in)); got != tc.want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, tc.want)
		}
	}
}

// What allows a command must show all of it: it was once cut at 40 lines, and at
// 4,000 bytes of one.
func TestDetailsLeaveNothingOut(t *testing.T) {
	command := strings.Repeat("echo\n", 500) + strings.Repeat(" ", 10_000) + "; rm -r /"
	var all strings.Builder
	for _, l := range details(protocol.ToolApprovalData{Input: protocol.Marshal(map[string]string{"command": command})}) {
		for _, row := range exactRows(painter{}, 80, l) {
			if visible(row) > 80 {
				t.Fatalf("a row has %d columns", visible(row))
			}
			all.WriteString(strings.TrimSpace(ours.ReplaceAllString(row, "")))
		}
	}
	if got := all.String(); strings.Count(got, "echo") != 500 || !strings.HasSuffix(got, "; rm -r /") {
		t.Errorf("it shows %q", got[max(0, len(got)-100):])
	}
}

// Nothing makes a command look other than what runs.
func TestDetailsShowWhatCannotBeSeen(t *testing.T) {
	shown := func(command string) string {
		var rows []string
		for _, l := range details(protocol.ToolApprovalData{Input: protocol.Marshal(map[string]string{"command": command})}) {
			rows = append(rows, exactRows(painter{}, 80, l)...)
		}
		return ours.ReplaceAllString(strings.Join(rows, "|"), "")
	}
	for command, want := range map[string]string{
		"rm \u202egpj.exe":    "  $ rm U+202Egpj.exe",
		"ls \u200b\U000e0041": "  $ ls U+200BU+E0041",
		"curl gо.com":         "  $ curl gоU+043E.com",
		"echo \x1b[2Ja\rb":    "  $ echo ␛[2Ja␍b",
		"cat שלום 1 2":        `  $ cat שלום 1 2|    in their order: $ cat \u{5e9}\u{5dc}\u{5d5}\u{5dd} 1 2`,
	} {
		if got := shown(command); got != want {
			t.Errorf("%q: got %q, want %q", command, got, want)
		}
	}
	if row := exactRows(painter{}, 80, styledLine{0, "a\u202eb U+202E"})[0]; row != "  a\x1b[0;1;7mU+202E\x1b[0mb U+202E" {
		t.Errorf("a mark can be imitated: %q", row)
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
	rows := choiceRows(painter{}, d, 40, true)
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

// Before all was shown, only no is offered, by the keys that it has anyway.
func TestChoicesThatRefuse(t *testing.T) {
	d := protocol.ToolApprovalData{Options: []protocol.ApprovalOption{
		{OptionID: "a", Name: "Yes", Kind: protocol.AllowOnce}, {OptionID: "b", Name: "Later", Kind: "later"}, {OptionID: "c", Name: "No", Kind: protocol.RejectOnce},
	}}
	if got := strings.TrimSpace(strings.Join(choiceRows(painter{}, d, 40, false), "|")); got != "\x1b[0;1m[n/3]\x1b[0m No" {
		t.Errorf("offered: %q", got)
	}
}
