package fakemodel

import (
	"encoding/json"
	"fmt"
	"strings"
)

// responsesRequest is what matters of OpenAI's POST /v1/responses
// (platform.openai.com/docs/api-reference/responses/create).
type responsesRequest struct {
	Model string          `json:"model"`
	Input []responsesItem `json:"input"`
	Tools []responsesTool `json:"tools"`
}

type responsesTool struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Parameters struct {
		Properties map[string]json.RawMessage `json:"properties"`
	} `json:"parameters"`
	Tools []responsesTool `json:"tools"` // of a namespace, as an MCP server is
}

type responsesItem struct {
	Type    string          `json:"type"`
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"` // a string or a list of parts
	CallID  string          `json:"call_id"`
	Output  json.RawMessage `json:"output"` // a string or a list of parts
}

func decodeResponses(body []byte) (Turn, error) {
	var request responsesRequest
	if err := json.Unmarshal(body, &request); err != nil {
		return Turn{}, fmt.Errorf("decode a responses request: %w", err)
	}
	turn := Turn{Model: request.Model}
	for _, item := range request.Input {
		switch {
		case item.Role == "user":
			if text := userText(contentTexts(item.Content)); text != "" {
				turn.UserText, turn.ToolOutputs = text, nil
			}
		case strings.HasSuffix(item.Type, "_call_output"):
			output := strings.Join(contentTexts(item.Output), "\n")
			turn.ToolOutputs = append(turn.ToolOutputs, ToolOutput{CallID: item.CallID, Text: output})
		}
	}
	addTools(&turn, "", request.Tools)
	return turn, nil
}

func addTools(turn *Turn, namespace string, tools []responsesTool) {
	for _, tool := range tools {
		switch {
		case tool.Type == "function" || tool.Type == "custom":
			turn.Tools = append(turn.Tools, Tool{
				Name: tool.Name, Namespace: namespace, Properties: properties(tool.Parameters.Properties), Freeform: tool.Type == "custom",
			})
		case tool.Type == "namespace" && namespace == "":
			addTools(turn, tool.Name, tool.Tools)
		}
	}
}

// responsesWire streams a reply as OpenAI's Responses API does: a response made
// of items (reasoning, message, function_call), each announced, filled by
// deltas and then sent whole.
type responsesWire struct {
	out     *stream
	index   int // of the item that is being written
	message string
	open    bool // the message item has been announced and not yet finished
}

func newResponsesWire(out *stream, _ Turn) wire { return &responsesWire{out: out} }

func (w *responsesWire) start() {
	w.out.event("response.created", map[string]any{
		"response": map[string]any{"id": w.out.id("resp"), "object": "response", "status": "in_progress"},
	})
}

func (w *responsesWire) thought(text string) {
	id := w.out.id("rs")
	item := map[string]any{"type": "reasoning", "id": id, "summary": []any{}}
	w.item("added", item)
	w.out.event("response.reasoning_summary_part.added", map[string]any{
		"item_id": id, "output_index": w.index, "summary_index": 0, "part": map[string]any{"type": "summary_text", "text": ""},
	})
	for _, piece := range pieces(text) {
		w.out.event("response.reasoning_summary_text.delta", map[string]any{
			"item_id": id, "output_index": w.index, "summary_index": 0, "delta": piece,
		})
	}
	item["summary"] = []any{map[string]any{"type": "summary_text", "text": text}}
	w.item("done", item)
	w.index++
}

func (w *responsesWire) text(delta string) {
	if !w.open {
		w.open = true
		w.item("added", w.messageItem("in_progress"))
	}
	w.message += delta
	w.out.event("response.output_text.delta", map[string]any{
		"item_id": w.out.id("msg"), "output_index": w.index, "content_index": 0, "delta": delta,
	})
}

func (w *responsesWire) tool(callID string, call ToolCall) {
	w.closeMessage()
	item := map[string]any{"id": w.out.id("fc"), "call_id": callID, "name": call.Name}
	if call.Namespace != "" {
		item["namespace"] = call.Namespace
	}
	if call.Input != "" {
		item["type"], item["input"] = "custom_tool_call", call.Input
	} else {
		item["type"], item["arguments"] = "function_call", encode(call.Arguments)
	}
	w.item("added", item)
	w.item("done", item)
	w.index++
}

func (w *responsesWire) end() {
	w.closeMessage()
	w.out.event("response.completed", map[string]any{
		"response": map[string]any{
			"id": w.out.id("resp"), "object": "response", "status": "completed",
			"usage": map[string]any{
				"input_tokens": 100, "input_tokens_details": map[string]any{"cached_tokens": 0},
				"output_tokens": 10, "output_tokens_details": map[string]any{"reasoning_tokens": 0},
				"total_tokens": 110,
			},
		},
	})
}

func (w *responsesWire) closeMessage() {
	if w.open {
		w.open = false
		w.item("done", w.messageItem("completed"))
		w.index++
	}
}

func (w *responsesWire) messageItem(status string) map[string]any {
	content := []any{}
	if w.message != "" {
		content = append(content, map[string]any{"type": "output_text", "text": w.message, "annotations": []any{}})
	}
	return map[string]any{
		"type": "message", "id": w.out.id("msg"), "role": "assistant", "status": status, "content": content,
	}
}

func (w *responsesWire) item(what string, item map[string]any) {
	w.out.event("response.output_item."+what, map[string]any{"output_index": w.index, "item": item})
}
