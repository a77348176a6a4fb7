package fakemodel

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sessionhub/internal/testkit/judge"
)

// start runs a server for one test and a client whose idle connections end with
// it, so that no goroutine of theirs is left.
func start(t *testing.T, script Script) (*Server, *http.Client) {
	t.Helper()
	server, err := New(script)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		server.Close()
		server.Close() // twice is allowed
	})
	return server, &http.Client{Transport: transport}
}

func post(ctx context.Context, t *testing.T, client *http.Client, url, body string) (*http.Response, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	return client.Do(request)
}

// events reads a stream to its end, checking that the two names of each event
// agree.
func events(t *testing.T, body io.Reader) ([]map[string]any, error) {
	t.Helper()
	var list []map[string]any
	name := ""
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "event: "); ok {
			name = rest
		}
		if rest, ok := strings.CutPrefix(line, "data: "); ok {
			var event map[string]any
			if err := json.Unmarshal([]byte(rest), &event); err != nil {
				t.Fatalf("event %q: %v", rest, err)
			}
			if event["type"] != name {
				t.Fatalf("event line %q, data type %q", name, event["type"])
			}
			list = append(list, event)
		}
	}
	return list, lines.Err()
}

// summary is an event stream as a person would tell it: the kinds in order, runs
// of one kind once, and the text and tool arguments that the deltas add up to.
type summary struct{ kinds, text, thought, tool, arguments string }

func summarize(list []map[string]any) summary {
	var s summary
	var kinds []string
	for _, event := range list {
		kind := event["type"].(string)
		if len(kinds) == 0 || kinds[len(kinds)-1] != kind {
			kinds = append(kinds, kind)
		}
		switch kind {
		case "response.output_text.delta":
			s.text += event["delta"].(string)
		case "response.reasoning_summary_text.delta":
			s.thought += event["delta"].(string)
		case "response.output_item.done":
			item := event["item"].(map[string]any)
			if item["type"] == "function_call" {
				s.tool, s.arguments = item["name"].(string), item["arguments"].(string)
			}
			if item["type"] == "custom_tool_call" {
				s.tool, s.arguments = item["name"].(string), item["input"].(string)
			}
		case "content_block_start":
			if block := event["content_block"].(map[string]any); block["type"] == "tool_use" {
				s.tool = block["name"].(string)
			}
		case "content_block_delta":
			delta := event["delta"].(map[string]any)
			for key, into := range map[string]*string{"text": &s.text, "thinking": &s.thought, "partial_json": &s.arguments} {
				if piece, ok := delta[key].(string); ok {
					*into += piece
				}
			}
		}
	}
	s.kinds = strings.Join(kinds, " ")
	return s
}

const (
	responsesBody = `{"model":"m","input":[
		{"type":"message","role":"developer","content":[{"type":"input_text","text":"say nonsense"}]},
		{"type":"message","role":"user","content":[{"type":"input_text","text":"<environment_context>say no</environment_context>"}]},
		{"type":"message","role":"user","content":[{"type":"input_text","text":%q}]}%s],
		"tools":[{"type":"web_search"},{"type":"custom","name":"apply_patch"},
		{"type":"function","name":"exec_command","parameters":{"properties":{"cmd":{"type":"string"},"workdir":{"type":"string"},
		"sandbox_permissions":{"type":"string","enum":["use_default","require_escalated"]}}}}]}`
	messagesBody = `{"model":"m","system":"say nonsense","messages":[
		{"role":"user","content":[{"type":"text","text":"<system-reminder>say no</system-reminder>"},{"type":"text","text":%q}]}%s],
		"tools":[{"name":"Bash","input_schema":{"properties":{"command":{"type":"string"},"timeout":{"type":["number","null"]}}}}]}`
)

