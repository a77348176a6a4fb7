package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"sessionhub/protocol"
)

// Bounds of the entries that are held back. Above them, entries are written unfinished.
const (
	maxHeld      = 4 << 20 // bytes of open tools and questions, and as many of waiting messages
	maxHeldCount = 256     // of each
	maxTitles    = 1024    // of tools that were written, for changes that come later
)

// form writes entries. A text is begun, written in pieces, and ended. No other entry is
// written in between.
type form interface {
	begin(s Session)
	entry(e any)
	beginText(kind, messageID string)
	text(piece string)
	endText(time string)
	end()
}

// Maker makes one transcript. It takes the events in the order of the log. It belongs to
// one goroutine.
type Maker struct {
	form form
	buf  *bytes.Buffer
	last uint64 // seq of the last event that was taken

	status  protocol.Status // the last one that was logged
	current string          // the message whose turn is open; empty: none
	waiting []waiting       // messages whose turn has not begun
	tools   []*openTool     // of the open turn and of the background, oldest first
	run     *openTool       // the tool whose changes follow each other in the log now
	asked   questions       // without an answer, oldest first
	steered []string        // messages that a turn took in, without a completion
	plan    *plan
	ownPlan *plan  // of the background
	titles  titles // of tools that were written

	speech speech // the text that is open
}

// waiting is a message whose turn has not begun, with its completion if that was logged.
type waiting struct {
	message message
	size    int
	done    *completion
}

// openTool is a tool call that has not ended, with the last value of each field.
type openTool struct {
	messageID, id, time string
	continued           bool
	title, kind, status json.RawMessage
	input, output       json.RawMessage
	content, locations  json.RawMessage
}

// New begins a transcript.
func New(f Format, s Session) *Maker {
	m := &Maker{buf: new(bytes.Buffer)}
	m.form = f.of(m.buf)
	m.form.begin(s)
	return m
}

// Take gives the bytes that were written since the last Take. They are valid until the
// next call of any method.
func (m *Maker) Take() []byte {
	out := m.buf.Bytes()
	m.buf.Reset()
	return out
}

// Last is the seq of the last event that was taken.
func (m *Maker) Last() uint64 { return m.last }

// Event takes the next event. The transcript names a gap before it, and an event that
// cannot be read. An event that reaches back was compacted meanwhile: the part that was
// taken before counts once.
func (m *Maker) Event(e protocol.Entry) {
	if e.Seq <= m.last {
		return
	}
	m.gapUpTo(e.First() - 1)
	seen := m.last
	m.last = e.Seq
	var head struct {
		Time string
		Data json.RawMessage
	}
	err := json.Unmarshal(append([]byte{'{'}, e.Tail[min(1, len(e.Tail)):]...), &head)
	if err == nil {
		err = m.event(e.Type, head.Time, head.Data, m.speech.overlap(e.First(), seen))
	}
	if err != nil {
		m.settle()
		m.write(notice{Type: typeNotice, Kind: "unreadable", Message: fmt.Sprintf("Event %d cannot be read.", e.Seq), Time: head.Time})
	}
}

// gapUpTo notes a gap if events up to a seq were not taken.
func (m *Maker) gapUpTo(seq uint64) {
	if seq <= m.last {
		return
	}
	m.settle()
	m.write(gap{Type: typeGap, FromSeq: m.last + 1, ToSeq: seq, Reason: protocol.GapTrimmed})
	m.last = seq
}

// event takes the data of an event. overlap is the bytes of an output's text that were
// taken before. The changes of a tool can be taken twice.
func (m *Maker) event(t protocol.EventType, time string, data json.RawMessage, overlap int) error {
	if t != protocol.EventToolCall {
		m.settle()
	}
	if t != protocol.EventOutput {
		m.speech.forget()
	}
	switch t {
	case protocol.EventStatus:
		return with(data, func(d protocol.StatusData) { m.onStatus(d, time) })
	case protocol.EventMessage:
		return with(data, func(d protocol.MessageData) { m.onMessage(d, time) })
	case protocol.EventOutput:
		return with(data, func(d outputData) { m.onOutput(d, time, overlap) })
	case protocol.EventToolCall:
		return with(data, func(d toolData) { m.onTool(d, time) })
	case protocol.EventPlan:
		return with(data, func(d protocol.PlanData) {
			p := &plan{Type: typePlan, MessageID: d.MessageID, Time: time, Entries: append([]protocol.PlanEntry{}, d.Entries...)}
			if d.MessageID == "" {
				m.ownPlan = p
				return
			}
			m.enter(d.MessageID)
			m.plan = p
		})
	case protocol.EventToolApproval:
		return with(data, func(d questionData) { m.onQuestion(d, time, len(data)) })
	case protocol.EventApprovalResolved:
		return with(data, func(d protocol.ApprovalResolvedData) { m.onAnswer(d, time) })
	case protocol.EventNotice:
		return with(data, func(d protocol.NoticeData) { m.onNotice(d, time) })
	case protocol.EventElicitation:
		return with(data, func(d protocol.ElicitationData) {
			m.enter(d.MessageID)
			m.asked.hold(d.InteractionID, elicitationOf(d, time), len(data))
			m.bound()
		})
	case protocol.EventElicitationResolved:
		return with(data, func(d protocol.ElicitationResolvedData) { m.write(m.asked.elicited(d, time)) })
	case protocol.EventAgentUpdate:
		return with(data, func(d protocol.AgentUpdateData) {
			if n, ok := protocol.NoticeOf(d); ok { // of an earlier worker; other updates are for programs
				m.onNotice(n, time)
			}
		})
	case protocol.EventMessageEdited:
		return with(data, func(d protocol.MessageEditedData) { queue{m}.onEdited(d, time) })
	case protocol.EventQueue:
		return with(data, queue{m}.onQueue)
	case protocol.EventSteered:
		return with(data, queue{m}.onSteered)
	case protocol.EventComplete:
		return with(data, func(d protocol.CompleteData) { m.onComplete(d, time) })
	case protocol.EventClosed:
		return with(data, func(d protocol.ClosedData) {
			m.finish()
			m.write(closed{Type: typeClosed, Reason: d.Reason, Time: time})
		})
	}
	return nil // a type of a newer hub, which has no form here yet
}

