package session

import (
	"fmt"
	"strings"

	"sessionhub/protocol"
)

// choice is an answer to a question: the option that is logged, the option that the agent
// is given, and the kind of the answer.
type choice struct {
	logged string
	agent  string
	kind   string
}

// choose finds the option for an answer. An optionID names the agent's own option. A
// decision takes the first option of that kind, or the nearest on the same side. The hub
// keeps "always" rules itself. So the agent is given its "once", and writes no rule of
// its own. It is given its "always" only if it offers nothing else that allows.
func choose(options []protocol.ApprovalOption, optionID, decision string) (choice, error) {
	byKind := func(kinds ...string) string {
		for _, k := range kinds {
			for _, o := range options {
				if o.Kind == k {
					return o.OptionID
				}
			}
		}
		return ""
	}
	if optionID != "" {
		for _, o := range options {
			if o.OptionID != optionID {
				continue
			}
			c := choice{logged: o.OptionID, agent: o.OptionID, kind: o.Kind}
			if o.Kind == protocol.AllowAlways {
				if once := byKind(protocol.AllowOnce); once != "" {
					c.agent = once
				}
			}
			return c, nil
		}
		return choice{}, fmt.Errorf("%w: the agent offers no option %q, but %s", ErrUnknownOption, Clip(optionID), offered(options))
	}
	var id string
	switch decision {
	case protocol.AllowOnce, protocol.AllowAlways:
		id = byKind(protocol.AllowOnce, protocol.AllowAlways)
	case protocol.RejectOnce:
		id = byKind(protocol.RejectOnce, protocol.RejectAlways)
	case protocol.RejectAlways:
		id = byKind(protocol.RejectAlways, protocol.RejectOnce)
	default:
		return choice{}, fmt.Errorf("%w: want an optionId, or a decision that is allow_once, allow_always, reject_once or reject_always", ErrInvalid)
	}
	if id == "" {
		return choice{}, fmt.Errorf("%w: the agent offers no option for %s, but %s", ErrUnknownOption, decision, offered(options))
	}
	logged := id
	if decision == protocol.AllowAlways {
		if own := byKind(protocol.AllowAlways); own != "" {
			logged = own
		}
	}
	return choice{logged: logged, agent: id, kind: decision}, nil
}

func offered(options []protocol.ApprovalOption) string {
	if len(options) == 0 {
		return "none at all"
	}
	ids := make([]string, len(options))
	for i, o := range options {
		ids[i] = fmt.Sprintf("%q (%s)", Clip(o.OptionID), o.Kind)
	}
	return strings.Join(ids, ", ")
}

// RuleFor is the rule that an "always" on a question makes: the same kind of tool with
// the same full input. If the question has no input, the title and the content stand for
// it. Some agents show only a diff, and gemini has the command in the title alone. A rule
// never covers more than the users saw.
func RuleFor(a protocol.ToolApprovalData) Rule {
	of := a.Input
	if len(of) == 0 || string(of) == "null" || string(of) == "{}" {
		of = protocol.Marshal([]any{a.Title, a.Content})
	}
	return Rule{Kind: a.Kind, Hash: HashJSON(of)}
}
