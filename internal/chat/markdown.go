package chat

import "strings"

// markdown writes Markdown that comes in pieces as rows: headings, lists, quotes,
// code and bold are shown, everything else stays as it was written, links
// with their addresses above all. It never holds back more than the beginning
// of a line whose kind is not known yet, and that only up to maxHead.
type markdown struct {
	w wrapper

	head    string // of a line whose kind is not known
	decided bool   // the line's kind is known
	fence   string // what ends the code block; empty outside of one
	base    style  // of the line
	bold    bool
	code    bool
	stars   int  // asterisks that may become a mark
	escaped bool // behind a backslash
	prev    rune
}

const (
	maxHead   = 200
	codeStyle = cyan
	headStyle = bold | cyan
)

// feed takes harmless text.
func (m *markdown) feed(text string) {
	for _, r := range text {
		switch {
		case r == '\n':
			m.endLine()
		case m.decided && m.fence != "":
			m.w.put(cell{r, codeStyle})
		case m.decided:
			m.inline(r)
		default:
			m.head += string(r)
			m.decide(false)
		}
	}
}

// end ends the text. A line that was begun is ended.
func (m *markdown) end() {
	if m.head != "" || m.decided {
		m.endLine()
	}
	m.fence = ""
}

// partial is what has come of a row that is not full.
func (m *markdown) partial() []cell {
	cells := m.w.partial()
	for _, r := range m.head + strings.Repeat("*", m.stars) {
		cells = append(cells, cell{r, dim})
	}
	return cells
}

func (m *markdown) endLine() {
	if !m.decided {
		m.decide(true)
	}
	m.settle('\n')
	if m.decided { // else it was a mark that is not shown
		m.w.line()
	}
	m.head, m.decided, m.base, m.bold, m.code, m.escaped, m.prev = "", false, 0, false, false, false, 0
}

// prose lets what was held back be ordinary text.
func (m *markdown) prose(text string) {
	m.decided, m.head = true, ""
	for _, r := range text {
		m.inline(r)
	}
}

// decide looks at the beginning of a line. whole: there is no more of it.
func (m *markdown) decide(whole bool) {
	head := m.head
	mark := strings.TrimLeft(head, " ")
	lead := len(head) - len(mark)
	switch {
	case m.fence != "":
		m.decideCode(mark, whole)
	case mark == "" && (whole || lead > 40):
		m.prose("")
	case mark == "":
	case len(head) > maxHead:
		m.prose(head)
	default:
		m.decideMark(head, mark, lead, whole)
	}
}

// decideCode looks for the end of a code block.
func (m *markdown) decideCode(mark string, whole bool) {
	rest := strings.TrimLeft(mark, m.fence[:1])
	if strings.TrimSpace(rest) == "" && !whole && len(m.head) < maxHead {
		return // it can still become the end
	}
	if whole && len(mark)-len(rest) >= len(m.fence) && strings.TrimSpace(rest) == "" {
		m.fence, m.head = "", ""
		return
	}
	m.decided = true
	m.w.hard = true
	m.w.text(codeStyle, m.head)
	m.head = ""
}

func (m *markdown) decideMark(head, mark string, lead int, whole bool) {
	switch c := mark[0]; {
	case c == '#':
		text := strings.TrimLeft(mark, "#")
		switch level := len(mark) - len(text); {
		case text == "" && !whole && level <= 6:
		case level <= 6 && strings.HasPrefix(text, " "):
			m.base = headStyle
			m.prose(strings.TrimLeft(text, " "))
		default:
			m.prose(head)
		}
	case c == '`' || c == '~':
		run := len(mark) - len(strings.TrimLeft(mark, string(c)))
		switch {
		case run >= 3 && !(c == '`' && strings.ContainsRune(mark[run:], '`')):
			if whole {
				m.fence, m.head = mark[:run], ""
			}
		case run < len(mark) || whole:
			m.prose(head)
		}
	case c == '>':
		if len(mark) > 1 || whole {
			m.w.text(dim, strings.Repeat(" ", lead)+"│ ")
			m.w.indent = lead + 2
			m.base = dim
			m.prose(strings.TrimPrefix(mark[1:], " "))
		}
	case strings.Trim(mark, string(c)) == "" && strings.IndexByte("-*_", c) >= 0:
		if whole && len(mark) >= 3 {
			m.decided, m.head = true, ""
			m.w.text(dim, strings.Repeat("─", min(m.w.width, 40)))
		} else if whole {
			m.prose(head)
		}
	case mark == "+" && !whole:
	case strings.IndexByte("-*+", c) >= 0 && strings.HasPrefix(mark[1:], " "):
		m.item(lead, "• ")
		m.prose(strings.TrimLeft(mark[2:], " "))
	case c >= '0' && c <= '9':
		m.decideNumber(head, mark, lead, whole)
	default:
		m.prose(head)
	}
}

func (m *markdown) decideNumber(head, mark string, lead int, whole bool) {
	digits := len(mark) - len(strings.TrimLeft(mark, "0123456789"))
	rest := mark[digits:]
	switch {
	case digits <= 4 && (strings.HasPrefix(rest, ". ") || strings.HasPrefix(rest, ") ")):
		m.item(lead, mark[:digits]+rest[:2])
		m.prose(strings.TrimLeft(rest[2:], " "))
	case digits <= 4 && (rest == "" || rest == "." || rest == ")") && !whole:
	default:
		m.prose(head)
	}
}

// item begins a list's line; the rows that continue it begin below its text.
func (m *markdown) item(lead int, bullet string) {
	m.w.text(cyan, strings.Repeat(" ", lead)+bullet)
	m.w.indent = lead + len([]rune(bullet))
}

// inline takes a rune of prose.
func (m *markdown) inline(r rune) {
	if m.escaped {
		m.escaped = false
		if !strings.ContainsRune("\\`*_{}[]()#+-.!|<>~", r) {
			m.plain('\\')
		}
		m.plain(r)
		return
	}
	if r == '*' && !m.code && m.stars < 2 {
		m.stars++
		if m.stars == 2 && m.bold && m.prev != ' ' {
			m.bold, m.stars = false, 0
		}
		return
	}
	m.settle(r)
	switch {
	case r == '`':
		m.code = !m.code
	case r == '\\' && !m.code:
		m.escaped = true
	case r == '\n':
	default:
		m.plain(r)
	}
}

// settle says what asterisks were, now that it is known what follows them.
func (m *markdown) settle(next rune) {
	n := m.stars
	m.stars = 0
	if n == 2 && !m.bold && next != ' ' && next != '\n' {
		m.bold = true
		return
	}
	for range n {
		m.plain('*')
	}
	if next == '\n' && m.escaped {
		m.plain('\\')
	}
}

func (m *markdown) plain(r rune) {
	s := m.base
	if m.bold {
		s |= bold
	}
	if m.code {
		s |= codeStyle
	}
	m.w.put(cell{r, s})
	m.prev = r
}
