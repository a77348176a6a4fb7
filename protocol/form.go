package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
)

// Limits of a form. docs/PROTOCOL.md publishes them.
const (
	MaxFormBytes   = 64 << 10 // of a schema, and of an answer to it
	MaxFormFields  = 100
	MaxFormChoices = 200 // of one field
)

// The types of a form's fields.
const (
	FieldString  = "string" // a text, or one of Choices
	FieldNumber  = "number"
	FieldInteger = "integer"
	FieldBoolean = "boolean"
	FieldArray   = "array" // some of Choices
)

// Form is what a question of the mode "form" asks for: the subset of JSON Schema that ACP
// has for a requestedSchema. Fields are in the order of the schema. A Form is immutable, so
// any goroutine may use it.
type Form struct {
	Title       string
	Description string
	Fields      []Field
}

// Field is one field of a form. Lengths count characters (Unicode code points). A bound that
// is nil does not exist.
type Field struct {
	Name        string
	Type        string
	Title       string
	Description string
	Required    bool
	Choices     []Choice // of a string that is one of them, and of an array; never of other types

	MinLength, MaxLength *int
	Format               string // of a string; only email, uri, date and date-time are checked
	Pattern              string // of a string; see Checked

	Minimum, Maximum   *float64
	MinItems, MaxItems *int

	Default json.RawMessage // a value that Check accepts; nil: there is none

	pattern *regexp.Regexp // nil: there is none, or it is not checked
	cost    int            // of pattern, for each byte of a text: its instructions
}

// Choice is a value that a field may have. Title is never empty.
type Choice struct {
	Value       string
	Title       string
	Description string
}

// FormError says what is wrong with a form or with an answer to it. Field is empty if the
// whole is wrong.
type FormError struct {
	Field   string
	Problem string
}

func (e *FormError) Error() string {
	if e.Field == "" {
		return e.Problem
	}
	return fmt.Sprintf("field %q: %s", e.Field, e.Problem)
}

// Label is the field's name for people.
func (f Field) Label() string {
	if f.Title != "" {
		return f.Title
	}
	return f.Name
}

// Checked reports whether Check holds a text to Pattern. Go's regexp cannot read every
// pattern of JavaScript, and a long one could cost too much. The agent judges those itself.
func (f Field) Checked() bool { return f.pattern != nil }

// ParseForm reads the requestedSchema of a question. It refuses all that a form cannot show:
// nested values, references, unknown keywords, values that nothing can satisfy, and
// everything over the limits. The *FormError names the field. Keywords that only describe
// ($schema, $comment, examples, _meta) are left out.
func ParseForm(schema json.RawMessage) (*Form, error) {
	if len(schema) > MaxFormBytes {
		return nil, &FormError{"", fmt.Sprintf("the requestedSchema has %d bytes: at most %d", len(schema), MaxFormBytes)}
	}
	if err := Decode(schema, new(json.RawMessage)); err != nil {
		return nil, &FormError{"", "the requestedSchema cannot be read: " + err.Error()}
	}
	top, err := members(schema)
	if err != nil {
		return nil, &FormError{"", "the requestedSchema " + err.Error()}
	}
	f := &Form{}
	var properties []member
	var required []string
	for _, m := range top {
		if m.null() {
			continue
		}
		switch m.key {
		case "type":
			if string(m.value) != `"object"` {
				return nil, &FormError{"", `the type of the requestedSchema is not "object"`}
			}
		case "title":
			err = m.text(&f.Title)
		case "description":
			err = m.text(&f.Description)
		case "properties":
			if properties, err = members(m.value); err != nil {
				err = fmt.Errorf("properties: it %w", err)
			}
		case "required":
			err = m.texts(&required)
		case "additionalProperties":
			err = m.flag()
		case "$schema", "$comment", "_meta":
		default:
			err = fmt.Errorf("%q cannot stand in a form", clip(m.key))
		}
		if err != nil {
			return nil, &FormError{"", err.Error()}
		}
	}
	if len(properties) > MaxFormFields {
		return nil, &FormError{"", fmt.Sprintf("%d fields: at most %d", len(properties), MaxFormFields)}
	}
	left := maxPatternSteps
	for _, p := range properties {
		if p.key == "" || len(p.key) > MaxNameBytes {
			return nil, &FormError{clip(p.key), fmt.Sprintf("a name has 1 to %d bytes", MaxNameBytes)}
		}
		field, err := parseField(p.key, p.value, &left)
		if err != nil {
			return nil, &FormError{p.key, err.Error()}
		}
		f.Fields = append(f.Fields, field)
	}
	for _, name := range required {
		i := slices.IndexFunc(f.Fields, func(f Field) bool { return f.Name == name })
		if i < 0 {
			return nil, &FormError{clip(name), "it is required, and not among the properties"}
		}
		f.Fields[i].Required = true
	}
	return f, nil
}

