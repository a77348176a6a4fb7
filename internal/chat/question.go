package chat

import (
	"strings"

	"github.com/mattn/go-runewidth"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

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

// refuses reports that an option lets nothing happen.
func refuses(o protocol.ApprovalOption) bool {
	return o.Kind == protocol.RejectOnce || o.Kind == protocol.RejectAlways
}

// choiceRows draws the options, as many in a row as there is room for; without
// all of them, those that refuse. A long name gets rows of its own: "don't ask
// again for commands that begin with ..." says last what it would allow.
func choiceRows(p painter, d protocol.ToolApprovalData, columns int, all bool) []string {
	var rows []string
	row, width := "", 0
	for _, c := range choices(d) {
		if !all && !refuses(c.option) {
			continue
		}
		keys := make([]string, 0, 2)
		for _, r := range []rune{c.letter, c.digit} {
			if r != 0 {
				keys = append(keys, string(r))
			}
		}
		label, name := "["+strings.Join(keys, "/")+"]", text.ExactLine(c.option.Name)
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
