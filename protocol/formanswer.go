package protocol

import (
	"encoding/json"
	"fmt"
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Check holds the content of an answer to the form. Content is a JSON object with a value
// for each field that the user has filled; empty is an object without any. The *FormError
// names the field and says what it wants. A default is not filled in: the program that shows
// the form does that, so that a user can take it out.
func (f *Form) Check(content json.RawMessage) error {
	if len(content) == 0 {
		content = json.RawMessage("{}")
	}
	if len(content) > MaxFormBytes {
		return &FormError{"", fmt.Sprintf("the answer has %d bytes: at most %d", len(content), MaxFormBytes)}
	}
	if err := Decode(content, new(json.RawMessage)); err != nil {
		return &FormError{"", "the content cannot be read: " + err.Error()}
	}
	values, err := members(content)
	if err != nil {
		return &FormError{"", "the content " + err.Error()}
	}
	given := make(map[string]bool, len(values))
	left := maxPatternSteps
	for _, v := range values {
		i := slices.IndexFunc(f.Fields, func(f Field) bool { return f.Name == v.key })
		if i < 0 {
			return &FormError{clip(v.key), "the form has no such field"}
		}
		if problem := f.Fields[i].check(v.value, &left); problem != "" {
			return &FormError{v.key, problem}
		}
		given[v.key] = true
	}
	for _, field := range f.Fields {
		if field.Required && !given[field.Name] {
			return &FormError{field.Name, "it is required: " + field.Wants()}
		}
	}
	return nil
}

// Problem says what is wrong with a value of the field, in words for people; empty: nothing.
func (f Field) Problem(value json.RawMessage) string {
	if Decode(value, new(json.RawMessage)) != nil {
		return "it wants " + f.Wants()
	}
	left := maxPatternSteps
	return f.check(value, &left)
}

// check says what is wrong with a value of the field; empty: nothing. It takes the steps of
// the pattern.
func (f Field) check(raw json.RawMessage, left *steps) string {
	wrong := "it wants " + f.Wants()
	switch f.Type {
	case FieldBoolean:
		if v := string(raw); v != "true" && v != "false" {
			return wrong
		}
	case FieldNumber, FieldInteger:
		n, err := strconv.ParseFloat(string(raw), 64)
		if err != nil || f.Type == FieldInteger && n != float64(int64(n)) ||
			f.Minimum != nil && n < *f.Minimum || f.Maximum != nil && n > *f.Maximum {
			return wrong
		}
	case FieldArray:
		var values []string
		if (member{"", raw}).texts(&values) != nil || f.MinItems != nil && len(values) < *f.MinItems || f.MaxItems != nil && len(values) > *f.MaxItems {
			return wrong
		}
		for i, v := range values {
			if !f.offers(v) {
				return fmt.Sprintf("%q is none of its choices", clip(v))
			}
			if slices.Contains(values[:i], v) {
				return fmt.Sprintf("it has %q twice", clip(v))
			}
		}
	default:
		var text string
		if (member{"", raw}).text(&text) != nil {
			return wrong
		}
		if f.Choices != nil {
			if !f.offers(text) {
				return fmt.Sprintf("%q is none of its choices", clip(text))
			}
			return ""
		}
		n := utf8.RuneCountInString(text)
		if f.MinLength != nil && n < *f.MinLength || f.MaxLength != nil && n > *f.MaxLength ||
			!wellFormed(f.Format, text) || f.pattern != nil && left.take(f.cost*len(text)) && !f.pattern.MatchString(text) {
			return wrong
		}
	}
	return ""
}

func (f Field) offers(value string) bool {
	return slices.ContainsFunc(f.Choices, func(c Choice) bool { return c.Value == value })
}

// wellFormed holds a text to one of ACP's formats. Other formats are not checked.
func wellFormed(format, text string) bool {
	switch format {
	case "email":
		a, err := mail.ParseAddress(text)
		return err == nil && a.Name == "" && a.Address == text
	case "uri":
		u, err := url.Parse(text)
		return err == nil && u.Scheme != ""
	case "date":
		_, err := time.Parse(time.DateOnly, text)
		return err == nil
	case "date-time":
		_, err := time.Parse(time.RFC3339, text)
		return err == nil
	}
	return true
}

// Wants says in words for people which values the field takes: "a whole number from 1 to 5".
func (f Field) Wants() string {
	number := func(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }
	span := func(least, most *float64) string {
		switch {
		case least != nil && most != nil:
			return " from " + number(*least) + " to " + number(*most)
		case least != nil:
			return " of at least " + number(*least)
		case most != nil:
			return " of at most " + number(*most)
		}
		return ""
	}
	counts := func(least, most *int) string {
		switch {
		case least != nil && most != nil && *least == *most:
			return strconv.Itoa(*least)
		case least != nil && *least > 0 && most != nil:
			return fmt.Sprintf("%d to %d", *least, *most)
		case least != nil && *least > 0:
			return fmt.Sprintf("at least %d", *least)
		case most != nil:
			return fmt.Sprintf("at most %d", *most)
		}
		return ""
	}
	switch f.Type {
	case FieldBoolean:
		return "true or false"
	case FieldNumber:
		return "a number" + span(f.Minimum, f.Maximum)
	case FieldInteger:
		return "a whole number" + span(f.Minimum, f.Maximum)
	case FieldArray:
		if n := counts(f.MinItems, f.MaxItems); n != "" {
			return "a list of " + n + " of its choices"
		}
		return "a list of its choices"
	}
	if f.Choices != nil {
		return "one of its choices"
	}
	parts := []string{"a text"}
	switch f.Format {
	case "email":
		parts[0] = "an email address"
	case "uri":
		parts[0] = "a URI with its scheme"
	case "date":
		parts[0] = "a date such as 2026-01-31"
	case "date-time":
		parts[0] = "a time such as 2026-01-31T12:00:00Z"
	}
	if n := counts(f.MinLength, f.MaxLength); n != "" {
		parts = append(parts, "of "+n+" characters")
	}
	if f.pattern != nil {
		parts = append(parts, "that matches "+f.Pattern)
	}
	return strings.Join(parts, " ")
}
