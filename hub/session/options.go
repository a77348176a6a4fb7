package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"sessionhub/protocol"
)

// Options says in which mode the session's agent is, and what it is told to take when it
// starts. The list of its options lies beside the state: see OptionsPart.
type Options struct {
	Mode   string `json:"mode,omitempty"`   // as it was last told
	Asking *bool  `json:"asking,omitempty"` // in that mode; shared, so never changed in place
	Listed bool   `json:"listed,omitempty"` // there is a list

	// Chosen are the values for the next start, by the option's id. People or the agent have
	// chosen them since the session was created. The map is shared, so a change makes a new
	// one.
	Chosen map[string]protocol.OptionValue `json:"chosen,omitempty"`

	// Takes says that the present worker takes set_option and judges modes. Sent are the
	// commands that it has not answered; the newest of each option is kept.
	Takes bool         `json:"takes,omitempty"`
	Sent  []SentOption `json:"sent,omitempty"`

	// Untold are the options that a worker had not answered when it gave the session back.
	// They were accepted, hold for the next start, and no event says so yet.
	Untold []SentOption `json:"untold,omitempty"`
}

// SentOption is a set_option command that the worker has not answered. By is the user.
type SentOption struct {
	ConfigID string `json:"configId"`
	Command  uint64 `json:"command"`
	By       string `json:"by,omitempty"`
}

// OptionsPart is the key of the part that has the list of the agent's options: a
// protocol.ConfigOptionsData. No part of a question has such a key (see PartKey).
const OptionsPart = "options"

// AgentOptions are what the agent is told to take at its next start.
func (s *State) AgentOptions() protocol.AgentOptions {
	o := s.Info.AgentOptions
	if len(s.Options.Chosen) == 0 {
		return o
	}
	o.Config = maps.Clone(o.Config)
	for id, v := range s.Options.Chosen {
		switch {
		case id == protocol.ConfigMode && !v.IsBool:
			o.Mode = v.Text
		case id == protocol.ConfigModel && !v.IsBool:
			o.Model = v.Text
		default:
			if o.Config == nil {
				o.Config = make(map[string]protocol.OptionValue)
			}
			o.Config[id] = v
		}
	}
	return o
}

// optionStep is a step's part about the agent's options.
type optionStep struct{ *step }

// choose keeps a value for the next start. It reports whether there is room.
func (st optionStep) choose(id string, v protocol.OptionValue) bool {
	o := &st.s.Options
	if _, there := o.Chosen[id]; !there && len(o.Chosen) >= protocol.MaxChosenOptions {
		return false
	}
	o.Chosen = maps.Clone(o.Chosen)
	if o.Chosen == nil {
		o.Chosen = make(map[string]protocol.OptionValue)
	}
	o.Chosen[id] = v
	return true
}

// dropSent forgets the set_option commands up to a seq.
func (st optionStep) dropSent(upTo uint64) {
	o := &st.s.Options
	o.Sent = slices.DeleteFunc(o.Sent, func(sent SentOption) bool {
		if sent.Command <= upTo {
			st.drop = append(st.drop, sent.Command)
		}
		return sent.Command <= upTo
	})
	if len(o.Sent) == 0 {
		o.Sent = nil
	}
}

// end ends what the session's worker was told about options. What it has not answered is
// told of later, by InTellOptions: the list lies beside the state. Without a list, the next
// agent tells of all options when it starts.
func (st optionStep) end() {
	if o := &st.s.Options; o.Listed {
		o.Untold = append(slices.Clip(o.Untold), o.Sent...)
	}
	st.dropSent(st.s.NextCommand)
	st.s.Options.Takes = false
}

// InSetOption sets an option of the agent. A session with a worker passes it on, and the
// worker says what became of it. Otherwise it holds for the next start of the agent.
//
// ErrUnknownOption: there is no such option or value; the error names what there is.
// ErrModeNotAllowed: the providers file does not allow the mode by name.
// ErrNeedsApprove: the agent would not ask any more, and the caller may not decide that.
type InSetOption struct {
	Request protocol.SetOptionRequest
	By      string
	// List is the list of the agent's options as of the state that is decided on; nil: there
	// is none yet.
	List *protocol.ConfigOptionsData
	// MayApprove says that the caller may answer the agent's questions. So it may also
	// decide that the agent asks none.
	MayApprove bool
}

