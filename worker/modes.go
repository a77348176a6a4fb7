package worker

import (
	"slices"
	"strings"

	"sessionhub/protocol"
)

// modeRules says in which modes an agent asks before it acts, and which of the others it may
// be in. A mode that neither list names is not allowed. A rule names a mode by its id. For
// an agent with several options of the category "mode", it may also name an option's value
// as ID=VALUE.
type modeRules struct {
	asking  []string
	allowed []string
}

// modeRules are the provider's rules. Without askingModes, the provider's mode counts as one
// in which the agent asks. If the file names no mode at all, the agent stays in the mode in
// which it starts by its own configuration. Nobody has said that it asks there, so that mode
// counts as one in which it does not: the first mode of claude is one in which a model
// approves. A mode that the file lists as one that does not ask never counts as asking.
func (p Provider) modeRules(start string) modeRules {
	r := modeRules{asking: p.AskingModes, allowed: p.AllowedModes}
	switch {
	case len(r.asking) > 0:
	case p.Mode != "":
		if !slices.Contains(r.allowed, p.Mode) {
			r.asking = []string{p.Mode}
		}
	case len(r.allowed) == 0 && start != "":
		r.allowed = []string{start}
	}
	return r
}

func (r modeRules) asks(mode string) bool { return slices.Contains(r.asking, mode) }

// may reports whether the agent may be in a mode.
func (r modeRules) may(mode string) bool { return r.asks(mode) || slices.Contains(r.allowed, mode) }

// names lists the modes that may be used, for a person.
func (r modeRules) names() string {
	all := slices.Concat(r.asking, r.allowed)
	if len(all) == 0 {
		return "none"
	}
	return clip(strings.Join(all, ", "), 1<<10)
}

// guard judges the values of an agent's options by the rules. It is made anew for each
// session that is opened in an agent.
type guard struct {
	rules modeRules
	// began are the values of the options of the category "mode" when the agent began. They
	// are the operator's own configuration of the agent. They count for options beside the
	// first one, about whose values the rules may say nothing.
	began map[string]protocol.OptionValue
}

func newGuard(p Provider, o *options) guard {
	g := guard{began: make(map[string]protocol.OptionValue)}
	g.rules = p.modeRules(o.current(protocol.ConfigMode))
	for i := range o.list {
		if o.list[i].isMode() {
			g.began[o.list[i].id] = o.list[i].current
		}
	}
	return g
}

// may reports whether an option may have a value. Options of the category "mode" have only
// values that the rules name. So does any other option whose value is the id of a mode,
// unless its category says that it is about something else.
func (g guard) may(all *options, o *option, v protocol.OptionValue) bool {
	switch {
	case o.harmless():
		return true
	case !o.isMode():
		mode := all.find(protocol.ConfigMode)
		named := !v.IsBool && (mode != nil && mode.offers(v) || slices.Contains(all.modes, v.Text))
		return !named || g.rules.may(v.Text) || g.rules.may(o.id+"="+v.String())
	case o == all.find(protocol.ConfigMode):
		return g.rules.may(v.String()) || g.rules.may(o.id+"="+v.String())
	}
	return v == g.began[o.id] || g.rules.may(v.String()) || g.rules.may(o.id+"="+v.String())
}

// asks reports whether the agent asks while an option of the category "mode" has a value.
func (g guard) asks(all *options, o *option, v protocol.OptionValue) bool {
	if g.rules.asks(v.String()) || g.rules.asks(o.id+"="+v.String()) {
		return true
	}
	named := slices.Contains(g.rules.allowed, v.String()) || slices.Contains(g.rules.allowed, o.id+"="+v.String())
	return o != all.find(protocol.ConfigMode) && v == g.began[o.id] && !named
}

// asking reports whether the agent asks with the values that its options have. nil: it has
// no modes, so nobody can tell.
func (g guard) asking(all *options) *bool {
	var asks *bool
	for i := range all.list {
		if o := &all.list[i]; o.isMode() {
			yes := g.asks(all, o, o.current) && (asks == nil || *asks)
			asks = &yes
		}
	}
	return asks
}

// offender gives the first option whose value is not allowed, or nil.
func (g guard) offender(all *options) *option {
	for i := range all.list {
		if o := &all.list[i]; !g.may(all, o, o.current) {
			return o
		}
	}
	return nil
}
