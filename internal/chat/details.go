package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// styledLine is a line as it was said, and its style. It is shown exactly.
type styledLine struct {
	s    style
	text string
}

// details is what somebody has to see who answers a question: what is changed or
// to be run. All that the question holds is in it.
func details(d protocol.ToolApprovalData) []styledLine {
	var lines []styledLine
	var shown []string // texts that need not be shown a second time
	for _, raw := range d.Content {
		more, texts := contentLines(raw)
		lines, shown = append(lines, more...), append(shown, texts...)
	}
	lines = append(lines, inputLines(d.Input, shown)...)
	if len(lines) == 0 {
		lines = split(dim, "The agent gave no details but this title.")
	}
	return lines
}

func split(s style, text string) []styledLine {
	var lines []styledLine
	for l := range strings.Lines(text) {
		lines = append(lines, styledLine{s, strings.TrimSuffix(l, "\n")})
	}
	return lines
}

// inputLines shows a command as one types it, with what else is known of it, and
// other input as JSON. A long text that was shown already is only named.
func inputLines(raw json.RawMessage, shown []string) []styledLine {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == "{}" {
		return nil
	}
	var said string
	if json.Unmarshal(raw, &said) == nil {
		return split(cyan, said)
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil || fields == nil {
		return split(dim, indented(raw))
	}
	var lines []styledLine
	if command, ok := commandLine(fields["command"]); ok {
		lines = split(cyan, "$ "+command)
		delete(fields, "command")
	}
	names := slices.SortedFunc(maps.Keys(fields), func(a, b string) int {
		if x, y := bookkeeping.MatchString(a), bookkeeping.MatchString(b); x != y {
			if x {
				return 1
			}
			return -1
		}
		return strings.Compare(a, b)
	})
	for _, name := range names {
		value := indented(fields[name])
		var s string
		if json.Unmarshal(fields[name], &s) == nil {
			if value = s; len(s) >= worthNaming && slices.Contains(shown, s) {
				value = "(as above)"
			}
		}
		lines = append(lines, split(dim, name+": "+value+"\n")...)
	}
	return lines
}

// worthNaming is from how many bytes on a text is not shown twice.
const worthNaming = 80

// bookkeeping are an agent's own numbers (codex-acp: call_id, started_at_ms):
// they come last.
var bookkeeping = regexp.MustCompile(`_(id|ms)$|Id$`)

func indented(raw json.RawMessage) string {
	var pretty bytes.Buffer
	if json.Indent(&pretty, raw, "", "  ") != nil {
		return string(raw)
	}
	return pretty.String()
}

// commandLine is a command as one types it. Words are quoted where a shell would
// take them for something else.
func commandLine(raw json.RawMessage) (string, bool) {
	var line string
	var words []string
	switch {
	case raw == nil || string(raw) == "null":
	case json.Unmarshal(raw, &line) == nil:
		return line, true
	case json.Unmarshal(raw, &words) == nil && len(words) > 0:
		for i, w := range words {
			if !simpleWord.MatchString(w) {
				words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
			}
		}
		return strings.Join(words, " "), true
	}
	return "", false
}

var simpleWord = regexp.MustCompile(`^[\pL\pN_@%+=:,./-]+$`)

// content is an item of a tool call's content (ACP, "Tool Calls: Content"), with
// what the hub makes of one that is too long: hunks, and a mark.
type content struct {
	Type             string
	Path             string
	OldText, NewText string
	Hunks            []struct {
		OldStart, OldLines, NewStart, NewLines int
		Lines                                  []string
	}
	Text      *string
	Truncated bool
	Content   *struct {
		Type, MimeType, URI, Name string
		Text                      *string
		Truncated                 bool
	}
}

// contentLines shows an item, and gives the texts that are in it as a whole.
func contentLines(raw json.RawMessage) (lines []styledLine, texts []string) {
	var c content
	if json.Unmarshal(raw, &c) != nil {
		return split(dim, indented(raw)), nil
	}
	cut := c.Truncated
	switch inner := c.Content; {
	case c.Type == "diff":
		lines, texts = diffLines(c), []string{c.Path, c.OldText, c.NewText}
	case inner != nil && inner.Text != nil:
		lines, texts, cut = split(0, *inner.Text), []string{*inner.Text}, cut || inner.Truncated
	case c.Text != nil:
		lines, texts = split(0, *c.Text), []string{*c.Text}
	case inner != nil && (inner.Type == "image" || inner.Type == "audio"):
		lines = split(dim, "("+inner.Type+", "+inner.MimeType+": this terminal does not show it)")
	default:
		lines = split(dim, indented(raw))
	}
	if cut {
		lines = append(lines, styledLine{yellow, "… it goes on"})
	}
	return lines, texts
}

// diffLines shows a change to a file.
func diffLines(c content) []styledLine {
	lines := []styledLine{{bold, c.Path}}
	for _, h := range c.Hunks {
		lines = append(lines, styledLine{dim, fmt.Sprintf("@@ -%d,%d +%d,%d @@", h.OldStart, h.OldLines, h.NewStart, h.NewLines)})
		for _, l := range h.Lines {
			s := style(0)
			switch {
			case strings.HasPrefix(l, "-"):
				s = red
			case strings.HasPrefix(l, "+"):
				s = green
			}
			lines = append(lines, styledLine{s, strings.TrimSuffix(l, "\n")})
		}
	}
	if len(c.Hunks) > 0 {
		return lines
	}
	before, after := strings.SplitAfter(c.OldText, "\n"), strings.SplitAfter(c.NewText, "\n")
	same := 0
	for same < min(len(before), len(after)) && before[same] == after[same] {
		same++
	}
	end := 0
	for end < min(len(before), len(after))-same && before[len(before)-1-end] == after[len(after)-1-end] {
		end++
	}
	if same > 0 {
		lines = append(lines, styledLine{dim, fmt.Sprintf("@@ from line %d", same+1)})
	}
	for _, l := range before[same : len(before)-end] {
		lines = append(lines, prefixed(red, "- ", l)...)
	}
	for _, l := range after[same : len(after)-end] {
		lines = append(lines, prefixed(green, "+ ", l)...)
	}
	return lines
}

func prefixed(s style, mark, line string) []styledLine {
	if line == "" {
		return nil
	}
	return []styledLine{{s, mark + strings.TrimSuffix(line, "\n")}}
}

// exactRows are the rows of a line in which everything can be seen. Where the
// terminal may show letters in another order than they have, it is written a
// second time by numbers.
func exactRows(p painter, columns int, l styledLine) []string {
	var rows []string
	w := wrapper{width: max(columns-3, 8), hard: true, rows: func(c []cell) { rows = append(rows, "  "+p.row(c)) }}
	for _, part := range text.Parts(l.text, false) {
		s := l.s
		if part.Mark {
			s = marked
		}
		w.text(s, part.Text)
	}
	w.line()
	if text.RightToLeft(l.text) {
		w.hard = true
		w.text(dim, "  in their order: "+text.Codes(l.text))
		w.line()
	}
	return rows
}

// exactLine is a title on one row of so many columns; whole: nothing of it is
// missing.
func exactLine(s string, columns int) (line string, whole bool) {
	full := text.ExactLine(s)
	line = truncate(full, columns)
	return line, line == full && !text.RightToLeft(s)
}
