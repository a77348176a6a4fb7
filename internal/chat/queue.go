package chat

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// waitingMessage is a message that no worker has received.
type waitingMessage struct {
	id, text string
	held     bool
	steering bool // on its way to the turn: it cannot be changed now
}

// messageQueue knows the messages that wait, from the events of the log alone
// (docs/PROTOCOL.md, "The queue").
type messageQueue struct {
	waits, held []string
	texts       map[string]string
	steering    map[string]bool
	steers      bool // the agent takes messages in while it works
}

func newMessageQueue() messageQueue {
	return messageQueue{texts: make(map[string]string), steering: make(map[string]bool)}
}

func (q *messageQueue) leave(id string) {
	is := func(other string) bool { return other == id }
	q.waits, q.held = slices.DeleteFunc(q.waits, is), slices.DeleteFunc(q.held, is)
}

// event takes the next event of the log.
func (q *messageQueue) event(e protocol.Event) {
	switch e.Type {
	case protocol.EventMessage:
		if d, ok := decode[protocol.MessageData](e.Data); ok && !d.Replay {
			q.waits = append(q.waits, d.MessageID)
			q.texts[d.MessageID] = contentText(d.Content)
			q.steering[d.MessageID] = d.Delivery == protocol.DeliverSteer
		}
	case protocol.EventMessageEdited:
		if d, ok := decode[protocol.MessageEditedData](e.Data); ok {
			q.texts[d.MessageID] = contentText(d.Content)
		}
	case protocol.EventQueue:
		if d, ok := decode[protocol.QueueData](e.Data); ok {
			q.waits, q.held = d.MessageIDs, d.Held
		}
	case protocol.EventSteered:
		if d, ok := decode[protocol.SteeredData](e.Data); ok {
			delete(q.steering, d.MessageID)
			if d.Outcome == protocol.SteerInjected {
				q.leave(d.MessageID)
			}
		}
	case protocol.EventStatus:
		d, ok := decode[protocol.StatusData](e.Data)
		if !ok || d.MessageID == "" {
			return
		}
		switch d.Status {
		case protocol.StatusStarting, protocol.StatusRunning, protocol.StatusRequiresAction:
			q.leave(d.MessageID)
		case protocol.StatusQueued:
			if !slices.Contains(q.waits, d.MessageID) { // it was handed out, and not begun
				q.waits = slices.Insert(q.waits, 0, d.MessageID)
			}
		}
	case protocol.EventComplete:
		if d, ok := decode[protocol.CompleteData](e.Data); ok {
			if !slices.Contains(q.waits, d.MessageID) && !slices.Contains(q.held, d.MessageID) {
				clear(q.steering) // the turn is over: what it did not take in waits
			}
			q.leave(d.MessageID)
			delete(q.texts, d.MessageID)
			delete(q.steering, d.MessageID)
		}
	case protocol.EventAgentStarted:
		if d, ok := decode[protocol.AgentStartedData](e.Data); ok {
			q.steers = d.Steering
		}
	}
}

// list is the queue, the next message first.
func (q *messageQueue) list() []waitingMessage {
	var all []waitingMessage
	for i, ids := range [][]string{q.waits, q.held} {
		for _, id := range ids {
			all = append(all, waitingMessage{id: id, text: q.texts[id], held: i == 1, steering: q.steering[id]})
		}
	}
	return all
}

// row says in a few words what waits; empty: nothing does.
func (q *messageQueue) row() string {
	var parts []string
	if n := len(q.waits); n > 0 {
		parts = append(parts, fmt.Sprintf("%d queued", n))
	}
	if n := len(q.held); n > 0 {
		parts = append(parts, fmt.Sprintf("%d held: /queue send or /queue discard", n))
	}
	if len(parts) == 0 {
		return ""
	}
	return "≡ " + strings.Join(parts, ", ") + "   /queue lists them"
}

// errUsage is a command that cannot be understood. It says how it is written.
type errUsage string

func (e errUsage) Error() string { return string(e) }

const queueUsage = errUsage("/queue, /queue edit N TEXT, /queue remove|up|down|now N, /queue hold|send|discard")

// queueChange reads what follows /queue. ok is false if the queue is to be listed.
func queueChange(args string, list []waitingMessage) (r protocol.QueueRequest, ok bool, err error) {
	word, rest, _ := strings.Cut(strings.TrimSpace(args), " ")
	switch word {
	case "":
		return r, false, nil
	case "hold":
		r.Action = protocol.QueueHold
		return r, true, nil
	case "send":
		r.Action = protocol.QueueRelease
		return r, true, nil
	case "discard":
		r.Action = protocol.QueueDiscard
		return r, true, nil
	}
	number, content, _ := strings.Cut(strings.TrimSpace(rest), " ")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > len(list) {
		return r, false, queueUsage
	}
	one := list[n-1]
	r.MessageID = one.id
	switch word {
	case "edit":
		if r.Action = protocol.QueueEdit; strings.TrimSpace(content) == "" {
			return r, false, queueUsage
		}
		r.Content = protocol.Marshal(strings.TrimSpace(content))
	case "remove":
		r.Action = protocol.QueueRemove
	case "now":
		r.Action = protocol.QueueSendNow
	case "up", "down":
		r = protocol.QueueRequest{Action: protocol.QueueOrder, MessageIDs: moved(list, one, word == "up")}
	default:
		return r, false, queueUsage
	}
	return r, true, nil
}

