package transcript

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"sessionhub/internal/text"
)

// quote writes prose that comes in pieces as a block quote. Its Markdown keeps its
// meaning, with two exceptions. Raw HTML is escaped: its end tags reach out of a quote in
// many renderers. Pictures are escaped: a reader did not ask to load them. Text that is
// surely code stays as it is.
type quote struct {
	out   *bytes.Buffer
	shown text.Stream
	line  []byte // the line that has no end yet
	begun bool   // a part of it was written
	guard guard
}

// maxLine is the length in bytes from which a line is written in parts.
const maxLine = 64 << 10

func (q *quote) write(piece string) { q.add(q.shown.Write(piece)) }

func (q *quote) end() {
	q.add(q.shown.End())
	if len(q.line) > 0 || q.begun {
		q.flush(true)
	}
}

func (q *quote) add(s string) {
	for s != "" {
		end := strings.IndexByte(s, '\n')
		part := s
		if end >= 0 {
			part = s[:end]
		}
		for len(q.line)+len(part) > maxLine {
			n := maxLine - len(q.line)
			q.line = append(q.line, part[:n]...)
			part = part[n:]
			q.flush(false)
		}
		q.line = append(q.line, part...)
		if end < 0 {
			return
		}
		q.flush(true)
		s = s[end+1:]
	}
}

// flush writes the present line. If whole is false, it leaves out a torn character, and
// the line goes on.
func (q *quote) flush(whole bool) {
	line, rest := q.line, 0
	if !whole {
		for rest < utf8.UTFMax && !utf8.RuneStart(line[len(line)-1-rest]) {
			rest++
		}
		rest++
		line = line[:len(line)-rest]
	}
	part := q.guard.line(string(line), !q.begun, whole)
	switch {
	case q.begun:
	case part == "":
		q.out.WriteByte('>')
	default:
		q.out.WriteString("> ")
	}
	q.out.WriteString(part)
	q.line = append(q.line[:0], q.line[len(q.line)-rest:]...)
	if q.begun = !whole; whole {
		q.out.WriteByte('\n')
	}
}
