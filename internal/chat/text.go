package chat

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/mattn/go-runewidth"
)

// unsafe reports that a rune of foreign text would do something to a terminal
// rather than be seen: control characters (ECMA-48: C0, DEL, C1), and format
// characters such as those that turn the direction of text around.
func unsafe(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r <= 0x9f, r == '\u2028', r == '\u2029':
		return true
	case r == '\u200c', r == '\u200d', r == '\u00ad': // joiners, which scripts and emoji need; a soft hyphen
		return false
	}
	return r > 0x7f && unicode.Is(unicode.Cf, r)
}

// Neutral makes foreign text harmless: what it would do is shown instead, by the
// pictures that Unicode has for it. Lines and tabs stay.
func Neutral(s string) string {
	if !strings.ContainsFunc(s, unsafe) {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case !unsafe(r):
			return r
		case r < 0x20:
			return 0x2400 + r
		case r == 0x7f:
			return 0x2421
		}
		return unicode.ReplacementChar
	}, s)
}

// oneLine is neutral text on one line, clipped to so many columns.
func oneLine(s string, columns int) string {
	s = strings.Join(strings.Fields(Neutral(s)), " ")
	return runewidth.Truncate(s, columns, "…")
}

// harmlessJSON writes what a terminal would obey as an escape, which means the
// same in JSON: such runes can only lie in its strings.
func harmlessJSON(raw []byte) []byte {
	s := string(raw)
	if !strings.ContainsFunc(s, unsafe) {
		return raw
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !unsafe(r):
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
