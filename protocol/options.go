package protocol

// Limits of an agent's options. A longer list is cut and says so (Truncated).
const (
	MaxConfigOptions = 128      // in a list
	MaxConfigValues  = 1024     // of all options of a list together
	MaxConfigBytes   = 64 << 10 // data of one config_options event
	MaxConfigName    = 1024     // a name of an option, a value or a group, in bytes
	MaxConfigText    = 4096     // a description, in bytes
	MaxChosenOptions = 32       // that a session keeps for the next start of its agent
)

// The categories of the options that decide about the agent's mode and model. They are also
// ids under which every agent's mode and model may be named. Agents that still have
// session/set_mode and session/set_model (ACP, "Session Modes") have these ids in the list
// too. For others, the first option of that category is meant.
const (
	ConfigMode  = "mode"
	ConfigModel = "model"
)

// IsHarmless reports whether an option's category says that it is about something else than
// what the agent may do without asking. An option without such a category could be about
// that.
func IsHarmless(category, id string) bool {
	switch category {
	case ConfigModel, "model_config", "thought_level":
		return true
	case "":
		return id == ConfigModel
	}
	return false
}

// The types of an option (ACP, "Session Config Options").
const (
	ConfigSelect  = "select"
	ConfigBoolean = "boolean"
)

// ConfigValue is one value that a selection offers. Asks and Allowed are there for the
// values of a mode. Asks false: in this mode the agent acts without asking. Allowed false:
// the worker's providers file does not allow the value by name.
type ConfigValue struct {
	Value       string `json:"value"`
	Name        string `json:"name"`
	Description string `json:"description,omitempty"`
	Group       string `json:"group,omitempty"` // its name for people
	Asks        *bool  `json:"asks,omitempty"`
	Allowed     *bool  `json:"allowed,omitempty"`
}

// ConfigOption is a setting of an agent. A boolean has no Options.
type ConfigOption struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	Description  string        `json:"description,omitempty"`
	Category     string        `json:"category,omitempty"`
	Type         string        `json:"type"`
	CurrentValue OptionValue   `json:"currentValue"`
	Options      []ConfigValue `json:"options,omitempty"`
}

// Find gives the value with this id, or nil.
func (o *ConfigOption) Find(value string) *ConfigValue {
	for i := range o.Options {
		if o.Options[i].Value == value {
			return &o.Options[i]
		}
	}
	return nil
}

// ByAgent is who made a change that the agent has made by itself.
const ByAgent = "agent"

// ConfigOptionsData is the data of a config_options event: all options of the session's
// agent, each time. Mode is the agent's present mode, and Asking says whether the agent asks
// in it before it acts; both are absent for an agent without modes. Changed names the
// options whose value is another than in the list before. By is who changed them: a user,
// ByAgent, or nobody when the agent has just started. Truncated says that the agent has more
// options or values than the list.
type ConfigOptionsData struct {
	ConfigOptions []ConfigOption `json:"configOptions"`
	Mode          string         `json:"mode,omitempty"`
	Asking        *bool          `json:"asking,omitempty"`
	Changed       []string       `json:"changed,omitempty"`
	By            string         `json:"by,omitempty"`
	Truncated     bool           `json:"truncated,omitempty"`
}

// FindOption gives the option with this id. ConfigMode and ConfigModel find the first option
// of that category too. nil: there is none.
func FindOption(list []ConfigOption, id string) *ConfigOption {
	for i := range list {
		if list[i].ID == id {
			return &list[i]
		}
	}
	if id != ConfigMode && id != ConfigModel {
		return nil
	}
	for i := range list {
		if list[i].Category == id {
			return &list[i]
		}
	}
	return nil
}

// SessionOptions answers GET options: the list as it was last told, and what was chosen for
// the next start of the agent. The list is empty until an agent of the session has started.
type SessionOptions struct {
	ConfigOptions []ConfigOption         `json:"configOptions"`
	Mode          string                 `json:"mode,omitempty"`
	Asking        *bool                  `json:"asking,omitempty"`
	Truncated     bool                   `json:"truncated,omitempty"`
	Chosen        map[string]OptionValue `json:"chosen,omitempty"`
}

// SetOptionRequest is the body of PATCH options and the data of a set_option command.
type SetOptionRequest struct {
	ConfigID string      `json:"configId"`
	Value    OptionValue `json:"value"`
}

// SetOptionResponse answers a SetOptionRequest: the option and the value that the agent is
// told to take. A config_options event says what became of it.
type SetOptionResponse struct {
	ConfigID string      `json:"configId"`
	Value    OptionValue `json:"value"`
}
