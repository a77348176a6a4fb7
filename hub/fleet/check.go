package fleet

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sessionhub/hub/session"
	"sessionhub/protocol"
)

// Everything that a worker sends is checked before it is kept: the whole hello before
// the worker is let in, an event's data before it is stored. Each refusal names the field
// and the limit. None repeats the data, which can be a secret.

// checkHello holds a hello to the limits of the protocol.
func checkHello(h protocol.Hello) error {
	if err := session.FirstOf(
		session.CheckName("worker", h.Worker, protocol.MaxNameBytes),
		session.CheckOptional("version", h.Version, protocol.MaxNameBytes),
		session.CheckName("workspace", h.Workspace, protocol.MaxWorkspaceBytes),
	); err != nil {
		return err
	}
	switch {
	case h.Capacity < 1 || h.Capacity > protocol.MaxCapacity:
		return fmt.Errorf("capacity is %d: 1 to %d", h.Capacity, protocol.MaxCapacity)
	case len(h.Sessions) > protocol.MaxHelloSessions:
		return fmt.Errorf("sessions are %d: at most %d", len(h.Sessions), protocol.MaxHelloSessions)
	case len(h.Commands) > maxCommandTypes:
		return fmt.Errorf("commands are %d: at most %d", len(h.Commands), maxCommandTypes)
	case len(h.Requests) > maxRequestMethods:
		return fmt.Errorf("requests are %d: at most %d", len(h.Requests), maxRequestMethods)
	}
	for i, m := range h.Requests {
		if err := session.CheckName(fmt.Sprintf("requests[%d]", i), string(m), protocol.MaxNameBytes); err != nil {
			return err
		}
	}
	for i, c := range h.Commands {
		if err := session.CheckName(fmt.Sprintf("commands[%d]", i), string(c), protocol.MaxNameBytes); err != nil {
			return err
		}
	}
	if err := checkOffer(h.Providers, h.Details); err != nil {
		return err
	}
	named := make(map[string]bool, len(h.Sessions))
	for i, s := range h.Sessions {
		if err := checkHelloSession(s); err != nil {
			return fmt.Errorf("sessions[%d]: %w", i, err)
		}
		if named[s.SessionID] {
			return fmt.Errorf("sessions[%d] repeats one before it", i)
		}
		named[s.SessionID] = true
	}
	return nil
}

func checkHelloSession(s protocol.HelloSession) error {
	err := checkSessionID(s.SessionID)
	if err == nil && s.Turn != nil {
		err = checkTurnID("turn.messageId", s.Turn.MessageID)
	}
	return err
}

func checkSessionID(id string) error {
	return session.CheckName("sessionId", id, protocol.MaxNameBytes)
}

// checkTurnID checks the id of a message in a worker's frame. It may be empty.
func checkTurnID(field, id string) error {
	if err := session.CheckLength(field, id, protocol.MaxMessageIDBytes); err != nil {
		return err
	}
	if i := strings.IndexFunc(id, func(r rune) bool { return r < 0x20 || r > 0x7e }); i >= 0 {
		return fmt.Errorf("%s holds a character at byte %d that is not printable ASCII", field, i)
	}
	return nil
}

