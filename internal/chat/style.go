package chat

import (
	"strings"

	"github.com/mattn/go-runewidth"
)

// style is how a cell looks: a set of the bits below.
type style uint16

const (
	bold style = 1 << iota
	dim
	italic
	red
	green
	yellow
	cyan
	reverse
)

// marked is what stands for a character that cannot be seen, or looks like
// another.
const marked = bold | reverse

// sgr is the code of each bit, in their order (ECMA-48, 8.3.117).
var sgr = [...]string{"1", "2", "3", "31", "32", "33", "36", "7"}

const reset = "\x1b[0m"

// painter writes styles. Without color it keeps those that are none
// (NO_COLOR, no-color.org).
type painter struct{ color bool }

func (p painter) start(s style) string {
	if !p.color {
		s &= bold | dim | italic | reverse
	}
	var b strings.Builder
	b.WriteString("\x1b[0")
	for i, code := range sgr {
		if s&(1<<i) != 0 {
			b.WriteString(";" + code)
		}
	}
	return b.String() + "m"
}

// paint styles a text of one row that is harmless already.
func (p painter) paint(s style, text string) string {
	if s == 0 || text == "" {
		return text
	}
	return p.start(s) + text + reset
}

// cell is one rune of a row.
type cell struct {
	r rune
	s style
}

// row writes cells; it begins and ends without style.
func (p painter) row(cells []cell) string {
	var b strings.Builder
	now := style(0)
	for _, c := range cells {
		if c.s != now {
			b.WriteString(p.start(c.s))
			now = c.s
		}
		b.WriteRune(c.r)
	}
	if now != 0 {
		b.WriteString(reset)
	}
	return b.String()
}

// wrapper breaks lines into rows of at most width columns, at spaces where it
// can. It holds one row.
type wrapper struct {
	width  int
	indent int  // of the rows that continue a line
	hard   bool // break anywhere, keep every space: for code
	rows   func([]cell)

	row, word   []cell
	rowW, wordW int
	continued   bool // the row continues a line
	used        bool // there is more in the row than its indent
}

func (w *wrapper) put(c cell) {
	if c.r == '\t' {
		for range 4 - (w.rowW+w.wordW)%4 {
			w.put(cell{' ', c.s})
		}
		return
	}
	cw := runewidth.RuneWidth(c.r)
	if c.r == ' ' && !w.hard {
		w.flush()
		if w.rowW < w.width && (w.used || !w.continued) {
			w.row, w.rowW, w.used = append(w.row, c), w.rowW+1, true
		}
		return
	}
	if w.rowW+w.wordW+cw > w.width {
		if w.used && !w.hard {
			w.breakRow()
		}
		if w.rowW+w.wordW+cw > w.width { // one word is longer than a row
			w.flush()
			w.breakRow()
		}
	}
	w.word, w.wordW = append(w.word, c), w.wordW+cw
	if w.hard {
		w.flush()
	}
}

// flush moves the word into the row.
func (w *wrapper) flush() {
	if len(w.word) > 0 {
		w.row, w.rowW, w.used = append(w.row, w.word...), w.rowW+w.wordW, true
		w.word, w.wordW = nil, 0
	}
}

// breakRow hands out the row and begins the next one of the same line, with the
// word that did not fit.
func (w *wrapper) breakRow() {
	w.emit()
	w.continued = true
	// Where hardly anything would fit beside the indent there is none.
	if w.indent < w.width/2 {
		for range w.indent {
			w.row = append(w.row, cell{' ', 0})
		}
		w.rowW = w.indent
	}
}

func (w *wrapper) emit() {
	row := w.row
	for len(row) > 0 && row[len(row)-1].r == ' ' {
		row = row[:len(row)-1]
	}
	w.rows(row)
	w.row, w.rowW, w.used, w.continued = nil, 0, false, false
}

// line ends the line.
func (w *wrapper) line() {
	w.flush()
	w.emit()
	w.indent, w.hard = 0, false
}

// partial is the row that is not full yet.
func (w *wrapper) partial() []cell { return append(w.row[:len(w.row):len(w.row)], w.word...) }

func (w *wrapper) text(s style, text string) {
	for _, r := range text {
		if r == '\n' {
			w.line()
			continue
		}
		w.put(cell{r, s})
	}
}

// visible is how many columns a painted row has.
func visible(row string) int {
	n, inside := 0, false
	for _, r := range row {
		switch {
		case r == 0x1b:
			inside = true
		case inside:
			inside = r < '@' || r > '~' || r == '['
		default:
			n += runewidth.RuneWidth(r)
		}
	}
	return n
}
