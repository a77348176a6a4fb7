package worker

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode"

	"sessionhub/internal/text"
	"sessionhub/protocol"
)

// told is what the agent has told of its session so far, in this assignment. What it tells
// again is not published. Owned by the session's runner.
type told struct {
	commands, usage []byte // the data of the last event
	title           string
	titled          bool
	untold          untold
	pace            pace
	tokens          protocol.Tokens // of an agent that counts a whole session: see Provider.UsageTotals
}

// publishCommands publishes available_commands_update (ACP, "Slash Commands"). The list is
// cut to its bounds. Of commands with one name the first one counts.
func (s *session) publishCommands(update json.RawMessage) bool {
	var list struct {
		Commands []json.RawMessage `json:"availableCommands"`
	}
	if json.Unmarshal(update, &list) != nil || list.Commands == nil {
		return false
	}
	data := protocol.CommandsData{AvailableCommands: []protocol.AgentCommand{}}
	names := make(map[string]bool)
	size := 0
	for _, raw := range list.Commands {
		command, cut, ok := readCommand(raw)
		if !ok || names[command.Name] {
			continue
		}
		names[command.Name] = true
		size += len(protocol.Marshal(command)) + 1
		if len(data.AvailableCommands) == protocol.MaxAgentCommands || size > min(protocol.MaxCommandsBytes, s.w.cfg.MaxEventBytes)-eventMargin {
			data.Truncated = true
			break
		}
		data.Truncated = data.Truncated || cut
		data.AvailableCommands = append(data.AvailableCommands, command)
	}
	raw := protocol.Marshal(data)
	if !bytes.Equal(raw, s.told.commands) {
		s.told.commands = raw
		s.publish(protocol.EventCommands, data)
	}
	return true
}

// readCommand reads one command. cut says that a text was too long. ok is false for one
// that nobody could give: without a name of one word.
func readCommand(raw json.RawMessage) (command protocol.AgentCommand, cut, ok bool) {
	var d struct {
		Name        string          `json:"name"`
		Description json.RawMessage `json:"description"`
		Input       json.RawMessage `json:"input"`
	}
	if json.Unmarshal(raw, &d) != nil || d.Name == "" || len(d.Name) > protocol.MaxCommandName ||
		strings.ContainsFunc(d.Name, func(r rune) bool { return unicode.IsControl(r) || unicode.IsSpace(r) }) {
		return command, false, false
	}
	short := func(raw json.RawMessage, most int) string {
		var said string
		_ = json.Unmarshal(raw, &said) // another value says nothing
		said = text.Line(said)
		if len(said) <= most {
			return said
		}
		cut = true
		return clipTo(said, most)
	}
	command = protocol.AgentCommand{Name: d.Name, Description: short(d.Description, protocol.MaxCommandDescription)}
	var input struct {
		Hint json.RawMessage `json:"hint"`
	}
	if !isNull(d.Input) && json.Unmarshal(d.Input, &input) == nil {
		command.Input = &protocol.AgentCommandInput{Hint: short(input.Hint, protocol.MaxCommandHint)}
	}
	return command, cut, true
}

// publishUsage publishes usage_update. A count that is none, or a cost that cannot be one,
// is left out. An update with nothing else is no usage.
func (s *session) publishUsage(update json.RawMessage) bool {
	var d struct {
		Used json.RawMessage `json:"used"`
		Size json.RawMessage `json:"size"`
		Cost json.RawMessage `json:"cost"`
	}
	if json.Unmarshal(update, &d) != nil {
		return false
	}
	data := protocol.UsageData{Used: readCount(d.Used), Size: readCount(d.Size)}
	var cost protocol.Cost
	if !isNull(d.Cost) && json.Unmarshal(d.Cost, &cost) == nil && cost.Known() && !strings.ContainsFunc(cost.Currency, unicode.IsControl) {
		data.Cost = &cost
	}
	if data == (protocol.UsageData{}) {
		return false
	}
	u := &s.told.untold.usage
	if data.Used != nil {
		u.Used = data.Used
	}
	if data.Size != nil {
		u.Size = data.Size
	}
	if data.Cost != nil {
		u.Cost = data.Cost
	}
	if s.inTurn() {
		u.MessageID = s.turn.messageID
	}
	s.tellSoon()
	return true
}

// readCount reads a number of tokens; nil: it is none.
func readCount(raw json.RawMessage) *uint64 {
	var n float64
	if isNull(raw) || json.Unmarshal(raw, &n) != nil || n < 0 || n > protocol.MaxTokens {
		return nil
	}
	count := uint64(n)
	return &count
}

// publishTitle publishes the title of session_info_update. null takes it away.
func (s *session) publishTitle(update json.RawMessage) bool {
	var d map[string]json.RawMessage
	if json.Unmarshal(update, &d) != nil {
		return false
	}
	var title string
	raw, has := d["title"]
	if !has || !isNull(raw) && json.Unmarshal(raw, &title) != nil {
		return false
	}
	title = clipTo(text.Line(title), maxAgentTitle)
	s.told.untold.title = &title
	s.tellSoon()
	return true
}

// maxAgentTitle bounds an agent's title, in bytes: it is shown in one line of a list.
const maxAgentTitle = 256

// turnUsage is the usage of an answer to a prompt. Of an agent that counts all turns of its
// session together, it is what this turn has added.
func (s *session) turnUsage(raw json.RawMessage) json.RawMessage {
	usage := cleanRaw(raw, 16<<10)
	if usage == nil || !s.provider.UsageTotals {
		return usage
	}
	now := protocol.ReadTokens(usage)
	turn := now.Less(s.told.tokens)
	s.told.tokens = now
	return protocol.Marshal(turn)
}
