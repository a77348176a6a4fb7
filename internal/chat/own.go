package chat

import (
	"context"
	"slices"
	"strings"

	"sessionhub/protocol"
)

// ownCommand is a command of the chat itself. run returns what to show.
type ownCommand struct {
	name string
	what string // it does, for errors
	run  func(c *conversation, ctx context.Context, args string) (said string, err error)
}

// ownCommands are what a line can begin with that is not for the agent. To give the agent
// a command of the same name, a person doubles the slash.
var ownCommands = []ownCommand{
	{"/usage", "read the usage", func(c *conversation, ctx context.Context, _ string) (string, error) {
		s, err := c.session.session.Get(ctx)
		return usageLines(s.Usage), err
	}},
	{"/rename", "rename the session", func(c *conversation, ctx context.Context, args string) (string, error) {
		_, err := c.session.session.Rename(ctx, args) // its event says the rest
		return "", err
	}},
}

// own carries out a line that is for the chat. It reports whether it was one.
func (c *conversation) own(ctx context.Context, line string) bool {
	name, args, _ := strings.Cut(line, " ")
	if name == "/commands" && !strings.Contains(line, "\n") {
		c.transcript.note(dim, c.transcript.told.commandLines())
		return true
	}
	i := slices.IndexFunc(ownCommands, func(o ownCommand) bool { return o.name == name })
	if i < 0 || strings.Contains(line, "\n") {
		return false
	}
	o := ownCommands[i]
	also := ""
	if slices.ContainsFunc(c.transcript.told.commands, func(a protocol.AgentCommand) bool { return "/"+a.Name == name }) {
		also = "\n(The agent has such a command too: /" + name + ")"
	}
	c.wg.Go(func() {
		said, err := o.run(c, ctx, strings.TrimSpace(args))
		if said != "" {
			said += also
		}
		c.report(ctx, outcome{what: o.what, said: said, err: err})
	})
	return true
}
