package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// member is one key of a JSON object with its value.
type member struct {
	key   string
	value json.RawMessage
}

// members reads a JSON object in its order. Decode has accepted the bytes. A key may not
// come twice: readers would differ on what it means.
func members(raw json.RawMessage) ([]member, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("is no JSON object")
	}
	var all []member
	seen := make(map[string]bool)
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, errors.New("cannot be read")
		}
		m := member{key: t.(string)}
		if err := d.Decode(&m.value); err != nil {
			return nil, errors.New("cannot be read")
		}
		if seen[m.key] {
			return nil, fmt.Errorf("has %q twice", clip(m.key))
		}
		seen[m.key] = true
		all = append(all, m)
	}
	return all, nil
}

// null reports whether the value is null. In ACP that means the same as an absent key.
func (m member) null() bool { return string(m.value) == "null" }

func (m member) text(to *string) error {
	if len(m.value) == 0 || m.value[0] != '"' || json.Unmarshal(m.value, to) != nil {
		return fmt.Errorf("%s is no string", m.key)
	}
	return nil
}

func (m member) texts(to *[]string) error {
	var list []json.RawMessage
	if json.Unmarshal(m.value, &list) != nil {
		return fmt.Errorf("%s is no list of strings", m.key)
	}
	*to = make([]string, len(list))
	for i, raw := range list {
		if (member{m.key, raw}).text(&(*to)[i]) != nil {
			return fmt.Errorf("%s is no list of strings", m.key)
		}
	}
	return nil
}

func (m member) flag() error {
	if v := string(m.value); v != "true" && v != "false" {
		return fmt.Errorf("%s is neither true nor false", m.key)
	}
	return nil
}

func (m member) number() (*float64, error) {
	n, err := strconv.ParseFloat(string(m.value), 64)
	if err != nil {
		return nil, fmt.Errorf("%s is no number", m.key)
	}
	return &n, nil
}

// maxCount is far over every length that an answer can have.
const maxCount = 1 << 30

func (m member) count() (*int, error) {
	n, err := m.number()
	if err != nil || *n < 0 || *n != float64(int64(*n)) {
		return nil, fmt.Errorf("%s is no whole number from 0 on", m.key)
	}
	v := int(min(*n, maxCount))
	return &v, nil
}

// clip shortens a name of a stranger for an error.
func clip(s string) string {
	const most = 100
	if len(s) <= most {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:most]), nil)) + "..."
}
