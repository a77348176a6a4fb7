package worker

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"sessionhub/protocol"
)

// options are what an agent lets its client choose, as one list. Agents tell them in one of
// two forms, or in both. The older form has modes and models (ACP, "Session Modes"). The
// newer one is a list of configuration options with categories (ACP, "Session Config
// Options"). Where both name a mode or a model, the newer form counts.
//
// The list holds everything that the agent offers; data cuts it for the hub.
type options struct {
	list  []option
	modes []string // the modes of the older form, if the agent has both forms
	left  bool     // some options or values cannot be read
}

// option is one option of an agent.
type option struct {
	id, name, description, category string
	boolean                         bool
	current                         protocol.OptionValue
	values                          []protocol.ConfigValue

	method string // that sets it
	field  string // of the method's parameters: the one that takes the value
}

// The methods that set an option.
const (
	setConfigOption = "session/set_config_option"
	setMode         = "session/set_mode"
	setModel        = "session/set_model"
)

// isMode reports whether the option decides how the agent works.
func (o *option) isMode() bool {
	return o.category == protocol.ConfigMode || o.id == protocol.ConfigMode
}

// harmless reports whether the option's category says that it is about something else than
// what the agent may do (ACP, "Session Config Options", categories).
func (o *option) harmless() bool {
	return !o.isMode() && protocol.IsHarmless(o.category, o.id)
}

// what names the option for a person.
func (o *option) what() string {
	for _, known := range []string{protocol.ConfigMode, protocol.ConfigModel} {
		if o.id == known || o.category == known {
			return known
		}
	}
	return "option " + o.id
}

func (o *option) offers(v protocol.OptionValue) bool {
	if o.boolean {
		return v.IsBool
	}
	return !v.IsBool && slices.ContainsFunc(o.values, func(have protocol.ConfigValue) bool { return have.Value == v.Text })
}

// offered lists the option's values for a person.
func (o *option) offered() string {
	if o == nil || !o.boolean && len(o.values) == 0 {
		return "nothing"
	}
	if o.boolean {
		return "true, false"
	}
	names := make([]string, len(o.values))
	for i, v := range o.values {
		names[i] = v.Value
	}
	return clip(strings.Join(names, ", "), 1<<10)
}

// params are those of the option's method.
func (o *option) params(sessionID string, v protocol.OptionValue) map[string]any {
	p := map[string]any{"sessionId": sessionID, o.field: v}
	if o.method == setConfigOption {
		p["configId"] = o.id
		if o.boolean {
			p["type"] = protocol.ConfigBoolean
		}
	}
	return p
}

// find gives the option with this id. "mode" and "model" find the first option of that
// category too. nil: there is none.
func (o *options) find(id string) *option {
	for i := range o.list {
		if o.list[i].id == id {
			return &o.list[i]
		}
	}
	if id == protocol.ConfigMode || id == protocol.ConfigModel {
		for i := range o.list {
			if o.list[i].category == id {
				return &o.list[i]
			}
		}
	}
	return nil
}

// current is the value of an option for the log; empty if there is none.
func (o *options) current(id string) string {
	if found := o.find(id); found != nil {
		return found.current.String()
	}
	return ""
}

// values are the present values by id.
func (o *options) values() map[string]protocol.OptionValue {
	all := make(map[string]protocol.OptionValue, len(o.list))
	for _, have := range o.list {
		all[have.id] = have.current
	}
	return all
}

// readOptions reads the options in the answer that opens a session. A part that cannot be
// read is not offered.
func readOptions(result json.RawMessage) *options {
	var told struct {
		Modes         json.RawMessage `json:"modes"`
		Models        json.RawMessage `json:"models"`
		ConfigOptions json.RawMessage `json:"configOptions"`
	}
	_ = json.Unmarshal(result, &told)
	o := &options{}
	o.readList(told.ConfigOptions)
	if mode := older(told.Modes, "Mode", setMode, "modeId"); mode != nil {
		if o.find(protocol.ConfigMode) == nil {
			mode.id, mode.category = protocol.ConfigMode, protocol.ConfigMode
			o.list = slices.Insert(o.list, 0, *mode)
		} else {
			for _, v := range mode.values {
				o.modes = append(o.modes, v.Value)
			}
		}
	}
	if model := older(told.Models, "Model", setModel, "modelId"); model != nil && o.find(protocol.ConfigModel) == nil {
		model.id, model.category = protocol.ConfigModel, protocol.ConfigModel
		o.list = append(o.list, *model)
	}
	return o
}

