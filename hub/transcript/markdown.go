package transcript

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"sessionhub/internal/excerpt"
	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// markdown writes CommonMark. Every text of a stranger is in a form that it cannot leave:
// prose in a block quote, output in a fence that is longer than any in it, a name in
// escaped words. So every line at the left margin is the hub's.
type markdown struct {
	out     *bytes.Buffer
	heading string // the message that the last heading of a turn names, or background
	quote   quote
	asked   decision // the last question: its tool repeats the same facts
}

func (f *markdown) begin(s Session) {
	title := s.Title
	if text.Line(title) == "" {
		title = "Session " + s.SessionID
	}
	fmt.Fprintf(f.out, "# %s\n\n", inline(title))
	fmt.Fprintf(f.out, "- Session: %s\n", code(s.SessionID))
	fmt.Fprintf(f.out, "- User: %s\n", inline(s.UserID))
	fmt.Fprintf(f.out, "- Provider: %s\n", inline(s.Provider))
	fmt.Fprintf(f.out, "- Working directory: %s\n", code(s.WorkingDirectory))
	fmt.Fprintf(f.out, "- Created: %s\n", protocol.AppendTime(nil, s.CreatedAt))
}

func (f *markdown) end() {}

// background is the heading of entries without a message. It is no id of a message.
const background = "\n"

// turn writes a heading where the entries of another message begin without one. Entries
// without a message are what the agent did outside of a turn.
func (f *markdown) turn(messageID string) {
	switch {
	case messageID == "" && f.heading != background:
		f.heading = background
		f.title(2, "In the background")
	case messageID != "" && f.heading != messageID:
		f.heading = messageID
		f.title(2, "Answer to the message "+code(messageID))
	}
}

// title writes a heading that is Markdown already.
func (f *markdown) title(level int, words ...string) {
	fmt.Fprintf(f.out, "\n%s %s\n", strings.Repeat("#", level), strings.Join(words, " "))
}

func (f *markdown) beginText(kind, messageID string) {
	f.turn(messageID)
	if kind == typeThought {
		f.title(3, "Thought")
	} else {
		f.title(3, "Answer")
	}
	f.out.WriteByte('\n')
	f.quote = quote{out: f.out}
}

func (f *markdown) text(piece string) { f.quote.write(piece) }

func (f *markdown) endText(string) { f.quote.end() }

func (f *markdown) entry(e any) {
	switch e := e.(type) {
	case message:
		f.heading = e.MessageID
		f.title(2, inline(e.UserID)+",", e.Time)
		if e.EditedBy != "" {
			f.paragraph("Edited by " + inline(e.EditedBy) + ", " + e.EditedAt)
		}
		if e.Into != "" {
			f.paragraph("Taken in by the turn of the message " + code(e.Into))
		}
		f.blocks(e.Content, false)
	case tool:
		f.turn(e.MessageID)
		f.tool(e)
	case decision:
		if e.MessageID != "" || e.AskedAt != "" { // else the question itself was not kept
			f.turn(e.MessageID)
		}
		f.decision(e)
	case elicitation:
		if e.MessageID != "" || e.AskedAt != "" { // as a decision
			f.turn(e.MessageID)
		}
		f.elicitation(e)
	case plan:
		f.turn(e.MessageID)
		f.plan(e)
	case completion:
		f.turn(e.MessageID)
		f.completion(e)
	case unfinished:
		f.turn(e.MessageID)
		f.note("Not finished: " + string(e.Status) + ".")
	case gap:
		f.note(fmt.Sprintf("Events %d to %d are not kept (%s).", e.FromSeq, e.ToSeq, e.Reason))
	case notice:
		f.note(inline(e.Message) + " " + e.Time)
	case closed:
		f.note("The session has ended: " + inline(e.Reason) + ". " + e.Time)
	}
}

// note is a line of the hub's own. It is Markdown already.
func (f *markdown) note(line string) { fmt.Fprintf(f.out, "\n---\n\n*%s*\n", line) }

func (f *markdown) paragraph(line string) { fmt.Fprintf(f.out, "\n%s\n", line) }

