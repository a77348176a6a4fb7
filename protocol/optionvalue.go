package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
)

// OptionValue is the value of an option: a text, or true or false. The zero value is the
// empty text. It is comparable.
type OptionValue struct {
	Text   string // the id of a value; empty for a boolean
	Switch bool   // the value of a boolean
	IsBool bool
}

// TextValue is the value of a selection.
func TextValue(id string) OptionValue { return OptionValue{Text: id} }

// BoolValue is the value of a boolean option.
func BoolValue(on bool) OptionValue { return OptionValue{Switch: on, IsBool: true} }

// String is the value as people write it.
func (v OptionValue) String() string {
	switch {
	case !v.IsBool:
		return v.Text
	case v.Switch:
		return "true"
	}
	return "false"
}

// MarshalJSON writes a JSON string or a JSON boolean.
func (v OptionValue) MarshalJSON() ([]byte, error) {
	if v.IsBool {
		return []byte(v.String()), nil
	}
	return marshal(v.Text)
}

// ErrOptionValue is the error of a JSON value that cannot be the value of an option.
var ErrOptionValue = errors.New("the value of an option is a text, true or false")

// UnmarshalJSON reads a JSON string or a JSON boolean, and refuses everything else.
func (v *OptionValue) UnmarshalJSON(raw []byte) error {
	raw = bytes.TrimSpace(raw)
	switch {
	case bytes.Equal(raw, []byte("true")), bytes.Equal(raw, []byte("false")):
		*v = BoolValue(raw[0] == 't')
	case len(raw) > 0 && raw[0] == '"':
		*v = OptionValue{}
		return json.Unmarshal(raw, &v.Text)
	default:
		return ErrOptionValue
	}
	return nil
}