func (in *InSetOption) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return s.Ended()
	}
	if s.Worker != "" && !s.Options.Takes {
		return fmt.Errorf("%w: the session's worker is of a version that cannot change options; update it", ErrUnknownOption)
	}
	option, err := in.judge()
	if err != nil {
		return err
	}
	r := in.Request
	if option != nil {
		r.ConfigID = option.ID
	}
	st.result.Set = protocol.SetOptionResponse(r)
	if option != nil && option.CurrentValue == r.Value && !s.isSent(option.ID) {
		return nil // it holds
	}
	own := optionStep{st}
	if !own.choose(r.ConfigID, r.Value) {
		return fmt.Errorf("%w: %d options of this session were chosen, which is the most", ErrInvalid, protocol.MaxChosenOptions)
	}
	switch {
	case s.Worker != "":
		own.send(r, in.By)
	case option != nil:
		own.listChosen(*in.List, in.By, r.ConfigID)
	}
	return nil
}

// isSent reports whether the worker is about to set an option.
func (s *State) isSent(id string) bool {
	return slices.ContainsFunc(s.Options.Sent, func(sent SentOption) bool { return sent.ConfigID == id })
}

// send tells the worker. An older command for the same option is of no use any more.
func (st optionStep) send(r protocol.SetOptionRequest, by string) {
	o := &st.s.Options
	o.Sent = slices.DeleteFunc(o.Sent, func(sent SentOption) bool {
		if sent.ConfigID == r.ConfigID {
			st.drop = append(st.drop, sent.Command)
		}
		return sent.ConfigID == r.ConfigID
	})
	o.Sent = append(o.Sent, SentOption{r.ConfigID, st.command(protocol.WorkerSetOption, protocol.SetOptionCommand{
		ConfigID: r.ConfigID, Value: r.Value, By: by,
	}), by})
}

// listChosen logs the list of a session that rests, with the chosen values of some options.
// They will hold. An option that the list does not have is left out.
func (st optionStep) listChosen(list protocol.ConfigOptionsData, by string, ids ...string) {
	list.ConfigOptions = slices.Clone(list.ConfigOptions)
	list.Changed, list.By = nil, by
	mode := protocol.FindOption(list.ConfigOptions, protocol.ConfigMode)
	for _, id := range ids {
		changed := protocol.FindOption(list.ConfigOptions, id)
		value, chosen := st.s.Options.Chosen[id]
		if changed == nil || !chosen {
			continue
		}
		changed.CurrentValue = value
		if changed == mode {
			v := changed.Find(value.Text)
			asking := v != nil && v.Asks != nil && *v.Asks // of a mode that was cut from the list, nobody knows that it asks
			list.Mode, list.Asking = value.String(), &asking
		}
		list.Changed = append(list.Changed, changed.ID)
	}
	if len(list.Changed) > 0 {
		st.list(list)
	}
}

// InTellOptions tells people of accepted changes that the worker did not answer before it
// gave the session back. List is the list as of the state that is decided on; nil: it is
// lost.
type InTellOptions struct{ List *protocol.ConfigOptionsData }

func (in *InTellOptions) apply(st *step) error {
	s := st.s
	untold := s.Options.Untold
	if s.Closed != "" || len(untold) == 0 {
		return nil
	}
	s.Options.Untold = nil
	if in.List == nil {
		return nil
	}
	var ids []string
	for _, o := range untold {
		if !slices.Contains(ids, o.ConfigID) {
			ids = append(ids, o.ConfigID)
		}
	}
	optionStep{st}.listChosen(*in.List, untold[len(untold)-1].By, ids...)
	return nil
}

// list logs a list and keeps it.
func (st optionStep) list(data protocol.ConfigOptionsData) {
	o := &st.s.Options
	o.Mode, o.Asking, o.Listed, o.Untold = data.Mode, data.Asking, true, nil
	st.event(protocol.EventConfigOptions, data)
	st.parts = append(st.parts, Part{Key: OptionsPart, Data: protocol.Marshal(data)})
}

