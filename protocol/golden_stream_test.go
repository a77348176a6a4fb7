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

// goldenOptions is a list with an option of each type.
func goldenOptions() ConfigOptionsData {
	yes, no := true, false
	return ConfigOptionsData{
		ConfigOptions: []ConfigOption{
			{ID: "mode", Name: "Mode", Description: "How it works", Category: ConfigMode, Type: ConfigSelect, CurrentValue: TextValue("plan"), Options: []ConfigValue{
				{Value: "plan", Name: "Plan", Description: "Plans only", Group: "Careful", Asks: &yes, Allowed: &yes}, {Value: "yolo", Name: "All", Asks: &no, Allowed: &no},
			}},
			{ID: "fast", Name: "Fast", Type: ConfigBoolean, CurrentValue: BoolValue(true)},
		},
		Mode: "plan", Asking: &yes, Changed: []string{"mode"}, By: "u1", Truncated: true,
	}
}

func goldenEvents() []golden {
	expires, tokens := moment.UTC(), uint64(53_000)
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
		logged("event_tool_approval_truncated", 11, 0, EventToolApproval, ToolApprovalData{
			MessageID: "m1", InteractionID: "i1", ToolCallID: "t1", Title: "write", Kind: "edit", Input: raw(`{"text":"a\n… 1,234,567 bytes left out …\nz"}`),
			Options: []ApprovalOption{{OptionID: "o1", Name: "Yes", Kind: AllowOnce}}, ExpiresAt: &expires, Truncated: true, FullBytes: 1_234_999,
		}),
		logged("event_approval_resolved_limit", 12, 0, EventApprovalResolved, ApprovalResolvedData{
			InteractionID: "i1", Outcome: OutcomeSelected, OptionID: "o2", Kind: RejectOnce, By: ByLimit, Detail: "what is asked has 9000000 bytes",
		}),
		event(13, EventNotice, NoticeData{
			Kind: NoticeProcessesEnded, Severity: SeverityInfo, Title: "What the agent had started was ended with it", Description: "node (4211)",
			Data: raw(`{"reason":"idle"}`),
		}),
		event(14, EventCommands, CommandsData{
			AvailableCommands: []AgentCommand{{Name: "compact", Description: "Compact the context"}, {Name: "review", Description: "Review changes", Input: &AgentCommandInput{Hint: "what to review"}}},
			Truncated:         true,
		}),
		event(15, EventUsage, UsageData{MessageID: "m1", Used: &tokens, Size: &tokens, Cost: &Cost{Amount: 0.42, Currency: "USD"}}),
		event(16, EventSessionInfo, SessionInfoData{Title: "Fix the login bug", By: "u1"}),
		logged("event_complete_cost", 17, 0, EventComplete, CompleteData{
			MessageID: "m1", StopReason: StopEndTurn, Usage: Marshal(Tokens{Input: 1, Output: 2, CachedRead: 3, CachedWrite: 4, Thought: 5, Total: 15}), Cost: &Cost{Amount: 0.02, Currency: "USD"},
		}),
		event(18, EventConfigOptions, goldenOptions()),
		event(14, EventAgentStarted, AgentStartedData{
			AgentInfo: raw(`{"name":"demo","version":"1"}`), AgentCapabilities: raw(`{"loadSession":true}`), History: HistoryResumed, Steering: true, Reasons: true,
		}),
		event(15, EventQueue, QueueData{MessageIDs: []string{"m2"}, Held: []string{"m3"}}),
		logged("event_message_attachment", 19, 0, EventMessage, MessageData{MessageID: "m3", Content: Marshal([]AttachmentBlock{
			{Type: BlockAttachment, AttachmentID: "f1", Name: "photo.jpg", MediaType: "image/jpeg", Size: 600_000},
		}), UserID: "u1"}),
		event(16, EventMessageEdited, MessageEditedData{MessageID: "m2", Content: raw(`"better"`), UserID: "u1"}),
		event(17, EventSteered, SteeredData{MessageID: "m2", Into: "m1", Outcome: SteerQueued, Detail: "the agent was not at work"}),
		logged("event_message_steer", 18, 0, EventMessage, MessageData{MessageID: "m2", Content: raw(`"left"`), UserID: "u1", Delivery: DeliverSteer}),
		logged("event_message_replay", 2, 0, EventMessage, MessageData{MessageID: "h1", Content: raw(`"before"`), UserID: "u1", Replay: true}),
		logged("event_complete_replay", 4, 0, EventComplete, CompleteData{MessageID: "h1", StopReason: StopEndTurn, Replay: true}),
		logged("event_compacted", 57, 12, EventOutput, OutputData{MessageID: "m1", Text: "long", Kind: OutputThought}),
	}
	all = append(all, goldenBackground(expires)...)
	all = append(all, golden{name: "content_diff", value: DiffContent{
		Type: ContentDiff, Path: "/w/a.txt", SHA256: "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef", Truncated: true,
		Hunks: []Hunk{{OldStart: 7, OldLines: 3, NewStart: 7, NewLines: 3, Lines: []string{" same", "-old", "+new", " end", `\ No newline at end of file`}}},
	}})
	// The data alone, with what is optional left out.
	return append(all,
		golden{name: "usage_least", value: UsageData{}},
		golden{name: "notice_least", value: NoticeData{Kind: NoticeAgent, Severity: SeverityError, Title: "out of credit"}},
		golden{name: "config_options_least", value: ConfigOptionsData{ConfigOptions: []ConfigOption{}}},
		golden{name: "agent_started_least", value: AgentStartedData{History: HistoryNew}},
		golden{name: "steered_least", value: SteeredData{MessageID: "m2", Into: "m1", Outcome: SteerInjected}},
		golden{name: "queue_least", value: QueueData{MessageIDs: []string{}, Held: []string{}}},
		golden{name: "status_least", value: StatusData{Status: StatusIdle}},
		golden{name: "tool_call_least", value: ToolCallData{MessageID: "m1", ToolCallID: "t1"}},
		// As hubs wrote it that knew no questions outside of a turn: an empty id is as good as none.
		golden{
			name: "tool_approval_least", value: ToolApprovalData{Input: raw("{}"), Options: []ApprovalOption{}},
			wire: raw(`{"messageId":"","interactionId":"","toolCallId":"","title":"","kind":"","input":{},"options":[]}`),
		},
		golden{name: "approval_resolved_least", value: ApprovalResolvedData{InteractionID: "i1", Outcome: OutcomeExpired}},
		golden{name: "complete_least", value: CompleteData{MessageID: "m1", StopReason: StopEndTurn}},
	)
}

