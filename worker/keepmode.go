package worker

import (
	"encoding/json"
	"fmt"

	"sessionhub/protocol"
)

// The kinds of updates with which an agent tells that it has changed an option by itself.
const (
	modeUpdate    = "current_mode_update"
	optionsUpdate = "config_option_update"
)

// onOptionUpdate handles an agent's own change of its options. It reports false if the
// update cannot be read.
func (s *session) onOptionUpdate(kind, modeID string, list json.RawMessage) bool {
	a := s.agent
	if kind == modeUpdate {
		if modeID == "" {
			return false
		}
		a.modeSeen = modeID
	}
	if a.options == nil { // the session is not open yet, and the answer that opens it tells all
		return true
	}
	switch kind {
	case modeUpdate:
		mode := a.options.find(protocol.ConfigMode)
		if mode == nil {
			return false // an agent that has told of no modes has none
		}
		if !mode.boolean {
			mode.current = protocol.TextValue(clip(modeID, protocol.MaxNameBytes-8))
		}
	default:
		if !a.options.readList(list) {
			return false
		}
	}
	if a.ready {
		if !s.checkModes() {
			s.optionsChanged()
		}
	}
	return true
}

// keepGood remembers the values to go back to.
func (s *session) keepGood() {
	if s.opt.guard.offender(s.opt.agents) == nil {
		s.opt.good = s.opt.agents.values()
	}
}

// checkModes sets an option back whose value is not allowed. It reports whether there is one.
// The log is told of it when the value is set back.
func (s *session) checkModes() (bad bool) {
	a := s.agent
	if a == nil || !a.ready || a.stopped {
		return false
	}
	o := s.opt.guard.offender(s.opt.agents)
	if o == nil {
		s.opt.good = s.opt.agents.values()
		return false
	}
	if s.opt.restoring != "" {
		return true // under way
	}
	was, back := o.current, s.opt.good[o.id]
	if s.opt.restored++; s.opt.restored > maxRestored || !o.offers(back) || !s.opt.guard.may(s.opt.agents, o, back) {
		s.modeRefused(o, was, "and could not be set back")
		return true
	}
	s.log.Warn("the agent went into a mode that is not allowed", "option", o.id, "value", printable(was.String()))
	id := o.id
	s.opt.restoring = id
	s.opt.restoreTimer.Reset(s.w.cfg.CancelGrace)
	s.callOption(o, back, func(err error) {
		if s.opt.restoring != id || s.agent != a {
			return
		}
		s.opt.restoring = ""
		s.opt.restoreTimer.Stop()
		if now := s.opt.agents.find(id); err != nil || now == nil {
			s.modeRefused(o, was, fmt.Sprintf("and could not be set back: %v", err))
			return
		}
		s.notify(protocol.NoticeModeRestored, fmt.Sprintf("The agent set %s to %q by itself. The worker's providers file does not allow that, so it was set back to %q.",
			id, was.String(), back.String()))
		if !s.checkModes() { // something else may have changed with it
			s.optionsChanged()
		}
	})
	return true
}

// onRestoreTimeout stops an agent that does not go back to an allowed mode.
func (s *session) onRestoreTimeout() {
	if o := s.opt.agents.find(s.opt.restoring); o != nil {
		s.modeRefused(o, o.current, fmt.Sprintf("and has not gone back within %s", s.w.cfg.CancelGrace))
	}
}

// modeRefused stops an agent that stays in a mode that is not allowed. The turn ends with it.
func (s *session) modeRefused(o *option, was protocol.OptionValue, more string) {
	s.opt.restoring = ""
	s.opt.restoreTimer.Stop()
	s.agentFailed(protocol.TurnError{Code: protocol.TurnModeRefused, Message: fmt.Sprintf(
		"the agent set %s to %q by itself, which the worker's providers file does not allow, %s; it was stopped", o.id, was.String(), more)})
}

// allowedAnswers leaves out the answers to a question that are the names of modes which are
// not allowed. With some agents (claude, at the end of a plan) such an answer is also a
// change of the mode. If no other answer is left, all stay: the mode is set back then.
func (s *session) allowedAnswers(all []protocol.ApprovalOption) []protocol.ApprovalOption {
	if s.opt.agents == nil {
		return all
	}
	mode := s.opt.agents.find(protocol.ConfigMode)
	if mode == nil {
		return all
	}
	var kept []protocol.ApprovalOption
	for _, answer := range all {
		v := protocol.TextValue(answer.OptionID)
		if no := answer.Kind == protocol.RejectOnce || answer.Kind == protocol.RejectAlways; no || !mode.offers(v) || s.opt.guard.may(s.opt.agents, mode, v) {
			kept = append(kept, answer)
		}
	}
	if len(kept) == 0 {
		return all
	}
	return kept
}
