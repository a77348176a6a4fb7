package chat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sessionhub/client"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

const (
	// maxUnsent is how many messages may wait to be accepted; then the next
	// stays in the line.
	maxUnsent = 16
	// frameTime is the least time between two drawings while events pour in.
	frameTime = 33 * time.Millisecond
	// againWithin is how long the first Ctrl-C is remembered where nothing runs.
	againWithin = 3 * time.Second
)

// item is what the goroutine of the stream has to tell.
type item struct {
	frame client.Frame
	via   client.Transport
	lost  error         // a connection ended, and
	wait  time.Duration // the next begins after it
	end   error         // there is no more
}

// outcome is how a command ended.
type outcome struct {
	message  string // id of the message that it was; empty: something else
	what     string
	said     string                    // what to show
	form     string                    // interaction of the agent's that it answered
	question string                    // interaction whose content was fetched
	content  *protocol.ApprovalContent // of it
	private  *protocol.ElicitationData // a private question of the agent's that was read

	upload     bool                 // a file was uploaded
	attachment *protocol.Attachment // as what; nil: it was not
	err        error
}

// unsent is a message that is not in the log yet.
type unsent struct {
	id, text, delivery string
	files              []protocol.Attachment
}

// conversation is a chat with a person. Its goroutine owns everything in it; the
// others reach it by the channels.
type conversation struct {
	private private
	o       Options
	session opened
	others  string // what is said of other agents; immutable
	stream  *client.Stream
	tty     *tty
	wg      sync.WaitGroup

	keys     chan key
	items    chan item
	outcomes chan outcome
	outbox   chan unsent // to the goroutine that sends messages in their order

	screen     *screen
	transcript *transcript
	editor     *editor
	paint      painter

	waiting   []unsent
	attached  []protocol.Attachment // for the next message
	attaching int                   // files that are on their way
	caughtUp  bool
	link      string // the state of the connection
	notice    string // until the next key
	since     time.Time
	stopping  string    // message that a first Ctrl-C stopped
	pressed   time.Time // when Ctrl-C was pressed with nothing to stop
	front     *asking   // the question that keys answer; nil: none
	filling   *filling  // the question of the agent that the line answers; nil: none
	lineFor   string    // the interaction that the line was begun for; empty: it is a message
	entered   time.Time // when Enter was pressed for a question
	answered  string    // interaction that an answer is under way for
	last      rune      // key that was pressed last, and when
	lastAt    time.Time
	over      bool
	err       error
}

// converse runs a chat on a terminal.
func converse(ctx context.Context, o Options) error {
	s, err := open(ctx, o)
	if err != nil {
		return err
	}
	others := otherAgents(ctx, o, s)
	past, err := loadHistory(historyPath(o.Getenv))
	if err != nil {
		fmt.Fprintln(o.Err, "sessionhub chat:", err) // and goes on without
	}
	t, err := openTTY(o.In, o.Out)
	if err != nil {
		return err
	}
	c := &conversation{
		o: o, session: s, others: others, tty: t, paint: painter{color: o.Getenv("NO_COLOR") == ""}, editor: newEditor(past),
		keys: make(chan key), items: make(chan item, 256), outcomes: make(chan outcome), outbox: make(chan unsent, maxUnsent),
		link: "connecting",
	}
	columns, rows := t.size()
	c.screen = &screen{out: o.Out, columns: columns, rows: rows}
	c.transcript = newTranscript(c.paint, columns)
	c.transcript.me, c.transcript.past = s.info.UserID, true
	c.transcript.told.title = s.info.Title
	c.transcript.options = sessionOptions{mode: s.info.Mode, asking: s.info.Asking}
	work, cancel := context.WithCancel(ctx)
	defer func() {
		if p := recover(); p != nil { // leave no raw terminal behind
			_ = t.restore()
			panic(p)
		}
	}()
	c.start(work)
	c.loop(ctx)
	cancel()
	t.stop()
	c.wg.Wait()
	c.stream.Close()
	c.err = errors.Join(c.err, c.screen.clear(), t.close())
	c.leave(ctx)
	return c.err
}

// start begins what runs beside the loop, until ctx ends.
func (c *conversation) start(ctx context.Context) {
	c.stream = c.session.session.Stream(client.StreamOptions{
		Transport: c.o.Transport, Renew: c.session.renew(c.o),
		OnRetry: func(reason error, wait time.Duration) { c.tell(ctx, item{lost: reason, wait: wait}) },
	})
	c.wg.Go(func() {
		for {
			f, err := c.stream.Next(ctx)
			if !c.tell(ctx, item{frame: f, via: c.stream.Transport(), end: err}) || err != nil {
				return
			}
		}
	})
	c.wg.Go(func() {
		if err := c.tty.read(c.keys, ctx.Done()); err != nil {
			hand(c.keys, ctx.Done(), key{kind: keyEOF, text: "gone"})
		}
	})
	c.wg.Go(func() {
		for {
			select {
			case m := <-c.outbox:
				_, err := c.stream.MessageContent(ctx, protocol.MessageRequest{Content: m.content(), MessageID: m.id, Delivery: m.delivery})
				c.report(ctx, outcome{message: m.id, what: "send", err: err})
			case <-ctx.Done():
				return
			}
		}
	})
}

