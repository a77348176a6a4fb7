package chat

import (
	"strings"
	"testing"
)

// render shows rows with the styles as letters in brackets, so that a test can
// be read. Each row begins without style.
func render(width int, pieces ...string) string {
	var rows []string
	m := markdown{w: wrapper{width: width}}
	m.w.rows = func(cells []cell) {
		var b strings.Builder
		now := style(0)
		for _, c := range cells {
			if c.s != now {
				names := ""
				for i, n := range "bdirgyc" {
					if c.s&(1<<i) != 0 {
						names += string(n)
					}
				}
				b.WriteString("‹" + names + "›")
				now = c.s
			}
			b.WriteRune(c.r)
		}
		rows = append(rows, b.String())
	}
	for _, p := range pieces {
		m.feed(p)
	}
	m.end()
	return strings.Join(rows, "\n")
}

func TestMarkdown(t *testing.T) {
	for name, tc := range map[string]struct {
		width    int
		in, want string
	}{
		"plain":                {40, "one\n\ntwo", "one\n\ntwo"},
		"wraps at words":       {10, "the quick brown fox", "the quick\nbrown fox"},
		"breaks a long word":   {8, "a abcdefghijkl z", "a\nabcdefgh\nijkl z"},
		"heading":              {40, "## Title here ##\ntext", "‹bc›Title here ##\ntext"},
		"no heading":           {40, "#hashtag and C#", "#hashtag and C#"},
		"bold":                 {40, "a **b c** d", "a ‹b›b c‹› d"},
		"bold at once":         {40, "**b**", "‹b›b"},
		"no bold":              {40, "2 ** 3 * 4 ** 5", "2 ** 3 * 4 ** 5"},
		"open bold ends":       {40, "a **b\nc", "a ‹b›b\nc"},
		"code":                 {40, "a `b **c**` d", "a ‹c›b **c**‹› d"},
		"escape":               {40, `a \*\*b\*\* \x \`, `a **b** \x \`},
		"links stay":           {60, "[here](https://example.org/_a_)", "[here](https://example.org/_a_)"},
		"list":                 {12, "- one two three\n  * four\n3. five six seven", "‹c›• ‹›one two\n  three\n‹c›  • ‹›four\n‹c›3. ‹›five six\n   seven"},
		"plus":                 {40, "+ one\n+1\n+", "‹c›• ‹›one\n+1\n+"},
		"emphasis at the line": {40, "*emphasis* and **b**", "*emphasis* and ‹b›b"},
		"numbers are no lists": {40, "3.5 is not 12345. Nor 7", "3.5 is not 12345. Nor 7"},
		"quote":                {12, "> said so twice", "‹d›│ said so\n  ‹d›twice"},
		"rule":                 {5, "---\n--", "‹d›─────\n--"},
		"fence":                {8, "```go\nif  a {\n\tb ** c\n}\n```\ntext `x`", "‹c›if  a {\n‹c›    b **\n‹c› c\n‹c›}\ntext ‹c›x"},
		"fence in a fence":     {40, "~~~~\n```\n~~~\n~~~~\nx", "‹c›```\n‹c›~~~\nx"},
		"fence without an end": {40, "```\ncode", "‹c›code"},
		"not a fence":          {40, "``` a`b", "‹c› a‹›b"},
		"wide runes":           {6, "漢字漢字", "漢字漢\n字"},
		"table":                {40, "| a | b |\n|---|---|", "| a | b |\n|---|---|"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := render(tc.width, tc.in); got != tc.want {
				t.Errorf("got\n%s\nwant\n%s", got, tc.want)
			}
		})
	}
}

// However the text is cut into pieces, the rows are the same.
func TestMarkdownInPieces(t *testing.T) {
	text := "# Head **x**\n\nSome *text* with `code` and **bold words** and \\* stars ** here\n- item\n  1. two\n> quote\n```go\ncode ``` x\n```\n---\nend **"
	whole := render(20, text)
	for size := 1; size < 9; size++ {
		var pieces []string
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			pieces = append(pieces, rest[:n])
			rest = rest[n:]
		}
		if got := render(20, pieces...); got != whole {
			t.Errorf("in pieces of %d:\n%s\nwhole:\n%s", size, got, whole)
		}
	}
}

// Nothing is held back without a bound, nor for longer than its line.
func TestMarkdownShowsWhatItHolds(t *testing.T) {
	var rows int
	m := markdown{w: wrapper{width: 80, rows: func([]cell) { rows++ }}}
	for _, in := range []string{"- ", "```go", "**", "12", "+", "word", "# H"} {
		m.feed(in)
		if len(m.partial()) == 0 && in != "- " {
			t.Errorf("%q is not shown", in)
		}
		m.end()
	}
	rows = 0
	m = markdown{w: wrapper{width: 80, rows: func([]cell) { rows++ }}}
	m.feed(strings.Repeat("-", 10_000))
	if rows < 100 || len(m.head) > maxHead {
		t.Errorf("%d rows, %d bytes are held", rows, len(m.head))
	}
}
