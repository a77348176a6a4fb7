package docs_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"sessionhub/docs"
	"sessionhub/protocol"
)

// bodies are the structs on the wire to clients. Each has a schema of its name.
var bodies = []any{
	protocol.AgentOptions{}, protocol.MCPServer{}, protocol.NamedValue{}, protocol.CreateRequest{}, protocol.Connections{}, protocol.Session{}, protocol.CreateResponse{},
	protocol.SessionList{}, protocol.History{}, protocol.MessageRequest{}, protocol.MessageResponse{}, protocol.ApproveRequest{},
	protocol.ApproveResponse{}, protocol.Approvals{}, protocol.ApprovalContent{}, protocol.DiffContent{}, protocol.Hunk{}, protocol.CancelRequest{}, protocol.Empty{}, protocol.TokenRequest{},
	protocol.TokenResponse{}, protocol.TicketResponse{}, protocol.UserTokenRequest{}, protocol.UserTokenResponse{}, protocol.SignInRequest{}, protocol.SignIn{}, protocol.SignInResponse{},
	protocol.SignInList{}, protocol.SignInTicketRequest{}, protocol.SignInTicketResponse{}, protocol.Provider{}, protocol.ProviderCapabilities{}, protocol.AgentAbilities{}, protocol.Providers{}, protocol.Stats{}, protocol.DeliveryBucket{}, protocol.Problem{},
	protocol.Event{}, protocol.StatusData{}, protocol.MessageData{}, protocol.OutputData{}, protocol.ToolCallData{},
	protocol.PlanEntry{}, protocol.PlanData{}, protocol.ApprovalOption{}, protocol.ToolApprovalData{}, protocol.ApprovalResolvedData{},
	protocol.AgentUpdateData{}, protocol.TurnError{}, protocol.CompleteData{}, protocol.ClosedData{},
	protocol.Connected{}, protocol.CaughtUp{}, protocol.Gap{}, protocol.Expiring{}, protocol.Draining{}, protocol.Listed{}, protocol.Unlisted{}, protocol.ListComplete{},
	protocol.NoticeData{}, protocol.FileEntry{}, protocol.FileList{}, protocol.FileMatch{}, protocol.FileMatches{}, protocol.ForkRequest{}, protocol.AgentSession{}, protocol.AgentSessions{}, protocol.ChangedFile{}, protocol.Changes{}, protocol.FileDiff{},
	protocol.AgentStartedData{}, protocol.QueueData{}, protocol.MessageEditedData{}, protocol.SteeredData{}, protocol.Queue{}, protocol.QueuedMessage{}, protocol.QueueRequest{},
	protocol.CommandsData{}, protocol.AgentCommand{}, protocol.AgentCommandInput{}, protocol.UsageData{}, protocol.Cost{}, protocol.Tokens{},
	protocol.SessionUsage{}, protocol.SessionInfoData{}, protocol.RenameRequest{}, protocol.SeenRequest{}, protocol.BatchRequest{}, protocol.BatchResponse{}, protocol.BatchResult{},
	protocol.Inbox{}, protocol.InboxNeed{}, protocol.InboxFinished{}, protocol.InboxWorking{},
	protocol.ConfigValue{}, protocol.ConfigOption{}, protocol.ConfigOptionsData{}, protocol.SessionOptions{}, protocol.SetOptionRequest{}, protocol.SetOptionResponse{},
	protocol.ElicitationData{}, protocol.ElicitationResolvedData{}, protocol.Elicitations{}, protocol.AnswerRequest{}, protocol.AnswerResponse{},
	protocol.Attachment{}, protocol.AttachmentBlock{},
	protocol.Ready{}, protocol.Unsubscribed{}, protocol.Subscription{}, protocol.SubscribeRequest{}, protocol.UnsubscribeRequest{}, protocol.ChannelRequest{}, protocol.SubscribeResponse{}, protocol.Refusal{},
	protocol.SessionWorktree{}, protocol.WorktreeStatus{}, protocol.WorktreeActionRequest{}, protocol.PrepareWorktreeRequest{}, protocol.PreparedWorktree{},
	protocol.Command{}, protocol.Ack{}, protocol.CommandError{}, protocol.CommandErrorBody{}, protocol.AuthResponse{}, protocol.AuthRequest{},
}

