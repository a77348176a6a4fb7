package worker

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"sessionhub/protocol"
)

// optionState is what a session knows of its agent's options. Owned by the session's runner.
type optionState struct {
	wanted map[string]protocol.OptionValue // for the next start, by id
	agents *options                        // of the agent that runs or ran last; nil: none was ready
	guard  guard                           // of that agent
	good   map[string]protocol.OptionValue // the last allowed values, by id

	told   map[string]protocol.OptionValue // the values that the hub was told; nil: none
	before string                          // the list that the hub was told, as JSON

	taken    uint64      // seq of the last set_option command
	queue    []setOption // wait for their turn: one is under way at a time
	under    *setOption  // the one under way
	setTimer *time.Timer // runs while one is under way

	restoring    string // id of the option that is being set back; empty: none
	restored     int    // how often in this turn
	restoreTimer *time.Timer
}

// setOption is a person's change of an option.
type setOption struct {
	protocol.SetOptionCommand
	seq uint64
}

// maxRestored is how often in a turn the worker sets an option back. Then the agent is
// stopped: it does not stay in an allowed mode.
const maxRestored = 3

func newOptionState(o protocol.AgentOptions) optionState {
	s := optionState{wanted: maps.Clone(o.Config), setTimer: stoppedTimer(), restoreTimer: stoppedTimer()}
	if s.wanted == nil {
		s.wanted = make(map[string]protocol.OptionValue)
	}
	for id, v := range map[string]string{protocol.ConfigMode: o.Mode, protocol.ConfigModel: o.Model} {
		if v != "" {
			s.wanted[id] = protocol.TextValue(v)
		}
	}
	return s
}

// onSetOption takes a person's change. It may come again after a reconnect.
func (s *session) onSetOption(seq uint64, c protocol.SetOptionCommand) {
	if seq <= s.opt.taken {
		return
	}
	s.opt.taken = seq
	// A later change of the same option takes the place of one that waits.
	s.opt.queue = slices.DeleteFunc(s.opt.queue, func(q setOption) bool { return q.ConfigID == c.ConfigID })
	s.opt.queue = append(s.opt.queue, setOption{c, seq})
	s.nextOption()
}

// nextOption begins the next change that waits. While an agent starts, changes wait for its
// end. Without an agent they hold for the next start.
func (s *session) nextOption() {
	for s.opt.under == nil && len(s.opt.queue) > 0 {
		a := s.agent
		if a != nil && !a.stopped && !a.ready {
			return
		}
		next := s.opt.queue[0]
		s.opt.queue = s.opt.queue[1:]
		if s.opt.agents == nil {
			// Nobody knows the agent's options yet. The hub keeps the command until it is
			// told of them.
			s.opt.wanted[next.ConfigID] = next.Value
			continue
		}
		o := s.opt.agents.find(next.ConfigID)
		if why := s.judge(o, next.SetOptionCommand); why != "" {
			s.optionRefused(next, o, why)
			continue
		}
		switch {
		case a == nil || a.stopped:
			o.current = next.Value
			s.optionSet(next, o)
		case o.current == next.Value:
			s.optionSet(next, o)
		default:
			s.opt.under = &next
			s.opt.setTimer.Reset(s.w.cfg.CancelGrace)
			s.callOption(o, next.Value, func(err error) { s.optionAnswered(&next, err) })
		}
	}
}

// judge says why an option may not get a value; empty: it may.
func (s *session) judge(o *option, c protocol.SetOptionCommand) string {
	switch {
	case o == nil:
		return "the agent has no such option"
	case !o.offers(c.Value):
		return fmt.Sprintf("the agent offers %s", o.offered())
	case !s.opt.guard.may(s.opt.agents, o, c.Value):
		return fmt.Sprintf("the worker's providers file does not allow it; allowed are %s", s.opt.guard.rules.names())
	}
	return ""
}

// callOption has the agent set an option. done is called when the agent has answered, with
// the list as it is then. It is not called if the agent ends.
func (s *session) callOption(o *option, v protocol.OptionValue, done func(error)) {
	a, id := s.agent, o.id
	a.modeSeen = ""
	s.call(o.method, o.params(a.sessionID, v), func(result json.RawMessage, err error) {
		if err == nil {
			err = a.options.answered(id, v, result, a.modeSeen)
		}
		done(err)
	})
}

// answered notes the agent's answer to a change. The answer to set_config_option has the
// list as it is now. For the older methods, the value is the one that was asked for, unless
// the agent has told another mode meanwhile.
func (o *options) answered(id string, want protocol.OptionValue, result json.RawMessage, modeSeen string) error {
	set := o.find(id)
	if set == nil {
		return nil // the list has changed meanwhile, and what holds is in it
	}
	switch {
	case set.method == setConfigOption:
		var told struct {
			ConfigOptions json.RawMessage `json:"configOptions"`
		}
		_ = json.Unmarshal(result, &told) // without a list, the value counts as taken
		if !o.readList(told.ConfigOptions) {
			set.current = want
		}
	case set.isMode() && modeSeen != "" && modeSeen != want.Text:
		return &notKept{modeSeen, "is in"}
	default:
		set.current = want
	}
	if now := o.find(id); now == nil || now.current != want {
		has := "nothing"
		if now != nil {
			has = now.current.String()
		}
		return &notKept{has, "has"}
	}
	return nil
}

