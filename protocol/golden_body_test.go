package protocol

import (
	"encoding/json"
	"time"
)

func goldenFrames() []golden {
	frame := func(t FrameType, data any) golden {
		return golden{name: "worker_" + string(t), wire: NewFrame(t, data), value: Frame{Type: t, Data: Marshal(data)}}
	}
	command := func(name string, t WorkerCommandType, data any) golden {
		c := WorkerCommand{SessionID: "s1", Assignment: 2, Seq: 3, Type: t, Data: Marshal(data)}
		return golden{name: name, wire: NewFrame(FrameCommand, c), value: Frame{Type: FrameCommand, Data: Marshal(c)}}
	}
	options := AgentOptions{Model: "m", Mode: "plan"}
	config := AgentOptions{Mode: "plan", Config: map[string]OptionValue{"effort": TextValue("high"), "fast": BoolValue(true)}}
	withdrawal := WorkerEvent{
		SessionID: "s1", Assignment: 2, N: 6, Type: EventApprovalResolved,
		Data: Marshal(ApprovalResolvedData{InteractionID: "i1", Outcome: OutcomeCancelled}),
	}
	background := WorkerEvent{SessionID: "s1", Assignment: 2, N: 7, Type: EventStatus, Data: Marshal(WorkerStatusData{StatusData: StatusData{Status: StatusRunning}})}
	return []golden{
		{name: "worker_event_background", wire: NewFrame(FrameEvent, background), value: Frame{Type: FrameEvent, Data: Marshal(background)}},
		command("worker_command_approval_background", WorkerApproval, ApprovalCommand{InteractionID: "i2", Outcome: OutcomeSelected, OptionID: "o1"}),
		command("worker_command_cancel_background", WorkerCancel, CancelCommand{}),
		frame(FrameHello, Hello{
			Worker: "w1", Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"demo"},
			Sessions: []HelloSession{{SessionID: "s1", Assignment: 2, Message: 3, Event: 4, Acked: 2}},
		}),
		{name: "worker_hello_commands", value: Hello{
			Worker: "w1", Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"demo"}, Sessions: []HelloSession{{SessionID: "s1", Assignment: 2}}, Commands: []WorkerCommandType{WorkerSetOption},
		}},
		{name: "worker_hello_requests", value: Hello{
			Worker: "w1", Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"demo"}, Requests: []WorkerMethod{MethodFilesList, MethodFilesRead},
		}},
		frame(FrameRequest, WorkerRequest{
			ID: "r1", Method: MethodFilesList, UserID: "u1", SessionID: "s1", Provider: "demo", WorkingDirectory: "/w", Params: Marshal(FilesListParams{Path: "src", After: "a.go", Limit: 100}),
		}),
		frame(FrameResponse, WorkerResponse{ID: "r1", Result: raw(`{"path":"src","entries":[]}`)}),
		{name: "worker_response_result", value: WorkerResponse{ID: "r1", Result: raw(`{"path":"src","entries":[]}`)}},
		{name: "worker_response_error", value: WorkerResponse{ID: "r1", Error: &RequestError{Code: CodeNotFound, Detail: "there is no \"src\""}}},
		{name: "worker_file_piece", value: FilePiece{
			Path: "a.txt", Size: 7, ModifiedAt: moment.UTC().Truncate(time.Millisecond), MediaType: "text/plain; charset=utf-8", Version: "7-1", Offset: 1, Data: []byte("etters"),
		}},
		{name: "worker_hello_details", value: Hello{
			Worker: "w1", Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"codex", "demo"},
			Details: map[string]ProviderDetails{"codex": {
				Title: "Codex", Description: "A coding agent.", Icon: "data:image/png;base64,iVBORw0K", Login: LoginFound,
				Capabilities: &ProviderCapabilities{Mode: "read-only", AskingModes: []string{"read-only"}, AllowedModes: []string{"auto"}},
			}},
		}},
		frame(FrameProviders, ProvidersUpdate{Providers: []string{"codex", "demo"}, Details: map[string]ProviderDetails{"codex": {
			Title: "Codex", Capabilities: &ProviderCapabilities{Mode: "read-only", Agent: goldenAbilities()},
		}}}),
		{name: "worker_welcome_providers", value: Welcome{Node: "n1", HeartbeatSeconds: 5, Events: []EventType{EventOutput}, Providers: true}},
		{name: "worker_hello_attachments", value: Hello{
			Worker: "w1", Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"demo"}, Commands: []WorkerCommandType{WorkerSetOption}, Attachments: true,
		}},
		frame(FrameAttachment, WorkerAttachment{
			SessionID: "s1", Assignment: 2, AttachmentID: "f1", Name: "photo.jpg", MediaType: "image/jpeg", Size: 600_000, Index: 1, Data: []byte("a part"),
		}),
		{name: "worker_hello_session_mcp", value: Hello{
			Worker: "w1", Version: "v", Workspace: "ws", Capacity: 8, Providers: []string{"codex"},
			Details: map[string]ProviderDetails{"codex": {Capabilities: &ProviderCapabilities{SessionMCP: SessionMCPHTTP}}},
		}},
		{name: "worker_assign_mcp", value: Assign{
			SessionID: "s1", Assignment: 2, Provider: "demo", WorkingDirectory: "/w", AgentOptions: AgentOptions{MCPServers: goldenMCP()}, UserID: "u1", Message: 3,
		}},
		{name: "worker_assign_worktree", value: Assign{SessionID: "s2", Assignment: 1, Provider: "demo", WorkingDirectory: "/w", UserID: "u1", Worktree: "s1"}},
		{name: "worker_request_worktree", value: WorkerRequest{ID: "r1", Method: MethodWorktreeStatus, UserID: "u1", SessionID: "s1", Provider: "demo", Params: raw(`{}`), WorkingDirectory: "/w", Worktree: "s1"}},
		{name: "worker_worktree_make", value: WorktreeMakeParams{Base: "main", Branch: "mine"}},
		{name: "worker_worktree_made", value: WorktreeMade{Branch: "sessionhub/1", Base: "main", Commit: "c", Directory: "/t/w-1", Workspace: "ws"}},
		{name: "worker_worktree_released", value: WorktreeReleased{Kept: "1 commits would be lost"}},
		{name: "worker_assign_config", value: Assign{
			SessionID: "s1", Assignment: 2, Provider: "demo", WorkingDirectory: "/w", AgentOptions: config, UserID: "u1", Message: 3, Resume: true, AgentSession: "a1",
		}},
		{name: "worker_event_config_options", value: WorkerOptionsData{ConfigOptionsData: goldenOptions(), Command: 7}},
		command("worker_command_set_option", WorkerSetOption, SetOptionCommand{ConfigID: "mode", Value: TextValue("plan"), By: "u1"}),
		frame(FrameEvent, WorkerEvent{SessionID: "s1", Assignment: 2, N: 5, Type: EventOutput, Data: raw(`{"text":"hi"}`)}),
		{name: "worker_event_status", value: WorkerStatusData{StatusData: StatusData{Status: StatusStarting, MessageID: "m1"}, AgentSession: "a1"}},
		{name: "worker_event_status_with_base", value: WorkerStatusData{StatusData: StatusData{Status: StatusStarting}, AgentSession: "a1", GitBase: "c:t"}},
		{name: "worker_event_approval_content", value: ApprovalContentData{InteractionID: "i1", Index: 1, Data: []byte("a part")}},
		{name: "worker_event_withdrawal", wire: NewFrame(FrameEvent, withdrawal), value: Frame{Type: FrameEvent, Data: Marshal(withdrawal)}},
		frame(FrameDone, Done{SessionID: "s1", Assignment: 2, Message: 3}),
		frame(FrameRelease, Release{SessionID: "s1", Assignment: 2, Reason: ReleaseIdle, Retry: true}),
		frame(FramePong, Empty{}),
		frame(FrameWelcome, Welcome{Node: "n1", HeartbeatSeconds: 5}),
		{name: "worker_welcome_events", value: Welcome{Node: "n1", HeartbeatSeconds: 5, Events: []EventType{EventOutput, EventNotice}}},
		frame(FrameAssign, Assign{
			SessionID: "s1", Assignment: 2, Provider: "demo", WorkingDirectory: "/w", AgentOptions: options, UserID: "u1", Message: 3, Resume: true,
			AgentSession: "a1",
		}),
		frame(FrameCommand, WorkerCommand{SessionID: "s1", Assignment: 2, Seq: 3, Type: WorkerMessage, Data: Marshal(MessageData{MessageID: "m1", Content: raw(`"hi"`), UserID: "u1"})}),
		command("worker_command_approval", WorkerApproval, ApprovalCommand{MessageID: "m1", InteractionID: "i1", Outcome: OutcomeSelected, OptionID: "o1", Reason: "ok"}),
		command("worker_command_cancel", WorkerCancel, CancelCommand{MessageID: "m1"}),
		command("worker_command_close", WorkerClose, ClosedData{Reason: ClosedExpired}),
		frame(FrameAck, EventAck{SessionID: "s1", Assignment: 2, N: 5}),
		frame(FrameRevoke, Revoke{SessionID: "s1", Assignment: 2}),
		frame(FrameError, LinkError{Code: LinkHole, Detail: "one is missing"}),
		frame(FramePing, Empty{}),
	}
}