func (c *conversation) tell(ctx context.Context, i item) bool {
	select {
	case c.items <- i:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *conversation) report(ctx context.Context, o outcome) {
	select {
	case c.outcomes <- o:
	case <-ctx.Done():
	}
}

// command runs a command beside the loop.
func (c *conversation) command(ctx context.Context, what string, f func(context.Context) error) {
	c.wg.Go(func() { c.report(ctx, outcome{what: what, err: f(ctx)}) })
}

// loop is the conversation.
func (c *conversation) loop(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the commands
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	c.greet()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	arm := time.NewTimer(0)
	defer arm.Stop()
	for !c.over {
		c.present()
		c.presentForm(ctx)
		c.draw()
		c.shown(arm)
		select {
		case k := <-c.keys:
			c.press(ctx, k)
		case i := <-c.items:
			c.take(i)
			c.drain()
		case o := <-c.outcomes:
			c.settle(o)
		case <-resized:
			c.measure()
		case <-tick.C:
		case <-arm.C:
		case <-ctx.Done():
			c.over = true
		}
	}
	c.draw()
}

// drain takes what pours in for a moment, so that it is drawn at once.
func (c *conversation) drain() {
	until := time.Now().Add(frameTime)
	for !c.over && time.Now().Before(until) {
		select {
		case i := <-c.items:
			c.take(i)
		default:
			return
		}
	}
}

func (c *conversation) take(i item) {
	switch {
	case i.lost != nil:
		c.link = "connection lost: " + oneLine(i.lost.Error(), 120)
		if i.wait >= time.Second {
			c.link += fmt.Sprintf("; again in %s", i.wait.Round(time.Second))
		}
	case i.end != nil:
		c.over = true
		var refused *client.Error
		switch {
		case errors.Is(i.end, io.EOF), errors.Is(i.end, context.Canceled):
		case errors.As(i.end, &refused) && refused.Code == protocol.CodeNotFound:
			c.err = fmt.Errorf("the hub does not know session %s any more: it was deleted, or the hub was started again without its sessions; sessionhub chat begins another", c.session.session.ID())
		default:
			c.err = explain(i.end)
		}
	case i.frame.Control() != "":
		c.control(i)
	default:
		c.event(i.frame.Event)
	}
}

func (c *conversation) control(i item) {
	switch i.frame.Control() {
	case protocol.ControlConnected:
		c.link = i.via.String()
	case protocol.ControlCaughtUp:
		c.caughtUp, c.transcript.past = true, false
	case protocol.ControlDraining:
		c.link = i.via.String() + ", the node is going away"
	case protocol.ControlGap:
		if g, ok := decode[protocol.Gap](i.frame.Data); ok {
			said := fmt.Sprintf("Events %d to %d are not kept any more.", g.FromSeq, g.ToSeq)
			if g.Reason == protocol.GapEpochChanged {
				said = fmt.Sprintf("The hub has lost events %d to %d: what was shown of them is void.", g.FromSeq, g.ToSeq)
			}
			c.transcript.note(yellow, said)
		}
	}
}

func (c *conversation) event(e protocol.Event) {
	if e.Type == protocol.EventMessage {
		if d, ok := decode[protocol.MessageData](e.Data); ok {
			c.sent(d.MessageID)
		}
	}
	before := c.working()
	c.transcript.event(e)
	if !before && c.working() {
		c.since = time.Now()
	}
	if !c.working() {
		c.stopping = ""
	}
}

// working reports that a turn is under way, or that the agent works in the background.
func (c *conversation) working() bool {
	switch c.transcript.status {
	case protocol.StatusQueued, protocol.StatusStarting, protocol.StatusRunning, protocol.StatusRequiresAction:
		return true
	}
	return false
}

// sent takes a message from those that wait.
func (c *conversation) sent(id string) unsent {
	for i, m := range c.waiting {
		if m.id == id {
			c.waiting = append(c.waiting[:i:i], c.waiting[i+1:]...)
			return m
		}
	}
	return unsent{}
}

// settle takes the end of a command. What went well shows in the log.
func (c *conversation) settle(o outcome) {
	var refused *client.Error
	if o.upload {
		c.attachedNow(o)
	}
	if o.question != "" {
		c.opened(o)
	}
	if o.private != nil {
		c.readPrivate(o)
	}
	if o.err == nil && o.said != "" {
		c.transcript.note(dim, o.said)
	}
	if o.err == nil || errors.Is(o.err, context.Canceled) {
		return
	}
	c.notTaken(o)
	if errors.As(o.err, &refused) && (refused.Code == protocol.CodeApprovalResolved || refused.Code == protocol.CodeQuestionResolved) {
		return // somebody else was faster; the log says who
	}
	if o.message != "" {
		unsaid := c.sent(o.message)
		c.attached = append(unsaid.files, c.attached...)
		if unsaid.text != "" && c.editor.empty() {
			c.editor.set([]rune(unsaid.text)) // to be tried again
		}
	}
	c.answered = ""
	if c.front != nil && unread(o.err) {
		c.front.whole, c.front.since = false, time.Time{}
	}
	c.transcript.note(red, "Could not "+o.what+": "+text.Prose(explain(o.err).Error()))
}

func (c *conversation) greet() {
	info := c.session.info
	dir := ""
	if info.WorkingDirectory != "" {
		dir = " in " + oneLine(info.WorkingDirectory, 200)
	}
	c.transcript.note(dim, fmt.Sprintf("session %s: %s%s", c.session.session.ID(), oneLine(info.Provider, 40), dir))
	if c.others != "" {
		c.transcript.note(dim, c.others)
	}
	if info.Title != "" {
		c.transcript.note(dim, "called "+oneLine(info.Title, 200))
	}
	c.transcript.note(dim, "Enter sends, Ctrl-J breaks the line, Ctrl-C stops the turn, Ctrl-D leaves. /options, /usage, /commands, /attach PATH and /rename NAME are the chat's own.")
	c.transcript.note(dim, "/steer TEXT goes to the running turn, /now TEXT stops it first, /queue shows what waits, /refuse WHY says no.")
}

// leave says how to come back.
func (c *conversation) leave(ctx context.Context) {
	id := c.session.session.ID()
	switch {
	case c.transcript.ended, c.err != nil:
	case c.o.Remove && c.session.made:
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		c.err = errors.Join(c.err, c.session.session.Delete(end))
	case c.transcript.inBackground():
		fmt.Fprintf(c.o.Out, "The agent goes on in the background. To come back: sessionhub chat --session %s\n", id)
	case c.working():
		fmt.Fprintf(c.o.Out, "The turn goes on. To come back: sessionhub chat --session %s\n", id)
	default:
		fmt.Fprintf(c.o.Out, "To come back: sessionhub chat --session %s\n", id)
	}
}

// live is the live region above the line, with what is to be shown of a question.
func (c *conversation) live(question []string) []string {
	live := c.transcript.live()
	for _, m := range c.waiting {
		live = append(live, c.paint.paint(dim, "› "+oneLine(m.text, max(10, c.screen.columns-4))))
	}
	if row := c.transcript.queue.row(); row != "" {
		live = append(live, c.paint.paint(dim, truncate(row, max(10, c.screen.columns-1))))
	}
	live = append(live, question...)
	live = append(live, c.formRows()...)
	if warning := c.transcript.options.unasked(); warning != "" {
		live = append(live, c.paint.paint(yellow, oneLine(warning, max(10, c.screen.columns-1))))
	}
	return append(live, c.paint.paint(dim, oneLine(c.state(), max(10, c.screen.columns-1))))
}

// draw shows what has changed. While the past is read nothing is drawn piece by
// piece.
func (c *conversation) draw() {
	live := c.live(c.questionRows(false))
	rows, row, column := c.editor.rows(c.paint, c.screen.columns-1)
	row += len(live)
	if err := c.screen.draw(c.transcript.take(), append(live, rows...), row, column); err != nil && c.err == nil {
		c.err = fmt.Errorf("write to the terminal: %w", err)
		c.over = true
	}
}

// state is the line about the turn and the connection.
func (c *conversation) state() string {
	parts := []string{}
	status := string(c.transcript.status)
	switch {
	case c.stopping != "":
		parts = append(parts, "stopping; Ctrl-C again leaves")
	case c.front != nil && c.editor.empty():
		parts = append(parts, "a key answers")
		if n := len(c.transcript.questions); n > 1 {
			parts[0] += fmt.Sprintf(" question 1 of %d", n)
		}
	case c.front != nil:
		parts = append(parts, "a key answers when the line is empty")
	case c.filling != nil && (c.editor.empty() || c.lineFor != ""):
		parts = append(parts, "the line answers the agent's question")
	case c.filling != nil:
		parts = append(parts, "the line is a message; an empty one answers the agent's question")
	case c.working():
		if c.transcript.inBackground() {
			status = "working in the background"
		}
		parts = append(parts, fmt.Sprintf("%s %s", status, time.Since(c.since).Round(time.Second)))
	case status != "":
		parts = append(parts, status)
	}
	parts = append(parts, c.link)
	for _, told := range []string{oneLine(c.transcript.told.title, 40), c.transcript.told.context()} {
		if told != "" {
			parts = append(parts, told)
		}
	}
	if n := len(c.attached); n > 0 {
		parts = append(parts, fmt.Sprintf("%d attached", n))
	}
	if c.notice != "" {
		parts = append(parts, c.notice)
	}
	return strings.Join(parts, " · ")
}