func (f *markdown) tool(e tool) {
	title := e.Title
	if text.Line(title) == "" {
		title = e.ToolCallID
	}
	state := strings.ReplaceAll(e.Status, "_", " ")
	switch {
	case e.Stopped:
		state = "stopped"
	case state == "":
		state = "pending"
	}
	if e.Continued {
		state += ", continued"
	}
	f.title(3, "Tool:", inline(title))
	list := []string{"Outcome: **" + inline(state) + "**, " + e.Time}
	if e.Kind != "" {
		list = append([]string{"Kind: " + inline(e.Kind)}, list...)
	}
	same := e.ToolCallID == f.asked.ToolCallID && e.MessageID == f.asked.MessageID
	sameInput := same && e.Input != nil && bytes.Equal(e.Input, f.asked.Input)
	sameContent := same && len(e.Content) > 0 && reflect.DeepEqual(e.Content, f.asked.Content)
	if sameInput || sameContent {
		list = append(list, "What was asked stands above")
	}
	f.list(list)
	if !sameInput {
		f.value("Input", e.Input, text.Output)
	}
	if !sameContent {
		f.blocks(e.Content, true)
	}
	f.value("Output", e.Output, text.Output)
}

func (f *markdown) decision(e decision) {
	title := e.Title
	if title == "" {
		title = "question " + e.InteractionID
	}
	f.title(3, "Decision:", exact(title))
	var list []string
	if e.Kind != "" {
		list = append(list, "Kind: "+exact(e.Kind))
	}
	if e.AskedAt != "" {
		list = append(list, "Asked: "+e.AskedAt)
	}
	if len(e.Options) > 0 {
		names := make([]string, len(e.Options))
		for i, o := range e.Options {
			names[i] = exact(o.Name) + " (" + exact(o.Kind) + ")"
		}
		list = append(list, "Options: "+strings.Join(names, ", "))
	}
	f.list(append(list, "Outcome: "+outcome(e)))
	f.asked = e
	if e.Truncated {
		f.paragraph("Some of what was asked is not in here.")
	}
	f.value("Input", e.Input, text.Exact)
	f.blocks(e.Content, true)
}

// outcome says how a question ended, by whom and when.
func outcome(e decision) string {
	var said string
	switch {
	case e.Outcome == outcomePending:
		return "**pending**"
	case e.Outcome == protocol.OutcomeSelected && e.Option != nil:
		said = "**" + exact(e.Option.Name) + "** (" + exact(e.Option.Kind) + ")"
		if e.Option.Name == "" {
			said = "**" + exact(e.Option.Kind) + "** (option " + exact(e.Option.OptionID) + ")"
		}
	default:
		said = "**" + exact(e.Outcome) + "**"
	}
	return said + byWhom(e.By, e.Detail) + ", " + e.Time
}

// byWhom says who ended a question, and why.
func byWhom(by, detail string) (said string) {
	switch by {
	case "":
	case protocol.ByRule:
		said = `, by an earlier "always"`
	case protocol.ByLimit:
		said = ", by the hub: it was too large to be asked"
	default:
		said = ", by " + exact(by)
	}
	if detail != "" {
		said += " (" + exact(detail) + ")"
	}
	return said
}

func (f *markdown) plan(e plan) {
	f.title(3, "Plan")
	f.out.WriteByte('\n')
	for _, p := range e.Entries {
		mark, state := " ", ""
		switch p.Status {
		case "completed":
			mark = "x"
		case "in_progress":
			state = " (in progress)"
		}
		fmt.Fprintf(f.out, "- [%s] %s%s\n", mark, inline(p.Content), state)
	}
}

func (f *markdown) completion(e completion) {
	words := map[string]string{
		protocol.StopEndTurn: "Done", protocol.StopCancelled: "Cancelled", protocol.StopRefusal: "The agent refused",
		protocol.StopMaxTokens: "Stopped: too many tokens", protocol.StopMaxTurnRequests: "Stopped: too many requests", protocol.StopError: "Failed",
	}
	line, known := words[e.StopReason]
	if !known {
		line = "Ended: " + inline(e.StopReason)
	}
	if e.Error != nil {
		line += ": " + inline(e.Error.Code) + ", " + inline(e.Error.Message)
	}
	f.paragraph("*" + line + ".* " + e.Time)
	if e.Usage != nil {
		f.paragraph("Usage: " + code(string(e.Usage)))
	}
	if e.Cost != nil {
		f.paragraph("Cost: " + code(strconv.FormatFloat(e.Cost.Amount, 'f', -1, 64)+" "+e.Cost.Currency))
	}
}