// notKept says that an agent has answered a change without an error, and has not made it.
type notKept struct{ has, how string }

func (e *notKept) Error() string { return fmt.Sprintf("the agent %s %q", e.how, clip(e.has, 256)) }

// optionAnswered ends a change that was under way.
func (s *session) optionAnswered(set *setOption, err error) {
	late := s.opt.under != set
	if !late {
		s.opt.under = nil
		s.opt.setTimer.Stop()
	}
	o := s.opt.agents.find(set.ConfigID)
	switch {
	case late: // it was told as refused; what holds now is told as the agent's own change
		s.optionsChanged()
	case err != nil:
		s.optionRefused(*set, o, err.Error())
	case o == nil:
		s.optionRefused(*set, o, "the agent does not have it any more")
	default:
		s.optionSet(*set, o)
	}
	s.checkModes()
	s.nextOption()
}

// onOptionTimeout gives up a change that the agent does not answer.
func (s *session) onOptionTimeout() {
	if set := s.opt.under; set != nil {
		s.opt.under = nil
		s.optionRefused(*set, s.opt.agents.find(set.ConfigID), fmt.Sprintf("the agent has not answered within %s", s.w.cfg.CancelGrace))
		s.nextOption()
	}
}

func (s *session) optionSet(set setOption, o *option) {
	s.keepGood()
	s.tellOptions(set.By, set.seq, o.id)
}

// optionRefused tells people that a change was not made, and what holds.
func (s *session) optionRefused(set setOption, o *option, why string) {
	id := set.ConfigID
	if o != nil {
		id = o.id
	}
	s.notify(protocol.NoticeOptionRefused, fmt.Sprintf("%s was not set to %q: %s", id, set.Value.String(), why))
	s.tellOptions("", set.seq, id)
}

// optionsChanged tells of a change that the agent has made by itself. While a person's
// change is under way, its answer tells of both.
func (s *session) optionsChanged() {
	s.told.untold.options = true
	s.tellSoon()
}

// tellOptions publishes the list. command is the command that it answers, or 0. settled are
// options whose values were decided, also if they are as before. Nothing is published if
// there is nothing new.
func (s *session) tellOptions(by string, command uint64, settled ...string) {
	data := s.opt.agents.data(s.opt.guard, s.w.cfg.MaxEventBytes-eventMargin)
	values := s.opt.agents.values()
	list := string(protocol.Marshal(data))
	if list == s.opt.before && command == 0 && len(settled) == 0 {
		return
	}
	data.By = clip(by, protocol.MaxNameBytes)
	for _, o := range data.ConfigOptions {
		if was, told := s.opt.told[o.ID]; told && was != o.CurrentValue || slices.Contains(settled, o.ID) {
			data.Changed = append(data.Changed, o.ID)
		}
	}
	for _, id := range settled {
		if usableID(id) && !slices.Contains(data.Changed, id) {
			data.Changed = append(data.Changed, id) // it is not in the list
		}
	}
	for _, id := range data.Changed {
		if v, there := values[id]; there {
			s.opt.wanted[id] = v
		} else {
			delete(s.opt.wanted, id)
		}
	}
	s.opt.told, s.opt.before = values, list
	s.publish(protocol.EventConfigOptions, protocol.WorkerOptionsData{ConfigOptionsData: data, Command: command})
}

// beginOptions runs when an agent is ready. settled are the options that did not get the
// values that the session wanted.
func (s *session) beginOptions(settled []string) {
	a := s.agent
	s.opt.agents, s.opt.guard, s.opt.good = a.options, a.guard, a.options.values()
	s.opt.told, s.opt.before = nil, ""
	command := s.opt.taken
	if len(s.opt.queue) > 0 { // these are still to come
		command = s.opt.queue[0].seq - 1
	}
	if len(a.options.list) > 0 || len(settled) > 0 || command > 0 || s.assign.Resume {
		s.tellOptions("", command, settled...)
	}
}

// endOptions runs when the agent is gone. Changes that it has not answered hold for the next
// start.
func (s *session) endOptions() {
	s.opt.setTimer.Stop()
	s.opt.restoreTimer.Stop()
	s.opt.restoring, s.opt.restored = "", 0
	if set := s.opt.under; set != nil {
		s.opt.under = nil
		s.opt.queue = slices.Insert(s.opt.queue, 0, *set)
	}
	s.nextOption()
}
