package transcript

import (
	"encoding/json"
	"fmt"
	"strings"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// elicitationOf is the entry of a question of the agent that was just asked.
func elicitationOf(d protocol.ElicitationData, time string) elicitation {
	return elicitation{
		Type: typeQuestion, MessageID: d.MessageID, InteractionID: d.InteractionID, ToolCallID: d.ToolCallID, Mode: d.Mode,
		Message: d.Message, RequestedSchema: present(d.RequestedSchema), URL: d.URL, AskedAt: time, Outcome: outcomePending,
	}
}

// elicited is the entry of a question of the agent that is answered now.
func (q *questions) elicited(d protocol.ElicitationResolvedData, time string) elicitation {
	e := answered(q, d.InteractionID, elicitation{Type: typeQuestion, InteractionID: d.InteractionID})
	e.Outcome, e.Content, e.By, e.Detail, e.Time = d.Outcome, present(d.Content), d.By, d.Detail, time
	return e
}

func (f *markdown) elicitation(e elicitation) {
	if e.Message == "" {
		f.title(3, "Question:", exact("question "+e.InteractionID))
	} else {
		f.title(3, "Question")
		f.out.WriteByte('\n')
		q := quote{out: f.out}
		q.write(e.Message)
		q.end()
	}
	var list []string
	if e.URL != "" {
		list = append(list, "Page: "+exact(e.URL))
	}
	if e.AskedAt != "" {
		list = append(list, "Asked: "+e.AskedAt)
	}
	said := "**pending**"
	if e.Outcome != outcomePending {
		said = "**" + exact(e.Outcome) + "**" + byWhom(e.By, e.Detail) + ", " + e.Time
	}
	f.list(append(list, "Outcome: "+said))
	form, err := protocol.ParseForm(e.RequestedSchema)
	if e.RequestedSchema == nil || err != nil {
		f.value("Answer", e.Content, text.Exact)
		return
	}
	var content map[string]json.RawMessage
	_ = json.Unmarshal(e.Content, &content) // a content that cannot be read answers no field
	fields := make([]string, len(form.Fields))
	for i, field := range form.Fields {
		fields[i] = exact(field.Label()) + choicesOf(field)
		if e.Outcome == protocol.OutcomeAccepted {
			fields[i] += ": " + answerTo(field, content[field.Name])
		}
	}
	if len(fields) > 0 {
		f.paragraph("Fields:")
		f.list(fields)
	}
}

// maxChoices is how many choices of a field a transcript as Markdown names.
const maxChoices = 20

// choicesOf names what could be chosen.
func choicesOf(f protocol.Field) string {
	if f.Choices == nil {
		return ""
	}
	names := make([]string, 0, maxChoices)
	for _, c := range f.Choices[:min(len(f.Choices), maxChoices)] {
		names = append(names, exact(c.Title))
	}
	if more := len(f.Choices) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("%d others", more))
	}
	return " (" + strings.Join(names, ", ") + ")"
}

// answerTo is what people have said in a field.
func answerTo(f protocol.Field, raw json.RawMessage) string {
	if raw == nil {
		return "no answer"
	}
	title := func(value string) string {
		for _, c := range f.Choices {
			if c.Value == value {
				value = c.Title
			}
		}
		return "**" + exact(value) + "**"
	}
	var one string
	var some []string
	switch {
	case json.Unmarshal(raw, &one) == nil:
		return title(one)
	case json.Unmarshal(raw, &some) == nil:
		for i := range some {
			some[i] = title(some[i])
		}
		if len(some) == 0 {
			return "none"
		}
		return strings.Join(some, ", ")
	}
	return "**" + exact(string(raw)) + "**"
}
