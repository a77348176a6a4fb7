package demoagent

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"

	acp "github.com/coder/acp-go-sdk"
)

// form has a field of every type that a question can have (ACP, "Elicitation"). The SDK
// writes them in the order of their names.
func form() acp.UnstableElicitationSchema {
	choice := func(value, title, description string) map[string]any {
		return map[string]any{"const": value, "title": title, "description": description}
	}
	return acp.UnstableElicitationSchema{
		Type: "object", Title: acp.Ptr("An order"), Required: []string{"name", "size"},
		Properties: map[string]any{
			"cups":    map[string]any{"type": "integer", "title": "Cups", "minimum": 1, "maximum": 12, "default": 1},
			"email":   map[string]any{"type": "string", "title": "Email", "format": "email", "description": "For the receipt, if you want one"},
			"extras":  map[string]any{"type": "array", "title": "Extras", "items": map[string]any{"anyOf": []any{choice("milk", "Milk", "From oats"), choice("sugar", "Sugar", ""), choice("ice", "Ice", "")}}, "maxItems": 2},
			"name":    map[string]any{"type": "string", "title": "Name", "description": "To call you by", "minLength": 1, "maxLength": 40},
			"size":    map[string]any{"type": "string", "title": "Size", "oneOf": []any{choice("s", "Small", "0.2 l"), choice("l", "Large", "0.4 l")}, "default": "s"},
			"takeOut": map[string]any{"type": "boolean", "title": "To take out", "default": true},
			"tip":     map[string]any{"type": "number", "title": "Tip", "minimum": 0},
		},
	}
}

func (t *turn) askForm(args string) error {
	question := strings.TrimSpace(args)
	if question == "" {
		question = "What would you like to drink?"
	}
	ask := acp.NewUnstableCreateElicitationRequestForm(form())
	ask.Form.Message = question
	return t.elicit(ask)
}

func (t *turn) askPage(args string) error {
	ask := acp.NewUnstableCreateElicitationRequestUrl(acp.UnstableElicitationId("page-"+rand.Text()), strings.TrimSpace(args))
	ask.Url.Message = "Please open this page."
	return t.elicit(ask)
}

// elicit asks, and says what was answered.
func (t *turn) elicit(ask acp.UnstableCreateElicitationRequest) error {
	answer, err := t.conn.UnstableCreateElicitation(t.ctx, ask)
	switch {
	case t.ctx.Err() != nil:
		return t.ctx.Err()
	case err != nil:
		return t.say(fmt.Sprintf("I could not ask: %v", err))
	case answer.Accept != nil && ask.Url != nil:
		return t.say("You opened the page.")
	case answer.Accept != nil:
		said, err := json.Marshal(answer.Accept.Content)
		if err != nil {
			return err
		}
		return t.say(fmt.Sprintf("You answered: %s", said))
	case answer.Decline != nil:
		return t.say("You declined to answer.")
	}
	return t.say("You gave no answer.")
}
