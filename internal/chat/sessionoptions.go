package chat

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"sessionhub/protocol"
)

// sessionOptions are the options of the session's agent as the log last told them.
type sessionOptions struct {
	list   []protocol.ConfigOption
	mode   string
	asking *bool
}

// onOptions takes a list, and notes what was changed.
func (t *transcript) onOptions(d protocol.ConfigOptionsData) {
	t.options = sessionOptions{list: d.ConfigOptions, mode: d.Mode, asking: d.Asking}
	for _, id := range d.Changed {
		o := protocol.FindOption(d.ConfigOptions, id)
		if o == nil {
			continue
		}
		said := fmt.Sprintf("%s is %s", oneLine(o.Name, 60), oneLine(o.CurrentValue.String(), 100))
		switch d.By {
		case "":
		case protocol.ByAgent:
			said += ", set by the agent"
		case t.me:
			said += ", set by you"
		default:
			said += ", set by " + oneLine(d.By, 60)
		}
		t.note(dim, said)
	}
}

// unasked is the warning while the agent does not ask; empty: it asks, or nobody knows.
func (o sessionOptions) unasked() string {
	if o.asking == nil || *o.asking {
		return ""
	}
	return fmt.Sprintf("! The agent does not ask before it acts (mode %s). /mode NAME changes that.", oneLine(o.mode, 60))
}

// describe lists the options for a person.
func (o sessionOptions) describe() string {
	if len(o.list) == 0 {
		return "The agent has told no options. They are known when it has started."
	}
	var b strings.Builder
	for _, option := range o.list {
		fmt.Fprintf(&b, "%s: %s", oneLine(option.ID, 60), oneLine(option.CurrentValue.String(), 100))
		var names []string
		for _, v := range option.Options {
			name := oneLine(v.Value, 60)
			switch {
			case v.Allowed != nil && !*v.Allowed:
				name += " (not allowed)"
			case v.Asks != nil && !*v.Asks:
				name += " (does not ask)"
			}
			names = append(names, name)
		}
		const most = 30
		if len(names) > most {
			names = append(names[:most], fmt.Sprintf("and %d more", len(names)-most))
		}
		if option.Type == protocol.ConfigBoolean {
			names = []string{"true", "false"}
		}
		if len(names) > 0 {
			fmt.Fprintf(&b, " – of %s", strings.Join(names, ", "))
		}
		b.WriteString("\n")
	}
	return b.String() + "/mode NAME, /model NAME or /options ID VALUE sets one."
}

// optionCommand does what a line asks for that is about options, and reports whether it is
// one: /options, /options ID VALUE, /mode NAME, /model NAME.
func (c *conversation) optionCommand(ctx context.Context, line string) bool {
	words := strings.Fields(line)
	if len(words) == 0 {
		return false
	}
	var id, value string
	switch {
	case words[0] == "/options" && len(words) == 1:
		c.transcript.note(dim, c.transcript.options.describe())
		return true
	case words[0] == "/options" && len(words) == 3:
		id, value = words[1], words[2]
	case slices.Contains([]string{"/mode", "/model"}, words[0]) && len(words) == 2:
		id, value = words[0][1:], words[1]
	case words[0] == "/options":
		c.notice = "/options, or /options ID VALUE"
		return true
	default:
		return false
	}
	v := protocol.TextValue(value)
	if o := protocol.FindOption(c.transcript.options.list, id); o != nil && o.Type == protocol.ConfigBoolean && (value == "true" || value == "false") {
		v = protocol.BoolValue(value == "true")
	}
	c.command(ctx, "set "+oneLine(id, 60), func(ctx context.Context) error {
		_, err := c.stream.SetOption(ctx, id, v)
		return err
	})
	return true
}