// notForClients are the files whose structs no client sees.
var notForClients = []string{"worker.go", "workerrequest.go", "workerfiles.go", "workergit.go", "workerworktree.go", "worktreerequest.go", "cursor.go", "encode.go", "form.go", "optionvalue.go"}

// schemas are those of both documents. A name that both have is an error: the
// second one refers to the first instead.
func schemas(t *testing.T) tree {
	t.Helper()
	all := tree{}
	for _, text := range [][]byte{docs.OpenAPI(), docs.AsyncAPI()} {
		for name, s := range parse(t, text).at(t, "components", "schemas") {
			if _, twice := all[name]; twice {
				t.Errorf("both documents describe %s", name)
			}
			all[name] = s
		}
	}
	return all
}

// Every field of a struct is a property of its schema and the other way round,
// of the right JSON type, and required unless the encoder may leave it out.
func TestFieldsAreDocumented(t *testing.T) {
	all := schemas(t)
	var names []string
	for _, b := range bodies {
		kind := reflect.TypeOf(b)
		names = append(names, kind.Name())
		schema := all.at(t, kind.Name())
		properties, _ := schema["properties"].(tree)
		var fields, required []string
		for _, f := range reflect.VisibleFields(kind) {
			if f.Anonymous { // its own fields follow
				continue
			}
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			fields = append(fields, name)
			if options == "" {
				required = append(required, name)
			}
			checkType(t, all, kind.Name()+"."+name, properties[name], f.Type)
		}
		if kind.NumField() > 0 {
			same(t, kind.Name(), properties.keys(), fields)
		} else if len(properties) > 0 {
			t.Errorf("%s: there are fields in its schema, and none in the code", kind.Name())
		}
		if got := schema.texts("required"); len(required) > 0 || len(got) > 0 {
			same(t, kind.Name()+", required", got, required)
		}
	}
	src := readSource(t)
	var coded []string
	for file, structs := range src.structs {
		if !slices.Contains(notForClients, file) {
			coded = append(coded, structs...)
		}
	}
	same(t, "the list of this test", names, coded)
}

// checkType compares what the schema says of a field with the field's Go type.
// What has no type in the schema is described by an enum, or is any JSON.
func checkType(t *testing.T, all tree, what string, property any, kind reflect.Type) {
	t.Helper()
	p, ok := property.(tree)
	if !ok {
		return // reported as a missing field
	}
	for range 3 { // as deep as a reference to a reference goes
		target, ok := p["$ref"].(string)
		if !ok {
			break
		}
		p = all.at(t, target[strings.LastIndex(target, "/")+1:])
	}
	if kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	want := ""
	switch {
	case kind.String() == "json.RawMessage":
		return // its own content
	case kind.String() == "protocol.OptionValue":
		return // a string or a boolean
	case kind.String() == "protocol.WorktreeRequest":
		return // a boolean or an object
	case kind.String() == "time.Time":
		want = "string"
		if p["format"] != "date-time" {
			t.Errorf("%s: a time has the format date-time", what)
		}
	case kind.Kind() == reflect.String:
		want = "string"
	case kind.Kind() == reflect.Bool:
		want = "boolean"
	case kind.Kind() == reflect.Struct:
		want = "object"
	case kind.Kind() == reflect.Map:
		want = "object"
	case kind.Kind() == reflect.Slice:
		want = "array"
	case kind.Kind() == reflect.Float64:
		want = "number"
	case kind.Kind() >= reflect.Int && kind.Kind() <= reflect.Uint64:
		want = "integer"
	default:
		t.Errorf("%s: no rule for %s", what, kind)
	}
	if got, has := p["type"]; has && got != want {
		t.Errorf("%s: the schema says %v, the code %s", what, got, want)
	} else if c, fixed := p["const"].(string); !has && (!fixed || want != "string" || c == "") {
		t.Errorf("%s: the schema has no type", what)
	}
}

