package chat

import (
	"context"
	"crypto/rand"
	"strings"
	"time"
)

// press does what a key asks for.
func (c *conversation) press(ctx context.Context, k key) {
	c.notice = ""
	if k.kind != keyInterrupt {
		c.pressed = time.Time{}
	}
	if k.kind == keyRune && c.answerKey(ctx, k) || c.formKey(ctx, k) {
		return
	}
	switch k.kind {
	case keyEnter:
		c.enter(ctx)
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

// enter sends the line, or does what it says if it is for the chat itself.
func (c *conversation) enter(ctx context.Context) {
	text := strings.TrimSpace(string(c.editor.text))
	switch {
	case text == "":
		return
	case len(c.waiting) >= maxUnsent:
		c.notice = "too many messages wait to be sent"
		return
	case c.attaching > 0:
		c.notice = "a file is on its way: press Enter again when it is attached"
		return
	}
	_, err := c.editor.take()
	if err != nil {
		c.notice = err.Error()
	}
	if c.optionCommand(ctx, text) {
		return
	}
	if c.own(ctx, text) {
		return
	}
	done, m := c.obey(ctx, text)
	if done {
		return
	}
	m.files, c.attached = c.attached, nil
	m.id = "m_" + rand.Text()
	c.waiting = append(c.waiting, m)
	c.outbox <- m // has room for all that wait
}

// interrupt stops the turn, and holds what waits; a second one leaves, also where the turn was faster
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
		c.command(ctx, "stop the turn", func(ctx context.Context) error { return c.stream.Stop(ctx, id) })
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

// measure takes the terminal's size. What is shown may be another now.
func (c *conversation) measure() {
	columns, rows := c.tty.size()
	c.screen.resize(columns, rows)
	c.transcript.resize(columns)
	if c.front != nil {
		c.front.since = time.Time{}
	}
	if c.filling != nil {
		c.filling.since = time.Time{}
	}
}

// redraw begins on an empty screen.
func (c *conversation) redraw() {
	c.measure()
	c.screen.drawn, c.screen.cursor, c.front = nil, 0, nil // nothing of the question is left
	if f := c.filling; f != nil {
		f.goTo(f.step)
		c.transcript.exactLines(f.head())
	}
	_, _ = c.o.Out.WriteString("\x1b[H\x1b[2J")
}
