package text

import "unicode"

// span is a range of code points, both ends included.
type span struct{ first, last rune }

func in(r rune, spans []span) bool {
	for _, s := range spans {
		if r >= s.first && r <= s.last {
			return true
		}
	}
	return false
}

// control reports what is no character at all (ECMA-48: C0, DEL, C1), but for
// line breaks and tabs.
func control(r rune) bool {
	return r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r <= 0x9f
}

// reorders reports what changes the order in which other characters are shown
// (UAX #9, 2.1 to 2.4: embeddings, overrides, isolates).
func reorders(r rune) bool { return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 }

// selector reports a variation selector: it changes the look of what is before it.
func selector(r rune) bool {
	return r >= 0xfe00 && r <= 0xfe0f || r >= 0xe0100 && r <= 0xe01ef || r >= 0x180b && r <= 0x180d || r == 0x180f
}

// tag reports what spells the region of a flag behind U+1F3F4, and elsewhere
// only hides text.
func tag(r rune) bool { return r >= 0xe0020 && r <= 0xe007f }

const blackFlag = 0x1f3f4

// joins reports the invisible characters that scripts and emoji need: joiners,
// hyphenation, places to break a line, marks of direction.
func joins(r rune) bool {
	return r >= 0x200b && r <= 0x200f || r == 0x061c || r == 0x00ad || r == 0x034f || r == 0x2060
}

// invisibleSpans is what takes no room or shows nothing beside controls (Unicode,
// Default_Ignorable_Code_Point, and the fillers and blanks that are no spaces).
var invisibleSpans = []span{
	{0x00ad, 0x00ad}, {0x034f, 0x034f}, {0x061c, 0x061c}, {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180b, 0x180f},
	{0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0x2800, 0x2800}, {0x3164, 0x3164}, {0xfe00, 0xfe0f},
	{0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xfffb}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
}

func invisible(r rune) bool { return r > 0x7f && in(r, invisibleSpans) }

// spaceSpans is white space that is not the space bar's.
var spaceSpans = []span{
	{0x00a0, 0x00a0}, {0x1680, 0x1680}, {0x2000, 0x200a}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000},
}

// alikeSpans is what looks like ASCII and is not, and what this package writes
// itself: brackets and the pictures of controls.
var alikeSpans = []span{
	{0x01c3, 0x01c3}, {0x037e, 0x037e}, {0x2010, 0x2012}, {0x2024, 0x2024}, {0x2044, 0x2044}, {0x2212, 0x2212},
	{0x2215, 0x2215}, {0x2236, 0x2236}, {0x2400, 0x2426}, {0x27e8, 0x27e9}, {0x29f8, 0x29f8}, {0xa789, 0xa789},
	{0xff01, 0xff5e}, {0x1d400, 0x1d7ff},
}

// otherSpans is the letters that look like Latin ones (UTS #39): in one word
// with ASCII letters they are there to deceive.
var otherSpans = []span{
	{0x0250, 0x02af}, {0x0370, 0x037d}, {0x037f, 0x058f}, {0x13a0, 0x13ff}, {0x1c80, 0x1c8f}, {0x1d00, 0x1d7f},
	{0x1f00, 0x1fff}, {0x2c80, 0x2cff}, {0x2de0, 0x2dff}, {0xa4d0, 0xa4ff}, {0xa640, 0xa69f}, {0xab70, 0xabbf},
}

func ascii(r rune) bool { return r|0x20 >= 'a' && r|0x20 <= 'z' }

// combining reports a mark that is drawn on what is before it.
func combining(r rune) bool { return r > 0x7f && unicode.In(r, unicode.Mn, unicode.Me) }

// maxMarks is how many characters without width may follow each other. No
// script needs more; a flood of them covers the lines around.
const maxMarks = 8

// rtlSpans is the letters that are written from right to left.
var rtlSpans = []span{{0x0590, 0x08ff}, {0xfb1d, 0xfdff}, {0xfe70, 0xfefe}, {0x10800, 0x10fff}, {0x1e800, 0x1efff}}

// RightToLeft reports that a text has letters which are written from right to
// left: whoever shows it may show it in another order than it has.
func RightToLeft(s string) bool {
	for _, r := range s {
		if r > 0x7f && in(r, rtlSpans) {
			return true
		}
	}
	return false
}
