package text

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Stream is Prose for a text that comes in pieces: a sequence, a line break or a
// data: URL may lie across their borders. What may still become one is held back
// until it is decided, up to 16 KiB. The zero Stream is ready. It belongs to one
// goroutine.
type Stream struct {
	held  string // the beginning of something
	data  bool   // within the content of a data: URL
	shape shaper
}

// Write takes the next piece and gives what can be shown now.
func (s *Stream) Write(piece string) string { return s.feed(piece, false) }

// End gives what was held back. The stream begins anew.
func (s *Stream) End() string {
	rest := s.feed("", true)
	*s = Stream{}
	return rest
}

func (s *Stream) feed(piece string, whole bool) string {
	in := s.held + valid(piece)
	s.held = ""
	s.shape.b.Reset()
	s.shape.b.Grow(len(in))
	for i := 0; i < len(in); {
		if s.data {
			if base64ish(in[i]) {
				i++
				continue
			}
			s.data = false
		}
		r, size := utf8.DecodeRuneInString(in[i:])
		n, open := 0, false
		switch {
		case control(r):
			n, open = s.control(in[i:], r)
		case r == 'd':
			if n, open = dataURL(in[i:]); n > 0 {
				s.shape.plain(in[i:i+n] + "…")
				s.data = true
			}
		}
		switch {
		case open && !whole:
			s.held = in[i:]
			return s.shape.b.String()
		case n > 0:
			i += n
		default:
			s.shape.put(r)
			i += size
		}
	}
	return s.shape.b.String()
}

// control measures what is left out of a text that begins with a control
// character. An end of line that is not "\n" becomes one.
func (s *Stream) control(in string, r rune) (n int, open bool) {
	if r != '\r' {
		return sequence(in)
	}
	rest := strings.TrimLeft(in, "\r")
	n = len(in) - len(rest)
	if rest == "" {
		return n, n < maxSequence // "\n" may follow
	}
	if rest[0] != '\n' {
		s.shape.put('\n')
	}
	return n, false
}

// shaper writes what can be seen of runes of prose.
type shaper struct {
	b     strings.Builder
	based bool // before lies what a variation selector may change
	marks int  // characters without width in a row
	tags  int  // of a flag, the flag itself included
}

func (p *shaper) plain(s string) {
	p.b.WriteString(s)
	p.based, p.marks, p.tags = true, 0, 0
}

func (p *shaper) put(r rune) {
	flag := p.tags
	p.tags = 0
	switch {
	case r == 0x2028 || r == 0x2029: // a line's, a paragraph's end
		r = '\n'
		fallthrough
	case r == '\n' || r == '\t' || r == ' ':
		p.based, p.marks = false, 0
	case r == blackFlag:
		p.based, p.marks, p.tags = true, 0, 1
	case selector(r) && p.based:
		p.based = false
	case tag(r) && flag > 0 && flag <= maxMarks:
		p.tags = flag + 1
	case joins(r), combining(r) && !invisible(r):
		if p.marks++; p.marks > maxMarks {
			p.mark(r)
			return
		}
	case control(r) || invisible(r):
		p.mark(r)
		return
	default:
		p.based, p.marks = true, 0
	}
	p.b.WriteRune(r)
}

func (p *shaper) mark(r rune) {
	p.b.WriteString(visible(r))
	p.based = false
}

// visible is what stands for a rune that cannot be seen: the picture that
// Unicode has for it, or its number.
func visible(r rune) string {
	switch {
	case r < 0x20:
		return string(0x2400 + r)
	case r == 0x7f:
		return "\u2421"
	}
	return "⟨" + number(r) + "⟩"
}

// number is a code point as Unicode writes it.
func number(r rune) string { return fmt.Sprintf("U+%04X", r) }

// valid replaces what is not UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// Prose is a text with its lines.
func Prose(s string) string {
	if plain(s) {
		return s
	}
	var st Stream
	return st.Write(s) + st.End()
}

// Typed is what a person typed or pasted: prose of which nothing is left out.
func Typed(s string) string {
	var p shaper
	for _, r := range strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(valid(s)) {
		p.put(r)
	}
	return p.b.String()
}

// plain reports that nothing in a text has to be decided.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x7f || c < 0x20 && c != '\n' && c != '\t' {
			return false
		}
	}
	return !strings.Contains(s, "data:")
}

// Output is what a terminal would show of what a program printed: of a line that
// was written over, the last state that shows anything.
func Output(s string) string {
	if !strings.ContainsRune(s, '\r') {
		return Prose(s)
	}
	lines := strings.Split(s, "\n")
	for i, line := range lines {
		states := strings.Split(line, "\r")
		lines[i] = ""
		for j := len(states) - 1; j >= 0; j-- {
			if state := Prose(states[j]); strings.TrimSpace(state) != "" {
				lines[i] = state
				break
			}
		}
	}
	return strings.Join(lines, "\n")
}

// Line is a text on one line, with one space for any white space.
func Line(s string) string { return strings.Join(strings.Fields(Prose(s)), " ") }