// moved is the order of the messages of one kind, with one of them moved by one place.
func moved(list []waitingMessage, one waitingMessage, up bool) []string {
	var ids []string
	for _, m := range list {
		if m.held == one.held && !m.steering {
			ids = append(ids, m.id)
		}
	}
	at := slices.Index(ids, one.id)
	to := at + 1
	if up {
		to = at - 1
	}
	if at < 0 || to < 0 || to >= len(ids) {
		return ids
	}
	ids[at], ids[to] = ids[to], ids[at]
	return ids
}

// obey does what a line says that begins with a command of the chat. false: the line is a
// message. A message that looks like a command is written with another slash in front.
func (c *conversation) obey(ctx context.Context, line string) (done bool, m unsent) {
	word, args, _ := strings.Cut(line, " ")
	args = strings.TrimSpace(args)
	m = unsent{text: line}
	switch word {
	case "/queue":
		c.queueCommand(ctx, args)
		return true, m
	case "/attach":
		c.attach(ctx, args)
		return true, m
	case "/steer", "/now":
		if args == "" {
			c.notice = word + " needs a text"
			return true, m
		}
		m.text, m.delivery = args, protocol.DeliverNow
		if word == "/steer" {
			m.delivery = protocol.DeliverSteer
			if !c.transcript.queue.steers && c.working() {
				c.notice = "this agent takes nothing in while it works: it waits in front of the others"
			}
		}
	case "/refuse":
		c.refuse(ctx, args)
		return true, m
	default:
		if strings.HasPrefix(line, "//") {
			m.text = line[1:]
		}
	}
	return false, m
}

func (c *conversation) queueCommand(ctx context.Context, args string) {
	list := c.transcript.queue.list()
	change, ok, err := queueChange(args, list)
	switch {
	case err != nil:
		c.notice = err.Error()
	case ok:
		c.command(ctx, "change the queue", func(ctx context.Context) error {
			_, err := c.stream.ChangeQueue(ctx, change)
			return err
		})
	case len(list) == 0:
		c.transcript.note(dim, "No message waits.")
	default:
		for i, m := range list {
			mark := ""
			switch {
			case m.held:
				mark = "held: "
			case m.steering:
				mark = "on its way: "
			}
			c.transcript.note(dim, fmt.Sprintf("%d. %s%s", i+1, mark, oneLine(m.text, max(10, c.screen.columns-16))))
		}
	}
}

// refuse says no to the question in front, with a reason. An agent that takes no reasons
// gets it as the next message.
func (c *conversation) refuse(ctx context.Context, reason string) {
	switch {
	case c.front == nil:
		c.notice = "nothing is asked"
	case reason == "":
		c.notice = "/refuse needs a reason; n alone refuses without one"
	default:
		id := c.front.d.InteractionID
		c.answered = id
		c.command(ctx, "answer", func(ctx context.Context) error {
			_, err := c.stream.Approve(ctx, protocol.ApproveRequest{InteractionID: id, Decision: protocol.RejectOnce, Reason: reason, ReasonAsMessage: true})
			return err
		})
	}
}

// onSteered says what became of a message for the running turn.
func (t *transcript) onSteered(d protocol.SteeredData) {
	if d.Outcome == protocol.SteerInjected {
		t.note(dim, "→ taken in by the running turn: "+oneLine(t.queue.texts[d.MessageID], t.columns))
		return
	}
	t.note(yellow, "The agent did not take it in ("+text.Prose(oneLine(d.Detail, 200))+"): it waits in front of the others.")
}

// onQueue says in which order messages wait now.
func (t *transcript) onQueue(d protocol.QueueData) {
	var parts []string
	for i, ids := range [][]string{d.MessageIDs, d.Held} {
		var names []string
		for _, id := range ids {
			names = append(names, oneLine(t.queue.texts[id], 30))
		}
		if len(names) > 0 {
			parts = append(parts, []string{"next: ", "held: "}[i]+strings.Join(names, " · "))
		}
	}
	t.note(dim, oneLine(strings.Join(parts, "; "), 4*t.columns))
}

// onEdited says what a message says from now on.
func (t *transcript) onEdited(d protocol.MessageEditedData) {
	by := ""
	if d.UserID != t.me && t.me != "" {
		by = " by " + oneLine(d.UserID, 30)
	}
	t.note(dim, "edited"+by+": "+oneLine(contentText(d.Content), 4*t.columns))
}