// judge finds the option that is meant, and refuses what the list shows to be wrong. The
// worker judges again what the list does not show. nil: there is no list that could tell.
func (in *InSetOption) judge() (*protocol.ConfigOption, error) {
	r := in.Request
	if in.List == nil {
		// Nobody knows yet what the option is. Anything but a model could be a mode.
		if r.ConfigID != protocol.ConfigModel && !in.MayApprove {
			return nil, fmt.Errorf("%w: %q may make the agent act without asking, and it has told no options yet", ErrNeedsApprove, Clip(r.ConfigID))
		}
		return nil, nil
	}
	option := protocol.FindOption(in.List.ConfigOptions, r.ConfigID)
	if option == nil {
		return nil, fmt.Errorf("%w %q: there are %s", ErrUnknownOption, Clip(r.ConfigID), optionNames(in.List.ConfigOptions))
	}
	if option.Type == protocol.ConfigBoolean {
		if !r.Value.IsBool {
			return nil, fmt.Errorf("%w: %q takes true or false", ErrUnknownOption, option.ID)
		}
		return option, in.mayUnasked(protocol.IsHarmless(option.Category, option.ID))
	}
	value := option.Find(r.Value.Text)
	switch {
	case r.Value.IsBool:
		return nil, fmt.Errorf("%w: %q takes one of %s", ErrUnknownOption, option.ID, valueNames(option.Options))
	case value == nil && !in.List.Truncated:
		return nil, fmt.Errorf("%w: %q has no value %q; there are %s", ErrUnknownOption, option.ID, Clip(r.Value.Text), valueNames(option.Options))
	case value != nil && value.Allowed != nil && !*value.Allowed:
		return nil, fmt.Errorf("%w: %q; allowed are %s", ErrModeNotAllowed, Clip(r.Value.Text), valueNames(slices.DeleteFunc(
			slices.Clone(option.Options), func(v protocol.ConfigValue) bool { return v.Allowed != nil && !*v.Allowed })))
	}
	asks := value != nil && value.Asks != nil && *value.Asks
	return option, in.mayUnasked(asks || protocol.IsHarmless(option.Category, option.ID) && (value == nil || value.Asks == nil))
}

// mayUnasked refuses a change after which the agent could act without asking, unless the
// caller may decide that. safe says that the agent asks as before.
func (in *InSetOption) mayUnasked(safe bool) error {
	if safe || in.MayApprove {
		return nil
	}
	return fmt.Errorf("%w: with %q the agent may act without asking", ErrNeedsApprove, Clip(in.Request.Value.String()))
}

func optionNames(list []protocol.ConfigOption) string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.ID
	}
	return someNames(names)
}

func valueNames(list []protocol.ConfigValue) string {
	names := make([]string, len(list))
	for i, v := range list {
		names[i] = v.Value
	}
	return someNames(names)
}

// someNames joins names for a person: the first 20, and the number of the others.
func someNames(names []string) string {
	const most = 20
	switch {
	case len(names) == 0:
		return "none"
	case len(names) > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// InRejoin says that the session's worker is back, over another link. A node of an earlier
// version may have made the assignment: it did not note what the worker takes.
type InRejoin struct {
	Options bool // the worker takes set_option and judges modes
}

func (in InRejoin) apply(st *step) error {
	switch s := st.s; {
	case s.Closed != "":
	case in.Options:
		s.Options.Takes = true
	default:
		optionStep{st}.end()
	}
	return nil
}

// InOptions is a worker's list of its agent's options. Command is the last set_option
// command that the worker has dealt with.
type InOptions struct {
	Data    protocol.ConfigOptionsData
	Command uint64
}

func (in InOptions) apply(st *step) error {
	s := st.s
	if s.Closed != "" {
		return nil
	}
	if !s.Options.Takes { // it would not judge the modes that it tells of
		return &Refusal{protocol.LinkForbidden, "config_options may come only from a worker whose hello names set_option"}
	}
	own := optionStep{st}
	own.dropSent(in.Command)
	for _, id := range in.Data.Changed {
		if s.isSent(id) {
			continue // a later choice is on its way
		}
		if o := protocol.FindOption(in.Data.ConfigOptions, id); o != nil && o.ID == id {
			own.choose(id, o.CurrentValue) // without room, the agent's own value holds at its next start
		} else {
			own.forget(id)
		}
	}
	own.list(in.Data)
	return nil
}

// forget drops a value that the agent does not have any more.
func (st optionStep) forget(id string) {
	o := &st.s.Options
	if _, there := o.Chosen[id]; !there {
		return
	}
	o.Chosen = maps.Clone(o.Chosen)
	delete(o.Chosen, id)
	if len(o.Chosen) == 0 {
		o.Chosen = nil
	}
}

// InNeedsJudge says that a waiting session cannot run on the workers that are there: it
// names a mode, and they are of a version that does not judge modes. Or it takes up one of
// its agent's sessions, and they do not load those.
type InNeedsJudge struct{}

func (InNeedsJudge) apply(st *step) error {
	if !st.s.NeedsWorker() {
		return nil
	}
	id, why := "", "the session names a mode, and only a newer worker judges modes: update the workers"
	if wants(st.s) {
		id = st.s.Messages[0].ID
	}
	if st.s.Load != "" {
		why = "the session takes up one of its agent's, and no worker is there that may load it"
	}
	st.status(protocol.StatusQueued, id, why)
	return nil
}