func goldenBodies() []golden {
	at := moment.UTC().Truncate(time.Millisecond)
	files := FileList{Path: "src", NextAfter: "main.go", Entries: []FileEntry{
		{Name: "deep", Type: FileDirectory, Size: 4096, ModifiedAt: at}, {Name: "main.go", Type: FileRegular, Size: 12, ModifiedAt: at},
	}}
	options := AgentOptions{Model: "m", Mode: "plan"}
	config := AgentOptions{Mode: "plan", Config: map[string]OptionValue{"effort": TextValue("high"), "fast": BoolValue(true)}}
	session := Session{
		SessionID: "s1", UserID: "u1", SpaceID: "sp1", Provider: "demo", WorkingDirectory: "/w", Title: "t",
		Metadata: raw(`{"a":1}`), AgentOptions: options, Status: StatusIdle, CreatedAt: at, LastActivityAt: at.Add(time.Second),
		ExpiresAt: at.Add(time.Hour), LastSeq: 7, Epoch: "e1", Connections: Connections{WebSocket: 1, SSE: 2}, PendingApprovals: 1,
	}
	approval := ToolApprovalData{
		MessageID: "m1", InteractionID: "i1", ToolCallID: "t1", Title: "run", Kind: "execute", Input: raw(`{}`),
		Options: []ApprovalOption{{OptionID: "o1", Name: "Yes", Kind: AllowOnce}}, ExpiresAt: &at,
	}
	whole := ApprovalContent{
		InteractionID: "i1", ToolCallID: "t1", Title: "write", Kind: "edit", Input: raw(`{"text":"all of it"}`), Content: []json.RawMessage{raw(`{"type":"content"}`)},
		Options: []ApprovalOption{{OptionID: "o1", Name: "Yes", Kind: AllowOnce}},
	}
	whole.FullBytes = len(whole.Encode())
	withTree := session
	withTree.Worktree = &SessionWorktree{Branch: "sessionhub/1", Base: "main", Commit: "c", Directory: "/t/w-1", State: WorktreeActive}
	used := session
	used.Usage = &SessionUsage{
		Used: new(uint64(53_000)), Size: new(uint64(200_000)), Cost: &Cost{Amount: 0.42, Currency: "USD"},
		InputTokens: 1, OutputTokens: 2, CachedReadTokens: 3, CachedWriteTokens: 4, ThoughtTokens: 5, TotalTokens: 15,
	}
	asks := true
	inMode := session
	inMode.Mode, inMode.Asking, inMode.AgentOptions = "plan", &asks, config
	marked := session
	marked.Pinned, marked.Archived, marked.Unread = true, true, true
	withMCP := session
	withMCP.AgentOptions = AgentOptions{MCPServers: NamesOfMCP(goldenMCP())}
	list := goldenOptions()
	return []golden{
		{name: "api_file_list", value: files},
		{name: "api_file_list_least", value: FileList{Entries: []FileEntry{}}},
		{name: "api_file_matches", value: FileMatches{Files: []FileMatch{{Path: "src/main.go", Type: FileRegular}}, Truncated: true}},
		{name: "api_changes", value: Changes{
			Repository: true, Branch: "main", Base: "c0", Since: SinceStart, Unnamed: 1, Truncated: true, Files: []ChangedFile{
				{Path: "b.go", OldPath: "a.go", Status: ChangeRenamed, Additions: new(1), Deletions: new(0)}, {Path: "c.png", Status: ChangeUntracked, Binary: true},
			},
		}},
		{name: "api_changes_least", value: Changes{Files: []ChangedFile{}}},
		{name: "api_file_diff", value: FileDiff{
			Path: "b.go", OldPath: "a.go", Diff: "+x\n", Offset: 3, NextOffset: 6, Size: 9, Version: "v1", Truncated: true,
		}},
		{name: "api_file_diff_least", value: FileDiff{Path: "a.go"}},
		{name: "api_session_with_usage", value: used},
		{name: "api_attachment", value: Attachment{
			AttachmentID: "f1", Name: "photo.jpg", MediaType: "image/jpeg", Size: 600_000, URI: "/api/sessions/s1/attachments/f1",
		}},
		{name: "api_attachment_block", value: AttachmentBlock{Type: BlockAttachment, AttachmentID: "f1", Name: "photo.jpg", MediaType: "image/jpeg", Size: 600_000}},
		{name: "api_attachment_block_least", value: AttachmentBlock{Type: BlockAttachment, AttachmentID: "f1"}},
		{name: "api_rename_request_with_marks", value: RenameRequest{Pinned: new(true), Archived: new(false)}},
		{name: "api_session_with_marks", value: marked},
		{name: "api_seen_request", value: SeenRequest{Seq: 7}},
		{name: "api_batch_request", value: BatchRequest{Action: BatchArchive, SessionIDs: []string{"s1", "s2"}}},
		{name: "api_batch_response", value: BatchResponse{Results: []BatchResult{
			{SessionID: "s1"}, {SessionID: "s2", Problem: &Problem{Type: "about:blank", Title: "Not Found", Status: 404, Detail: "d", Code: CodeNotFound}},
		}}},
		{name: "api_inbox", value: Inbox{
			NeedsYou:  []InboxNeed{{Session: session, Since: at, Approvals: []ToolApprovalData{approval}, Elicitations: []ElicitationData{}}},
			Finished:  []InboxFinished{{Session: marked, FinishedAt: at, StopReason: StopEndTurn, LastText: "done"}},
			Working:   []InboxWorking{{Session: session, Since: at, LastText: "on it"}},
			Truncated: true,
		}},
		{name: "api_inbox_least", value: Inbox{NeedsYou: []InboxNeed{}, Finished: []InboxFinished{}, Working: []InboxWorking{}}},
		{name: "api_session_list_with_search", value: SessionList{Sessions: []Session{}, NextCursor: "c", Unsearched: []string{"s1"}}},
		{name: "api_rename_request", value: RenameRequest{Title: new("")}},
		{name: "api_session_with_mode", value: inMode},
		{name: "api_create_request_with_config", value: CreateRequest{AgentOptions: config}},
		{name: "api_create_request_with_mcp", value: CreateRequest{AgentOptions: AgentOptions{MCPServers: goldenMCP()}}},
		{name: "api_session_with_mcp", value: withMCP},
		{name: "api_agent_options", value: AgentOptions{Model: "m", Mode: "plan", Config: config.Config}},
		{name: "api_agent_options_with_mcp", value: AgentOptions{MCPServers: goldenMCP()}},
		{name: "api_session_options", value: SessionOptions{
			ConfigOptions: list.ConfigOptions, Mode: list.Mode, Asking: list.Asking, Truncated: true, Chosen: map[string]OptionValue{"fast": BoolValue(false)},
		}},
		{name: "api_session_options_least", value: SessionOptions{ConfigOptions: []ConfigOption{}}},
		{name: "api_set_option_request", value: SetOptionRequest{ConfigID: "mode", Value: TextValue("plan")}},
		{name: "api_set_option_response", value: SetOptionResponse{ConfigID: "mode", Value: TextValue("plan")}},
		{name: "api_create_request", value: CreateRequest{
			Provider: "demo", WorkingDirectory: "/w", UserID: "u1", SpaceID: "sp1", Title: "t", Metadata: raw(`{"a":1}`), AgentOptions: options,
		}},
		{name: "api_create_request_with_worktree", value: CreateRequest{Worktree: WorktreeRequest{Wanted: true}}},
		{name: "api_create_request_with_worktree_base", value: CreateRequest{Worktree: WorktreeRequest{Wanted: true, Base: "main", Branch: "mine"}}},
		{name: "api_session_with_worktree", value: withTree},
		{name: "api_worktree_status", value: WorktreeStatus{
			SessionWorktree: *withTree.Worktree, Head: "h", HeadBranch: "sessionhub/1", Ahead: 2, Behind: 1, BaseGone: true, Uncommitted: 3, Conflicts: 1,
			Unfinished: "merge", Version: "v",
		}},
		{name: "api_worktree_status_with_making", value: WorktreeStatus{SessionWorktree: *withTree.Worktree, Making: true, Merged: true}},
		{name: "api_worktree_action_request", value: WorktreeActionRequest{Action: WorktreeMerge, Commit: true, Message: "m", Version: "v"}},
		{name: "api_prepare_worktree_request", value: PrepareWorktreeRequest{Provider: "demo", WorkingDirectory: "/w", UserID: "u1", Base: "main"}},
		{name: "api_prepared_worktree", value: PreparedWorktree{Base: "main", Commit: "c", Ready: true}},
		{name: "api_create_request_least", value: CreateRequest{}},
		{name: "api_create_response", value: CreateResponse{
			SessionID: "s1", Token: "t", ExpiresAt: at, Session: session, EventsURL: "http://h/e", WebsocketURL: "ws://h/w",
			MessagesURL: "http://h/m", ApproveURL: "http://h/a",
		}},
		{name: "api_session", value: session},
		{name: "api_session_list", value: SessionList{Sessions: []Session{session}, NextCursor: "c"}},
		{name: "api_session_list_least", value: SessionList{Sessions: []Session{}}},
		{name: "api_history", value: History{
			Events: []json.RawMessage{raw(`{"seq":9}`)}, First: 9, Last: 10, Epoch: "e1", NextAfter: "e1-9",
			Gap: &Gap{Epoch: "e1", FromSeq: 1, ToSeq: 8, Reason: GapTrimmed},
		}},
		{name: "api_history_least", value: History{Events: []json.RawMessage{}}},
		{name: "api_message_request", value: MessageRequest{Content: raw(`"hi"`), MessageID: "m1"}},
		{name: "api_message_request_with_steer", value: MessageRequest{Content: raw(`"hi"`), MessageID: "m1", Delivery: DeliverSteer}},
		{name: "api_message_response_with_steer", value: MessageResponse{MessageID: "m1", Seq: 2, Delivery: DeliverSteer}},
		{name: "api_approve_request_with_reason", value: ApproveRequest{InteractionID: "i1", Decision: RejectOnce, Reason: "why", ReasonAsMessage: true}},
		{name: "api_approve_response_with_reason", value: ApproveResponse{InteractionID: "i1", OptionID: "o2", MessageID: "m2"}},
		{name: "api_cancel_request_with_hold", value: CancelRequest{MessageID: "m1", Hold: true}},
		{name: "api_queue_request", value: QueueRequest{Action: QueueEdit, MessageID: "m1", Content: raw(`"better"`), MessageIDs: []string{"m1"}}},
		{name: "api_queue", value: Queue{Messages: []QueuedMessage{{MessageID: "m1", Content: raw(`"hi"`), UserID: "u1", Held: true, Steering: true}}}},
		{name: "api_queue_least", value: Queue{Messages: []QueuedMessage{}}},
		{name: "api_message_response", value: MessageResponse{MessageID: "m1", Seq: 2, Duplicate: true}},
		{name: "api_approve_request", value: ApproveRequest{InteractionID: "i1", OptionID: "o1", Decision: AllowOnce, Reason: "ok"}},
		{name: "api_approve_response", value: ApproveResponse{InteractionID: "i1", OptionID: "o1"}},
		{name: "api_approval_content", wire: whole.Encode(), value: whole},
		{name: "api_approvals", value: Approvals{Approvals: []ToolApprovalData{approval}}},
		{name: "api_cancel_request", value: CancelRequest{MessageID: "m1"}},
		{name: "api_cancel_request_least", value: CancelRequest{}},
		{name: "api_empty", value: Empty{}},
		{name: "api_token_request", value: TokenRequest{Scope: "read write", TTLSeconds: 60, RevokeOthers: true}},
		{name: "api_token_response", value: TokenResponse{Token: "t", ExpiresAt: at, Scope: "read"}},
		{name: "api_ticket_response", value: TicketResponse{Ticket: "t", ExpiresAt: at}},
		{name: "api_user_token_request", value: UserTokenRequest{UserID: "u1", Scope: "read create", TTLSeconds: 60, RevokeOthers: true}},
		{name: "api_user_token_response", value: UserTokenResponse{Token: "t", ExpiresAt: at, Scope: "read create", UserID: "u1"}},
		{name: "api_sign_in_request", value: SignInRequest{Label: "Firefox on Linux", Ticket: "dTE.t", UserID: "u1"}},
		{name: "api_sign_in_response", value: SignInResponse{UserID: "u1", SignIn: goldenSignIn}},
		{name: "api_sign_in_list", value: SignInList{UserID: "u1", Required: true, SignIns: []SignIn{goldenSignIn}}},
		{name: "api_sign_in_ticket_request", value: SignInTicketRequest{UserID: "u1"}},
		{name: "api_sign_in_ticket_response", value: SignInTicketResponse{Ticket: "dTE.t", ExpiresAt: at, URL: "https://hub.example/#sign-in=dTE.t"}},
		{name: "ack_auth", value: AuthResponse{ExpiresAt: at, Scope: "read"}},
		{name: "api_stats", value: Stats{Node: "n1", StartedAt: at, Delivery: []DeliveryBucket{{UpToMicros: 50, Count: 7}, {Count: 1}}}},
		{name: "api_agent_sessions", value: AgentSessions{Workspace: "w1", NextCursor: "c", Sessions: []AgentSession{
			{AgentSession: "a1", WorkingDirectory: "/w", Title: "t", UpdatedAt: &at, SessionID: "s1"}, {AgentSession: "a2", WorkingDirectory: "/w"},
		}}},
		{name: "worker_agent_sessions", value: AgentSessionsParams{Cursor: "c", Limit: 10, Exact: true}},
		{name: "worker_assign_load", value: Assign{
			SessionID: "s1", Assignment: 1, Provider: "demo", WorkingDirectory: "/w", UserID: "u1", AgentSession: "a1", Load: true,
		}},
		{name: "worker_assign_fork", value: Assign{
			SessionID: "s1", Assignment: 1, Provider: "demo", WorkingDirectory: "/w", UserID: "u1", AgentSession: "a1", Load: true, Fork: true,
		}},
		{name: "api_fork_request", value: ForkRequest{Title: "t"}},
		{name: "worker_event_replay", value: WorkerStatusData{StatusData: StatusData{Status: StatusRunning}, Replay: true}},
		{name: "api_create_request_with_take_up", value: CreateRequest{Provider: "demo", AgentSession: "a1", Workspace: "w1"}},
		{name: "api_problem_with_session", value: Problem{
			Type: "about:blank", Title: "Conflict", Status: 409, Detail: "d", Code: CodeTakenUp, SessionID: "s1",
		}},
		{name: "api_providers", value: Providers{Providers: []Provider{{Name: "demo", Available: true, Workers: 2}}}},
		{name: "api_providers_with_details", value: Providers{Default: "codex", Providers: []Provider{
			{
				Name: "codex", Available: true, Workers: 1, Title: "Codex", Description: "A coding agent.", Icon: "data:image/png;base64,iVBORw0K",
				Login: LoginFound, Capabilities: &ProviderCapabilities{Mode: "read-only", AskingModes: []string{"read-only"}, AllowedModes: []string{"auto"}},
			},
			{Name: "demo", Available: true, Workers: 2},
		}}},
		{name: "api_providers_with_agent", value: Providers{Default: "codex", Providers: []Provider{
			{Name: "codex", Available: true, Workers: 1, Capabilities: &ProviderCapabilities{Agent: goldenAbilities()}},
		}}},
		{name: "api_problem", value: Problem{
			Type: "about:blank", Title: "Conflict", Status: 409, Detail: "late", Code: CodeApprovalResolved, Outcome: OutcomeSelected, OptionID: "o1",
		}},
	}
}

func goldenMCP() []MCPServer {
	return []MCPServer{
		{Name: "docs", Type: MCPHTTP, URL: "https://mcp.example.org/", Headers: []NamedValue{{Name: "Authorization", Value: "Bearer x"}}},
		{Name: "files", Type: MCPStdio, Command: "/usr/bin/mcp-files", Args: []string{"--stdio"}, Env: []NamedValue{{Name: "TOKEN", Value: "x"}}},
	}
}

func goldenAbilities() *AgentAbilities {
	return &AgentAbilities{
		Images: true, Audio: true, EmbeddedContext: true, Load: true, Resume: true, List: true, Fork: true, Steering: true, Reasons: true, MCPHTTP: true, MCPSSE: true,
	}
}

var goldenSignIn = SignIn{
	ID: "i1", Label: "Firefox on Linux", CreatedAt: moment.UTC().Truncate(time.Millisecond), LastUsedAt: moment.UTC().Truncate(time.Millisecond),
	ExpiresAt: moment.UTC().Truncate(time.Millisecond), Current: true,
}
