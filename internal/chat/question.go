package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"

	"sessionhub/protocol"
)

// styledLine is a harmless line and its style.
type styledLine struct {
	s    style
	text string
}

const (
	maxDetailLines = 40   // of one question
	maxDetailBytes = 4000 // of one line
)

// details is what somebody has to see who answers a question: what is to be run,
// or changed. What is left out is said.
func details(d protocol.ToolApprovalData) []styledLine {
	lines := inputLines(d.Input)
	for _, raw := range d.Content {
		lines = append(lines, diffLines(raw)...)
	}
	if len(lines) > maxDetailLines {
		left := len(lines) - maxDetailLines
		lines = append(lines[:maxDetailLines:maxDetailLines], styledLine{yellow, fmt.Sprintf("… %d more lines that are not shown", left)})
	}
	for i, l := range lines {
		if len(l.text) > maxDetailBytes {
			left := len(l.text) - maxDetailBytes
			lines[i].text = strings.ToValidUTF8(l.text[:maxDetailBytes], "") + fmt.Sprintf("… %d more bytes that are not shown", left)
		}
	}
	return lines
}

// inputLines shows a command as one types it, other input as JSON.
func inputLines(raw json.RawMessage) []styledLine {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == "{}" {
		return nil
	}
	var command struct{ Command json.RawMessage }
	if json.Unmarshal(raw, &command) == nil && command.Command != nil {
		var line string
		var words []string
		switch {
		case json.Unmarshal(command.Command, &line) == nil:
			return split(cyan, "$ "+line)
		case json.Unmarshal(command.Command, &words) == nil && len(words) > 0:
			return split(cyan, "$ "+strings.Join(words, " "))
		}
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, raw, "", "  ") != nil {
		return nil
	}
	return split(dim, pretty.String())
}

// diffLines shows a change to a file (ACP, "ToolCallContent": diff).
func diffLines(raw json.RawMessage) []styledLine {
	var diff struct {
		Type, Path       string
		OldText, NewText string
	}
	if json.Unmarshal(raw, &diff) != nil || diff.Type != "diff" {
		return nil
	}
	// The input often holds the same, but not what was there before.
	lines := []styledLine{{bold, oneLine(diff.Path, 200)}}
	before, after := strings.SplitAfter(diff.OldText, "\n"), strings.SplitAfter(diff.NewText, "\n")
	same := 0
	for same < min(len(before), len(after)) && before[same] == after[same] {
		same++
	}
	end := 0
	for end < min(len(before), len(after))-same && before[len(before)-1-end] == after[len(after)-1-end] {
		end++
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
	return []styledLine{{s, mark + Neutral(strings.TrimRight(line, "\r\n"))}}
}

func split(s style, text string) []styledLine {
	var lines []styledLine
	for l := range strings.Lines(Neutral(text)) {
		lines = append(lines, styledLine{s, strings.TrimSuffix(l, "\n")})
	}
	return lines
}

// choice is an option of a question and the keys that choose it.
type choice struct {
	option protocol.ApprovalOption
	digit  rune // 0: none
	letter rune // 0: none
}

// letters are the keys of the kinds of options: the first of each kind gets its
// letter. What allows more than this once asks for a capital.
var letters = map[string]rune{
	protocol.AllowOnce: 'y', protocol.AllowAlways: 'A', protocol.RejectOnce: 'n', protocol.RejectAlways: 'N',
}

func choices(d protocol.ToolApprovalData) []choice {
	used := map[rune]bool{}
	var all []choice
	for i, o := range d.Options {
		c := choice{option: o}
		if i < 9 {
			c.digit = rune('1' + i)
		}
		if l := letters[o.Kind]; l != 0 && !used[l] {
			used[l] = true
			c.letter = l
		}
		all = append(all, c)
	}
	return all
}

// chosen is the option that a key chooses.
func chosen(d protocol.ToolApprovalData, r rune) (protocol.ApprovalOption, bool) {
	for _, c := range choices(d) {
		if r != 0 && (r == c.digit || r == c.letter) {
			return c.option, true
		}
	}
	return protocol.ApprovalOption{}, false
}

// maxNameColumns bounds what is shown of an option's name.
const maxNameColumns = 400

// choiceRows draws the options, as many in a row as there is room for. A long
// name gets rows of its own: "don't ask again for commands that begin with ..."
// says last what it would allow.
func choiceRows(p painter, d protocol.ToolApprovalData, columns int) []string {
	var rows []string
	row, width := "", 0
	for _, c := range choices(d) {
		keys := make([]string, 0, 2)
		for _, r := range []rune{c.letter, c.digit} {
			if r != 0 {
				keys = append(keys, string(r))
			}
		}
		label, name := "["+strings.Join(keys, "/")+"]", oneLine(c.option.Name, maxNameColumns)
		item := p.paint(bold|yellow, label) + " " + name
		indent := len(label) + 1
		if visible(item) > columns {
			if row != "" {
				rows = append(rows, row)
				row, width = "", 0
			}
			lines := strings.Split(runewidth.Wrap(name, max(2, columns-indent)), "\n")
			rows = append(rows, p.paint(bold|yellow, label)+" "+lines[0])
			for _, l := range lines[1:] {
				rows = append(rows, strings.Repeat(" ", indent)+l)
			}
			continue
		}
		item += "   "
		if w := visible(item); width+w > columns && row != "" {
			rows = append(rows, row)
			row, width = item, w
		} else {
			row, width = row+item, width+w
		}
	}
	if row != "" {
		rows = append(rows, row)
	}
	return rows
}
