package chat

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sessionhub/client"
	"sessionhub/protocol"
)

const (
	// armAfter is how long a question must have been there, as it is, before a key
	// answers it: what is typed at that moment was meant for something else.
	armAfter = 500 * time.Millisecond
	// heldWithin is how soon a key comes again that is held, or that is pressed
	// twice for one answer: no keyboard waits longer for its first repeat.
	heldWithin = time.Second
	// pageAgain is how soon a held key repeats itself once it does.
	pageAgain = 120 * time.Millisecond
)

// asking is the question that keys answer: the one that has waited longest. It
// is read in pages, and what allows something is offered when its end was shown.
type asking struct {
	d     protocol.ToolApprovalData
	lines []styledLine // those that were not shown
	rows  []string     // of the line that is shown in part
	whole bool         // nothing of it has to be fetched
	open  bool         // the whole of it is being fetched
	since time.Time    // when it was shown as it is; zero: it was not yet
}

// read reports that everything was shown.
func (a *asking) read() bool { return a.whole && len(a.lines) == 0 && len(a.rows) == 0 }

// armed reports that a key which was pressed at a time answers it.
func (a *asking) armed(at time.Time) bool {
	return !a.since.IsZero() && at.Sub(a.since) >= armAfter
}

// present shows another question once it has waited longest.
func (c *conversation) present() {
	questions := c.transcript.questions
	switch {
	case len(questions) == 0 || !c.caughtUp:
		c.front = nil
	case c.front == nil || c.front.d.InteractionID != questions[0].InteractionID:
		d := questions[0]
		c.front = &asking{d: d, lines: details(d), whole: !d.Truncated}
		if !c.transcript.questionTitle(d) {
			c.front.lines = append(split(bold, d.Title), c.front.lines...)
		}
		c.page()
	}
}

// page shows as much more of the question as has room above the live region.
func (c *conversation) page() {
	f := c.front
	const spare = 4 // the title, and a line that is typed
	room := max(1, c.screen.rows-1-len(c.live(c.questionRows(true)))-spare)
	for room > 0 && (len(f.rows) > 0 || len(f.lines) > 0) {
		if len(f.rows) == 0 {
			f.rows = exactRows(c.paint, c.transcript.columns, f.lines[0])
			f.lines = f.lines[1:]
		}
		n := min(room, len(f.rows))
		c.transcript.rows = append(c.transcript.rows, f.rows[:n]...)
		f.rows, room = f.rows[n:], room-n
	}
	f.since = time.Time{}
}

// shown notes that the question stands on the screen as it is, and lets the loop
// wake up when keys begin to answer it.
func (c *conversation) shown(arm *time.Timer) {
	if f := c.front; f != nil && f.since.IsZero() && c.err == nil {
		f.since = time.Now()
		arm.Reset(armAfter)
	}
	if f := c.filling; f != nil && f.since.IsZero() && c.err == nil {
		f.since = time.Now()
		arm.Reset(armAfter)
	}
}

// questionRows are those of the live region about the question. full: as if all
// its answers were offered.
func (c *conversation) questionRows(full bool) []string {
	f := c.front
	if f == nil {
		return nil
	}
	columns := c.screen.columns - 1
	count := ""
	if n := len(c.transcript.questions); n > 1 {
		count = fmt.Sprintf(" (1 of %d)", n)
	}
	title, _ := exactLine(f.d.Title, max(4, columns-2-len(count)))
	rows := []string{c.paint.paint(bold|yellow, "? "+title) + count}
	switch {
	case f.d.InteractionID == c.answered:
		return append(rows, c.paint.paint(dim, "  the answer is on its way"))
	case f.open:
		rows = append(rows, c.paint.paint(dim, "  the whole of it is being fetched"))
	case !f.whole && len(f.lines)+len(f.rows) == 0:
		rows = append(rows, c.paint.paint(yellow, truncate(fmt.Sprintf("  Space fetches the whole of it (%d bytes); then it can be allowed", f.d.FullBytes), columns)))
	case !f.read():
		more := fmt.Sprintf("  Space shows more (%d lines); at its end it can be allowed", len(f.lines)+min(1, len(f.rows)))
		rows = append(rows, c.paint.paint(yellow, truncate(more, columns)))
	}
	if full || f.armed(time.Now()) {
		all := full || f.read()
		choices := choiceRows(c.paint, f.d, c.screen.columns, all)
		if !full && !c.fits(len(rows)+len(choices)) {
			choices = append([]string{c.paint.paint(yellow, "  Make the window larger: not all of it fits.")}, choiceRows(c.paint, f.d, c.screen.columns, false)...)
		}
		rows = append(rows, choices...)
	}
	return rows
}

