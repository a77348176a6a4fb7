package protocol

import (
	"encoding/json"
	"time"
)

// moment has digits behind the millisecond, which the wire leaves out.
var moment = time.Date(2026, 3, 4, 5, 6, 7, 89_123_456, time.FixedZone("east", 3600))

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// logged is an event as a stream writes it: built by the encoders, not by
// marshalling Event, which only readers use.
func logged(name string, seq, from uint64, t EventType, data any) golden {
	d := Marshal(data)
	e := Entry{Seq: seq, From: from, Type: t, Tail: AppendEventTail(nil, t, moment, d)}
	return golden{
		name: name, wire: e.AppendJSON(nil),
		value: Event{Seq: seq, From: from, Type: t, Time: moment.UTC().Truncate(time.Millisecond), Data: d},
	}
}

func goldenEvents() []golden {
	expires := moment.UTC()
	event := func(seq uint64, t EventType, data any) golden {
		return logged("event_"+string(t), seq, 0, t, data)
	}
	all := []golden{
		event(1, EventStatus, StatusData{Status: StatusRunning, MessageID: "m1", Detail: "why <so> & so"}),
		event(2, EventMessage, MessageData{MessageID: "m1", Content: raw(`[{"type":"text","text":"hi"}]`), UserID: "u1"}),
		event(3, EventOutput, OutputData{MessageID: "m1", Text: "a\r\nb \u2028 \x00 \"q\" <&> ü 😀", Kind: OutputText}),
		event(4, EventToolCall, ToolCallData{
			MessageID: "m1", ToolCallID: "t1", Title: "run", Kind: "execute", Status: "completed", Input: raw(`{"command":"ls"}`),
			Output: raw(`{"exit":0}`), Content: []json.RawMessage{raw(`{"type":"content"}`)}, Locations: []json.RawMessage{raw(`{"path":"a"}`)},
		}),
		event(5, EventPlan, PlanData{MessageID: "m1", Entries: []PlanEntry{{Content: "do", Priority: "high", Status: "pending"}}}),
		event(6, EventToolApproval, ToolApprovalData{
			MessageID: "m1", InteractionID: "i1", ToolCallID: "t1", Title: "run", Kind: "execute", Input: raw(`{"command":"ls"}`),
			Content: []json.RawMessage{raw(`{"type":"diff"}`)}, Options: []ApprovalOption{{OptionID: "o1", Name: "Yes", Kind: AllowOnce}}, ExpiresAt: &expires,
		}),
		event(7, EventApprovalResolved, ApprovalResolvedData{InteractionID: "i1", Outcome: OutcomeSelected, OptionID: "o1", Kind: AllowOnce, By: "u1"}),
		event(8, EventAgentUpdate, AgentUpdateData{Kind: "usage_update", Raw: raw(`{"used":1}`)}),
		event(9, EventComplete, CompleteData{
			MessageID: "m1", StopReason: StopError, Error: &TurnError{Code: TurnWorkerLost, Message: "lost", Retryable: true}, Usage: raw(`{"tokens":1}`),
		}),
		event(10, EventClosed, ClosedData{Reason: ClosedDeleted}),
		logged("event_compacted", 57, 12, EventOutput, OutputData{MessageID: "m1", Text: "long", Kind: OutputThought}),
	}
	// The data alone, with what is optional left out.
	return append(all,
		golden{name: "status_least", value: StatusData{Status: StatusIdle}},
		golden{name: "tool_call_least", value: ToolCallData{MessageID: "m1", ToolCallID: "t1"}},
		golden{name: "tool_approval_least", value: ToolApprovalData{Input: raw("{}"), Options: []ApprovalOption{}}},
		golden{name: "approval_resolved_least", value: ApprovalResolvedData{InteractionID: "i1", Outcome: OutcomeExpired}},
		golden{name: "complete_least", value: CompleteData{MessageID: "m1", StopReason: StopEndTurn}},
	)
}

// controlFrame is how a client decodes any control frame.
type controlFrame struct {
	Type ControlType     `json:"type"`
	Time time.Time       `json:"time"`
	Data json.RawMessage `json:"data"`
}

func goldenControls() []golden {
	control := func(t ControlType, data any) golden {
		return golden{
			name: "control_" + string(t), wire: AppendControl(nil, t, moment, data),
			value: controlFrame{Type: t, Time: moment.UTC().Truncate(time.Millisecond), Data: Marshal(data)},
		}
	}
	return []golden{
		control(ControlConnected, Connected{SessionID: "s1", Epoch: "e1", FirstSeq: 2, LastSeq: 9, Status: StatusIdle, Node: "n1", HeartbeatSeconds: 15}),
		control(ControlCaughtUp, CaughtUp{Seq: 9}),
		control(ControlGap, Gap{Epoch: "e1", FromSeq: 1, ToSeq: 8, Reason: GapTrimmed}),
		control(ControlExpiring, Expiring{ExpiresAt: moment.UTC()}),
		control(ControlDraining, Draining{ReconnectAfterMs: 1500}),
	}
}

func goldenCommands() []golden {
	command := func(t CommandType, data any) golden {
		return golden{name: "command_" + string(t), value: Command{Type: t, ID: "c1", Data: Marshal(data)}}
	}
	failed := CommandErrorBody{Code: CodeApprovalResolved, Detail: "late", RetryAfter: 3, Outcome: OutcomeSelected, OptionID: "o1"}
	return []golden{
		command(CommandMessage, MessageRequest{Content: raw(`"hi"`), MessageID: "m1"}),
		command(CommandApprove, ApproveRequest{InteractionID: "i1", OptionID: "o1"}),
		command(CommandCancel, CancelRequest{MessageID: "m1"}),
		command(CommandAuth, AuthRequest{Token: "t"}),
		command(CommandPing, Empty{}),
		{name: "ack", wire: NewAck("c1", MessageResponse{MessageID: "m1", Seq: 2}), value: Ack{Type: "ack", ID: "c1", Data: Marshal(MessageResponse{MessageID: "m1", Seq: 2})}},
		{name: "error", wire: NewCommandError("c1", failed), value: CommandError{Type: "error", ID: "c1", Error: failed}},
		{name: "error_least", value: CommandError{Type: "error", ID: "c1", Error: CommandErrorBody{Code: CodeInternal}}},
	}
}
