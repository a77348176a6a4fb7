package transcript

import "strings"

// guard escapes raw HTML and pictures in a stranger's Markdown, line by line, and leaves
// code alone. It follows the blocks of CommonMark (0.31, sections 4 and 5) as far as they
// decide whether a line is code: fences, also in lists, and code spans of one line. In
// doubt it takes a line for text. That costs a backslash which a reader sees in code. The
// opposite mistake would let a stranger's HTML out.
type guard struct {
	lost  bool  // all further lines are text
	items []int // columns where the content of the open list items begins
	vague bool  // items may have ended: their last lines can be read in two ways
	empty bool  // the last item has no content yet
	after bool  // the line before was blank, or ended a block: this one continues nothing

	fence  byte // of the open fence; 0: none
	length int
	column int // of the content of its list item; 0: it is in none

	open bool // a code span may be open in this paragraph
	odd  bool // the part of the line before ended with an open backslash
}

// tabStop is the distance of tab stops (CommonMark, 2.2).
const tabStop = 4

// line gives the text to be written for a line, or for a part of a long one.
func (g *guard) line(l string, first, last bool) string {
	if !first || !last { // after so long a line, nothing is sure any more
		g.lost = true
		return g.escaped(l, !first)
	}
	if strings.Trim(l, " \t") == "" {
		return g.blank(l)
	}
	if g.lost {
		return g.escaped(l, false)
	}
	if g.fence != 0 {
		rest := strings.TrimLeft(l, " \t")
		if oneOf(rest[0], "`~") || strings.Contains(l[:min(g.column, len(l))], "\t") {
			l = untabbed(l) // a tab has another width in a quote
		}
		if indent := indentOf(l); indent >= g.column {
			g.closeFence(l[indent:], indent-g.column)
			return l
		}
		g.fence, g.after = 0, true // its list item has ended
	}
	l = untabbed(l)
	if end := strings.TrimRight(l, " "); strings.HasSuffix(end, `\`) && len(l) > len(end) {
		l = end + " " // goldmark takes a break behind a backslash for the escape of the next line
	}
	if g.block(l); g.fence != 0 {
		g.open = false
		return l
	}
	return g.spans(l)
}

func (g *guard) blank(l string) string {
	if g.fence != 0 {
		return l
	}
	if g.empty { // renderers differ about whether the item has ended
		g.lost = true
	}
	g.after, g.open = true, false
	return ""
}

// closeFence ends the open fence if the line does.
func (g *guard) closeFence(rest string, indent int) {
	rest = strings.TrimRight(rest, " \t")
	if indent < tabStop && len(rest) >= g.length && strings.Trim(rest, string(g.fence)) == "" {
		g.fence, g.after = 0, true
	}
}

// block follows the containers of a line of text, and finds a fence that begins in it.
func (g *guard) block(l string) {
	indent := indentOf(l)
	rest := l[indent:]
	after := g.after
	g.after, g.empty = false, false
	starts := isBlock(rest)
	if indent < 2 && (after || starts) { // no list item reaches so far to the left
		after = after || len(g.items) > 0 && !g.vague
		g.items, g.vague = g.items[:0], false
	}
	inner := len(g.items)
	for inner > 0 && g.items[inner-1] > indent {
		inner--
	}
	switch {
	case inner == len(g.items):
	case after || starts:
		g.items = g.items[:inner]
		after = true // every open block there has ended
	default:
		g.vague = true // it may continue the last paragraph
	}
	column := 0
	if len(g.items) > 0 {
		column = g.items[len(g.items)-1]
	}
	g.content(rest, indent, column, after)
}

// content reads a line after its indentation. column is that of the innermost list item.
// after says that no paragraph is open in it.
func (g *guard) content(rest string, indent, column int, after bool) {
	for {
		if indent-column >= tabStop { // code by its indentation, or more of a paragraph
			return
		}
		if char, n := fenceOf(rest); char != 0 {
			if g.vague || strings.Contains(rest, "|") { // which some take for the head of a table
				g.lost = true
				return
			}
			g.fence, g.length, g.column = char, n, column
			return
		}
		width, sure := markerOf(rest)
		if width == 0 || isBreak(rest) {
			return
		}
		if !after && !sure {
			g.vague = true // in a paragraph it is no marker
		}
		behind := rest[width:]
		spaces := indentOf(behind)
		if g.empty = spaces == len(behind); g.empty || spaces > tabStop {
			g.items = append(g.items, indent+width+1)
			return
		}
		indent += width + spaces
		rest, column, after = behind[spaces:], indent, true
		g.items = append(g.items, column)
	}
}

// isBlock reports whether rest begins a block, even within an open paragraph. rest is at
// most three columns in.
func isBlock(rest string) bool {
	char, _ := fenceOf(rest)
	_, sure := markerOf(rest)
	return char != 0 || sure || rest[0] == '>'
}

// fenceOf reads the beginning of a fence. A fence of backticks has none behind it.
func fenceOf(rest string) (char byte, n int) {
	if rest == "" || rest[0] != '`' && rest[0] != '~' {
		return 0, 0
	}
	n = len(rest) - len(strings.TrimLeft(rest, rest[:1]))
	if n < 3 || rest[0] == '`' && strings.Contains(rest[n:], "`") {
		return 0, 0
	}
	return rest[0], n
}

