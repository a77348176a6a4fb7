package hub

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	"sessionhub/protocol"
)

// choice is an answer to a question: the option that is logged, the kind of
// answer that it is, and the option that the agent is given.
type choice struct {
	logged string
	agent  string
	kind   string
}

// choose finds the option for an answer. With optionID it is the agent's own
// option; with decision the first one of that kind, or the nearest on the same
// side. "Always" is the hub's: the agent is given its "once", so that it writes
// no rule of its own; its own "always" only if it offers nothing else that
// allows.
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
		return choice{}, fmt.Errorf("%w: the agent offers no option %q, but %s", ErrUnknownOption, clip(optionID), offered(options))
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
		ids[i] = fmt.Sprintf("%q (%s)", clip(o.OptionID), o.Kind)
	}
	return strings.Join(ids, ", ")
}

// clip bounds what an error says of a caller's value.
func clip(s string) string {
	const most = 100
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}

// ruleFor is what an "always" on a question means: the same kind of tool with the
// same full input. Where nobody told the input, all that the users saw stands for
// it: some agents show only a diff, and gemini has the command in the title alone.
// A rule never covers what was not seen.
func ruleFor(a protocol.ToolApprovalData) Rule {
	of := a.Input
	if len(of) == 0 || string(of) == "null" || string(of) == "{}" {
		of = protocol.Marshal([]any{a.Title, a.Content})
	}
	return Rule{Kind: a.Kind, Hash: hashJSON(of)}
}

// hashJSON names a JSON value: two that differ only in white space, in the
// order of keys or in how a string is escaped have the same hash.
func hashJSON(raw json.RawMessage) string {
	b := []byte(raw)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // keep 1.0 and 1 apart, and large numbers exact
	var v any
	if dec.Decode(&v) == nil {
		if c, err := json.Marshal(v); err == nil { // sorts the keys
			b = c
		}
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
