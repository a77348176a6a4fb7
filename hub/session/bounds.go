package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Clip cuts a caller's value for an error or a log, to 100 bytes.
func Clip(s string) string { return ClipTo(s, 100) }

// ClipTo cuts a text to at most most bytes, at the end of a rune. Three dots mark the
// cut; they are not counted.
func ClipTo(s string, most int) string {
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// HashJSON names a JSON value by a SHA-256 in hex. Two values that differ only in white
// space, in the order of keys or in the escapes of a string have the same hash. Bytes
// that are no JSON are hashed as they are.
func HashJSON(raw json.RawMessage) string {
	b := []byte(raw)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // keep 1.0 and 1 apart, and large numbers exact
	var v any
	if dec.Decode(&v) == nil {
		if c, err := json.Marshal(v); err == nil { // sorts the keys
			b = c
		}
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// CutText cuts a text for an event to at most most bytes. That includes a mark, which
// tells people why the text ends.
func CutText(s string, most int) string {
	if len(s) <= most {
		return s
	}
	if most <= len(cutMark) {
		return cutMark
	}
	return s[:cutAt(s, most-len(cutMark))] + cutMark
}

// ValidUTF8 replaces bytes that are no UTF-8 by U+FFFD. It is for text from outside that
// is logged or kept.
func ValidUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// FirstOf gives the first of the errors that is not nil, or nil.
func FirstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// CheckName checks a name from outside: 1 to most bytes, and no control characters, which
// could forge lines of a log.
func CheckName(field, name string, most int) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is missing", field)
	case len(name) > most:
		return fmt.Errorf("%s is %d bytes long: at most %d", field, len(name), most)
	}
	if i := strings.IndexFunc(name, unicode.IsControl); i >= 0 {
		return fmt.Errorf("%s holds a control character at byte %d", field, i)
	}
	return nil
}

// CheckOptional is CheckName for a name that may be empty.
func CheckOptional(field, name string, most int) error {
	if name == "" {
		return nil
	}
	return CheckName(field, name, most)
}

// CheckLength checks a text that an agent has chosen and the hub only passes on: at most
// most bytes.
func CheckLength(field, text string, most int) error {
	if len(text) > most {
		return fmt.Errorf("%s is %d bytes long: at most %d", field, len(text), most)
	}
	return nil
}
