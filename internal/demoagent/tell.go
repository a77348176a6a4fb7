package demoagent

import (
	"fmt"
	"strings"

	acp "github.com/coder/acp-go-sdk"
)

// The demo model's context, and its price for a token.
const (
	contextSize = 200_000
	tokenCost   = 0.00001
)

// usage tells how full the context is, and what the session has cost (ACP's usage_update).
func (t *turn) usage(string) error {
	used := t.s.tokens()
	cost := float64(used) * tokenCost
	update := acp.SessionUpdate{UsageUpdate: &acp.SessionUsageUpdate{
		SessionUpdate: "usage_update", Used: used, Size: contextSize, Cost: &acp.Cost{Amount: cost, Currency: "USD"},
	}}
	if err := t.send(update); err != nil {
		return err
	}
	return t.say(fmt.Sprintf("I use %d of %d tokens, and have cost %.5f USD.", used, contextSize, cost))
}

// title names the session (ACP's session_info_update).
func (t *turn) title(args string) error {
	title := strings.TrimSpace(args)
	update := acp.SessionUpdate{SessionInfoUpdate: &acp.SessionSessionInfoUpdate{SessionUpdate: "session_info_update", Title: &title}}
	if err := t.send(update); err != nil {
		return err
	}
	return t.say("I call this session “" + title + "”.")
}

// tellCommands tells which commands there are (ACP, "Slash Commands").
func (t *turn) tellCommands(string) error {
	var list []acp.AvailableCommand
	for _, c := range commands() {
		command := acp.AvailableCommand{Name: strings.TrimPrefix(c.name, "/"), Description: c.help}
		if c.args != "" {
			command.Input = &acp.AvailableCommandInput{Unstructured: &acp.UnstructuredCommandInput{Hint: c.args}}
		}
		list = append(list, command)
	}
	update := acp.SessionUpdate{AvailableCommandsUpdate: &acp.SessionAvailableCommandsUpdate{
		SessionUpdate: "available_commands_update", AvailableCommands: list,
	}}
	if err := t.send(update); err != nil {
		return err
	}
	return t.say(fmt.Sprintf("I take %d commands.", len(list)))
}
