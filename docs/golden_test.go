package docs_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sessionhub/docs"
)

// validator checks JSON against the schemas of the two documents.
type validator struct {
	t        *testing.T
	compiler *jsonschema.Compiler
}

// The documents get a URL of their own, so that nothing is read from elsewhere.
const documentBase = "https://sessionhub.invalid/api/"

func newValidator(t *testing.T) validator {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	for name, text := range map[string][]byte{"openapi.yaml": docs.OpenAPI(), "asyncapi.yaml": docs.AsyncAPI()} {
		raw, err := json.Marshal(parse(t, text))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(documentBase+name, doc); err != nil {
			t.Fatal(err)
		}
	}
	return validator{t, c}
}

// check validates raw against what the place in a document describes.
func (v validator) check(place string, raw []byte) error {
	v.t.Helper()
	schema, err := v.compiler.Compile(documentBase + place)
	if err != nil {
		v.t.Fatalf("%s: %v", place, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		v.t.Fatalf("%s: %v", place, err)
	}
	return schema.Validate(value)
}

// placeOf is where a golden file's message is described, and empty for what is
// not for clients.
func placeOf(t *testing.T, name string, raw []byte) string {
	t.Helper()
	var frame struct {
		Seq  uint64 `json:"seq"`
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &frame); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	message := func(key string) string { return "asyncapi.yaml#/components/messages/" + key + "/payload" }
	switch name { // a field that an older message of the type does not have
	case "api_session_elicitations.json":
		return "openapi.yaml#/components/schemas/Session"
	case "api_problem_invalid_answer.json":
		return "openapi.yaml#/components/schemas/Problem"
	}
	group, rest, _ := strings.Cut(strings.TrimSuffix(name, ".json"), "_")
	switch {
	case group == "worker":
		return "" // the worker link
	case name == "api_history.json":
		return "" // its event is cut short; internal/app validates real pages
	case group == "api":
		body, _, _ := strings.Cut(strings.TrimSuffix(rest, "_least"), "_with_")
		return "openapi.yaml#/components/schemas/" + camel(body)
	case frame.Seq != 0:
		return message("event." + frame.Type)
	case group == "control", group == "command":
		return message(group + "." + frame.Type)
	case frame.Type == "ack", frame.Type == "error":
		return message(frame.Type)
	case name == "ack_auth.json":
		return "asyncapi.yaml#/components/schemas/AuthResponse"
	}
	if event, ok := strings.CutSuffix(name, "_least.json"); ok { // an event's data alone
		return "openapi.yaml#/components/schemas/" + camel(event) + "Data"
	}
	if name == "content_diff.json" {
		return "openapi.yaml#/components/schemas/DiffContent"
	}
	t.Errorf("%s: no rule says where it is described", name)
	return ""
}

func camel(snake string) string {
	var out strings.Builder
	for word := range strings.SplitSeq(snake, "_") {
		out.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return out.String()
}

// What the code really writes, as its golden files have it, is what the
// documents describe.
func TestGoldenMessagesAreValid(t *testing.T) {
	v := newValidator(t)
	names, err := filepath.Glob("../protocol/testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		place := placeOf(t, filepath.Base(name), raw)
		if place == "" {
			continue
		}
		if err := v.check(place, raw); err != nil {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
		checked++
	}
	if checked < 40 {
		t.Errorf("only %d golden files were checked", checked)
	}
}

// The schemas do refuse: a message that lacks a field, has another type, or
// holds a value outside of its set.
func TestWrongMessagesAreInvalid(t *testing.T) {
	v := newValidator(t)
	const open, stream = "openapi.yaml#/components/schemas/", "asyncapi.yaml#/components/messages/"
	for _, c := range []struct{ place, raw string }{
		{open + "MessageRequest", `{}`},
		{open + "MessageRequest", `{"content":""}`},
		{open + "MessageRequest", `{"content":[{"type":"video"}]}`},
		{open + "CreateRequest", `{"metadata":[]}`},
		{open + "ApproveRequest", `{"interactionId":"i","decision":"maybe"}`},
		{open + "TicketResponse", `{"ticket":"t","expiresAt":"soon"}`},
		{open + "LoggedEvent", `{"seq":1,"type":"other","time":"2026-01-01T00:00:00.000Z","data":{}}`},
		{open + "LoggedEvent", `{"seq":1,"type":"closed","time":"2026-01-01T00:00:00.000Z","data":{"reason":"bored"}}`},
		{stream + "event.status/payload", `{"seq":0,"type":"status","time":"2026-01-01T00:00:00.000Z","data":{"status":"idle"}}`},
		{stream + "control.gap/payload", `{"type":"gap","time":"2026-01-01T00:00:00.000Z","data":{"epoch":"e","fromSeq":1,"toSeq":2}}`},
		{stream + "command.auth/payload", `{"type":"auth","id":"c1"}`},
		{stream + "command.ping/payload", `{"type":"ping","id":""}`},
		{stream + "error/payload", `{"type":"error","id":"c1","error":{"code":"bad_luck","detail":""}}`},
	} {
		if v.check(c.place, []byte(c.raw)) == nil {
			t.Errorf("%s takes %s", c.place, c.raw)
		}
	}
}