func (f *markdown) list(items []string) {
	f.out.WriteByte('\n')
	for _, item := range items {
		fmt.Fprintf(f.out, "- %s\n", item)
	}
}

// blocks writes content: of a message as prose, of a tool as output, and changes exactly.
func (f *markdown) blocks(all []block, ofTool bool) {
	for _, b := range all {
		switch {
		case b.Type == blockText && b.Text != nil && ofTool:
			f.fenced("", text.Output(*b.Text))
		case b.Type == blockText && b.Text != nil:
			f.out.WriteByte('\n')
			q := quote{out: f.out}
			q.write(*b.Text)
			q.end()
		case b.Type == protocol.ContentDiff:
			f.diff(b)
		default:
			f.list([]string{described(b)})
			if b.Text != nil && *b.Text != "" {
				f.fenced("", text.Output(*b.Text))
			}
		}
		if b.Truncated {
			f.paragraph("A part of it is not in here.")
		}
	}
}

// described names a block whose bytes are not shown.
func described(b block) string {
	words := []string{inline(b.Type)}
	for _, w := range []string{b.Name, b.URI, b.MimeType, b.TerminalID} {
		if w != "" {
			words = append(words, inline(w))
		}
	}
	if b.Bytes != nil {
		words = append(words, fmt.Sprintf("%d bytes", *b.Bytes))
	}
	return strings.Join(words, ", ")
}

// diffWork bounds the comparison of two texts. One that needs more becomes a replacement.
const diffWork = 1 << 21

func (f *markdown) diff(b block) {
	hunks := b.Hunks
	if hunks == nil {
		oldText, newText := "", ""
		if b.OldText != nil {
			oldText = *b.OldText
		}
		if b.NewText != nil {
			newText = *b.NewText
		}
		hunks = excerpt.Hunks(oldText, newText, diffWork)
	}
	f.list([]string{"Change to " + exact(b.Path)})
	var lines strings.Builder
	for _, h := range hunks {
		fmt.Fprintf(&lines, "@@ -%d,%d +%d,%d @@\n", h.OldStart, h.OldLines, h.NewStart, h.NewLines)
		for _, l := range h.Lines {
			lines.WriteString(l)
			lines.WriteByte('\n')
		}
	}
	f.fenced("diff", text.Exact(lines.String()))
}

// value writes the input or output of a tool: a text as it is, any other value as JSON.
func (f *markdown) value(name string, raw json.RawMessage, show func(string) string) {
	if raw == nil {
		return
	}
	var s string
	if json.Unmarshal(raw, &s) == nil {
		if s == "" {
			return
		}
		f.paragraph(name + ":")
		f.fenced("", show(s))
		return
	}
	var indented bytes.Buffer
	if json.Indent(&indented, raw, "", "  ") != nil {
		return
	}
	f.paragraph(name + ":")
	f.fenced("json", show(indented.String()))
}

// fenced writes text in a fence that is longer than any run of its characters in it.
func (f *markdown) fenced(info, s string) {
	fence := strings.Repeat("`", max(3, longest(s, '`')+1))
	end := "\n"
	if s == "" || strings.HasSuffix(s, "\n") {
		end = ""
	}
	fmt.Fprintf(f.out, "\n%s%s\n%s%s%s\n", fence, info, s, end, fence)
}

// longest is the length of the longest run of c.
func longest(s string, c byte) (most int) {
	run := 0
	for i := range len(s) {
		if s[i] != c {
			run = 0
			continue
		}
		run++
		most = max(most, run)
	}
	return most
}

// escaped takes their meaning from the characters that have one within a line of Markdown.
func escaped(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		within := i > 0 && i+1 < len(s) && wordByte(s[i-1]) && wordByte(s[i+1]) // an underscore in there means nothing
		if oneOf(c, "\\`*[]<&~|$#") || c == '_' && !within {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

func wordByte(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// inline is a text on one line, without a meaning in Markdown.
func inline(s string) string { return escaped(text.Line(s)) }

// exact is inline for a text that people have decided on: it shows every character.
func exact(s string) string { return escaped(text.ExactLine(s)) }

// code is a text as a code span (CommonMark, 6.1).
func code(s string) string {
	s = text.Line(s)
	if s == "" {
		return "(none)"
	}
	fence := strings.Repeat("`", longest(s, '`')+1)
	pad := ""
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		pad = " "
	}
	return fence + pad + s + pad + fence
}