// checkData checks the data of an event that changes no state: the types of its fields,
// and the length of its ids and words. Readers rely on these. The data is one compact JSON
// value.
func checkData(t protocol.EventType, data []byte) error {
	switch t {
	case protocol.EventOutput:
		if isPlainOutput(data) {
			return nil
		}
		var d struct {
			MessageID string  `json:"messageId"`
			Text      *string `json:"text"`
			Kind      string  `json:"kind"`
		}
		if err := protocol.DecodePart(data, &d); err != nil {
			return err
		}
		if d.Text == nil {
			return errors.New("text is missing")
		}
		if d.Kind != protocol.OutputText && d.Kind != protocol.OutputThought {
			return fmt.Errorf("kind is neither %s nor %s", protocol.OutputText, protocol.OutputThought)
		}
		return checkTurnID("messageId", d.MessageID)
	case protocol.EventToolCall:
		var d protocol.ToolCallData
		if err := protocol.DecodePart(data, &d); err != nil {
			return err
		}
		if d.ToolCallID == "" {
			return errors.New("toolCallId is missing")
		}
		return session.FirstOf(
			checkTurnID("messageId", d.MessageID), session.CheckLength("toolCallId", d.ToolCallID, protocol.MaxToolIDBytes),
			session.CheckLength("kind", d.Kind, protocol.MaxNameBytes), session.CheckLength("status", d.Status, protocol.MaxNameBytes),
		)
	case protocol.EventPlan:
		var d protocol.PlanData
		if err := protocol.DecodePart(data, &d); err != nil {
			return err
		}
		if d.Entries == nil {
			return errors.New("entries are missing")
		}
		return checkTurnID("messageId", d.MessageID)
	case protocol.EventAgentUpdate:
		var d protocol.AgentUpdateData
		if err := protocol.DecodePart(data, &d); err != nil {
			return err
		}
		if d.Kind == "" || len(d.Raw) == 0 {
			return errors.New("kind or raw is missing")
		}
		return session.CheckLength("kind", d.Kind, protocol.MaxNameBytes)
	case protocol.EventNotice:
		return checkNotice(data)
	case protocol.EventCommands:
		return checkCommands(data)
	}
	return nil
}

// isPlainOutput reports whether data is an output as protocol.Marshal writes it, with an
// id that needs no further check. Most events are a few words of text. To decode each
// again would cost half as much as reading its frame.
func isPlainOutput(data []byte) bool {
	rest, ok := bytes.CutPrefix(data, []byte(`{"text":"`)) // in the background
	if !ok {
		rest, ok = bytes.CutPrefix(data, []byte(`{"messageId":"`))
		n := bytes.IndexByte(rest, '"')
		if !ok || n < 0 || n > protocol.MaxMessageIDBytes {
			return false
		}
		for _, c := range rest[:n] {
			if c < 0x20 || c > 0x7e || c == '\\' {
				return false
			}
		}
		if rest, ok = bytes.CutPrefix(rest[n:], []byte(`","text":"`)); !ok {
			return false
		}
	}
	end := 0
	for end < len(rest) && rest[end] != '"' {
		if rest[end] == '\\' {
			end++
		}
		end++
	}
	kind := rest[min(end, len(rest)):]
	return string(kind) == `","kind":"`+protocol.OutputText+`"}` || string(kind) == `","kind":"`+protocol.OutputThought+`"}`
}

// checkQuestion checks the bounds of a question, except the length of the whole.
func checkQuestion(a protocol.ToolApprovalData) error {
	if len(a.Options) == 0 || len(a.Options) > protocol.MaxApprovalOptions {
		return fmt.Errorf("options are %d: 1 to %d", len(a.Options), protocol.MaxApprovalOptions)
	}
	for i, o := range a.Options {
		at := fmt.Sprintf("options[%d].", i)
		if o.OptionID == "" {
			return errors.New(at + "optionId is missing")
		}
		if err := session.FirstOf(
			session.CheckLength(at+"optionId", o.OptionID, protocol.MaxNameBytes), session.CheckLength(at+"kind", o.Kind, protocol.MaxNameBytes),
			session.CheckLength(at+"name", o.Name, protocol.MaxOptionName),
		); err != nil {
			return err
		}
		// An id for both yes and no would make the answer ambiguous.
		if slices.ContainsFunc(a.Options[:i], func(b protocol.ApprovalOption) bool { return b.OptionID == o.OptionID }) {
			return errors.New(at + "optionId repeats one before it")
		}
	}
	return session.FirstOf(
		checkTurnID("messageId", a.MessageID), session.CheckLength("toolCallId", a.ToolCallID, protocol.MaxToolIDBytes),
		session.CheckLength("kind", a.Kind, protocol.MaxNameBytes),
	)
}
