package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sessionhub/protocol"
)

// filling is a question of the agent that is being answered in the line, field by field.
// When each field has its value, the whole is shown once more before it is sent.
type filling struct {
	q      protocol.ElicitationData
	fields []protocol.Field
	values map[string]json.RawMessage
	step   int  // the field that is asked for; len(fields): the whole is to be sent
	shown  int  // how many steps were written down: step+1 when this one was
	sent   bool // an answer is under way
	begun  bool // a field was answered: who typed that goes on with the next

	problem string    // what was wrong with what was typed
	since   time.Time // when the step was shown; zero: it was not yet
}

// The words that do something else than answer a field.
const (
	wordDecline = "/decline"
	wordClose   = "/close"
	wordSkip    = "/skip"
	wordBack    = "/back"
)

func newFilling(q protocol.ElicitationData) *filling {
	f := &filling{q: q, values: map[string]json.RawMessage{}}
	if form, err := protocol.ParseForm(q.RequestedSchema); q.Mode == protocol.ElicitForm && err == nil {
		f.fields = form.Fields
	}
	return f
}

// armed reports that a key which was pressed at a time is meant for this step.
func (f *filling) armed(at time.Time) bool {
	return !f.sent && !f.since.IsZero() && at.Sub(f.since) >= armAfter
}

// goTo asks for another field, or for the end.
func (f *filling) goTo(step int) {
	f.step, f.shown, f.since, f.problem = max(0, step), 0, time.Time{}, ""
}

// answer takes what was typed for the present step. action is what to send, if the answer
// is whole. problem says what was wrong.
func (f *filling) answer(typed string) (action, problem string) {
	switch word := strings.ToLower(strings.TrimSpace(typed)); {
	case word == wordDecline:
		return protocol.ActionDecline, ""
	case word == wordClose:
		return protocol.ActionCancel, ""
	case word == wordBack:
		f.goTo(f.step - 1)
		return "", ""
	case f.q.Mode == protocol.ElicitURL:
		switch word {
		case "y", "yes", "opened":
			return protocol.ActionAccept, ""
		case "n", "no":
			return protocol.ActionDecline, ""
		}
		return "", "open the page in a browser, then type yes; " + wordDecline + " refuses"
	case f.step == len(f.fields):
		if word == "" || word == "y" || word == "yes" {
			return protocol.ActionAccept, ""
		}
		return "", "Enter sends the answers; " + wordBack + " changes the last one, " + wordDecline + " refuses"
	}
	field := f.fields[f.step]
	value, problem := typedValue(field, typed)
	if problem != "" {
		return "", problem
	}
	f.begun = true
	if delete(f.values, field.Name); value != nil {
		f.values[field.Name] = value
	}
	f.goTo(f.step + 1)
	return "", ""
}

// typedValue is the value that was typed for a field; nil: none. An empty line takes the
// default.
func typedValue(f protocol.Field, typed string) (value json.RawMessage, problem string) {
	word := strings.TrimSpace(typed)
	skip := strings.EqualFold(word, wordSkip)
	switch {
	case word == "" && f.Default != nil && !skip:
		return f.Default, ""
	case (word == "" || skip) && f.Required:
		return nil, "this is needed: " + f.Wants()
	case word == "" || skip:
		return nil, ""
	}
	switch {
	case f.Type == protocol.FieldArray:
		value, problem = typedList(f, word)
	case f.Choices != nil:
		c, ok := choiceOf(f, word)
		if !ok {
			return nil, fmt.Sprintf("%q is none of the choices: type its number", oneLine(word, 40))
		}
		value = protocol.Marshal(c.Value)
	case f.Type == protocol.FieldBoolean:
		switch strings.ToLower(word) {
		case "y", "yes", "true":
			value = json.RawMessage("true")
		case "n", "no", "false":
			value = json.RawMessage("false")
		default:
			problem = "type yes or no"
		}
	case f.Type == protocol.FieldNumber, f.Type == protocol.FieldInteger:
		if value = json.RawMessage(word); !json.Valid(value) {
			problem = "it wants " + f.Wants()
		}
	default:
		value = protocol.Marshal(typed)
	}
	if problem == "" {
		problem = f.Problem(value)
	}
	return value, problem
}

