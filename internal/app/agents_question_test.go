package app

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sessionhub/internal/testkit/hubtest"
	"sessionhub/protocol"
)

// questionScenarios are what people are asked, apart from approvals. The model asks which
// database it shall be, and which of three parts.
func questionScenarios(agent realAgent) []scenario {
	if agent.noQuestion == askedAsApproval {
		return []scenario{{"question as an approval", func(_ *testing.T, c *conversation) {
			m := c.say("question")
			c.decide(c.asked("think", "Which database shall it be?"), protocol.RejectOnce)
			c.complete(m, c.agent.afterRefuse)
			c.answers("still here after the question")
		}}}
	}
	if !agent.asks {
		return []scenario{{"question that is not asked", func(t *testing.T, c *conversation) {
			c.complete(c.say("question"), protocol.StopEndTurn)
			if got := text(t, c.seen); agent.noQuestion == "" || !strings.Contains(got, agent.noQuestion) {
				t.Errorf("its model was told %q", got)
			}
		}}}
	}
	return []scenario{
		{"question", func(t *testing.T, c *conversation) {
			m := c.say("question")
			q, form := c.elicited()
			content := map[string]any{}
			for _, field := range form.Fields {
				switch titles := titlesOf(field); {
				case slices.Equal(titles, []string{"Postgres", "SQLite"}):
					content[field.Name] = field.Choices[1].Value
				case slices.Equal(titles, []string{"API", "Web", "Docs"}) && field.Type == protocol.FieldArray:
					content[field.Name] = []string{field.Choices[0].Value, field.Choices[2].Value}
				case field.Choices != nil:
					t.Errorf("a field of other choices: %+v", field)
				}
			}
			if len(content) != 2 {
				t.Fatalf("the form lacks a question: %s", q.RequestedSchema)
			}
			// What it did not offer is not taken, whatever the agent would do with it.
			for name := range content {
				wrong := protocol.Marshal(map[string]any{name: "Oracle"})
				if status, p := c.respond(q, protocol.ActionAccept, wrong); status != http.StatusBadRequest || p.Code != protocol.CodeInvalidAnswer || p.Field != name {
					t.Errorf("a wrong answer: %d %+v", status, p)
				}
			}
			if status, p := c.respond(q, protocol.ActionAccept, protocol.Marshal(content)); status != http.StatusOK {
				t.Fatalf("answered: %d %+v", status, p)
			}
			c.complete(m, protocol.StopEndTurn)
			for _, want := range []string{"SQLite", "API", "Docs"} {
				if c.inModelRequests("question", want) == 0 || !strings.Contains(text(t, c.seen), want) {
					t.Errorf("the model was not told %q: %q", want, text(t, c.seen))
				}
			}
			for _, f := range c.seen {
				if f.Type == protocol.EventToolApproval {
					t.Errorf("it also asked for approval: %s", f.Data)
				}
			}
			c.answers("still here after the question")
		}},
		{"question that is declined", func(t *testing.T, c *conversation) {
			m := c.say("question")
			q, _ := c.elicited()
			if status, p := c.respond(q, protocol.ActionDecline, nil); status != http.StatusOK {
				t.Fatalf("declined: %d %+v", status, p)
			}
			c.complete(m, protocol.StopEndTurn)
			c.answers("still here after the refusal to answer")
		}},
		{"cancel with a question open", func(t *testing.T, c *conversation) {
			m := c.say("question")
			q, _ := c.elicited()
			c.cancel(m)
			if !strings.Contains(c.record(), q.InteractionID+`","outcome":"cancelled"`) {
				t.Errorf("the question did not end: %s", c.record())
			}
			c.answers("still here after the cancelled question")
		}},
	}
}

// elicited reads up to a question of the agent, which must be a form.
func (c *conversation) elicited() (protocol.ElicitationData, *protocol.Form) {
	c.t.Helper()
	q := hubtest.Decode[protocol.ElicitationData](c.t, c.expect(protocol.EventElicitation).Data)
	form, err := protocol.ParseForm(q.RequestedSchema)
	if err != nil || q.Mode != protocol.ElicitForm || q.Message == "" || q.ExpiresAt == nil {
		c.t.Fatalf("%v: %s", err, protocol.Marshal(q))
	}
	return q, form
}

// respond answers a question of the agent.
func (c *conversation) respond(q protocol.ElicitationData, action string, content json.RawMessage) (int, protocol.Problem) {
	c.t.Helper()
	var p protocol.Problem
	r := protocol.AnswerRequest{InteractionID: q.InteractionID, Action: action, Content: content}
	answer := c.call("POST", "/api/sessions/"+c.session.SessionID+"/answer", r, &p)
	return answer.StatusCode, p
}

func titlesOf(f protocol.Field) (titles []string) {
	for _, choice := range f.Choices {
		title, _, _ := strings.Cut(choice.Title, " — ") // claude 0.49 has the description in it
		titles = append(titles, title)
	}
	return titles
}