// keywords are those that a field of each type may have, beside title, description and
// default.
var keywords = map[string][]string{
	FieldString:  {"minLength", "maxLength", "pattern", "format", "enum", "enumNames", "oneOf"},
	FieldNumber:  {"minimum", "maximum"},
	FieldInteger: {"minimum", "maximum"},
	FieldBoolean: nil,
	FieldArray:   {"items", "minItems", "maxItems", "uniqueItems"},
}

func parseField(name string, raw json.RawMessage, left *steps) (Field, error) {
	f := Field{Name: name}
	all, err := members(raw)
	if err != nil {
		return f, fmt.Errorf("its schema %w", err)
	}
	for _, m := range all {
		if m.key == "type" {
			err = m.text(&f.Type)
		}
	}
	allowed, known := keywords[f.Type]
	switch {
	case err != nil:
		return f, err
	case f.Type == "":
		return f, errors.New("its type is missing")
	case !known:
		return f, fmt.Errorf("the type %q cannot stand in a form", clip(f.Type))
	}
	var names []string // of enum: an older form of titles (MCP, "enumNames")
	for _, m := range all {
		if m.null() {
			continue
		}
		switch m.key {
		case "type", "$comment", "_meta", "examples", "default":
			continue
		case "title":
			err = m.text(&f.Title)
		case "description":
			err = m.text(&f.Description)
		default:
			if !slices.Contains(allowed, m.key) {
				return f, fmt.Errorf("%q cannot stand in a field of the type %s", clip(m.key), f.Type)
			}
			err = f.keyword(m, &names)
		}
		if err != nil {
			return f, err
		}
	}
	if len(names) > 0 && len(names) == len(f.Choices) {
		for i, n := range names {
			f.Choices[i].Title = n
		}
	}
	if err := f.satisfiable(); err != nil {
		return f, err
	}
	for _, m := range all {
		if m.key != "default" || m.null() {
			continue
		}
		if problem := f.check(m.value, left); problem != "" {
			return f, errors.New("its default: " + problem)
		}
		f.Default = m.value
	}
	return f, nil
}

func (f *Field) keyword(m member, names *[]string) (err error) {
	switch m.key {
	case "minLength":
		f.MinLength, err = m.count()
	case "maxLength":
		f.MaxLength, err = m.count()
	case "minItems":
		f.MinItems, err = m.count()
	case "maxItems":
		f.MaxItems, err = m.count()
	case "minimum":
		f.Minimum, err = m.number()
	case "maximum":
		f.Maximum, err = m.number()
	case "format":
		err = m.text(&f.Format)
	case "pattern":
		if err = m.text(&f.Pattern); err == nil {
			f.pattern, f.cost = compile(f.Pattern)
		}
	case "uniqueItems":
		err = m.flag()
	case "enumNames":
		err = m.texts(names)
	case "enum":
		err = f.enum(m)
	case "oneOf":
		err = f.titled(m)
	case "items":
		err = f.items(m.value)
	}
	return err
}

