package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// MaxDepth is how deeply a JSON value from outside may be nested.
const MaxDepth = 200

// Errors of Compact and Decode.
var (
	ErrNotUTF8 = errors.New("not valid UTF-8")
	ErrTooDeep = fmt.Errorf("nested more than %d deep", MaxDepth)
)

// Compact checks that raw is one JSON value in valid UTF-8, nested at most MaxDepth deep.
// It returns the value without insignificant white space. The result has no line break, so
// it may stand in an SSE line.
func Compact(raw []byte) (json.RawMessage, error) {
	if !utf8.Valid(raw) {
		return nil, ErrNotUTF8
	}
	if tooDeep(raw) {
		return nil, ErrTooDeep
	}
	var buf bytes.Buffer
	buf.Grow(len(raw))
	if err := json.Compact(&buf, raw); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Decode reads one JSON value from outside into v, with the checks of Compact. It ignores
// unknown fields, so that newer clients can talk to older hubs.
func Decode(raw []byte, v any) error {
	if !utf8.Valid(raw) {
		return ErrNotUTF8
	}
	if tooDeep(raw) {
		return ErrTooDeep
	}
	return json.Unmarshal(raw, v)
}

// DecodePart is Decode for a value inside one that Decode has accepted. It repeats no
// check: the checks of the whole hold for its parts.
func DecodePart(raw []byte, v any) error { return json.Unmarshal(raw, v) }

// eventHead is the beginning of an event's frame as NewFrame writes it.
const eventHead = `{"type":"event","data":`

// DecodeEvent decodes an event's frame that NewFrame has written. It reads the frame's data
// once less than Decode. It returns false if NewFrame has not written the frame so, or if
// the frame cannot be read. The caller then uses Decode.
func DecodeEvent(frame []byte, ev *WorkerEvent) bool {
	data, ok := bytes.CutPrefix(frame, []byte(eventHead))
	if !ok || len(data) == 0 || data[len(data)-1] != '}' || !utf8.Valid(frame) || tooDeep(frame) {
		return false
	}
	// If the frame has any other field, these bytes are no single value.
	return json.Unmarshal(data[:len(data)-1], ev) == nil
}

// CompactPart is Compact for a value inside one that Decode has accepted. It may return raw
// itself, or change it.
func CompactPart(raw json.RawMessage) json.RawMessage {
	inString := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && isSpace(c):
			return squeeze(raw, i)
		}
	}
	return raw
}

// squeeze drops the white space from the i-th byte on. That byte is the first white space.
func squeeze(raw json.RawMessage, i int) json.RawMessage {
	out, inString := raw[:i], false
	for ; i < len(raw); i++ {
		c := raw[i]
		switch {
		case inString && c == '\\':
			out = append(out, c)
			i++
			c = raw[i] // valid JSON does not end inside of a string
		case c == '"':
			inString = !inString
		case !inString && isSpace(c):
			continue
		}
		out = append(out, c)
	}
	return out
}

// isSpace reports whether c is white space between tokens (RFC 8259, section 2).
func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// tooDeep counts brackets outside strings. It runs before any recursive parser reads the
// bytes.
func tooDeep(raw []byte) bool { return DeeperThan(raw, MaxDepth) }

// DeeperThan reports whether valid JSON is nested more than most levels deep.
func DeeperThan(raw []byte, most int) bool {
	if len(raw) <= most { // each level begins with a bracket
		return false
	}
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > most {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