// Closed sets of values are the same in the documents and in the code.
func TestValuesAreDocumented(t *testing.T) {
	all, src := schemas(t), readSource(t)
	same(t, "codes", all.at(t, "Code").texts("enum"), src.consts["Code"])
	same(t, "statuses", all.at(t, "Status").texts("enum"), src.consts["Status"])
	property := func(schema, name string) []string { return all.at(t, schema, "properties", name).texts("enum") }
	same(t, "stop reasons", property("CompleteData", "stopReason"), protocol.StopReasons)
	same(t, "gap reasons", property("Gap", "reason"), protocol.GapReasons)
	same(t, "reasons of closed", property("ClosedData", "reason"), []string{protocol.ClosedDeleted, protocol.ClosedExpired, protocol.ClosedFailed})
	same(t, "logins", property("Provider", "login"), src.consts["Login"])
	same(t, "kinds of output", property("OutputData", "kind"), []string{protocol.OutputText, protocol.OutputThought})
	same(t, "severities", property("NoticeData", "severity"), src.consts["Severity"])
	same(t, "outcomes", all.at(t, "Outcome").texts("enum"), []string{
		protocol.OutcomeSelected, protocol.OutcomeCancelled, protocol.OutcomeExpired, protocol.OutcomeAccepted, protocol.OutcomeDeclined,
	})
	same(t, "outcomes of an approval", property("ApprovalResolvedData", "outcome"), []string{protocol.OutcomeSelected, protocol.OutcomeCancelled, protocol.OutcomeExpired})
	same(t, "outcomes of a question", property("ElicitationResolvedData", "outcome"), []string{
		protocol.OutcomeAccepted, protocol.OutcomeDeclined, protocol.OutcomeCancelled, protocol.OutcomeExpired,
	})
	same(t, "modes of a question", property("ElicitationData", "mode"), []string{protocol.ElicitForm, protocol.ElicitURL})
	same(t, "types of a field", property("FormField", "type"), []string{
		protocol.FieldString, protocol.FieldNumber, protocol.FieldInteger, protocol.FieldBoolean, protocol.FieldArray,
	})
	same(t, "actions", all.at(t, "AnswerAction").texts("enum"), []string{protocol.ActionAccept, protocol.ActionDecline, protocol.ActionCancel})
	same(t, "decisions", property("ApproveRequest", "decision"),
		[]string{protocol.AllowOnce, protocol.AllowAlways, protocol.RejectOnce, protocol.RejectAlways})
	same(t, "codes of a turn's error", all.at(t, "TurnErrorCode").texts("enum"), []string{
		protocol.TurnWorkerLost, protocol.TurnWorkerReleased, protocol.TurnDraining, protocol.TurnAgentFailed, protocol.TurnAgentCrashed,
		protocol.TurnAgentStart, protocol.TurnAgentProtocol, protocol.TurnSessionFailed, protocol.TurnTimedOut, protocol.TurnModeRefused,
	})
	same(t, "types of an option", property("ConfigOption", "type"), []string{protocol.ConfigSelect, protocol.ConfigBoolean})
}

// A $ref that leads nowhere is found here, also one from one document into the
// other, and a schema that nothing refers to.
func TestReferencesLeadSomewhere(t *testing.T) {
	documents := map[string]tree{"openapi.yaml": parse(t, docs.OpenAPI()), "asyncapi.yaml": parse(t, docs.AsyncAPI())}
	used := map[string]bool{}
	for name, doc := range documents {
		walk(doc, func(ref string) {
			file, pointer, _ := strings.Cut(ref, "#/")
			if file == "" {
				file = name
			}
			used[file+"#/"+pointer] = true
			var here any = documents[file]
			for key := range strings.SplitSeq(pointer, "/") {
				n, _ := here.(tree)
				here = n[key]
			}
			if here == nil {
				t.Errorf("%s: %q leads nowhere", name, ref)
			}
		})
	}
	for name, doc := range documents {
		for _, schema := range doc.at(t, "components", "schemas").keys() {
			if !used[name+"#/components/schemas/"+schema] {
				t.Errorf("%s: nothing refers to %s", name, schema)
			}
		}
	}
}

func walk(n any, found func(ref string)) {
	switch n := n.(type) {
	case tree:
		if ref, ok := n["$ref"].(string); ok {
			found(ref)
		}
		for _, k := range n.keys() {
			walk(n[k], found)
		}
	case []any:
		for _, v := range n {
			walk(v, found)
		}
	}
}
