package fleet

import (
	"errors"
	"fmt"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// maxCommandTypes bounds the commands that a hello names.
const maxCommandTypes = 64

// optionsInput reads a worker's config_options. Nothing of it is passed on that was not
// checked: fields that the hub does not know are left out.
func optionsInput(data []byte) (session.Input, error) {
	var d protocol.WorkerOptionsData
	if err := protocol.Decode(data, &d); err != nil {
		return nil, err
	}
	if err := checkOptions(d.ConfigOptionsData); err != nil {
		return nil, err
	}
	if d.ConfigOptions == nil {
		d.ConfigOptions = []protocol.ConfigOption{}
	}
	return session.InOptions{Data: d.ConfigOptionsData, Command: d.Command}, nil
}

// checkOptions holds a list of options to the limits of the protocol.
func checkOptions(d protocol.ConfigOptionsData) error {
	switch {
	case len(d.ConfigOptions) > protocol.MaxConfigOptions:
		return fmt.Errorf("configOptions are %d: at most %d", len(d.ConfigOptions), protocol.MaxConfigOptions)
	case len(d.Changed) > protocol.MaxConfigOptions+protocol.MaxChosenOptions:
		return fmt.Errorf("changed are %d: at most %d", len(d.Changed), protocol.MaxConfigOptions+protocol.MaxChosenOptions)
	}
	if err := session.FirstOf(
		session.CheckOptional("mode", d.Mode, protocol.MaxNameBytes), session.CheckOptional("by", d.By, protocol.MaxNameBytes),
	); err != nil {
		return err
	}
	for i, id := range d.Changed {
		if err := session.CheckName(fmt.Sprintf("changed[%d]", i), id, protocol.MaxNameBytes); err != nil {
			return err
		}
	}
	values, ids := 0, make(map[string]bool, len(d.ConfigOptions))
	for i, o := range d.ConfigOptions {
		if err := checkOption(o); err != nil {
			return fmt.Errorf("configOptions[%d].%w", i, err)
		}
		if ids[o.ID] {
			return fmt.Errorf("configOptions[%d].id repeats one before it", i)
		}
		ids[o.ID] = true
		values += len(o.Options)
	}
	if values > protocol.MaxConfigValues {
		return fmt.Errorf("the options have %d values: at most %d", values, protocol.MaxConfigValues)
	}
	if size := len(protocol.Marshal(d)); size > protocol.MaxConfigBytes {
		return fmt.Errorf("the data has %d bytes: at most %d", size, protocol.MaxConfigBytes)
	}
	return nil
}

func checkOption(o protocol.ConfigOption) error {
	if err := session.FirstOf(
		session.CheckName("id", o.ID, protocol.MaxNameBytes), session.CheckLength("name", o.Name, protocol.MaxConfigName),
		session.CheckLength("description", o.Description, protocol.MaxConfigText), session.CheckOptional("category", o.Category, protocol.MaxNameBytes),
		session.CheckLength("currentValue", o.CurrentValue.Text, protocol.MaxNameBytes),
	); err != nil {
		return err
	}
	switch o.Type {
	case protocol.ConfigBoolean:
		if !o.CurrentValue.IsBool || len(o.Options) > 0 {
			return errors.New("type is boolean: currentValue must be true or false, and options be left out")
		}
		return nil
	case protocol.ConfigSelect:
		if o.CurrentValue.IsBool {
			return errors.New("type is select: currentValue must be a text")
		}
	default:
		return fmt.Errorf("type is neither %s nor %s", protocol.ConfigSelect, protocol.ConfigBoolean)
	}
	values := make(map[string]bool, len(o.Options))
	for i, v := range o.Options {
		if err := session.FirstOf(
			session.CheckName("value", v.Value, protocol.MaxNameBytes), session.CheckLength("name", v.Name, protocol.MaxConfigName),
			session.CheckLength("description", v.Description, protocol.MaxConfigText), session.CheckLength("group", v.Group, protocol.MaxConfigName),
		); err != nil {
			return fmt.Errorf("options[%d].%w", i, err)
		}
		if values[v.Value] {
			return fmt.Errorf("options[%d].value repeats one before it", i)
		}
		values[v.Value] = true
	}
	return nil
}