// markerOf measures the marker of a list item, without the space after it. sure says that
// it begins an item even within an open paragraph.
func markerOf(rest string) (width int, sure bool) {
	digits := 0
	for digits < len(rest) && digits < 10 && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	switch {
	case digits == 0 && rest != "" && oneOf(rest[0], "-+*"):
		width, sure = 1, true
	case digits > 0 && digits < 10 && digits < len(rest) && oneOf(rest[digits], ".)"):
		width, sure = digits+1, rest[:digits] == "1"
	default:
		return 0, false
	}
	if width < len(rest) && rest[width] != ' ' {
		return 0, false
	}
	return width, sure && strings.TrimRight(rest[width:], " ") != "" && !isBreak(rest)
}

// isBreak reports a thematic break, which is no item.
func isBreak(rest string) bool {
	marks := strings.ReplaceAll(rest, " ", "")
	return len(marks) >= 3 && oneOf(marks[0], "-*_") && strings.Trim(marks, marks[:1]) == ""
}

func indentOf(l string) int { return len(l) - len(strings.TrimLeft(l, " ")) }

// untabbed replaces tabs by spaces, in the indentation of a line and after its markers. A
// quote would move the tabs to other columns.
func untabbed(l string) string {
	if !strings.Contains(l, "\t") {
		return l
	}
	var b strings.Builder
	for i := range len(l) {
		switch c := l[i]; {
		case c == '\t':
			b.WriteString(strings.Repeat(" ", tabStop-b.Len()%tabStop))
		case c == ' ' || oneOf(c, "-+*>.)") || c >= '0' && c <= '9':
			b.WriteByte(c)
		default:
			return b.String() + l[i:]
		}
	}
	return b.String()
}

// spans escapes a line of text except its code spans. A span counts if it ends in its
// line, and if no other span can be open where it begins.
func (g *guard) spans(l string) string {
	var b strings.Builder
	from := 0 // the text before it was written
	for i := 0; i < len(l) && !g.open; {
		if l[i] != '`' {
			i++
			continue
		}
		n := ticks(l[i:])
		end := closing(l[i+n:], n)
		if end < 0 || i > 0 && l[i-1] == '\\' || strings.Contains(l[i:i+n+end], "|") { // or a cell of a table ends there
			g.open = true
			break
		}
		b.WriteString(g.escaped(l[from:i], false))
		from = i + n + end + n
		b.WriteString(l[i:from])
		i = from
	}
	b.WriteString(g.escaped(l[from:], false))
	return b.String()
}

// ticks is the length of the run of backticks that s begins with.
func ticks(s string) int { return len(s) - len(strings.TrimLeft(s, "`")) }

// closing finds the run of n backticks that ends a code span.
func closing(s string, n int) int {
	for i := 0; i < len(s); i++ {
		if s[i] != '`' {
			continue
		}
		run := ticks(s[i:])
		if run == n {
			return i
		}
		i += run - 1
	}
	return -1
}

// escaped puts a backslash in front of each character that could begin HTML or a picture,
// unless it has one. goesOn says that l is the rest of a line.
func (g *guard) escaped(l string, goesOn bool) string {
	odd := g.odd && goesOn
	var b strings.Builder
	from := 0
	for i := range len(l) {
		switch c := l[i]; {
		case c == '\\':
			odd = !odd
			continue
		case c == '<' && !odd && !isAutolink(l[i:]) && (i+1 == len(l) || tagBegins(l[i+1])):
			b.WriteString(l[from:i] + `\`)
			from = i
		case c == '[' && !odd && i > 0 && l[i-1] == '!' || c == '[' && i == 0 && goesOn && !odd:
			b.WriteString(l[from:i] + `\`)
			from = i
		}
		odd = false
	}
	g.odd = odd
	return b.String() + l[from:]
}

// tagBegins reports whether a "<" before c begins a tag, a comment or a declaration
// (CommonMark, 6.6).
func tagBegins(c byte) bool {
	return c == '/' || c == '!' || c == '?' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// isAutolink reports <scheme:rest> (CommonMark, 6.5), which is no HTML.
func isAutolink(s string) bool {
	i := 1
	for i < len(s) && (s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z' || i > 1 && (s[i] >= '0' && s[i] <= '9' || oneOf(s[i], "+.-"))) {
		i++
	}
	if i < 3 || i > 33 || i == len(s) || s[i] != ':' {
		return false
	}
	for ; i < len(s); i++ {
		switch c := s[i]; {
		case c == '>':
			return true
		case c <= ' ' || c == '<' || c == '`':
			return false
		}
	}
	return false
}
