package chat

import (
	"slices"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"
)

// editor is the line that is typed, which may have line breaks. Owned by one
// goroutine.
type editor struct {
	text    []rune
	pos     int
	history *history
	at      int    // which line of the history is shown; len: none
	draft   []rune // what was typed before the history was looked at
}

// maxTyped bounds what is typed and pasted; a hub takes no longer message.
const maxTyped = 1 << 20

func newEditor(h *history) *editor { return &editor{history: h, at: len(h.lines)} }

func (e *editor) empty() bool { return len(e.text) == 0 }

// set replaces the text; the cursor is at its end.
func (e *editor) set(text []rune) { e.text, e.pos = text, len(text) }

// take empties the line and remembers it.
func (e *editor) take() (string, error) {
	text := string(e.text)
	err := e.history.add(text)
	e.set(nil)
	e.at, e.draft = len(e.history.lines), nil
	return text, err
}

// press does what a key does to the line. false: the key means nothing here.
func (e *editor) press(k key) bool {
	switch k.kind {
	case keyRune:
		e.insert([]rune{k.r})
	case keyPaste:
		e.insert([]rune(k.text))
	case keyNewline:
		e.insert([]rune{'\n'})
	case keyBackspace:
		e.cut(e.pos-1, e.pos)
	case keyDelete:
		e.cut(e.pos, e.pos+1)
	case keyLeft:
		e.pos = max(0, e.pos-1)
	case keyRight:
		e.pos = min(len(e.text), e.pos+1)
	case keyHome:
		e.pos = e.lineStart()
	case keyEnd:
		e.pos = e.lineEnd()
	case keyWordLeft:
		e.pos = e.wordLeft()
	case keyWordRight:
		e.pos = e.wordRight()
	case keyKillWord:
		e.cut(e.wordLeft(), e.pos)
	case keyKillLeft:
		e.cut(e.lineStart(), e.pos)
	case keyKillRight:
		e.cut(e.pos, max(e.lineEnd(), min(e.pos+1, len(e.text))))
	case keyUp:
		e.recall(-1)
	case keyDown:
		e.recall(1)
	default:
		return false
	}
	return true
}

func (e *editor) insert(what []rune) {
	what = what[:min(len(what), max(0, maxTyped-len(e.text)))]
	e.text = slices.Insert(e.text, e.pos, what...)
	e.pos += len(what)
}

func (e *editor) cut(from, to int) {
	from, to = max(0, from), min(to, len(e.text))
	if from < to {
		e.text = slices.Delete(e.text, from, to)
		e.pos = from
	}
}

func (e *editor) lineStart() int {
	for i := e.pos; i > 0; i-- {
		if e.text[i-1] == '\n' {
			return i
		}
	}
	return 0
}

func (e *editor) lineEnd() int {
	for i := e.pos; i < len(e.text); i++ {
		if e.text[i] == '\n' {
			return i
		}
	}
	return len(e.text)
}

func (e *editor) wordLeft() int {
	i := e.pos
	for i > 0 && unicode.IsSpace(e.text[i-1]) {
		i--
	}
	for i > 0 && !unicode.IsSpace(e.text[i-1]) {
		i--
	}
	return i
}

func (e *editor) wordRight() int {
	i := e.pos
	for i < len(e.text) && unicode.IsSpace(e.text[i]) {
		i++
	}
	for i < len(e.text) && !unicode.IsSpace(e.text[i]) {
		i++
	}
	return i
}

// recall shows an older or a newer line; behind the newest lies the draft.
func (e *editor) recall(by int) {
	to := e.at + by
	if to < 0 || to > len(e.history.lines) {
		return
	}
	if e.at == len(e.history.lines) {
		e.draft = e.text
	}
	e.at = to
	if to == len(e.history.lines) {
		e.set(e.draft)
		return
	}
	e.set([]rune(e.history.lines[to]))
}

// maxTypedRows bounds what of the line is shown.
const maxTypedRows = 8

// rows draws the line, and says where the cursor is.
func (e *editor) rows(p painter, columns int) (rows []string, row, column int) {
	prompt := []string{p.paint(bold|cyan, "›") + " ", "  "}
	columns = max(columns-2, 1)
	var b strings.Builder
	width, atRow := 0, 0
	next := func() {
		rows = append(rows, prompt[min(len(rows), 1)]+b.String())
		b.Reset()
		width = 0
	}
	for i, r := range e.text {
		rw := runewidth.RuneWidth(r)
		if r == '\t' {
			r, rw = ' ', 1
		}
		if r != '\n' && width+rw > columns {
			next()
		}
		if i == e.pos {
			atRow, column = len(rows), width
		}
		if r == '\n' {
			next()
			continue
		}
		b.WriteRune(r)
		width += rw
	}
	if e.pos == len(e.text) {
		if width >= columns {
			next()
		}
		atRow, column = len(rows), width
	}
	next()
	from := max(0, min(atRow-maxTypedRows/2, len(rows)-maxTypedRows))
	to := min(len(rows), from+maxTypedRows)
	return rows[from:to], atRow - from, column + 2
}
