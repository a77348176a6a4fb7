package worker

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what is kept of a terminal.
const (
	screenLines     = 40
	screenLineBytes = 2048
	screenText      = 8 << 10 // that people are shown, in bytes
)

// screen is what a program has written on a terminal, as lines of plain text. It knows as much
// of control sequences as programs that log people in use: erased lines, moves up, and
// everything begun anew. Owned by one goroutine.
type screen struct {
	lines []string // the last one is being written
	held  []byte   // the beginning of a sequence or character whose end has not come
}

// write takes what the program has written.
func (s *screen) write(data []byte) {
	data = append(s.held, data...)
	s.held = nil
	if len(s.lines) == 0 {
		s.lines = []string{""}
	}
	for len(data) > 0 {
		last := &s.lines[len(s.lines)-1]
		switch c := data[0]; {
		case c == 0x1b:
			n, ok := escapeLen(data)
			if !ok && len(data) < screenLineBytes {
				s.held = append([]byte(nil), data...)
				return
			}
			s.escape(data[:n])
			data = data[n:]
			continue
		case c == '\n':
			if s.lines = append(s.lines, ""); len(s.lines) > screenLines {
				s.lines = s.lines[1:]
			}
		case c == '\r' && len(data) == 1:
			s.held = []byte{c} // a line's end, or a line that is written again
			return
		case c == '\r' && data[1] != '\n' && data[1] != '\r':
			*last = ""
		case c == '\b':
			_, n := utf8.DecodeLastRuneInString(*last)
			*last = (*last)[:len(*last)-n]
		case c >= 0x20 && c != 0x7f || c == '\t':
			if !utf8.FullRune(data) {
				s.held = append([]byte(nil), data...)
				return
			}
			r, n := utf8.DecodeRune(data)
			if r != utf8.RuneError && !unicode.IsControl(r) && len(*last) < screenLineBytes {
				*last += string(r)
			}
			data = data[n:]
			continue
		}
		data = data[1:]
	}
}

// escapeLen is the length of the control sequence that data begins with. ok is false if its
// end has not come.
func escapeLen(data []byte) (n int, ok bool) {
	if len(data) < 2 {
		return len(data), false
	}
	switch data[1] {
	case '[':
		for i := 2; i < len(data); i++ {
			if data[i] >= 0x40 && data[i] <= 0x7e {
				return i + 1, true
			}
		}
		return len(data), false
	case ']', 'P', '_', '^':
		for i := 2; i < len(data); i++ {
			switch {
			case data[i] == 0x07:
				return i + 1, true
			case data[i] == 0x1b && i+1 < len(data):
				return i + 2, true
			}
		}
		return len(data), false
	case '(', ')':
		return min(3, len(data)), len(data) >= 3
	}
	return 2, true
}

// escape obeys a control sequence. What only colours or shows is left out.
func (s *screen) escape(sequence []byte) {
	if len(sequence) < 3 || sequence[1] != '[' {
		return
	}
	count := 0
	for _, c := range sequence[2 : len(sequence)-1] {
		if c < '0' || c > '9' {
			break
		}
		count = min(count*10+int(c-'0'), screenLines)
	}
	last := len(s.lines) - 1
	switch sequence[len(sequence)-1] {
	case 'A', 'F': // up: what is below will be written again
		up := min(max(count, 1), last)
		s.lines = s.lines[:last+1-up]
		s.lines[len(s.lines)-1] = ""
	case 'K':
		if count == 2 {
			s.lines[last] = ""
		}
	case 'J':
		if count >= 2 {
			s.lines = []string{""}
		}
	case 'H':
		s.lines = []string{""}
	case 'C':
		if len(s.lines[last]) < screenLineBytes {
			s.lines[last] += strings.Repeat(" ", max(count, 1))
		}
	}
}

// text is the screen for people: no empty lines at the ends, and the newest lines if there is
// too much.
func (s *screen) text() string {
	lines := make([]string, len(s.lines))
	for i, l := range s.lines {
		lines[i] = strings.TrimRightFunc(l, unicode.IsSpace)
	}
	text := strings.Trim(strings.Join(lines, "\n"), "\n")
	if over := len(text) - screenText; over > 0 {
		text = strings.ToValidUTF8(text[over:], "")
	}
	return text
}
