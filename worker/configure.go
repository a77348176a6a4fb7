package worker

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"sessionhub/protocol"
)

// want is a value that an option has to get before the agent is ready.
type want struct {
	id    string
	value protocol.OptionValue
	named bool // by the session; else by the provider
}

// configuration is the work on an agent's options before it is ready. A session whose agent
// has never been ready fails if anything is refused: whoever made it must learn so. Later the
// session goes on with what holds, and a notice says so. In either case the agent is ready
// only in an allowed mode.
type configuration struct {
	s       *session
	a       *agent
	first   bool     // no agent of the session was ready before
	settled []string // the options whose wanted value was refused
}

// configure has the agent take the values that the session wants. The model comes first:
// with some agents it decides which modes there are. The mode comes last, so that nothing
// changes it any more.
func (s *session) configure() {
	a := s.agent
	a.guard = newGuard(s.provider, a.options)
	c := &configuration{s: s, a: a, first: (s.agentSession == "" || s.assign.Load) && !s.ranBefore}
	var wants []want
	model, named := s.opt.wanted[protocol.ConfigModel]
	if !named {
		model = protocol.TextValue(s.provider.Model)
	}
	if model != (protocol.OptionValue{}) {
		wants = append(wants, want{protocol.ConfigModel, model, named})
	}
	for _, id := range slices.Sorted(maps.Keys(s.opt.wanted)) {
		if id != protocol.ConfigModel && id != protocol.ConfigMode {
			wants = append(wants, want{id, s.opt.wanted[id], true})
		}
	}
	c.take(wants)
}

// take sets the options, and the mode after them.
func (c *configuration) take(wants []want) {
	if len(wants) == 0 {
		c.takeMode()
		return
	}
	w := wants[0]
	next := func() { c.take(wants[1:]) }
	o := c.a.options.find(w.id)
	if mode := c.a.options.find(protocol.ConfigMode); mode != nil && o == mode {
		next() // takeMode finds it
		return
	}
	c.set(w, o, next, func(why string) {
		if c.first || !w.named {
			c.s.sessionRefused("%s", why)
			return
		}
		c.settled = append(c.settled, w.id)
		c.s.notify(protocol.NoticeOptionRefused, "The agent goes on with another value: "+why)
		next()
	})
}

// set has the agent take one value, and checks that it did. refused gets a reason for people.
func (c *configuration) set(w want, o *option, next func(), refused func(why string)) {
	what := w.id
	if o != nil {
		what = o.what()
	}
	value := clip(w.value.String(), protocol.MaxNameBytes)
	switch {
	case o == nil || !o.offers(w.value):
		refused(fmt.Sprintf("%s %q not offered: offered %s", what, value, o.offered()))
		return
	case !c.a.guard.may(c.a.options, o, w.value):
		refused(fmt.Sprintf("%s %q not allowed: the worker's providers file must name it in askingModes or allowedModes; it names %s",
			what, value, c.a.guard.rules.names()))
		return
	case o.current == w.value:
		next()
		return
	}
	method := o.method
	c.s.callOption(o, w.value, func(err error) {
		slipped, isSlip := errors.AsType[*notKept](err)
		switch {
		case authRequired(err): // a person can log in: the session does not end
			c.s.startRefused(method, err)
		case isSlip:
			refused(fmt.Sprintf("%s %q was not kept: %s", what, value, slipped))
		case err != nil:
			refused(fmt.Sprintf("%s %q refused: %s", what, value, err))
		default:
			next()
		}
	})
}

// takeMode sets the mode that the session wants.
func (c *configuration) takeMode() {
	mode := c.a.options.find(protocol.ConfigMode)
	value, named := c.s.opt.wanted[protocol.ConfigMode]
	id := protocol.ConfigMode
	if mode != nil {
		if own, there := c.s.opt.wanted[mode.id]; there {
			value, named = own, true
		}
		id = mode.id
	}
	if !named {
		c.takeDefaultMode()
		return
	}
	c.set(want{protocol.ConfigMode, value, true}, mode, c.done, func(why string) {
		if c.first {
			c.s.sessionRefused("%s", why)
			return
		}
		c.settled = append(c.settled, id)
		c.s.notify(protocol.NoticeModeRestored, "The agent begins in its usual mode: "+why)
		c.takeDefaultMode()
	})
}

// takeDefaultMode sets the provider's mode, or else one in which the agent asks.
func (c *configuration) takeDefaultMode() {
	mode := c.a.options.find(protocol.ConfigMode)
	value := c.s.provider.Mode
	if value == "" {
		if mode == nil && len(c.s.provider.AskingModes) == 0 {
			c.done()
			return
		}
		if value = c.defaultMode(mode); value == "" {
			c.s.sessionRefused("modes: the agent offers %s, and the worker's providers file allows %s", mode.offered(), c.a.guard.rules.names())
			return
		}
	}
	if mode != nil && mode.boolean {
		c.done() // it stays as the agent is configured
		return
	}
	c.set(want{protocol.ConfigMode, protocol.TextValue(value), false}, mode, c.done, func(why string) { c.s.sessionRefused("%s", why) })
}

// defaultMode is the agent's present mode if it asks in it, or else the first one in which it
// asks. If it asks in none, a mode is taken that is allowed all the same. Empty: there is none.
func (c *configuration) defaultMode(mode *option) string {
	if mode == nil {
		return ""
	}
	if mode.boolean {
		return mode.current.String()
	}
	rules := c.a.guard.rules
	for _, fits := range []func(string) bool{rules.asks, rules.may} {
		if fits(mode.current.Text) {
			return mode.current.Text
		}
		for _, v := range mode.values {
			if fits(v.Value) {
				return v.Value
			}
		}
	}
	return ""
}

// done is the end of the work: the agent is ready, if all its options have allowed values.
func (c *configuration) done() {
	if o := c.a.guard.offender(c.a.options); o != nil {
		c.s.sessionRefused("the agent is in %s %q, which the worker's providers file does not allow; it allows %s",
			o.what(), clip(o.current.String(), protocol.MaxNameBytes), c.a.guard.rules.names())
		return
	}
	c.s.agentReady(c.settled)
}
