package chat

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"sessionhub/client"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// onElicitation takes a question of the agent in. Of the past it is written down; one that
// waits is shown by who lets it be answered.
func (t *transcript) onElicitation(q protocol.ElicitationData) {
	t.elicitations = append(t.elicitations, q)
	switch {
	case t.past:
		t.exactLines(newFilling(q).head())
	case len(t.elicitations) > 1:
		title, _ := exactLine(q.Message, t.columns)
		t.note(yellow, "? another question waits: "+title)
	}
}

// exactLines writes lines in which everything can be seen.
func (t *transcript) exactLines(lines []styledLine) {
	t.begin(blockNone)
	t.last = blockNote
	for _, l := range lines {
		t.rows = append(t.rows, exactRows(t.paint, t.columns, l)...)
	}
}

func (t *transcript) onElicited(d protocol.ElicitationResolvedData) {
	var f *filling
	t.elicitations = slices.DeleteFunc(t.elicitations, func(q protocol.ElicitationData) bool {
		if q.InteractionID != d.InteractionID {
			return false
		}
		f = newFilling(q)
		return true
	})
	by := ""
	switch d.By {
	case "", t.me:
	case protocol.ByAgent:
		by = " (the agent saw the page completed)"
	default:
		by = " (" + oneLine(d.By, 30) + ")"
	}
	t.begin(blockNote)
	s, title := dim, ""
	if d.Outcome == protocol.OutcomeAccepted {
		s = green
	}
	if f != nil {
		title, _ = exactLine(f.q.Message, t.columns)
	}
	t.add(s, 2, "  → "+oneLine(d.Outcome, 40)+by+": "+title)
	if values, ok := decode[map[string]json.RawMessage](d.Content); ok && f != nil && d.Outcome == protocol.OutcomeAccepted {
		t.exactLines(answerLines(f.fields, values))
	}
}

// presentForm shows another question of the agent once it has waited longest, and the next
// step of the one that is answered.
func (c *conversation) presentForm(ctx context.Context) {
	waiting := c.transcript.elicitations
	if c.filling != nil && (len(waiting) == 0 || waiting[0].InteractionID != c.filling.q.InteractionID) {
		if c.lineFor != "" {
			// What was typed for a question must not go out as a message.
			c.editor.set(nil)
			c.lineFor, c.notice = "", "the question has ended: what was typed for it is not sent"
		}
		c.filling = nil
	}
	if len(waiting) == 0 || !c.caughtUp {
		return
	}
	if waiting[0].Private && !c.private.shown(waiting[0].InteractionID) {
		c.askPrivate(ctx, waiting[0].InteractionID)
		return
	}
	if c.filling == nil {
		c.filling = newFilling(waiting[0])
		c.transcript.exactLines(c.filling.head())
	}
	if f := c.filling; f.shown != f.step+1 {
		c.transcript.exactLines(f.stepLines())
		f.shown, f.since = f.step+1, time.Time{}
	}
}

// formRows are those of the live region about a question of the agent. A question for
// approval goes before.
func (c *conversation) formRows() []string {
	f := c.filling
	if f == nil || c.front != nil && c.lineFor == "" {
		return nil
	}
	if !f.sent && !f.begun && !f.armed(time.Now()) {
		return []string{c.paint.paint(dim, "  …")} // a key is not an answer yet
	}
	var rows []string
	w := wrapper{width: max(c.screen.columns-3, 8), rows: func(cells []cell) { rows = append(rows, "  "+c.paint.row(cells)) }}
	if f.problem != "" {
		w.text(red, text.ExactLine(f.problem))
		w.line()
	}
	w.text(yellow, text.ExactLine(f.prompt()))
	w.line()
	return rows
}

// formKey does what a key does to the question of the agent. A line belongs to it if it was
// begun while the question could be answered. false: the key is for the line.
func (c *conversation) formKey(ctx context.Context, k key) bool {
	f := c.filling
	if c.editor.empty() {
		if c.lineFor = ""; f != nil && c.front == nil && !f.sent && (f.begun || f.armed(k.at)) {
			c.lineFor = f.q.InteractionID
		}
	}
	if c.lineFor == "" || f == nil || k.kind != keyEnter {
		return false
	}
	typed, again := string(c.editor.text), k.at.Sub(c.entered)
	c.entered = k.at
	switch {
	case typed == "" && again < heldWithin:
		c.notice = "Enter was held or pressed twice: it has not answered again"
		return true
	case f.sent || typed == "" && !f.armed(k.at):
		return true
	}
	action, problem := f.answer(typed)
	if f.problem = problem; problem != "" {
		return true
	}
	// Not into the history of messages: it can be private.
	c.editor.set(nil)
	c.lineFor = ""
	if action != "" {
		c.respond(ctx, f, action)
	}
	return true
}

// respond sends the answer to a question of the agent.
func (c *conversation) respond(ctx context.Context, f *filling, action string) {
	r := protocol.AnswerRequest{InteractionID: f.q.InteractionID, Action: action}
	if action == protocol.ActionAccept {
		r.Content = f.content()
	}
	f.sent = true
	c.wg.Go(func() {
		_, err := c.stream.Answer(ctx, r)
		c.report(ctx, outcome{what: "answer", form: r.InteractionID, err: err})
	})
}

// notTaken goes back to the field that the hub has refused.
func (c *conversation) notTaken(o outcome) {
	f := c.filling
	if o.form == "" || f == nil || f.q.InteractionID != o.form {
		return
	}
	f.sent = false
	var refused *client.Error
	if errors.As(o.err, &refused) && refused.Code == protocol.CodeInvalidAnswer {
		step := slices.IndexFunc(f.fields, func(field protocol.Field) bool { return field.Name == refused.Field })
		if step < 0 {
			step = len(f.fields)
		}
		f.goTo(step)
		return
	}
	f.since = time.Time{}
}

// elicitation answers a question of the agent where nobody can be asked.
func (p *piped) elicitation(ctx context.Context, cancel context.CancelCauseFunc, q protocol.ElicitationData) {
	p.say("declined a question, since nobody can be asked here: %s", text.ExactLine(q.Message))
	p.command(ctx, cancel, func(ctx context.Context) error {
		_, err := p.stream.Answer(ctx, protocol.AnswerRequest{InteractionID: q.InteractionID, Action: protocol.ActionDecline})
		var refused *client.Error
		if errors.As(err, &refused) && (refused.Code == protocol.CodeQuestionResolved || refused.Code == protocol.CodeQuestionExpired) {
			return nil // somebody else was faster
		}
		return err
	})
}

// private is the private question of the agent that was read last: the log has only that it
// was asked.
type private struct {
	interaction string
	read        bool // or it cannot be read, and is shown as the log has it
}

func (p private) shown(interaction string) bool { return p.interaction == interaction && p.read }

// askPrivate reads a private question once.
func (c *conversation) askPrivate(ctx context.Context, interaction string) {
	if c.private.interaction == interaction {
		return // on its way
	}
	c.private = private{interaction: interaction}
	c.wg.Go(func() {
		whole, err := c.session.session.Elicitation(ctx, interaction)
		whole.InteractionID = interaction
		c.report(ctx, outcome{what: "read what the agent asks", private: &whole, err: err})
	})
}

// readPrivate takes a private question in.
func (c *conversation) readPrivate(o outcome) {
	if c.private.interaction != o.private.InteractionID {
		return
	}
	c.private.read = true
	for i, q := range c.transcript.elicitations {
		if q.InteractionID == o.private.InteractionID && o.err == nil {
			c.transcript.elicitations[i] = *o.private
		}
	}
}