func TestReplyInEachFormat(t *testing.T) {
	const (
		responsesText = "response.created response.output_item.added response.output_text.delta response.output_item.done"
		messagesText  = "message_start content_block_start content_block_delta content_block_stop"
	)
	tests := []struct {
		name, path, body, prompt, later string
		want                            summary
	}{
		{"responses text", "/v1/responses", responsesBody, "say good day", "",
			summary{kinds: responsesText + " response.completed", text: "good day"}},
		{"responses thought", "/v1/responses", responsesBody, "think hard about it", "",
			summary{kinds: "response.created response.output_item.added response.reasoning_summary_part.added " +
				"response.reasoning_summary_text.delta response.output_item.done response.output_item.added " +
				"response.output_text.delta response.output_item.done response.completed",
				text: "I have thought about it.", thought: "hard about it"}},
		{"responses shell", "/v1/responses", responsesBody, "shell echo hi", "",
			summary{kinds: responsesText + " response.output_item.added response.output_item.done response.completed",
				text: "I will use exec_command.", tool: "exec_command",
				arguments: `{"cmd":"echo hi","sandbox_permissions":"require_escalated"}`}},
		{"responses write", "/v1/responses", responsesBody, "write a.txt one two", "",
			summary{kinds: responsesText + " response.output_item.added response.output_item.done response.completed",
				text: "I will use apply_patch.", tool: "apply_patch",
				arguments: "*** Begin Patch\n*** Add File: a.txt\n+one two\n*** End Patch\n"}},
		{"responses tool output", "/v1/responses", responsesBody, "shell echo hi",
			`,{"type":"function_call","call_id":"c"},{"type":"function_call_output","call_id":"c","output":"Exit code: 0\nOutput:\nhi\nho"}`,
			summary{kinds: responsesText + " response.completed", text: "The output begins: hi"}},
		{"messages text", "/v1/messages?beta=true", messagesBody, "say good day", "",
			summary{kinds: messagesText + " message_delta message_stop", text: "good day"}},
		{"messages thought", "/v1/messages", messagesBody, "think hard", "",
			summary{kinds: messagesText + " content_block_start content_block_delta content_block_stop message_delta message_stop",
				text: "I have thought about it.", thought: "hard"}},
		{"messages shell", "/v1/messages", messagesBody, "shell echo hi", "",
			summary{kinds: messagesText + " content_block_start content_block_delta content_block_stop message_delta message_stop",
				text: "I will use Bash.", tool: "Bash", arguments: `{"command":"echo hi"}`}},
		{"messages tool output", "/v1/messages", messagesBody, "shell echo hi",
			`,{"role":"assistant","content":"..."},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"hi\nho"},
			{"type":"text","text":"<system-reminder>say no</system-reminder>"}]}`,
			summary{kinds: messagesText + " message_delta message_stop", text: "The output begins: hi"}},
		{"no such tool", "/v1/messages", messagesBody, "plan", "",
			summary{kinds: messagesText + " message_delta message_stop",
				text: `the agent offers none of ["update_plan" "TodoWrite"] but ["Bash"]`}},
		{"a tag of the user's own", "/v1/responses", responsesBody, "<script>alert(1)</script>", "",
			summary{kinds: responsesText + " response.completed", text: "You said: <script>alert(1)</script>"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server, client := start(t, nil)
			response, err := post(t.Context(), t, client, server.URL()+test.path, fmt.Sprintf(test.body, test.prompt, test.later))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
				t.Errorf("content type %q", got)
			}
			list, err := events(t, response.Body)
			if err != nil {
				t.Fatal(err)
			}
			if got := summarize(list); got != test.want {
				t.Errorf("got\n%+v\nwant\n%+v", got, test.want)
			}
			requests := server.Requests()
			if len(requests) != 1 || requests[0].Turn.UserText != test.prompt {
				t.Errorf("recorded %+v", requests)
			}
		})
	}
}

func TestScriptedError(t *testing.T) {
	server, client := start(t, nil)
	for _, status := range []int{429, 500} {
		body := fmt.Sprintf(responsesBody, fmt.Sprintf("error %d", status), "")
		response, err := post(t.Context(), t, client, server.URL()+"/v1/responses", body)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != status {
			t.Errorf("status %d, want %d", response.StatusCode, status)
		}
	}
}

func TestBadBodyIsRefused(t *testing.T) {
	server, client := start(t, nil)
	response, err := post(t.Context(), t, client, server.URL()+"/v1/responses", "{")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusBadRequest || len(server.Requests()) != 0 {
		t.Errorf("status %d, %d requests recorded", response.StatusCode, len(server.Requests()))
	}
}

func TestBreakCutsTheStreamAfterItsText(t *testing.T) {
	server, client := start(t, nil)
	response, err := post(t.Context(), t, client, server.URL()+"/v1/responses", fmt.Sprintf(responsesBody, "break", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	list, err := events(t, response.Body)
	if err == nil {
		t.Error("the stream ended as if it were whole")
	}
	if got := summarize(list).text; got != "This answer breaks" {
		t.Errorf("text before the break: %q", got)
	}
}

func TestClientThatLeavesEndsItsReply(t *testing.T) {
	for _, prompt := range []string{"slow", "silent"} {
		t.Run(prompt, func(t *testing.T) {
			server, client := start(t, nil)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				response, err := post(ctx, t, client, server.URL()+"/v1/responses", fmt.Sprintf(responsesBody, prompt, ""))
				if err == nil {
					_, _ = io.Copy(io.Discard, response.Body)
					response.Body.Close()
				}
			}()
			deadline, stop := context.WithTimeout(t.Context(), judge.Patience)
			defer stop()
			for len(server.Requests()) == 0 && deadline.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			short, stopShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer stopShort()
			if server.AwaitIdle(short) == nil {
				t.Error("the reply ended by itself")
			}
			cancel()
			<-done
			if err := server.AwaitIdle(deadline); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCloseEndsRepliesUnderWay(t *testing.T) {
	server, client := start(t, nil)
	failed := make(chan error, 2)
	for _, prompt := range []string{"slow", "silent"} {
		go func() {
			response, err := post(t.Context(), t, client, server.URL()+"/v1/messages", fmt.Sprintf(messagesBody, prompt, ""))
			if err == nil {
				_, err = io.Copy(io.Discard, response.Body)
				response.Body.Close()
			}
			failed <- err
		}()
	}
	deadline := time.Now().Add(judge.Patience)
	for len(server.Requests()) < 2 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	server.Close()
	for range 2 {
		if err := <-failed; err == nil {
			t.Error("a reply ended as if it were whole")
		}
	}
}

func TestOldestRequestsAreForgotten(t *testing.T) {
	server, client := start(t, func(turn Turn) Reply { return text(turn.UserText) })
	for i := range maxRecorded + 3 {
		response, err := post(t.Context(), t, client, server.URL()+"/v1/responses", fmt.Sprintf(responsesBody, fmt.Sprint(i), ""))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	requests := server.Requests()
	if len(requests) != maxRecorded || requests[0].Turn.UserText != "3" {
		t.Errorf("%d requests, the first %q", len(requests), requests[0].Turn.UserText)
	}
}
