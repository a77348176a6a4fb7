package fleet

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// What an agent tells of its session: its commands, its usage, its title.

func checkCommands(data []byte) error {
	var d protocol.CommandsData
	if err := protocol.DecodePart(data, &d); err != nil {
		return err
	}
	switch {
	case d.AvailableCommands == nil:
		return errors.New("availableCommands are missing")
	case len(d.AvailableCommands) > protocol.MaxAgentCommands:
		return fmt.Errorf("availableCommands are %d: at most %d", len(d.AvailableCommands), protocol.MaxAgentCommands)
	case len(data) > protocol.MaxCommandsBytes:
		return fmt.Errorf("the data has %d bytes: at most %d", len(data), protocol.MaxCommandsBytes)
	}
	for i, c := range d.AvailableCommands {
		at := fmt.Sprintf("availableCommands[%d].", i)
		err := session.FirstOf(
			session.CheckName(at+"name", c.Name, protocol.MaxCommandName),
			session.CheckLength(at+"description", c.Description, protocol.MaxCommandDescription),
		)
		if err == nil && c.Input != nil {
			err = session.CheckLength(at+"input.hint", c.Input.Hint, protocol.MaxCommandHint)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// usageInput makes an input of a usage event.
func usageInput(data []byte) (session.Input, error) {
	var d protocol.UsageData
	if err := protocol.Decode(data, &d); err != nil {
		return nil, err
	}
	for name, tokens := range map[string]*uint64{"used": d.Used, "size": d.Size} {
		if tokens != nil && *tokens > protocol.MaxTokens {
			return nil, fmt.Errorf("%s is over %d", name, uint64(protocol.MaxTokens))
		}
	}
	if d.Cost != nil && (!d.Cost.Known() || strings.ContainsFunc(d.Cost.Currency, unicode.IsControl)) {
		return nil, fmt.Errorf("cost needs an amount from 0 to %d, and a currency of 1 to %d bytes", protocol.MaxCost, protocol.MaxCurrencyBytes)
	}
	return session.InUsage{Data: d}, nil
}

// titleInput makes an input of a session_info event. Who has named the session is not the
// worker's to say.
func titleInput(data []byte) (session.Input, error) {
	var d protocol.SessionInfoData
	if err := protocol.Decode(data, &d); err != nil {
		return nil, err
	}
	if err := session.CheckOptional("title", d.Title, protocol.MaxTitleBytes); err != nil {
		return nil, err
	}
	return session.InAgentTitle{Title: d.Title}, nil
}