// goldenBackground is what an agent says, does and asks outside of a turn.
func goldenBackground(expires time.Time) []golden {
	event := func(seq uint64, t EventType, data any) golden {
		return logged("event_"+string(t)+"_background", seq, 0, t, data)
	}
	return []golden{
		event(20, EventStatus, StatusData{Status: StatusRunning}),
		event(21, EventOutput, OutputData{Text: "tests pass", Kind: OutputText}),
		event(22, EventToolCall, ToolCallData{ToolCallID: "t2", Title: "go test", Status: "in_progress"}),
		event(23, EventPlan, PlanData{Entries: []PlanEntry{{Content: "do", Priority: "high", Status: "pending"}}}),
		event(24, EventToolApproval, ToolApprovalData{
			InteractionID: "i2", ToolCallID: "t2", Title: "push", Kind: "execute", Input: raw(`{"command":"git push"}`),
			Options: []ApprovalOption{{OptionID: "o1", Name: "Yes", Kind: AllowOnce}}, ExpiresAt: &expires,
		}),
	}
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
	at := moment.UTC().Truncate(time.Millisecond)
	session := Session{
		SessionID: "s1", UserID: "u1", Provider: "demo", WorkingDirectory: "/w", Title: "t", Metadata: raw(`{}`), Status: StatusRequiresAction,
		CreatedAt: at, LastActivityAt: at, ExpiresAt: at.Add(time.Hour), LastSeq: 7, Epoch: "e1", PendingApprovals: 1,
	}
	return []golden{
		control(ControlConnected, Connected{SessionID: "s1", Epoch: "e1", FirstSeq: 2, LastSeq: 9, Status: StatusIdle, Node: "n1", HeartbeatSeconds: 15}),
		control(ControlCaughtUp, CaughtUp{Seq: 9}),
		control(ControlGap, Gap{Epoch: "e1", FromSeq: 1, ToSeq: 8, Reason: GapTrimmed}),
		control(ControlExpiring, Expiring{ExpiresAt: moment.UTC()}),
		control(ControlDraining, Draining{ReconnectAfterMs: 1500}),
		control(ControlReady, Ready{Connection: "bjE.abc", UserID: "ann", Node: "n1", HeartbeatSeconds: 15}),
		control(ControlUnsubscribed, Unsubscribed{Code: CloseEnded, Reason: "the session has ended"}),
		control(ControlRefused, Refusal{SessionID: "s1", Code: CodeNotFound, Detail: "there is no such session", RetryAfter: 1}),
		control(ControlListed, Listed{Change: ListNeedsYou, Session: Marshal(session)}),
		control(ControlUnlisted, Unlisted{SessionID: "s1"}),
		control(ControlListComplete, ListComplete{Sessions: 3}),
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
		command(CommandSubscribe, SubscribeRequest{Sessions: []Subscription{{SessionID: "s1", After: "e1-9"}}, List: true}),
		command(CommandUnsubscribe, UnsubscribeRequest{SessionIDs: []string{"s1"}, List: true}),
		command(CommandCancel, CancelRequest{MessageID: "m1"}),
		command(CommandRename, RenameRequest{Title: new("Login")}),
		command(CommandSetOption, SetOptionRequest{ConfigID: "fast", Value: BoolValue(true)}),
		command(CommandQueue, QueueRequest{Action: QueueOrder, MessageIDs: []string{"m2", "m1"}}),
		command(CommandAuth, AuthRequest{Token: "t"}),
		command(CommandPing, Empty{}),
		{name: "ack", wire: NewAck("c1", MessageResponse{MessageID: "m1", Seq: 2}), value: Ack{Type: "ack", ID: "c1", Data: Marshal(MessageResponse{MessageID: "m1", Seq: 2})}},
		{name: "error", wire: NewCommandError("c1", failed), value: CommandError{Type: "error", ID: "c1", Error: failed}},
		{name: "error_least", value: CommandError{Type: "error", ID: "c1", Error: CommandErrorBody{Code: CodeInternal}}},
	}
}
