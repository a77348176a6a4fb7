package excerpt

import (
	"crypto/sha256"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sessionhub/internal/text"
)

// maxMark is longer than every mark.
const maxMark = 160

// lineBorder is how far a cut may be moved to fall between two lines.
const lineBorder = 512

// Text returns s if it takes at most limit bytes inside of a JSON string, and
// else its head and its tail with a mark between them, and true. The mark alone
// can be over a limit of less than 160 bytes. With hash the mark names the whole
// text's SHA-256.
func Text(s string, limit int, hash bool) (string, bool) {
	if encodedLen(s) <= limit {
		return s, false
	}
	half := max(0, limit-maxMark) / 2
	head, tail := headOf(s, half), tailOf(s, half)
	between := " "
	if strings.Contains(s, "\n") {
		between = "\n"
		if i := strings.LastIndexByte(head, '\n'); i >= 0 && len(head)-i <= lineBorder {
			head = head[:i]
		}
		if i := strings.IndexByte(tail, '\n'); i >= 0 && i < lineBorder {
			tail = tail[i+1:]
		}
	}
	note := leftOut(len(s)-len(head)-len(tail), "bytes")
	if hash {
		note += fmt.Sprintf(" (sha256 %x)", sha256.Sum256([]byte(s)))
	}
	if head == "" && tail == "" {
		return note, true
	}
	return head + between + note + between + tail, true
}

// leftOut is the mark that stands for n of something.
func leftOut(n int, what string) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return "… " + digits + " " + what + " left out …"
}

// headOf is the longest beginning of s, in whole characters, of at most limit
// bytes inside of a JSON string.
func headOf(s string, limit int) string {
	size := 0
	for i, r := range s {
		if size += runeLen(r); size > limit {
			return s[:text.Cut(s, i)]
		}
	}
	return s
}

// tailOf is the longest end.
func tailOf(s string, limit int) string {
	size := 0
	for end := len(s); end > 0; {
		r, n := utf8.DecodeLastRuneInString(s[:end])
		if size += runeLen(r); size > limit {
			return s[text.CutAfter(s, end):]
		}
		end -= n
	}
	return s
}

// encodedLen is at least the length of what encoding/json (HTML left alone) makes
// of a string, without the quotes.
func encodedLen(s string) int {
	n := 0
	for _, r := range s {
		n += runeLen(r)
	}
	return n
}

func runeLen(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
		return 2
	case r < 0x20 || r == '\u2028' || r == '\u2029' || r == utf8.RuneError:
		return 6
	}
	return utf8.RuneLen(r)
}

// level is the greatest length to which all that is longer can be cut so that
// everything together is at most limit bytes. Nothing has to be cut if it is
// math.MaxInt.
func level(sizes []int, limit int) int {
	sorted := slices.Sorted(slices.Values(sizes))
	for i, n := range sorted {
		if rest := len(sorted) - i; n > max(0, limit)/rest {
			return max(0, limit) / rest
		}
		limit -= n
	}
	return math.MaxInt
}
