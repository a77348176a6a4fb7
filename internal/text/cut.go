package text

import (
	"unicode"
	"unicode/utf8"
)

// lookBack is how far before the wanted place a cut is looked for, in bytes.
// Nothing that is seen as one character is longer, unless it was made to be.
const lookBack = 256

// Cut is the last place in s at or before n bytes where it can be cut so that no
// character is torn, nor what is seen as one: a letter and its accents, an emoji
// of several, a flag, a line break of two (in the spirit of UAX #29, "Extended
// Grapheme Clusters"). It is 0 only if n or s is; a first character that is longer
// than n bytes is kept whole.
func Cut(s string, n int) int {
	if n >= len(s) {
		return len(s)
	}
	if n <= 0 {
		return 0
	}
	at := n
	for at > 0 && !utf8.RuneStart(s[at]) {
		at--
	}
	if at == 0 {
		_, size := utf8.DecodeRuneInString(s)
		return size
	}
	for cut := at; cut > 0 && at-cut <= lookBack; {
		if border(s, cut) {
			return cut
		}
		_, size := utf8.DecodeLastRuneInString(s[:cut])
		cut -= size
	}
	return at
}

// CutAfter is Cut for what follows: the first such place at or after n bytes.
func CutAfter(s string, n int) int {
	n = max(n, 0)
	for n < len(s) && !utf8.RuneStart(s[n]) {
		n++
	}
	for cut := n; cut < len(s) && cut-n <= lookBack; {
		if cut == 0 || border(s, cut) {
			return cut
		}
		_, size := utf8.DecodeRuneInString(s[cut:])
		cut += size
	}
	return min(n, len(s))
}

// border reports whether s may be cut at i, which is between two runes.
func border(s string, i int) bool {
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i:])
	switch {
	case before == '\r' && after == '\n':
		return false
	case after < 0x80 && before < 0x80:
		return true
	case extends(after), before == 0x200d:
		return false
	case regional(before) && regional(after):
		return evenRegionals(s[:i])
	case hangul(before) && hangul(after):
		return false
	}
	return true
}

// extends reports what belongs to the character before it.
func extends(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc) || r == 0x200c || r == 0x200d || selector(r) || tag(r) ||
		r >= 0x1f3fb && r <= 0x1f3ff // skin tones
}

func regional(r rune) bool { return r >= 0x1f1e6 && r <= 0x1f1ff }

// evenRegionals reports that the letters of flags before a place are in pairs.
func evenRegionals(s string) bool {
	n := 0
	for len(s) > 0 && n < lookBack {
		r, size := utf8.DecodeLastRuneInString(s)
		if !regional(r) {
			break
		}
		n++
		s = s[:len(s)-size]
	}
	return n%2 == 0
}

// hangul reports a part of which syllables are made.
func hangul(r rune) bool { return r >= 0x1100 && r <= 0x11ff }

// Clip shortens a text to at most n bytes, with an ellipsis that is not counted.
func Clip(s string, n int) string {
	s = valid(s)
	if len(s) <= n {
		return s
	}
	cut := Cut(s, n)
	if cut > n { // one character that is longer
		cut = 0
	}
	return s[:cut] + "…"
}
