package text

import "strings"

const (
	escape = '\x1b'
	// maxSequence bounds an escape sequence in bytes. What is longer is text.
	maxSequence = 16 << 10
	maxCSI      = 64 // bytes of one without a string
)

// sequence measures the escape sequence at the beginning of s (ECMA-48: CSI,
// strings such as OSC with their ends, and the short ones that terminals know).
// 0: there is none. open: s is the beginning of one, or may be. A sequence holds
// no control character but its own, so it never reaches over a line's end.
func sequence(s string) (n int, open bool) {
	kind, n := introducer(s)
	switch kind {
	case 0:
		return 0, n > 0
	case '[':
		return csi(s, n)
	case ']', 'P':
		return controlString(s, n, kind == ']')
	}
	return n, false
}

// introducer measures the beginning of a sequence, and says which kind it is:
// '[' a control sequence, ']' an operating system command, 'P' another string,
// '.' a whole sequence, 0 none, and with n > 0 not yet known.
func introducer(s string) (kind byte, n int) {
	if s[0] == 0xc2 && len(s) > 1 { // C1, in UTF-8
		switch s[1] {
		case 0x9b:
			return '[', 2
		case 0x9d:
			return ']', 2
		case 0x90, 0x98, 0x9e, 0x9f:
			return 'P', 2
		}
	}
	if s[0] != escape {
		return 0, 0
	}
	if len(s) == 1 {
		return 0, 1
	}
	switch c := s[1]; {
	case c == '[' || c == ']':
		return c, 2
	case strings.IndexByte("PX^_", c) >= 0:
		return 'P', 2
	case strings.IndexByte("78=>cM", c) >= 0:
		return '.', 2
	case strings.IndexByte("()*+-./#%", c) >= 0: // a character set and the like: one more byte
		if len(s) == 2 {
			return 0, 1
		}
		if s[2] >= '0' && s[2] <= '~' {
			return '.', 3
		}
	}
	return 0, 0
}

// csi measures a control sequence: parameters, intermediates, one final byte
// (ECMA-48, 5.4).
func csi(s string, at int) (n int, open bool) {
	for i := at; i < len(s) && i < maxCSI; i++ {
		switch c := s[i]; {
		case c >= 0x40 && c <= 0x7e:
			return i + 1, false
		case c < 0x20 || c > 0x3f:
			return 0, false
		}
	}
	return 0, len(s) < maxCSI
}

// controlString measures a string up to its end, which is ST, or for an
// operating system command BEL.
func controlString(s string, at int, osc bool) (n int, open bool) {
	for i := at; i < len(s) && i < maxSequence; i++ {
		c, next := s[i], byte(0)
		if i+1 < len(s) {
			next = s[i+1]
		}
		switch {
		case c == '\a' && osc:
			return i + 1, false
		case c == escape && i+1 == len(s):
			return 0, true
		case c == escape && next == '\\', c == 0xc2 && next == 0x9c:
			return i + 2, false
		case c < 0x20, c == 0x7f, c == 0xc2 && next >= 0x80 && next < 0xa0:
			return 0, false
		}
	}
	return 0, len(s) < maxSequence
}

// minData is from how many characters on the content of a data: URL is left out.
const minData = 64

const maxDataHead = 200 // bytes of the part of a data: URL before its content

// dataURL measures the part before the content of a data: URL in base64 whose
// content is long (RFC 2397). 0: there is none. open: s may become one.
func dataURL(s string) (n int, open bool) {
	const scheme, mark = "data:", ";base64,"
	if len(s) < len(scheme) {
		return 0, strings.HasPrefix(scheme, s)
	}
	if !strings.HasPrefix(s, scheme) {
		return 0, false
	}
	i := len(scheme)
	for i < len(s) && s[i] != ',' {
		if c := s[i]; i >= maxDataHead || !base64ish(c) && c != '.' && c != ';' {
			return 0, false
		}
		i++
	}
	if i == len(s) {
		return 0, true
	}
	if i++; !strings.HasSuffix(s[:i], mark) {
		return 0, false
	}
	for j := i; j < len(s); j++ {
		if !base64ish(s[j]) {
			return 0, false
		}
		if j-i+1 >= minData {
			return i, false
		}
	}
	return 0, true
}

func base64ish(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_' || c == '='
}
