package protocol

// EventCommands names the commands that the agent takes in a message.
const EventCommands EventType = "commands"

// CommandsData is the data of a commands event: all that there are now, in place of those
// before. Truncated says that some are left out, or that a text is cut.
type CommandsData struct {
	AvailableCommands []AgentCommand `json:"availableCommands"`
	Truncated         bool           `json:"truncated,omitempty"`
}

// AgentCommand is one command. A message gives it as "/name", with what it wants behind it.
type AgentCommand struct {
	Name        string             `json:"name"`
	Description string             `json:"description"`
	Input       *AgentCommandInput `json:"input,omitempty"`
}

// AgentCommandInput says what a command wants behind its name.
type AgentCommandInput struct {
	Hint string `json:"hint"`
}

// Bounds of a commands event. Texts are in bytes of UTF-8.
const (
	MaxAgentCommands      = 256
	MaxCommandName        = 128
	MaxCommandDescription = 1024
	MaxCommandHint        = 256
	MaxCommandsBytes      = 128 << 10 // of the data
)
