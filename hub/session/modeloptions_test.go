package session

import (
	"encoding/json"
	"slices"

	"pgregory.net/rapid"

	"sessionhub/protocol"
)

// setOption is a person's change of an option that exists or not.
func (m *model) setOption(t *rapid.T) Input {
	var list *protocol.ConfigOptionsData
	if m.r.s.Options.Listed {
		list = new(optionsList("ask"))
		list.Truncated = rapid.IntRange(0, 4).Draw(t, "truncated") == 0
	}
	return &InSetOption{
		Request: protocol.SetOptionRequest{
			ConfigID: rapid.SampledFrom([]string{"mode", "mode", "model", "fast", "other"}).Draw(t, "option"),
			Value:    rapid.SampledFrom([]protocol.OptionValue{protocol.TextValue("ask"), protocol.TextValue("auto"), protocol.TextValue("yolo"), protocol.TextValue("gone"), protocol.BoolValue(true)}).Draw(t, "value"),
		},
		By: "u1", List: list, MayApprove: rapid.Bool().Draw(t, "may approve"),
	}
}

// options is a worker's list, perhaps an answer.
func (m *model) options(t *rapid.T) Input {
	in := InOptions{Data: optionsList(rapid.SampledFrom([]string{"ask", "auto"}).Draw(t, "mode"))}
	if sent := m.r.s.Options.Sent; len(sent) > 0 && rapid.Bool().Draw(t, "answers") {
		in.Command = rapid.SampledFrom(sent).Draw(t, "command").Command
	}
	in.Data.Changed = rapid.SampledFrom([][]string{nil, {"mode"}, {"mode", "gone"}, {"model"}}).Draw(t, "changed")
	return in
}

// optionsList is a list with a mode that asks, one that does not, and one that is not allowed.
func optionsList(mode string) protocol.ConfigOptionsData {
	yes, no := true, false
	asking := mode == "ask"
	return protocol.ConfigOptionsData{
		ConfigOptions: []protocol.ConfigOption{
			{ID: "mode", Category: "mode", Type: protocol.ConfigSelect, CurrentValue: protocol.TextValue(mode), Options: []protocol.ConfigValue{
				{Value: "ask", Asks: &yes, Allowed: &yes}, {Value: "auto", Asks: &no, Allowed: &yes}, {Value: "yolo", Asks: &no, Allowed: &no},
			}},
			{ID: "large", Category: "model", Type: protocol.ConfigSelect, CurrentValue: protocol.TextValue("small"), Options: []protocol.ConfigValue{{Value: "small"}, {Value: "auto"}}},
			{ID: "fast", Type: protocol.ConfigBoolean, CurrentValue: protocol.BoolValue(false)},
		},
		Mode: mode, Asking: &asking,
	}
}

// checkOptions holds the options of a state to what was promised: a worker that takes changes
// gets the newest of each option, none is kept for anybody else, and a mode that is not
// allowed is neither chosen nor sent by a list that shows it.
func (m *model) checkOptions() {
	o := m.r.s.Options
	var ids []string
	for i, sent := range o.Sent {
		c, there := m.commands[sent.Command]
		var said protocol.SetOptionCommand
		switch {
		case !there || c.Type != protocol.WorkerSetOption || json.Unmarshal(c.Data, &said) != nil || said.ConfigID != sent.ConfigID:
			m.t.Fatalf("the change of %s has no command %d", sent.ConfigID, sent.Command)
		case slices.Contains(ids, sent.ConfigID) || i > 0 && sent.Command <= o.Sent[i-1].Command:
			m.t.Fatalf("changes are kept twice or out of order: %v", o.Sent)
		case o.Chosen[sent.ConfigID] != said.Value:
			m.t.Fatalf("%s was sent as %v, and chosen is %v", sent.ConfigID, said.Value, o.Chosen[sent.ConfigID])
		}
		ids = append(ids, sent.ConfigID)
	}
	if len(o.Sent) > 0 && (m.r.s.Worker == "" || !o.Takes) {
		m.t.Fatalf("changes wait for nobody: %+v", o)
	}
	if len(o.Chosen) > protocol.MaxChosenOptions {
		m.t.Fatalf("%d options are chosen", len(o.Chosen))
	}
	if o.Listed != (m.listed > 0) || o.Listed && (o.Mode == "" || o.Asking == nil || *o.Asking != (o.Mode == "ask")) {
		m.t.Fatalf("%d lists in the log, the state has %+v", m.listed, o)
	}
	if m.r.s.Worker != "" && !o.Takes && m.r.s.AgentOptions().Mode != "" {
		m.t.Fatalf("a worker that does not judge modes has a session that names one: %+v", o)
	}
}