// fits reports that so many rows about a question can all be seen.
func (c *conversation) fits(rows int) bool {
	typed, _, _ := c.editor.rows(c.paint, c.screen.columns-1)
	return rows+len(typed)+1 <= c.screen.rows-1
}

// offered reports that an option can be chosen now: what allows something only
// where all of the question was shown and can be seen.
func (c *conversation) offered(o protocol.ApprovalOption) bool {
	return refuses(o) || c.front.read() && c.fits(len(c.questionRows(true)))
}

// answerKey does what a key does to the question. false: it is for the line.
func (c *conversation) answerKey(ctx context.Context, k key) bool {
	f, again := c.front, k.at.Sub(c.lastAt)
	held := k.r == c.last && again < heldWithin
	c.last, c.lastAt = k.r, k.at
	if f == nil || !c.editor.empty() {
		return false
	}
	option, known := chosen(f.d, k.r)
	switch {
	case k.r == ' ' || k.r == '?':
		if !held || again >= pageAgain {
			c.readOn(ctx, k.r == '?')
		}
	case !known:
		return false
	case held:
		c.notice = "that key was held or pressed twice: it has not answered again"
	case f.d.InteractionID == c.answered || !f.armed(k.at):
		return false // it was meant for the line
	case !c.offered(option):
		c.notice = "it can be allowed when all of it was shown"
	default:
		c.choose(ctx, f.d, option)
	}
	return true
}

// readOn shows the next page of the question, or begins it again.
func (c *conversation) readOn(ctx context.Context, again bool) {
	f := c.front
	switch {
	case f.open:
	case again:
		c.front = nil // present begins anew
	case len(f.lines)+len(f.rows) > 0:
		c.page()
	case !f.whole:
		f.open = true
		id := f.d.InteractionID
		c.wg.Go(func() {
			whole, err := c.session.session.ApprovalContent(ctx, id)
			c.report(ctx, outcome{what: "fetch the whole question", content: &whole, question: id, err: err})
		})
	}
}

// opened takes the whole of a question that came cut.
func (c *conversation) opened(o outcome) {
	f := c.front
	if f == nil || f.d.InteractionID != o.question {
		return
	}
	f.open = false
	if o.err != nil {
		return
	}
	f.d.Title, f.d.Kind, f.d.Input, f.d.Content = o.content.Title, o.content.Kind, o.content.Input, o.content.Content
	f.lines, f.rows, f.whole = append(split(bold, f.d.Title), details(f.d)...), nil, true
	c.page()
}

// choose answers a question.
func (c *conversation) choose(ctx context.Context, q protocol.ToolApprovalData, option protocol.ApprovalOption) {
	c.answered = q.InteractionID
	c.command(ctx, "answer", func(ctx context.Context) error {
		_, err := c.stream.Approve(ctx, protocol.ApproveRequest{InteractionID: q.InteractionID, OptionID: option.OptionID})
		return err
	})
}

// unread reports that the hub wants the question to be opened before it is
// allowed.
func unread(err error) bool {
	var refused *client.Error
	return errors.As(err, &refused) && refused.Code == protocol.CodeContentUnread
}
