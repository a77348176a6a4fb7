package worker

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
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
		c = older(s.Modes, "session/set_mode", "modeId")
	case "model":
		c = older(s.Models, "session/set_model", "modelId")
	}
	if len(c.offered) == 0 {
		c = s.option(what)
	}
	if chosen, ok := s.chosen[what]; ok {
		c.current = chosen
	}
	return c
}

// older reads the form of their own: modes and models differ in names only.
func older(raw json.RawMessage, method, field string) choice {
	type entry struct {
		ModeID  string `json:"id"`
		ModelID string `json:"modelId"`
	}
	var offer struct {
		Mode   string  `json:"currentModeId"`
		Model  string  `json:"currentModelId"`
		Modes  []entry `json:"availableModes"`
		Models []entry `json:"availableModels"`
	}
	_ = json.Unmarshal(raw, &offer) // what cannot be read is not offered
	c := choice{current: cmp.Or(offer.Model, offer.Mode), method: method, field: field, params: map[string]any{}}
	for _, e := range slices.Concat(offer.Modes, offer.Models) {
		c.offered = append(c.offered, cmp.Or(e.ModelID, e.ModeID))
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
