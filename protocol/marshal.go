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

// Compact checks that raw is one JSON value in valid UTF-8, nested at most
// MaxDepth deep, and returns it without insignificant white space: no byte of
// the result is a line break, so that it may stand in an SSE line.
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

// Decode reads one JSON value from outside into v with the checks of Compact.
// Unknown fields are ignored, so that newer clients can talk to older hubs.
func Decode(raw []byte, v any) error {
	if !utf8.Valid(raw) {
		return ErrNotUTF8
	}
	if tooDeep(raw) {
		return ErrTooDeep
	}
	return json.Unmarshal(raw, v)
}

// tooDeep counts brackets outside of strings. It runs before any recursive
// parser sees the bytes.
func tooDeep(raw []byte) bool {
	depth, inString := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > MaxDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}
