package chat

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"sessionhub/protocol"
)

// press does what a key asks for.
func (c *conversation) press(ctx context.Context, k key) {
	c.notice = ""
	if k.kind != keyInterrupt {
		c.pressed = time.Time{}
	}
	if k.kind == keyRune && c.editor.empty() {
		if q, ok := c.asked(); ok {
			if option, ok := chosen(q, k.r); ok {
				c.choose(ctx, q, option)
				return
			}
		}
	}
	switch k.kind {
	case keyEnter:
		c.enter()
	case keyInterrupt:
		c.interrupt(ctx)
	case keyEOF:
		switch {
		case c.editor.empty() || k.text != "": // the terminal is gone
			c.over = true
		default:
			c.editor.press(key{kind: keyDelete})
		}
	case keySuspend:
		c.suspend()
	case keyRedraw:
		c.redraw()
	default:
		c.editor.press(k)
	}
}

// enter sends the line.
func (c *conversation) enter() {
	text := strings.TrimSpace(string(c.editor.text))
	switch {
	case text == "":
		return
	case len(c.waiting) >= maxUnsent:
		c.notice = "too many messages wait to be sent"
		return
	}
	_, err := c.editor.take()
	if err != nil {
		c.notice = err.Error()
	}
	m := unsent{id: "m_" + rand.Text(), text: text}
	c.waiting = append(c.waiting, m)
	c.outbox <- m // has room for all that wait
}

// choose answers a question.
func (c *conversation) choose(ctx context.Context, q protocol.ToolApprovalData, option protocol.ApprovalOption) {
	c.answered = q.InteractionID
	c.command(ctx, "answer", func(ctx context.Context) error {
		_, err := c.stream.Approve(ctx, protocol.ApproveRequest{InteractionID: q.InteractionID, OptionID: option.OptionID})
		return err
	})
}

// interrupt stops the turn; a second one leaves, also where the turn was faster
// to end. Where nothing runs, it empties the line, and then two of them leave.
func (c *conversation) interrupt(ctx context.Context) {
	switch {
	case c.working() && c.stopping == "":
		// The turn's own id: a late one must not hit the next turn.
		c.stopping, c.pressed = c.transcript.running, time.Now()
		id := c.stopping
		if id == "" {
			c.stopping = "?"
		}
		c.command(ctx, "stop the turn", func(ctx context.Context) error { return c.stream.Cancel(ctx, id) })
	case c.working():
		c.over = true
	case !c.editor.empty():
		c.editor.set(nil)
	case time.Since(c.pressed) < againWithin:
		c.over = true
	default:
		c.pressed = time.Now()
		c.notice = "Ctrl-C again leaves"
	}
}

func (c *conversation) suspend() {
	err := c.screen.clear()
	if err == nil {
		err = c.tty.suspend()
	}
	if err != nil {
		c.err, c.over = err, true
		return
	}
	c.measure()
}

// measure takes the terminal's size.
func (c *conversation) measure() {
	columns, rows := c.tty.size()
	c.screen.resize(columns, rows)
	c.transcript.resize(columns)
}

// redraw begins on an empty screen.
func (c *conversation) redraw() {
	c.measure()
	c.screen.drawn, c.screen.cursor = nil, 0
	_, _ = c.o.Out.WriteString("\x1b[H\x1b[2J")
}
