package protocol

import "time"

// formSchema has a field of every type that a form can have.
const formSchema = `{"type":"object","title":"Deploy","description":"Where to","properties":{` +
	`"where":{"type":"string","title":"Where","description":"The target","oneOf":[{"const":"eu","title":"Europe","description":"Frankfurt"},{"const":"us","title":"America"}],"default":"eu"},` +
	`"parts":{"type":"array","items":{"type":"string","enum":["api","web"]},"minItems":1,"maxItems":2,"default":["api"]},` +
	`"mail":{"type":"string","format":"email","minLength":3,"maxLength":80,"pattern":"@"},` +
	`"copies":{"type":"integer","minimum":1,"maximum":9},"share":{"type":"number"},"dry":{"type":"boolean","default":false}},"required":["where","copies"]}`

func goldenElicitations() []golden {
	expires := moment.UTC()
	at := expires.Truncate(time.Millisecond)
	asked := ElicitationData{
		MessageID: "m1", InteractionID: "i3", ToolCallID: "t1", Mode: ElicitForm, Message: "Where shall it go?", RequestedSchema: raw(formSchema), ExpiresAt: &at,
	}
	page := ElicitationData{MessageID: "m1", InteractionID: "i4", Mode: ElicitURL, Message: "Log in", URL: "https://login.example.org/?a=1&b=2", ExpiresAt: &at}
	private := page
	private.Private = true
	asking := WorkerEvent{
		SessionID: "s1", Assignment: 2, N: 6, Type: EventPrivateElicitation,
		Data: Marshal(ElicitationData{MessageID: "m1", InteractionID: "i4", Mode: ElicitURL, Message: "Log in", URL: page.URL}),
	}
	content := raw(`{"where":"us","parts":["web"],"copies":2}`)
	command := WorkerCommand{
		SessionID: "s1", Assignment: 2, Seq: 3, Type: WorkerElicitation,
		Data: Marshal(ElicitationCommand{MessageID: "m1", InteractionID: "i3", Action: ActionAccept, Content: content, Reason: "ok"}),
	}
	completed := WorkerEvent{
		SessionID: "s1", Assignment: 2, N: 6, Type: EventElicitationResolved,
		Data: Marshal(ElicitationResolvedData{InteractionID: "i4", Outcome: OutcomeAccepted}),
	}
	session := Session{
		SessionID: "s1", Metadata: raw(`{}`), Status: StatusRequiresAction, CreatedAt: at, LastActivityAt: at, ExpiresAt: at, PendingElicitations: 2,
	}
	refused := CommandErrorBody{Code: CodeInvalidAnswer, Detail: `field "copies": it wants a whole number from 1 to 9`, Field: "copies"}
	return []golden{
		{name: "worker_welcome_elicitation", value: Welcome{Node: "n1", HeartbeatSeconds: 5, Events: []EventType{EventOutput, EventElicitation}}},
		logged("event_elicitation", 13, 0, EventElicitation, asked),
		logged("event_elicitation_url", 14, 0, EventElicitation, page),
		logged("event_elicitation_private", 16, 0, EventElicitation, private.Public()),
		{name: "worker_event_elicitation_private", wire: NewFrame(FrameEvent, asking), value: Frame{Type: FrameEvent, Data: Marshal(asking)}},
		{name: "api_elicitation_data_with_private_least", value: private},
		logged("event_elicitation_resolved", 15, 0, EventElicitationResolved, ElicitationResolvedData{
			InteractionID: "i3", Outcome: OutcomeAccepted, Content: content, By: "u1", Detail: "why",
		}),
		{name: "elicitation_least", value: ElicitationData{InteractionID: "i3", Mode: ElicitForm, Message: "m", RequestedSchema: raw(`{}`)}},
		{name: "elicitation_resolved_least", value: ElicitationResolvedData{InteractionID: "i3", Outcome: OutcomeExpired}},
		{name: "command_answer", value: Command{Type: CommandAnswer, ID: "c1", Data: Marshal(AnswerRequest{InteractionID: "i3", Action: ActionAccept, Content: content})}},
		{name: "worker_command_elicitation", wire: NewFrame(FrameCommand, command), value: Frame{Type: FrameCommand, Data: Marshal(command)}},
		{name: "worker_event_elicitation_completed", wire: NewFrame(FrameEvent, completed), value: Frame{Type: FrameEvent, Data: Marshal(completed)}},
		{name: "api_answer_request", value: AnswerRequest{InteractionID: "i3", Action: ActionAccept, Content: content}},
		{name: "api_answer_request_least", value: AnswerRequest{InteractionID: "i3", Action: ActionDecline}},
		{name: "api_answer_response", value: AnswerResponse{InteractionID: "i3", Action: ActionAccept}},
		{name: "api_elicitations", value: Elicitations{Elicitations: []ElicitationData{asked, page}}},
		{name: "api_session_elicitations", value: session},
		{name: "error_invalid_answer", value: CommandError{Type: "error", ID: "c1", Error: refused}},
		{name: "api_problem_invalid_answer", value: Problem{
			Type: "about:blank", Title: "Bad Request", Status: 400, Detail: refused.Detail, Code: refused.Code, Field: refused.Field,
		}},
	}
}
