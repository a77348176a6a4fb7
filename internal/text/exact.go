package text

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// Part is a piece of an exact text: characters as they are, or a mark that
// stands for one, or behind one that looks like another.
type Part struct {
	Text string
	Mark bool
}

// Parts takes a text apart for whoever shows marks in a way of their own, so
// that no text can imitate one. Line breaks and tabs are left as they are, or on
// one line are marks.
func Parts(s string, oneLine bool) []Part {
	var parts []Part
	var run strings.Builder
	flush := func() {
		if run.Len() > 0 {
			parts = append(parts, Part{Text: run.String()})
			run.Reset()
		}
	}
	mark := func(t string) {
		flush()
		parts = append(parts, Part{Text: t, Mark: true})
	}
	runes := []rune(valid(s))
	mixedTo, mixed := 0, false // where the word ends, and whether it mixes scripts
	marks := 0
	for i, r := range runes {
		if i >= mixedTo {
			mixedTo, mixed = word(runes, i)
		}
		if combining(r) && !invisible(r) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case control(r) || oneLine && (r == '\n' || r == '\t'):
			mark(strings.Trim(visible(r), "⟨⟩"))
		case invisible(r), in(r, spaceSpans), marks > maxMarks:
			mark(number(r))
		case r > 0x7f && in(r, alikeSpans), mixed && in(r, otherSpans):
			run.WriteRune(r)
			mark(number(r))
		default:
			run.WriteRune(r)
		}
	}
	flush()
	return parts
}

// word finds the end of the word that begins at i, and reports whether it has
// ASCII letters and such as look like them.
func word(runes []rune, i int) (end int, mixed bool) {
	latin, other := false, false
	for end = i; end < len(runes); end++ {
		switch r := runes[end]; {
		case ascii(r):
			latin = true
		case r > 0x7f && in(r, otherSpans):
			other = true
		default:
			return max(end, i+1), latin && other
		}
	}
	return end, latin && other
}

// Exact is a text in which everything can be seen, with its lines.
func Exact(s string) string { return join(Parts(s, false)) }

// ExactLine is Exact on one line: line breaks and tabs are shown, too.
func ExactLine(s string) string { return join(Parts(s, true)) }

func join(parts []Part) string {
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.String())
	}
	return b.String()
}

// String is the part where marks have no look of their own.
func (p Part) String() string {
	if p.Mark && strings.HasPrefix(p.Text, "U+") {
		return "⟨" + p.Text + "⟩"
	}
	return p.Text
}

// JSON writes what cannot be seen, or would act, as escapes, which mean the same
// in JSON: such runes can only lie in its strings.
func JSON(raw []byte) []byte {
	s := string(raw)
	hidden := func(r rune) bool { return r != '\n' && r != '\t' && (control(r) || invisible(r)) }
	if !strings.ContainsFunc(s, hidden) {
		return raw
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}

// Codes writes every character beyond ASCII as its number: a text that reads the
// same in whatever order its letters are shown.
func Codes(s string) string {
	var b strings.Builder
	for _, r := range valid(s) {
		if r > 0x7e {
			fmt.Fprintf(&b, `\u{%x}`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
