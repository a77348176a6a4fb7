package fakemodel

import (
	"io"
	"reflect"
	"strings"
	"testing"
)

// What real agents were seen to send, shortened: the user's text is told apart
// from what agents add, and a tool's result counts until the next text.
func TestTurnInEachFormat(t *testing.T) {
	shell := []Tool{{Name: "sh", Properties: map[string]Property{"command": {Type: "string"}}}}
	const schema = `{"properties":{"command":{"type":"string"}}}`
	tests := []struct {
		name   string
		decode func([]byte) (Turn, error)
		body   string
		want   Turn
	}{
		{"messages: a tool's result, then the next text", decodeMessages,
			`{"model":"m","messages":[{"role":"user","content":"shell x"},{"role":"assistant","content":"..."},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"rejected"},{"type":"text","text":"say again"}]}],
			"tools":[{"name":"sh","input_schema":` + schema + `}]}`,
			Turn{Model: "m", UserText: "say again", Tools: shell}},
		{"messages: a reminder behind a tool's result", decodeMessages,
			`{"model":"m","messages":[{"role":"user","content":"shell x"},{"role":"user","content":[
			{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"hi"}]},{"type":"text","text":"<system-reminder>no</system-reminder>"}]}]}`,
			Turn{Model: "m", UserText: "shell x", ToolOutputs: []ToolOutput{{"c", "hi"}}}},
		{"chat: text", decodeChat,
			`{"model":"m","messages":[{"role":"system","content":"say no"},{"role":"user","content":[{"type":"text","text":"say yes"}]}],
			"tools":[{"type":"function","function":{"name":"sh","parameters":` + schema + `}}]}`,
			Turn{Model: "m", UserText: "say yes", Tools: shell}},
		{"chat: a tool's result", decodeChat,
			`{"model":"m","messages":[{"role":"user","content":"shell x"},{"role":"assistant","content":null},{"role":"tool","tool_call_id":"c","content":"hi"}]}`,
			Turn{Model: "m", UserText: "shell x", ToolOutputs: []ToolOutput{{"c", "hi"}}}},
		{"gemini: text", decodeGemini,
			`{"contents":[{"role":"user","parts":[{"text":"say yes"}]}],"tools":[{"functionDeclarations":[{"name":"sh","parametersJsonSchema":` + schema + `}]}]}`,
			Turn{UserText: "say yes", Tools: shell}},
		{"gemini: a tool's result", decodeGemini,
			`{"contents":[{"role":"user","parts":[{"text":"shell x"}]},{"role":"model","parts":[{"text":"..."}]},
			{"role":"user","parts":[{"functionResponse":{"id":"c","name":"sh","response":{"output":"hi"}}}]}]}`,
			Turn{UserText: "shell x", ToolOutputs: []ToolOutput{{"c", "hi"}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := test.decode([]byte(test.body))
			if err != nil || !reflect.DeepEqual(got, test.want) {
				t.Errorf("got\n%+v, %v\nwant\n%+v", got, err, test.want)
			}
			if _, err := test.decode([]byte("{")); err == nil {
				t.Error("half an object was taken")
			}
		})
	}
}

// The formats whose events have no names.
func TestReplyWithoutEventNames(t *testing.T) {
	const schema = `{"properties":{"command":{"type":"string"}}}`
	tests := []struct {
		name, path, body string
		want             []string // in this order
	}{
		{"chat", "/v1/chat/completions",
			`{"messages":[{"role":"user","content":"shell echo hi"}],"tools":[{"function":{"name":"bash","parameters":` + schema + `}}]}`,
			[]string{`"content":"I "`, `"name":"bash"`, `"finish_reason":"tool_calls"`, "data: [DONE]\n\n"}},
		{"gemini", "/v1beta/models/m:streamGenerateContent?alt=sse",
			`{"contents":[{"role":"user","parts":[{"text":"shell echo hi"}]}],"tools":[{"functionDeclarations":[{"name":"bash","parameters":` + schema + `}]}]}`,
			[]string{`"text":"I "`, `"name":"bash"`, `"finishReason":"STOP"`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server, client := start(t, nil)
			response, err := post(t.Context(), t, client, server.URL()+test.path, test.body)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			raw, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			rest := string(raw)
			for _, part := range test.want {
				before, after, found := strings.Cut(rest, part)
				if !found || strings.Contains(before, "event:") {
					t.Errorf("no %s, or an event with a name, in\n%s", part, raw)
				}
				rest = after
			}
		})
	}
}