func with[T any](data json.RawMessage, do func(T)) error {
	var d T
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	do(d)
	return nil
}

// End writes the entries that were held back, and ends the transcript. last is the seq
// that it should reach.
func (m *Maker) End(last uint64) {
	m.gapUpTo(last)
	m.settle()
	m.finish()
	m.speech.end(m.form) // of the background, which no entry follows
	m.form.end()
}

// finish writes every entry that has not ended, as it is.
func (m *Maker) finish() {
	for _, t := range m.tools {
		m.writeTool(t, false)
	}
	m.tools = nil
	for _, q := range m.asked {
		m.write(q.entry)
	}
	m.asked = nil
	writePlan(m, &m.plan)
	writePlan(m, &m.ownPlan)
	if m.current != "" {
		m.write(unfinished{Type: typeUnfinished, MessageID: m.current, Status: m.busy(protocol.StatusRunning)})
		m.current, m.status = "", "" // the status was that of this turn
	}
	for _, w := range m.waiting {
		m.write(w.message)
		if w.done != nil {
			m.write(*w.done)
		} else {
			m.write(unfinished{Type: typeUnfinished, MessageID: w.message.MessageID, Status: m.busy(protocol.StatusQueued)})
			m.status = ""
		}
	}
	m.waiting = nil
}

// busy is the session's status, if it is the status of a turn.
func (m *Maker) busy(otherwise protocol.Status) protocol.Status {
	switch m.status {
	case protocol.StatusQueued, protocol.StatusStarting, protocol.StatusRunning, protocol.StatusRequiresAction:
		return m.status
	}
	return otherwise
}

// write writes an entry, after the text that is open.
func (m *Maker) write(e any) {
	m.speech.end(m.form)
	m.form.entry(e)
}

// enter begins the turn of a message, unless that turn is open. The plan of the background
// stands before it.
func (m *Maker) enter(messageID string) {
	if messageID == "" || messageID == m.current {
		return
	}
	writePlan(m, &m.ownPlan)
	if m.current != "" { // its completion is not kept
		m.leave()
	}
	m.current = messageID
	if i := m.waitingAt(messageID); i >= 0 {
		m.write(m.waiting[i].message)
		m.waiting = slices.Delete(m.waiting, i, i+1)
	}
}

// stopTools writes the open tools of the turn, or of the background, which is over.
func stopTools(m *Maker, background bool) {
	m.tools = slices.DeleteFunc(m.tools, func(t *openTool) bool {
		if (t.messageID == "") != background {
			return false
		}
		m.writeTool(t, true)
		return true
	})
}

// leave ends the open turn. What runs in the background goes on.
func (m *Maker) leave() {
	stopTools(m, false)
	m.current = ""
	writePlan(m, &m.plan)
	m.titles.leave()
}

func writePlan(m *Maker, p **plan) {
	if *p != nil {
		m.write(**p)
		*p = nil
	}
}

func (m *Maker) waitingAt(messageID string) int {
	return slices.IndexFunc(m.waiting, func(w waiting) bool { return w.message.MessageID == messageID })
}

func (m *Maker) onStatus(d protocol.StatusData, time string) {
	m.status = d.Status
	if d.Status == protocol.StatusIdle { // an open tool of the background is one of a lost worker
		stopTools(m, true)
		writePlan(m, &m.ownPlan)
	}
	if d.Status == protocol.StatusFailed && d.Detail != "" {
		m.write(notice{Type: typeNotice, Kind: string(d.Status), Message: d.Detail, Time: time})
	}
}

func (m *Maker) onMessage(d protocol.MessageData, time string) {
	w := message{Type: typeMessage, MessageID: d.MessageID, UserID: d.UserID, Time: time, Content: blocksOf(d.Content)}
	m.waiting = append(m.waiting, waiting{message: w, size: sizeOf(w)})
	queue{m}.boundWaiting()
}

func (m *Maker) onComplete(d protocol.CompleteData, time string) {
	c := completion{Type: typeCompletion, MessageID: d.MessageID, StopReason: d.StopReason, Error: d.Error, Usage: present(d.Usage), Cost: d.Cost, Time: time}
	if (queue{m}).tookIn(d.MessageID) {
		return
	}
	if i := m.waitingAt(d.MessageID); i >= 0 && m.current != "" { // it was taken back
		m.waiting[i].done = &c
		return
	}
	m.enter(d.MessageID)
	m.leave()
	m.write(c)
	for len(m.waiting) > 0 && m.waiting[0].done != nil {
		m.write(m.waiting[0].message)
		m.write(*m.waiting[0].done)
		m.waiting = m.waiting[1:]
	}
}

func (m *Maker) onNotice(d protocol.NoticeData, time string) {
	m.write(notice{Type: typeNotice, Kind: d.Kind, Message: d.Text(), Time: time})
}

// present gives the value if there is one, or nil.
func present(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	return raw
}
