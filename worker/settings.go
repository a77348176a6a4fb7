package worker

import (
	"encoding/json"
	"maps"
)

// settings is what an agent lets its client choose, in the two forms that exist:
// modes and models of their own (ACP, "Session Modes"), and the newer list of
// configuration options (ACP, "Session Config Options"), where a category says
// what an option is about.
type settings struct {
	Modes         json.RawMessage `json:"modes"`
	Models        json.RawMessage `json:"models"`
	ConfigOptions json.RawMessage `json:"configOptions"`

	chosen map[string]string // set since, by what was set
}

func readSettings(result json.RawMessage) settings {
	var s settings
	_ = json.Unmarshal(result, &s) // what cannot be read is not offered
	return s
}

// with returns s after a choice that the agent has answered with result. Only
// the answer to set_config_option tells what holds now; elsewhere it is what was
// asked for.
func (s settings) with(what, value string, result json.RawMessage) settings {
	if told := readSettings(result); s.choice(what).method == setConfigOption && !isNull(told.ConfigOptions) {
		s.ConfigOptions = told.ConfigOptions
		return s
	}
	s.chosen = maps.Clone(s.chosen)
	if s.chosen == nil {
		s.chosen = make(map[string]string)
	}
	s.chosen[what] = value
	return s
}

// setConfigOption is the method of the newer form.
const setConfigOption = "session/set_config_option"

// choice is one thing to choose: what is offered, what holds, how to change it.
type choice struct {
	offered []string
	current string
	method  string
	field   string         // the parameter that takes the value
	params  map[string]any // the other parameters
}

// choice returns the mode or the model, in the older form if the agent has it.
func (s settings) choice(what string) choice {
	var c choice
	switch what {
	case "mode":
		c = s.modes()
	case "model":
		c = s.models()
	}
	if len(c.offered) == 0 {
		c = s.option(what)
	}
	if chosen, ok := s.chosen[what]; ok {
		c.current = chosen
	}
	return c
}

func (s settings) modes() choice {
	var m struct {
		Current   string `json:"currentModeId"`
		Available []struct {
			ID string `json:"id"`
		} `json:"availableModes"`
	}
	_ = json.Unmarshal(s.Modes, &m)
	c := choice{current: m.Current, method: "session/set_mode", field: "modeId", params: map[string]any{}}
	for _, mode := range m.Available {
		c.offered = append(c.offered, mode.ID)
	}
	return c
}

func (s settings) models() choice {
	var m struct {
		Current   string `json:"currentModelId"`
		Available []struct {
			ID string `json:"modelId"`
		} `json:"availableModels"`
	}
	_ = json.Unmarshal(s.Models, &m)
	c := choice{current: m.Current, method: "session/set_model", field: "modelId", params: map[string]any{}}
	for _, model := range m.Available {
		c.offered = append(c.offered, model.ID)
	}
	return c
}

// option finds the configuration option of a category: a selection from a list
// that may be in groups.
func (s settings) option(category string) choice {
	var options []json.RawMessage
	_ = json.Unmarshal(s.ConfigOptions, &options)
	for _, raw := range options {
		var o struct {
			ID       string          `json:"id"`
			Type     string          `json:"type"`
			Category string          `json:"category"`
			Current  string          `json:"currentValue"`
			Options  json.RawMessage `json:"options"`
		}
		if json.Unmarshal(raw, &o) != nil || o.Type != "select" {
			continue
		}
		if o.Category != category && (o.Category != "" || o.ID != category) {
			continue
		}
		c := choice{
			current: o.Current, method: setConfigOption,
			field: "value", params: map[string]any{"configId": o.ID},
		}
		type value struct {
			Value string `json:"value"`
		}
		var list []struct {
			value
			Options []value `json:"options"` // of a group
		}
		_ = json.Unmarshal(o.Options, &list)
		for _, entry := range list {
			if entry.Options == nil {
				c.offered = append(c.offered, entry.Value)
			}
			for _, v := range entry.Options {
				c.offered = append(c.offered, v.Value)
			}
		}
		return c
	}
	return choice{params: map[string]any{}}
}