// typedList reads some choices: numbers or names, between commas or spaces.
func typedList(f protocol.Field, word string) (value json.RawMessage, problem string) {
	values := []string{}
	if !strings.EqualFold(word, "none") {
		parts := strings.Split(word, ",")
		if len(parts) == 1 {
			if _, whole := choiceOf(f, word); !whole {
				parts = strings.Fields(word)
			}
		}
		for _, part := range parts {
			c, ok := choiceOf(f, strings.TrimSpace(part))
			if !ok {
				return nil, fmt.Sprintf("%q is none of the choices: type numbers, such as 1,3", oneLine(part, 40))
			}
			if !slices.Contains(values, c.Value) {
				values = append(values, c.Value)
			}
		}
	}
	return protocol.Marshal(values), ""
}

// choiceOf finds a choice by its number, its title or its value.
func choiceOf(f protocol.Field, word string) (protocol.Choice, bool) {
	if n, err := strconv.Atoi(word); err == nil && n >= 1 && n <= len(f.Choices) {
		return f.Choices[n-1], true
	}
	for _, c := range f.Choices {
		if strings.EqualFold(c.Title, word) || c.Value == word {
			return c, true
		}
	}
	return protocol.Choice{}, false
}

// content is the answer to the form.
func (f *filling) content() json.RawMessage {
	if f.q.Mode == protocol.ElicitURL {
		return nil
	}
	return protocol.Marshal(f.values)
}

// head is what the question says before its first field.
func (f *filling) head() []styledLine {
	mark := "? "
	if f.q.MessageID == "" {
		mark = "? In the background: "
	}
	lines := split(bold|yellow, mark+f.q.Message)
	if f.q.Mode == protocol.ElicitURL {
		lines = append(lines, styledLine{0, f.q.URL})
	}
	return lines
}

// stepLines are the present step with all that can be chosen.
func (f *filling) stepLines() []styledLine {
	if f.q.Mode == protocol.ElicitURL {
		return nil
	}
	if f.step == len(f.fields) {
		if len(f.fields) == 0 {
			return nil
		}
		lines := []styledLine{{bold, "Your answers:"}}
		return append(lines, answerLines(f.fields, f.values)...)
	}
	field := f.fields[f.step]
	title := fmt.Sprintf("%d of %d: %s", f.step+1, len(f.fields), field.Label())
	if !field.Required {
		title += " (optional)"
	}
	lines := split(bold, title)
	if field.Description != "" {
		lines = append(lines, split(dim, field.Description)...)
	}
	for i, c := range field.Choices {
		lines = append(lines, split(0, fmt.Sprintf("%d) %s", i+1, c.Title))...)
		if c.Description != "" {
			lines = append(lines, split(dim, "   "+c.Description)...)
		}
	}
	return lines
}

// prompt says what to type for the present step.
func (f *filling) prompt() string {
	switch {
	case f.sent:
		return "the answer is on its way"
	case f.q.Mode == protocol.ElicitURL:
		return "open the page in a browser, then type yes; " + wordDecline + " refuses, " + wordClose + " closes the question"
	case f.step == len(f.fields):
		return "Enter sends the answers; " + wordBack + " changes them, " + wordDecline + " refuses"
	}
	field := f.fields[f.step]
	want := "type " + field.Wants()
	switch {
	case field.Type == protocol.FieldArray:
		want = "type numbers, such as 1,3, or none"
	case field.Choices != nil:
		want = "type a number"
	case field.Type == protocol.FieldBoolean:
		want = "type yes or no"
	}
	switch {
	case field.Default != nil:
		want += "; Enter takes " + oneLine(shownValue(field, field.Default), 40)
		if !field.Required {
			want += ", " + wordSkip + " leaves it out"
		}
	case !field.Required:
		want += "; Enter leaves it out"
	}
	return want + "; " + wordDecline + " refuses"
}

// answerLines are the answers of a form.
func answerLines(fields []protocol.Field, values map[string]json.RawMessage) []styledLine {
	var lines []styledLine
	for _, field := range fields {
		said := "no answer"
		if v := values[field.Name]; v != nil {
			said = shownValue(field, v)
		}
		lines = append(lines, split(0, field.Label()+": "+said)...)
	}
	return lines
}

// shownValue is a value as people read it: choices by their titles.
func shownValue(f protocol.Field, raw json.RawMessage) string {
	title := func(value string) string {
		for _, c := range f.Choices {
			if c.Value == value {
				return c.Title
			}
		}
		return value
	}
	if s, ok := decode[string](raw); ok {
		return title(s)
	}
	if list, ok := decode[[]string](raw); ok {
		if len(list) == 0 {
			return "none"
		}
		for i := range list {
			list[i] = title(list[i])
		}
		return strings.Join(list, ", ")
	}
	switch s := string(raw); s {
	case "true":
		return "yes"
	case "false":
		return "no"
	default:
		return s
	}
}
