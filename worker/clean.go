package worker

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"sessionhub/internal/excerpt"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// rawDepth is how deeply an agent's JSON may be nested: protocol.MaxDepth less
// room for the event and the frame that will stand around it.
const rawDepth = protocol.MaxDepth - 16

// cleanLine makes a line of an agent's JSON fit for every reader. Bytes that are not UTF-8
// become U+FFFD. Escapes of lone surrogates do too: RFC 8259 calls them unpredictable, and
// several parsers refuse them.
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

// surrogate returns 'h' or 'l' if b begins with the escape of a high or a low surrogate.
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

// isNull reports whether a field is absent or null. ACP takes both as equal.
func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

// cleanRaw makes a value of the agent's fit for an event of limit bytes. It does the same
// as wholeRaw, and shortens the value.
func cleanRaw(raw json.RawMessage, limit int) json.RawMessage {
	short, _ := excerpt.Value(wholeRaw(raw), limit, false)
	return short
}

// wholeRaw returns a value of the agent in compact form. A value that is nested too deeply,
// or is no JSON, becomes a string that holds its text. An absent value stays absent.
func wholeRaw(raw json.RawMessage) json.RawMessage {
	if isNull(raw) {
		return nil
	}
	if depth(raw) <= rawDepth {
		if compact, err := protocol.Compact(raw); err == nil {
			return compact
		}
	}
	return protocol.Marshal(string(bytes.ToValidUTF8(raw, []byte("\uFFFD"))))
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

// clipJSON returns the longest beginning of s, in whole characters, that takes at
// most limit bytes inside a JSON string.
func clipJSON(s string, limit int) string {
	size := 0
	for i, r := range s {
		size += jsonLen(r)
		if size > limit {
			return s[:text.Cut(s, i)]
		}
	}
	return s
}

// jsonLen is at least the length that encoding/json (HTML left alone) writes for a rune.
func jsonLen(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
		return 2
	case r < 0x20 || r == '\u2028' || r == '\u2029' || r == utf8.RuneError:
		return 6
	}
	return utf8.RuneLen(r)
}

// clip shortens a text to limit bytes, in whole characters, with a mark.
func clip(s string, limit int) string { return text.Clip(s, limit) }

// clipTo is clip to a text that has at most limit bytes with its mark.
func clipTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return clip(s, limit-len("…"))
}

// printable is an agent's output in a form for an error or a log.
func printable(s string) string { return text.Output(s) }