// older reads the older form: its modes and models differ in names only. nil: there is
// nothing to choose.
func older(raw json.RawMessage, name, method, field string) *option {
	type entry struct {
		ModeID      string `json:"id"`
		ModelID     string `json:"modelId"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	var offer struct {
		Mode   string            `json:"currentModeId"`
		Model  string            `json:"currentModelId"`
		Modes  []json.RawMessage `json:"availableModes"`
		Models []json.RawMessage `json:"availableModels"`
	}
	if json.Unmarshal(raw, &offer) != nil {
		return nil
	}
	o := option{name: name, method: method, field: field, current: protocol.TextValue(clip(offer.Mode+offer.Model, protocol.MaxNameBytes-8))}
	values := valueReader{o: &o, seen: make(map[string]bool)}
	for _, one := range slices.Concat(offer.Modes, offer.Models) {
		var e entry
		if json.Unmarshal(one, &e) != nil {
			continue
		}
		values.add(e.ModeID+e.ModelID, e.Name, e.Description, "")
	}
	if len(o.values) == 0 {
		return nil
	}
	return &o
}

// maxOffered bounds the values of one option that the worker remembers.
const maxOffered = 10_000

// valueReader collects the values of a selection.
type valueReader struct {
	o    *option
	seen map[string]bool
}

// add appends a value. It reports false for an id that cannot be used, that was there
// before, or that is one too many.
func (r valueReader) add(id, name, description, group string) bool {
	if !usableID(id) || r.seen[id] || len(r.o.values) == maxOffered {
		return false
	}
	r.seen[id] = true
	r.o.values = append(r.o.values, protocol.ConfigValue{
		Value: id, Name: clip(orID(name, id), protocol.MaxConfigName-8), Description: clip(description, protocol.MaxConfigText-8), Group: clip(group, protocol.MaxConfigName-8),
	})
	return true
}

func orID(name, id string) string {
	if strings.TrimSpace(name) == "" {
		return id
	}
	return name
}

// usableID reports whether an id can be passed on: the hub takes no other.
func usableID(id string) bool {
	return id != "" && len(id) <= protocol.MaxNameBytes && !strings.ContainsFunc(id, unicode.IsControl)
}

// readList reads a list in the newer form over what was told before. It reports false, and
// changes nothing, if raw is no list.
func (o *options) readList(raw json.RawMessage) bool {
	var all []json.RawMessage
	if isNull(raw) || json.Unmarshal(raw, &all) != nil {
		return false
	}
	// What the agent tells in the older form is not in this list.
	list := slices.DeleteFunc(slices.Clone(o.list), func(have option) bool { return have.method == setConfigOption })
	o.left = false
	for _, one := range all {
		read, whole := readOption(one)
		o.left = o.left || !whole
		if read == nil {
			continue
		}
		if slices.ContainsFunc(list, func(have option) bool { return have.id == read.id && have.method == setConfigOption }) {
			o.left = true
			continue
		}
		list = slices.DeleteFunc(list, func(have option) bool { // the newer form counts
			return have.method != setConfigOption && (have.id == read.id || have.id == read.category)
		})
		list = append(list, *read)
	}
	o.list = list
	return true
}

// readOption reads one option. It returns nil if the option cannot be used: it lacks an id,
// or has another type than the known ones, or a value of another type. whole is false if
// anything was left out.
func readOption(raw json.RawMessage) (o *option, whole bool) {
	var told struct {
		ID          string          `json:"id"`
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Category    string          `json:"category"`
		Type        string          `json:"type"`
		Current     json.RawMessage `json:"currentValue"`
		Options     json.RawMessage `json:"options"`
	}
	if json.Unmarshal(raw, &told) != nil || !usableID(told.ID) || told.Category != "" && !usableID(told.Category) {
		return nil, false
	}
	o = &option{
		id: told.ID, name: clip(orID(told.Name, told.ID), protocol.MaxConfigName-8), description: clip(told.Description, protocol.MaxConfigText-8),
		category: told.Category, boolean: told.Type == protocol.ConfigBoolean, method: setConfigOption, field: "value",
	}
	if json.Unmarshal(told.Current, &o.current) != nil || o.current.IsBool != o.boolean || len(o.current.Text) > protocol.MaxNameBytes {
		return nil, false
	}
	switch told.Type {
	case protocol.ConfigBoolean:
		return o, true
	case protocol.ConfigSelect:
		whole = o.readValues(told.Options)
		return o, whole
	}
	return nil, false
}

// readValues reads the values of a selection, which may stand in groups.
func (o *option) readValues(raw json.RawMessage) (whole bool) {
	type value struct {
		Value       string `json:"value"`
		Name        string `json:"name"`
		Description string `json:"description"`
	}
	var entries []json.RawMessage
	if json.Unmarshal(raw, &entries) != nil {
		return false
	}
	whole = true
	values := valueReader{o: o, seen: make(map[string]bool)}
	add := func(raw json.RawMessage, group string) {
		var v value
		if json.Unmarshal(raw, &v) != nil || !values.add(v.Value, v.Name, v.Description, group) {
			whole = false
		}
	}
	for _, raw := range entries {
		var group struct {
			Name    string            `json:"name"`
			Group   string            `json:"group"`
			Options []json.RawMessage `json:"options"`
		}
		if json.Unmarshal(raw, &group) != nil {
			whole = false
			continue
		}
		if group.Options == nil {
			add(raw, "")
			continue
		}
		name := orID(group.Name, group.Group)
		for _, v := range group.Options {
			add(v, name)
		}
	}
	return whole
}

// data is the list as the hub gets it, in at most limit bytes. Mode and model come first, so
// that they are never cut. An option's values take at most half of the room that is left.
func (o *options) data(g guard, limit int) protocol.ConfigOptionsData {
	limit = min(limit, protocol.MaxConfigBytes) - 2*protocol.MaxNameBytes - protocol.MaxConfigOptions // for mode, changed and by
	d := protocol.ConfigOptionsData{ConfigOptions: []protocol.ConfigOption{}, Asking: g.asking(o), Truncated: o.left}
	first := o.find(protocol.ConfigMode)
	if first != nil {
		d.Mode = clip(first.current.String(), protocol.MaxNameBytes)
	}
	sorted := make([]*option, 0, len(o.list))
	for i := range o.list {
		sorted = append(sorted, &o.list[i])
	}
	rank := func(have *option) int {
		switch {
		case have == first:
			return 0
		case have.isMode():
			return 1
		case have == o.find(protocol.ConfigModel):
			return 2
		}
		return 3
	}
	slices.SortStableFunc(sorted, func(a, b *option) int { return rank(a) - rank(b) })
	values := protocol.MaxConfigValues
	// The changed ids may be all ids, so each counts twice.
	size := func(v any, id string) int { return len(protocol.Marshal(v)) + 2*len(id) + 8 }
	for _, have := range sorted {
		head := protocol.ConfigOption{
			ID: have.id, Name: have.name, Description: have.description, Category: have.category, Type: protocol.ConfigSelect, CurrentValue: have.current,
		}
		if have.boolean {
			head.Type = protocol.ConfigBoolean
		}
		cost := size(head, have.id)
		if len(d.ConfigOptions) == protocol.MaxConfigOptions || cost > limit {
			d.Truncated = true
			continue
		}
		limit -= cost
		room := limit / 2
		for _, v := range have.values {
			if may := g.may(o, have, protocol.TextValue(v.Value)); have.isMode() {
				asks := g.asks(o, have, protocol.TextValue(v.Value))
				v.Asks, v.Allowed = &asks, &may
			} else if !may {
				v.Allowed = &may
			}
			cost := size(v, "")
			if cost > room || values == 0 {
				d.Truncated = true
				break
			}
			room, limit, values = room-cost, limit-cost, values-1
			head.Options = append(head.Options, v)
		}
		d.ConfigOptions = append(d.ConfigOptions, head)
	}
	return d
}
