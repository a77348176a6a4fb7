package demoagent

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	acp "github.com/coder/acp-go-sdk"
)

// choice is a configuration option (ACP, "Session Config Options"). The modes are of the
// older form, so that both can be tried.
type choice struct {
	id, name, help string
	category       acp.SessionConfigOptionCategory
	values         []acp.SessionConfigValueId // the first one is the default
}

// choices are all options. The model is one of them: the SDK has no other form for models.
var choices = []choice{
	{"model", "Model", "The answers are the same: there is no model", acp.SessionConfigOptionCategoryModel, []acp.SessionConfigValueId{"demo-small", "demo-large"}},
	{"tone", "Tone", "How plain text is answered", acp.SessionConfigOptionCategoryThoughtLevel, []acp.SessionConfigValueId{"plain", "loud"}},
}

// The ids and values that the agent itself asks for.
const (
	modelOption = "model"
	toneOption  = "tone"
	toneLoud    = "loud"
)

func firstOptions() map[string]acp.SessionConfigValueId {
	first := make(map[string]acp.SessionConfigValueId)
	for _, c := range choices {
		first[c.id] = c.values[0]
	}
	return first
}

func configOptions(current map[string]acp.SessionConfigValueId) []acp.SessionConfigOption {
	var all []acp.SessionConfigOption
	for _, c := range choices {
		var values acp.SessionConfigSelectOptionsUngrouped
		for _, v := range c.values {
			values = append(values, acp.SessionConfigSelectOption{Name: string(v), Value: v})
		}
		all = append(all, acp.SessionConfigOption{Select: &acp.SessionConfigOptionSelect{
			Id: acp.SessionConfigId(c.id), Name: c.name, Type: "select", Category: acp.Ptr(c.category), Description: acp.Ptr(c.help),
			CurrentValue: current[c.id], Options: acp.SessionConfigSelectOptions{Ungrouped: &values},
		}})
	}
	return all
}

// set sets a mode or an option, or says what there is.
func (s *session) set(id string, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "mode" {
		if mode := acp.SessionModeId(value); mode == modeAsk || mode == modeAuto {
			s.mode = mode
			return nil
		}
		return invalid("unknown mode %q", value)
	}
	i := slices.IndexFunc(choices, func(c choice) bool { return c.id == id })
	if i < 0 {
		return invalid("there is no option %q: there are mode, model and tone", id)
	}
	if !slices.Contains(choices[i].values, acp.SessionConfigValueId(value)) {
		return invalid("unknown %s %q", id, value)
	}
	s.options[id] = acp.SessionConfigValueId(value)
	return nil
}

// chosen are the present values of the options.
func (s *session) chosen() map[string]acp.SessionConfigValueId {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.options)
}

// SetSessionMode takes effect at the next tool.
func (a *agent) SetSessionMode(_ context.Context, p acp.SetSessionModeRequest) (acp.SetSessionModeResponse, error) {
	s, err := a.session(p.SessionId)
	if err == nil {
		err = s.set("mode", string(p.ModeId))
	}
	return acp.SetSessionModeResponse{}, err
}

// SetSessionConfigOption sets the model or the tone.
func (a *agent) SetSessionConfigOption(_ context.Context, p acp.SetSessionConfigOptionRequest) (acp.SetSessionConfigOptionResponse, error) {
	if p.ValueId == nil || p.ValueId.ConfigId == "mode" {
		return acp.SetSessionConfigOptionResponse{}, invalid("the options are model and tone, and their values are texts")
	}
	s, err := a.session(p.ValueId.SessionId)
	if err == nil {
		err = s.set(string(p.ValueId.ConfigId), string(p.ValueId.Value))
	}
	if err != nil {
		return acp.SetSessionConfigOptionResponse{}, err
	}
	return acp.SetSessionConfigOptionResponse{ConfigOptions: configOptions(s.chosen())}, nil
}

// option changes a mode or an option as an agent does that changes it by itself.
func (t *turn) option(args string) error {
	words := strings.Fields(args)
	if len(words) != 2 {
		return t.say("Usage: /option ID VALUE. The ids are mode, model and tone.")
	}
	if err := t.s.set(words[0], words[1]); err != nil {
		return t.say(err.Error())
	}
	update := acp.SessionUpdate{ConfigOptionUpdate: &acp.SessionConfigOptionUpdate{ConfigOptions: configOptions(t.s.chosen())}}
	if words[0] == "mode" {
		update = acp.SessionUpdate{CurrentModeUpdate: &acp.SessionCurrentModeUpdate{CurrentModeId: acp.SessionModeId(words[1])}}
	}
	if err := t.send(update); err != nil {
		return err
	}
	return t.say(fmt.Sprintf("I have set %s to %s.", words[0], words[1]))
}