// items reads the choices of an array.
func (f *Field) items(raw json.RawMessage) error {
	all, err := members(raw)
	if err != nil {
		return fmt.Errorf("items: it %w", err)
	}
	for _, m := range all {
		if m.null() {
			continue
		}
		switch m.key {
		case "type":
			if string(m.value) != `"string"` {
				err = errors.New("the items of an array are strings")
			}
		case "enum":
			err = f.enum(m)
		case "anyOf":
			err = f.titled(m)
		case "_meta", "$comment", "title", "description":
		default:
			err = fmt.Errorf("items: %q cannot stand in a form", clip(m.key))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *Field) enum(m member) error {
	var values []string
	if err := m.texts(&values); err != nil {
		return err
	}
	choices := make([]Choice, len(values))
	for i, v := range values {
		choices[i] = Choice{Value: v, Title: v}
	}
	return f.choose(m.key, choices)
}

// titled reads choices that have a title.
func (f *Field) titled(m member) error {
	var list []json.RawMessage
	if json.Unmarshal(m.value, &list) != nil {
		return fmt.Errorf("%s is no list", m.key)
	}
	choices := make([]Choice, 0, min(len(list), MaxFormChoices+1))
	for i, raw := range list {
		all, err := members(raw)
		if err != nil {
			return fmt.Errorf("%s[%d] %w", m.key, i, err)
		}
		var c Choice
		valued := false
		for _, o := range all {
			if o.null() && o.key != "const" {
				continue
			}
			switch o.key {
			case "const":
				valued, err = true, o.text(&c.Value)
			case "title":
				err = o.text(&c.Title)
			case "description":
				err = o.text(&c.Description)
			case "_meta", "$comment":
			case "type":
				if string(o.value) != `"string"` {
					err = errors.New("the choices of a form are strings")
				}
			default:
				err = fmt.Errorf("%q cannot stand in a form", clip(o.key))
			}
			if err != nil {
				return fmt.Errorf("%s[%d]: %w", m.key, i, err)
			}
		}
		if !valued {
			return fmt.Errorf("%s[%d]: const is missing", m.key, i)
		}
		if c.Title == "" {
			c.Title = c.Value
		}
		choices = append(choices, c)
	}
	return f.choose(m.key, choices)
}

func (f *Field) choose(from string, choices []Choice) error {
	switch {
	case f.Choices != nil:
		return errors.New("it has two lists of choices")
	case len(choices) == 0:
		return fmt.Errorf("%s has no choice", from)
	case len(choices) > MaxFormChoices:
		return fmt.Errorf("%s has %d choices: at most %d", from, len(choices), MaxFormChoices)
	}
	seen := make(map[string]bool, len(choices))
	for _, c := range choices {
		if seen[c.Value] {
			return fmt.Errorf("%s has the value %q twice", from, clip(c.Value))
		}
		seen[c.Value] = true
	}
	f.Choices = choices
	return nil
}

// satisfiable refuses bounds that no answer can meet.
func (f *Field) satisfiable() error {
	over := func(least, most *int) bool { return least != nil && most != nil && *least > *most }
	switch {
	case over(f.MinLength, f.MaxLength):
		return errors.New("minLength is above maxLength")
	case over(f.MinItems, f.MaxItems):
		return errors.New("minItems is above maxItems")
	case f.Minimum != nil && f.Maximum != nil && *f.Minimum > *f.Maximum:
		return errors.New("minimum is above maximum")
	case f.Type == FieldInteger && f.Minimum != nil && f.Maximum != nil && math.Ceil(*f.Minimum) > math.Floor(*f.Maximum):
		return errors.New("there is no whole number from minimum to maximum")
	case f.MinLength != nil && *f.MinLength > MaxFormBytes:
		return fmt.Errorf("minLength is above %d, the most that an answer has", MaxFormBytes)
	case f.Type == FieldArray && f.Choices == nil:
		return errors.New("an array needs items with enum or anyOf")
	case f.MinItems != nil && *f.MinItems > len(f.Choices):
		return fmt.Errorf("minItems is %d, and there are %d choices", *f.MinItems, len(f.Choices))
	}
	return nil
}

// Bounds of a pattern that is checked: its bytes, and the instructions that it becomes. They
// bound what one question can cost.
const (
	maxPattern        = 256
	maxPatternProgram = 1000
)

// steps bounds what one answer, or the defaults of one form, can cost: a text of n bytes takes
// a pattern of m instructions n*m steps. A text beyond the bound is not held to its pattern.
type steps int

// maxPatternSteps take less than a tenth of a second.
const maxPatternSteps steps = 4 << 20

// take takes steps. It reports false, and takes none, if there are not enough.
func (s *steps) take(n int) bool {
	if steps(n) > *s {
		return false
	}
	*s -= steps(n)
	return true
}

// compile gives the pattern that Check uses, and its cost; nil: it is not checked.
func compile(pattern string) (re *regexp.Regexp, cost int) {
	if len(pattern) > maxPattern {
		return nil, 0
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0
	}
	if cost = instructions(parsed); cost > maxPatternProgram {
		return nil, 0
	}
	if re, err = regexp.Compile(pattern); err != nil {
		return nil, 0
	}
	return re, cost
}

// instructions is about how many instructions a parsed pattern becomes. It is counted before
// the pattern is compiled: (a...a){1000} becomes a hundred thousand of them, and a form has
// room for a hundred such fields. More than maxPatternProgram counts as one more.
func instructions(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpConcat, syntax.OpRepeat:
		n = 0
	}
	for _, sub := range re.Sub {
		n = min(n+instructions(sub), maxPatternProgram+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxPatternProgram+1)
}
