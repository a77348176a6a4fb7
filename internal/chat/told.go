package chat

import (
	"fmt"
	"strconv"
	"strings"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// told is what the agent and people have told of the session, as far as the log says.
type told struct {
	title    string
	commands []protocol.AgentCommand
	used     *uint64 // tokens of the agent's context
	size     *uint64
}

// take takes an event, and reports whether it was one of these.
func (t *told) take(e protocol.Event) bool {
	switch e.Type {
	case protocol.EventSessionInfo:
		if d, ok := decode[protocol.SessionInfoData](e.Data); ok {
			t.title = d.Title
		}
	case protocol.EventCommands:
		if d, ok := decode[protocol.CommandsData](e.Data); ok {
			t.commands = d.AvailableCommands
		}
	case protocol.EventUsage:
		if d, ok := decode[protocol.UsageData](e.Data); ok {
			if d.Used != nil {
				t.used = d.Used
			}
			if d.Size != nil {
				t.size = d.Size
			}
		}
	default:
		return false
	}
	return true
}

// context says how full the agent's context is; empty: nobody knows.
func (t *told) context() string {
	if t.used == nil || t.size == nil || *t.size == 0 {
		return ""
	}
	return fmt.Sprintf("%d %% of context", *t.used*100 / *t.size)
}

// commandLines lists the agent's commands.
func (t *told) commandLines() string {
	if len(t.commands) == 0 {
		return "The agent has told of no commands."
	}
	var b strings.Builder
	b.WriteString("Commands of the agent:\n")
	for _, c := range t.commands {
		b.WriteString("  /" + oneLine(c.Name, 60))
		if c.Input != nil {
			b.WriteString(" [" + oneLine(c.Input.Hint, 60) + "]")
		}
		b.WriteString("  " + oneLine(c.Description, 200) + "\n")
	}
	return b.String()
}

// usageLines says what a session has used.
func usageLines(u *protocol.SessionUsage) string {
	if u == nil {
		return "The agent has told nothing of what it uses."
	}
	var lines []string
	switch {
	case u.Used != nil && u.Size != nil:
		lines = append(lines, fmt.Sprintf("Context: %s of %s tokens", number(*u.Used), number(*u.Size)))
	case u.Used != nil:
		lines = append(lines, fmt.Sprintf("Context: %s tokens", number(*u.Used)))
	}
	if u.TotalTokens > 0 {
		lines = append(lines, fmt.Sprintf("Tokens: %s, of them %s read, %s written, %s read from the cache, %s written to it, %s of thoughts",
			number(u.TotalTokens), number(u.InputTokens), number(u.OutputTokens), number(u.CachedReadTokens), number(u.CachedWriteTokens), number(u.ThoughtTokens)))
	}
	if u.Cost != nil {
		lines = append(lines, "Cost: "+strconv.FormatFloat(u.Cost.Amount, 'f', -1, 64)+" "+text.Line(u.Cost.Currency))
	}
	if len(lines) == 0 {
		return "The agent has told nothing of what it uses."
	}
	return strings.Join(lines, "\n")
}

// number writes a count with commas between thousands.
func number(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
