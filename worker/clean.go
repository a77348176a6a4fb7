package worker

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"sessionhub/protocol"
)

// rawDepth is how deeply an agent's JSON may be nested: protocol.MaxDepth less
// room for the event and the frame that will stand around it.
const rawDepth = protocol.MaxDepth - 16

// cleanLine makes a line of an agent's JSON fit for every reader: bytes that
// are not UTF-8 and escapes of lone surrogates (which RFC 8259 calls
// unpredictable, and several parsers refuse) become U+FFFD.
func cleanLine(line []byte) []byte {
	if !utf8.Valid(line) {
		line = bytes.ToValidUTF8(line, []byte("\uFFFD"))
	}
	if bytes.Contains(line, []byte(`\ud`)) || bytes.Contains(line, []byte(`\uD`)) {
		line = fixSurrogates(line)
	}
	return line
}

// fixSurrogates replaces the escape of each lone surrogate. The result has the
// length of the line.
func fixSurrogates(line []byte) []byte {
	fixed := bytes.Clone(line)
	for i := 0; i+1 < len(fixed); {
		if fixed[i] != '\\' {
			i++
			continue
		}
		if fixed[i+1] != 'u' {
			i += 2 // an escaped character, perhaps a backslash
			continue
		}
		switch kind := surrogate(fixed[i:]); {
		case kind == 'h' && surrogate(fixed[min(i+6, len(fixed)):]) == 'l':
			i += 12
		case kind != 0:
			copy(fixed[i+2:], "fffd")
			i += 6
		default:
			i += 2
		}
	}
	return fixed
}

// surrogate tells whether b begins with the escape of a high ('h') or a low
// ('l') surrogate.
func surrogate(b []byte) byte {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' || b[2]|0x20 != 'd' || !isHex(b[4]) || !isHex(b[5]) {
		return 0
	}
	switch b[3] | 0x20 {
	case '8', '9', 'a', 'b': // digits have the bit 0x20 already
		return 'h'
	case 'c', 'd', 'e', 'f':
		return 'l'
	}
	return 0
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// isNull reports whether a field was absent or null, which ACP takes as equal.
func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

// cleanRaw returns a value of the agent's as it may stand in an event: compact,
// not too deep and at most limit bytes long; what is not so is replaced by a
// string that says what was there. An absent value stays absent.
func cleanRaw(raw json.RawMessage, limit int) json.RawMessage {
	if isNull(raw) {
		return nil
	}
	if depth(raw) > rawDepth {
		return mark(raw, limit, fmt.Sprintf("nested more than %d deep", rawDepth))
	}
	compact, err := protocol.Compact(raw)
	if err != nil {
		return mark(raw, limit, err.Error())
	}
	if len(compact) > limit {
		return mark(compact, limit, "too long")
	}
	return compact
}

// depth counts brackets outside of strings.
func depth(raw []byte) int {
	depth, deepest, inString := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// mark is the JSON string that stands for a value that was cut: its beginning,
// its length and its hash. With the hash two values that were cut are equal only
// if they were equal before: the hub's "always" rules compare inputs.
func mark(raw []byte, limit int, why string) json.RawMessage {
	sum := sha256.Sum256(raw)
	note := fmt.Sprintf(" [cut: %s, %d bytes, sha256 %x]", why, len(raw), sum)
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(bytes.ToValidUTF8(raw, []byte("\uFFFD")))
	}
	head := clipJSON(text, max(0, min(limit, 64<<10)-len(note)-2))
	return protocol.Marshal(head + note)
}

// clipJSON returns the longest beginning of s, in whole runes, that takes at
// most limit bytes inside a JSON string.
func clipJSON(s string, limit int) string {
	size := 0
	for i, r := range s {
		size += jsonLen(r)
		if size > limit {
			return s[:i]
		}
	}
	return s
}

// jsonLen is at least what encoding/json (HTML left alone) writes for a rune.
func jsonLen(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
		return 2
	case r < 0x20 || r == '\u2028' || r == '\u2029' || r == utf8.RuneError:
		return 6
	}
	return utf8.RuneLen(r)
}

// clip shortens a text to limit bytes, in whole runes, with a mark.
func clip(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// printable removes what would disturb a terminal or a log: escape sequences'
// first byte and other control characters. Line breaks and tabs stay.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
}
